"""Mechanisms of single scenarios: purchases, freshness, creators, repeats and moods."""

import numpy as np
import pytest
from tiny_world import CERTAIN, make_simulator, show

from recsim_env.config import RewardConfig
from recsim_env.simulation.observation import CANDIDATE_COLUMNS
from recsim_env.simulation.records import NUM_RECENT_ITEMS

SHOP = {"is_shop": True, "choice_intercept": CERTAIN, "consumption_noise": 0.0}
BUYS = SHOP | {"purchase_intercept": CERTAIN}
FIVE_STARS = {"rating_cuts": (-103.0, -102.0, -101.0, -100.0), "patience_gain": 0.0}
FOUR_STARS = FIVE_STARS | {"rating_cuts": (-102.0, -101.0, -100.0, 100.0)}
THREE_STARS = FIVE_STARS | {"rating_cuts": (-101.0, -100.0, 100.0, 101.0)}
TWO_STARS = FIVE_STARS | {"rating_cuts": (-100.0, 100.0, 101.0, 102.0)}
ONE_STAR = FIVE_STARS | {"rating_cuts": (100.0, 101.0, 102.0, 103.0)}


def logistic(x: float) -> float:
    return 1.0 / (1.0 + np.exp(-x))


def newest_feedback(simulator) -> np.ndarray:
    """[N, 6]: of the last shown item."""
    sessions = simulator.sessions
    rows = (sessions["num_shown"] - 1) % sessions["history_items"].shape[1]
    return sessions["history_feedback"][np.arange(len(simulator)), rows]


# Money


def test_purchases_depend_on_affinity_quality_and_price():
    simulator = make_simulator(
        **SHOP,
        num_sessions=40_000,
        quality=(0.6, 0.0, 0.0),
        prices=(1.5, 1.0, 1.0),
        budget=9.0,
        purchase_intercept=0.3,
        purchase_affinity=2.0,
        purchase_quality=1.5,
        purchase_price=0.8,
    )
    outcomes = show(simulator, 0)
    chance = logistic(0.3 + 2.0 * 0.1 + 1.5 * 0.6 - 0.8 * 1.5)
    assert outcomes["purchase"].mean() == pytest.approx(chance, abs=0.01)
    assert set(np.unique(outcomes["purchase"])) == {0.0, 1.0}


def test_a_click_without_purchase_is_not_rated_and_costs_patience():
    simulator = make_simulator(**SHOP, num_sessions=50, purchase_intercept=-CERTAIN, patience_skip=0.25)
    outcomes = show(simulator, 0)
    assert (outcomes["click"] == 1.0).all()
    assert (outcomes["consumption"] > 0.0).all()
    assert not outcomes["purchase"].any()
    assert not outcomes["rating"].any()
    sessions = simulator.sessions
    assert (sessions["patience"] == 5.0 - 0.25).all()
    assert (sessions["trust"] == 1.0).all()
    assert (sessions["interests"] == [0.1, 0.2, 0.3]).all()
    assert not sessions["num_consumed"].any()
    assert (newest_feedback(simulator)[:, [1, 3, 4]] == [1.0, 0.0, 0.0]).all()


def test_purchases_are_paid_from_the_budget_and_never_exceed_it():
    simulator = make_simulator(**BUYS, **FIVE_STARS, prices=(2.0, 0.5, 0.4), budget=2.6)
    assert show(simulator, 0)[0]["purchase"] == 1.0
    assert simulator.sessions["budget"][0] == pytest.approx(0.6)
    assert show(simulator, 0)[0]["purchase"] == 0.0  # dear
    assert simulator.sessions["budget"][0] == pytest.approx(0.6)
    assert show(simulator, 1)[0]["purchase"] == 1.0
    assert show(simulator, 2)[0]["purchase"] == 0.0
    assert simulator.sessions["budget"][0] == pytest.approx(0.1)
    assert simulator.latent_state()["budget"][0] == pytest.approx(0.1)


def test_a_price_of_the_whole_budget_can_be_paid():
    simulator = make_simulator(**BUYS, prices=1.25, budget=1.25)
    assert show(simulator, 0)[0]["purchase"] == 1.0
    assert simulator.sessions["budget"][0] == 0.0


def test_a_purchase_satiates_its_topics_and_a_click_does_not():
    for intercept, need in ((CERTAIN, [0.9, 0.9]), (-CERTAIN, [0.0, 0.0])):
        behaviour = SHOP | {"purchase_intercept": intercept, "satiation_gain": 0.0, "satiation_purchase": 1.8}
        simulator = make_simulator(**behaviour)
        show(simulator, 1)  # half of each topic
        assert simulator.sessions["satiation"][0] == pytest.approx(need)


def test_nothing_is_sold_where_there_is_no_shop():
    simulator = make_simulator(num_sessions=200, choice_intercept=CERTAIN, purchase_intercept=CERTAIN, prices=1.0)
    outcomes = show(simulator, 0)
    assert not outcomes["purchase"].any()
    assert (outcomes["rating"] >= 1.0).all()
    assert not simulator.sessions["budget"].any()


def test_the_expected_reward_of_a_shop_is_the_mean_reward():
    simulator = make_simulator(
        **SHOP | {"choice_intercept": 0.4},
        num_sessions=100_000,
        quality=(0.5, 0.0, 0.0),
        prices=1.0,
        budget=1.0,
        purchase_intercept=0.2,
        reward=RewardConfig(rating=1.0, click=0.5, consumption=0.3, purchase=2.0),
    )
    latent = simulator.latent_state()
    expected = latent["expected_rewards"][latent["candidate_items"] == 0]
    rewards = show(simulator, 0)["reward"]
    assert abs(rewards.mean() - expected[0]) < 4.0 * rewards.std() / np.sqrt(len(rewards))


# Freshness


@pytest.mark.parametrize("age", [0, 3, 6, 600])
def test_freshness_halves_with_each_half_life(age):
    simulator = make_simulator(
        num_sessions=40_000, choice_intercept=-1.0, choice_freshness=2.0, freshness_half_life=3.0
    )
    simulator.sessions["start_step"] = age
    clicks = show(simulator, 0)["click"].mean()
    assert clicks == pytest.approx(logistic(-1.0 + 0.1 + 2.0 * 0.5 ** (age / 3)), abs=0.01)


# Creators


@pytest.mark.parametrize(
    ("ratings", "follows", "chance"),
    [
        (FIVE_STARS, 0, 0.6),
        (FOUR_STARS, 0, 0.3),
        (THREE_STARS, 0, 0.0),
        (ONE_STAR, 0, 0.0),
        (ONE_STAR, 1, 0.8),
        (TWO_STARS, 1, 0.4),
        (THREE_STARS, 1, 0.0),
        (FIVE_STARS, 1, 0.0),
    ],
)
def test_creators_are_followed_after_good_ratings_and_left_after_bad_ones(ratings, follows, chance):
    simulator = make_simulator(
        **ratings,
        num_sessions=20_000,
        creators=(1, 0, 0),
        choice_intercept=CERTAIN,
        follow_probability=0.6,
        unfollow_probability=0.8,
    )
    simulator.sessions["follows"][:, 1] = follows
    show(simulator, 0)
    after = simulator.sessions["follows"]
    changed = after[:, 1] != follows
    assert changed.mean() == pytest.approx(chance, abs=0.015)
    assert not after[:, 0].any()  # the other creator
    shown = newest_feedback(simulator)[:, 5]
    assert (shown[changed] == (-1.0 if follows else 1.0)).all()
    assert not shown[~changed].any()


def test_items_of_a_followed_creator_are_chosen_more_readily():
    simulator = make_simulator(num_sessions=40_000, creators=(1, 0, 0), choice_intercept=-1.0, choice_follow=1.5)
    simulator.sessions["follows"][:20_000, 1] = 1
    clicks = show(simulator, 0)["click"]
    assert clicks[:20_000].mean() == pytest.approx(logistic(-1.0 + 0.1 + 1.5), abs=0.015)
    assert clicks[20_000:].mean() == pytest.approx(logistic(-1.0 + 0.1), abs=0.015)


def test_followed_creators_are_a_column_of_the_candidates():
    simulator = make_simulator(
        **FIVE_STARS, creators=(1, 0, 1), choice_intercept=CERTAIN, follow_probability=1.0, num_sessions=3
    )
    show(simulator, 0)
    rows = simulator.observe("full")["candidates"].reshape(3, *simulator.layout.candidates_shape)
    creators = simulator.world.item_records["creator"][simulator.sessions["candidates"]]
    np.testing.assert_array_equal(
        rows[:, :, CANDIDATE_COLUMNS.index("followed") - len(CANDIDATE_COLUMNS)], creators == 1
    )
    assert (simulator.latent_state()["follows"] == [0, 1]).all()


# Repeats


@pytest.mark.parametrize("num_plays", [0, 1, 2, 5])
def test_repeats_are_liked_at_first_and_then_disliked(num_plays):
    simulator = make_simulator(num_sessions=40_000, repeat_gain=0.9, repeat_boredom=0.3, choice_intercept=-0.5)
    simulator.sessions["recent_items"][:, :num_plays] = 1
    clicks = show(simulator, 1)["click"].mean()
    assert clicks == pytest.approx(logistic(-0.5 + 0.2 + 0.9 * num_plays - 0.3 * num_plays**2), abs=0.01)


def test_recent_items_are_the_items_consumed_last():
    simulator = make_simulator(**FIVE_STARS, choice_intercept=CERTAIN, receptiveness=0.0, interests=(0.0, 0.0, 0.0))
    order = [step % 3 for step in range(NUM_RECENT_ITEMS + 4)]
    for item in order:
        show(simulator, item)
    recent_items = simulator.sessions["recent_items"][0]
    assert sorted(recent_items.tolist()) == sorted(order[-NUM_RECENT_ITEMS:])
    assert simulator.sessions["num_consumed"][0] == len(order)
    skipping = make_simulator(choice_intercept=-CERTAIN)
    show(skipping, 0)
    assert (skipping.sessions["recent_items"] == -1).all()


def test_plays_are_a_column_of_the_candidates():
    simulator = make_simulator(**FIVE_STARS, choice_intercept=CERTAIN)
    for item in (2, 0, 2):
        show(simulator, item)
    rows = simulator.observe("full")["candidates"].reshape(simulator.layout.candidates_shape)
    column = CANDIDATE_COLUMNS.index("plays") - len(CANDIDATE_COLUMNS)
    plays = dict(zip(simulator.sessions["candidates"][0].tolist(), rows[:, column].tolist(), strict=True))
    assert plays == {0: 1 / 16, 1: 0.0, 2: 2 / 16}


# Moods

MOODS = ((1.5, -0.5), (-1.0, 2.0))


@pytest.mark.parametrize("mood", [0, 1])
def test_a_mood_adds_to_the_affinity_with_each_topic(mood):
    simulator = make_simulator(num_sessions=40_000, moods=MOODS, choice_intercept=-0.3)
    simulator.sessions["mood"] = mood
    clicks = show(simulator, 1)["click"].mean()  # half of each topic
    assert clicks == pytest.approx(logistic(-0.3 + 0.2 + 0.5 * sum(MOODS[mood])), abs=0.01)


def test_moods_come_by_chance_and_are_equally_likely():
    simulator = make_simulator(num_sessions=20_000, moods=MOODS, mood_change=0.3, mood_delay=100)
    started = simulator.sessions["mood"].copy()
    assert started.mean() == pytest.approx(0.5, abs=0.015)
    show(simulator, 0)
    changed = simulator.sessions["mood"] != started
    assert changed.mean() == pytest.approx(0.15, abs=0.01)  # half of those who fall into a mood, fall into the same
    assert (simulator.sessions["mood_age"] == 0).mean() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("delay", [1, 3])
def test_a_mood_is_observed_after_its_delay(delay):
    simulator = make_simulator(num_sessions=2_000, moods=MOODS, mood_change=0.2, mood_delay=delay, patience_skip=0.0)
    column = slice(-simulator.world.sizes.num_moods, None)
    history = [simulator.sessions["mood"].copy()]
    ages, seen = np.zeros(2_000, int), np.full(2_000, -1)
    for _ in range(12):
        np.testing.assert_array_equal(simulator.observe("full")["user"][:, column], seen[:, None] == [0, 1])
        show(simulator, 0)
        ages = np.where(simulator.sessions["mood_age"] == 0, 0, ages + 1)
        history.append(simulator.sessions["mood"].copy())
        seen = np.where(ages == delay, history[-1], seen)
    assert (seen >= 0).mean() > 0.9
    assert 0.02 < (seen != simulator.sessions["mood"]).mean() < 0.6  # late, and so at times wrong
    np.testing.assert_array_equal(simulator.latent_state()["mood"], simulator.sessions["mood"])


def test_a_mood_without_delay_is_observed_from_the_start():
    simulator = make_simulator(num_sessions=200, moods=MOODS, mood_change=0.3, mood_delay=0, patience_skip=0.0)
    for _ in range(5):
        shown = simulator.observe("full")["user"][:, -simulator.world.sizes.num_moods :]
        np.testing.assert_array_equal(shown, simulator.sessions["mood"][:, None] == [0, 1])
        show(simulator, 0)
