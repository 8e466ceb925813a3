"""The user against the equations of the docstrings: one step by hand, and each part of it on its own."""

from statistics import NormalDist

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tiny_world import CERTAIN, make_simulator, show, start
from trajectories import random_actions

from recsim_env.config import BehaviourConfig, RewardConfig, Scenario
from recsim_env.random_streams import Purpose, normal, uniform
from recsim_env.user_model import NO_ITEM, effective_affinity, expected_stars, make_parameters

UNLIKELY = 1e-4  # seeds are fixed: a test that passes once passes always
NORMAL = NormalDist()
OUTCOMES = ("reward", "rating", "click", "consumption", "retention", "terminated", "truncated")


def step_by_hand(session, items, slate, scenario: Scenario, session_length: int):
    """One step of one session from the equations; returns the outcome and the user's state after it."""
    b, r = scenario.behaviour, scenario.reward
    interests, satiation = session["interests"].copy(), session["satiation"].copy()
    trust, patience, step = float(session["trust"]), float(session["patience"]), int(session["step"])
    candidates, size = session["candidates"], len(slate)

    def chance(purpose: Purpose, index: int = 0) -> float:
        return uniform(session["noise_key"], step, purpose, index)

    def noise(purpose: Purpose) -> float:
        return normal(session["noise_key"], step, purpose, 0)

    examined = 1
    while examined < size and chance(Purpose.EXAMINATION, examined) < b.continue_probability:
        examined += 1
    shown = [slot for slot in range(size) if candidates[slate[slot]] != NO_ITEM and slate[slot] not in slate[:slot]]
    looked_at = [slot for slot in shown if slot < examined]
    item_in = {slot: items[candidates[slate[slot]]] for slot in shown}
    affinity = {slot: interests @ item["factors"] - satiation @ item["topics"] for slot, item in item_in.items()}
    utility = [
        b.choice_intercept
        + b.choice_affinity * affinity[slot]
        + b.choice_appeal * item_in[slot]["appeal"]
        - b.choice_distrust * (1.0 - trust)
        for slot in looked_at
    ]
    weights = np.exp(np.array([0.0, *utility]))
    answer = int(np.searchsorted(np.cumsum(weights / weights.sum()), chance(Purpose.CHOICE), side="right"))
    chosen = looked_at[answer - 1] if answer else None

    rating = consumption = 0.0
    satiation *= b.satiation_decay
    if chosen is None:
        patience -= b.patience_skip
    else:
        item, bias, scale = item_in[chosen], session["rating_bias"], session["rating_scale"]
        sd = scale * b.rating_noise

        def opinion_of(worth: float) -> float:
            return bias + scale * (b.rating_affinity * affinity[chosen] + worth)

        opinion = opinion_of(b.rating_quality * item["quality"]) + sd * noise(Purpose.RATING)
        rating = 1.0 + sum(opinion > cut for cut in b.rating_cuts)
        promise = opinion_of(b.expectation_appeal * item["appeal"])
        expectation = 1.0 + sum(NORMAL.cdf((promise - cut) / sd) for cut in b.rating_cuts)
        logit = b.consumption_intercept + b.consumption_affinity * affinity[chosen]
        logit += b.consumption_quality * item["quality"] + b.consumption_noise * noise(Purpose.CONSUMPTION)
        consumption = 1.0 / (1.0 + np.exp(-logit))
        moved = interests + session["receptiveness"] * (rating - 3.0) / 2.0 * item["factors"]
        interests = np.clip(moved, -b.interest_limit, b.interest_limit)
        satiation += b.satiation_gain * consumption * item["topics"]
        surprise = rating - expectation
        trust = np.clip(trust + (b.trust_gain if surprise > 0 else b.trust_loss) * surprise, 0.0, 1.0)
        patience = min(patience + b.patience_gain * (rating - 3.0), b.patience_limit)

    has_left = patience <= 0.0
    terms = [rating / size, (chosen is not None) / size, consumption / size, float(not has_left)]
    reward = np.dot([r.rating, r.click, r.consumption, r.retention], terms)
    outcome = (reward, *terms, has_left, step + 1 >= session_length and not has_left)
    is_submitted = chosen is not None and chance(Purpose.RATING_SUBMITTED) < b.rating_probability
    feedback = [
        (candidates[slate[slot]], slot, *((1.0, consumption, rating * is_submitted) if slot == chosen else (0, 0, 0)))
        for slot in shown
    ]
    return outcome, (interests, satiation, trust, patience), feedback


def assert_steps_are_those_by_hand(simulator, slates: np.ndarray) -> None:
    """Take each of the [T, N, S] slates in the simulator and by hand; sessions that end begin anew."""
    items, scenario = simulator.world.item_records, simulator.world.scenario
    length, num_clicks = simulator.config.session_length, 0
    for batch in slates:
        before = simulator.sessions.copy()
        outcomes = simulator.step(batch).copy()
        after = simulator.sessions
        for n, slate in enumerate(batch):
            outcome, state, feedback = step_by_hand(before[n], items, slate.tolist(), scenario, length)
            assert [outcomes[n][name] for name in OUTCOMES] == pytest.approx(list(outcome), rel=1e-9, abs=1e-9)
            for name, value in zip(("interests", "satiation", "trust", "patience"), state, strict=True):
                np.testing.assert_allclose(after[n][name], value, rtol=1e-9, atol=1e-9, err_msg=name)
            first = int(before[n]["num_shown"])
            assert after[n]["num_shown"] == first + len(feedback)
            rows = [(first + shown) % after[n]["history_items"].size for shown in range(len(feedback))]
            for row, (item, *columns) in list(zip(rows, feedback, strict=True))[-len(set(rows)) :]:
                assert after[n]["history_items"][row] == item
                assert after[n]["history_feedback"][row].tolist() == pytest.approx(columns)
            num_clicks += outcome[2] > 0
        simulator.start(np.flatnonzero(outcomes["terminated"] | outcomes["truncated"]))
    assert num_clicks > 0


@pytest.mark.parametrize("variant", ["", "Slate"])
def test_steps_of_every_scenario_are_those_computed_by_hand(scenario_name, variant):
    envs = gymnasium.make_vec(f"recsim_env/{scenario_name}{variant}-v0", 60)
    envs.reset(seed=11)
    slate_size = envs.simulator.config.slate_size
    slates = np.random.default_rng(0).integers(0, envs.simulator.config.num_candidates, (40, 60, slate_size))
    assert_steps_are_those_by_hand(envs.simulator, slates)


def moderate(low: float, high: float):
    return st.floats(low, high, allow_subnormal=False)


@given(
    behaviour=st.fixed_dictionaries(
        {
            "continue_probability": moderate(0, 1),
            "choice_intercept": moderate(-1, 3),
            "choice_affinity": moderate(0, 3),
            "choice_appeal": moderate(0, 3),
            "choice_distrust": moderate(0, 5),
            "rating_affinity": moderate(0, 3),
            "rating_quality": moderate(0, 3),
            "rating_noise": moderate(0.1, 3),
            "expectation_appeal": moderate(0, 3),
            "rating_probability": moderate(0, 1),
            "consumption_intercept": moderate(-2, 2),
            "consumption_noise": moderate(0, 2),
            "interest_limit": moderate(0.1, 2),
            "satiation_gain": moderate(0, 2),
            "satiation_decay": moderate(0, 0.99),
            "trust_gain": moderate(0, 1),
            "trust_loss": moderate(0, 1),
            "patience_gain": moderate(0, 2),
            "patience_skip": moderate(0, 2),
            "patience_limit": moderate(1, 9),
        }
    ),
    person=st.fixed_dictionaries(
        {
            "interests": st.tuples(*[moderate(-2, 2)] * 3),
            "patience": moderate(1, 5),
            "receptiveness": moderate(0, 1),
            "rating_bias": moderate(-2, 2),
            "rating_scale": moderate(0.5, 2),
        }
    ),
    quality=st.tuples(*[moderate(-2, 2)] * 3),
    appeal=st.tuples(*[moderate(-2, 2)] * 3),
    weights=st.builds(RewardConfig, rating=moderate(-2, 2), click=moderate(-2, 2), retention=moderate(-2, 2)),
    slate_size=st.integers(1, 3),
    session_length=st.integers(2, 8),
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_steps_of_any_user_are_those_computed_by_hand(
    behaviour, person, quality, appeal, weights, slate_size, session_length
):
    simulator = make_simulator(
        num_sessions=16,
        quality=quality,
        appeal=appeal,
        reward=weights,
        slate_size=slate_size,
        session_length=session_length,
        **person,
        **behaviour,
    )
    slates = np.random.default_rng(0).integers(0, 3, (10, 16, slate_size))
    assert_steps_are_those_by_hand(simulator, slates)


# Examine and choose


@pytest.mark.parametrize("continue_probability", [0.0, 0.4, 0.85, 1.0])
def test_slots_are_examined_from_the_top_each_with_a_fixed_chance(continue_probability):
    chosen = np.zeros(3)
    for slot in range(3):  # the one tempting item stands in `slot`, the others cannot be chosen
        simulator = make_simulator(
            num_sessions=20_000,
            slate_size=3,
            appeal=[0.0, 0.0, CERTAIN],
            choice_intercept=-30.0,
            choice_appeal=2.0,
            continue_probability=continue_probability,
        )
        order = [0, 1]
        order.insert(slot, 2)
        chosen[slot] = 3.0 * show(simulator, *order)["click"].mean()
    assert chosen == pytest.approx(continue_probability ** np.arange(3), abs=0.015)
    assert chosen[0] == 1.0


@pytest.mark.parametrize("trust", [1.0, 0.3])
def test_choices_are_a_multinomial_logit_over_what_was_examined(trust):
    behaviour = {"choice_intercept": 0.2, "choice_affinity": 1.5, "choice_appeal": 0.7, "choice_distrust": 2.0}
    simulator = make_simulator(
        num_sessions=40_000,
        slate_size=3,
        interests=(1.0, -1.0, 0.5),
        appeal=(0.1, 1.2, -0.4),
        continue_probability=1.0,
        **behaviour,
    )
    simulator.sessions["trust"] = trust
    simulator.sessions["satiation"] = (0.3, 0.1)
    show(simulator, 0, 1, 2)
    clicks = simulator.sessions["history_feedback"][:, :3, 1].sum(0)
    counts = [len(simulator) - clicks.sum(), *clicks]
    affinity = np.array([1.0 - 0.3, -1.0 - 0.2, 0.5 - 0.1])
    utility = 0.2 + 1.5 * affinity + 0.7 * np.array([0.1, 1.2, -0.4]) - 2.0 * (1.0 - trust)
    weights = np.exp([0.0, *utility])
    assert stats.chisquare(counts, len(simulator) * weights / weights.sum()).pvalue > UNLIKELY


def test_utilities_too_large_for_exp_are_chosen_without_overflow():
    simulator = make_simulator(
        num_sessions=1_000,
        slate_size=2,
        interests=(90.0, 90.0, 0.0),
        choice_affinity=50.0,
        interest_limit=100.0,
        continue_probability=1.0,
    )
    assert show(simulator, 0, 1)["click"].mean() == 0.5  # one of both, always
    first = simulator.sessions["history_feedback"][:, 0, 1].mean()
    assert first == pytest.approx(0.5, abs=0.06)


def test_repeated_candidates_leave_their_slots_empty():
    simulator = make_simulator(num_sessions=500, slate_size=3, choice_intercept=CERTAIN, continue_probability=1.0)
    outcomes = show(simulator, 1, 1, 2)
    assert (simulator.sessions["num_shown"] == 2).all()
    assert (simulator.sessions["history_items"][:, :2] == [1, 2]).all()
    assert (simulator.sessions["history_feedback"][:, :2, 0] == [0, 2]).all()
    assert outcomes["click"] == pytest.approx(1.0 / 3.0)  # an empty slot still counts in the mean


def test_a_missing_candidate_is_never_chosen():
    simulator = make_simulator(
        num_sessions=200,
        quality=(0.0, 0.0),
        appeal=(0.0, 0.0),
        factors=np.eye(3)[:2],
        topics=np.eye(2),
        choice_intercept=CERTAIN,
        patience_skip=0.25,
    )
    assert (simulator.sessions["candidates"][:, 2] == NO_ITEM).all()
    outcomes = simulator.step(np.full((200, 1), 2))
    assert not outcomes["click"].any()
    assert not outcomes["reward"].any()
    assert (simulator.sessions["num_shown"] == 0).all()
    assert (simulator.sessions["patience"] == 5.0 - 0.25).all()


# Respond and reward


def test_ratings_follow_the_cuts():
    cuts = (-1.0, 0.2, 0.9, 2.0)
    simulator = make_simulator(
        num_sessions=40_000,
        quality=(0.4, 0.0, 0.0),
        rating_bias=0.3,
        rating_scale=1.5,
        choice_intercept=CERTAIN,
        rating_cuts=cuts,
        rating_quality=0.8,
        rating_affinity=2.0,
        rating_noise=0.7,
    )
    ratings = show(simulator, 0)["rating"]
    opinion = 0.3 + 1.5 * (2.0 * 0.1 + 0.8 * 0.4)
    below = stats.norm.cdf((np.array([*cuts, np.inf]) - opinion) / (1.5 * 0.7))
    counts = [(ratings == star).sum() for star in range(1, 6)]
    assert stats.chisquare(counts, len(simulator) * np.diff(below, prepend=0.0)).pvalue > UNLIKELY


@given(opinion=st.floats(-6, 6), noise_sd=st.floats(0.05, 5))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_expected_stars_are_the_mean_of_noisy_ratings(opinion, noise_sd):
    behaviour = BehaviourConfig(rating_cuts=(-1.0, 0.2, 0.9, 2.0))
    parameters = make_parameters(behaviour, RewardConfig(), 10, 0, 1)
    noise = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    ratings = 1 + np.searchsorted(behaviour.rating_cuts, opinion + noise_sd * noise)
    assert expected_stars(opinion, noise_sd, parameters[0]) == pytest.approx(ratings.mean(), abs=1e-3)


def test_a_rating_is_submitted_with_its_probability_and_rewarded_always():
    simulator = make_simulator(num_sessions=20_000, choice_intercept=CERTAIN, rating_probability=0.3)
    outcomes = show(simulator, 0)
    submitted = simulator.sessions["history_feedback"][:, 0, 3]
    assert (submitted > 0).mean() == pytest.approx(0.3, abs=0.015)
    assert outcomes["rating"].min() >= 1.0
    assert np.isin(submitted[submitted > 0], np.arange(1, 6)).all()
    assert (submitted[submitted > 0] == outcomes["rating"][submitted > 0]).all()


def test_consumption_is_a_logistic_of_affinity_quality_and_noise():
    simulator = make_simulator(
        num_sessions=20_000,
        quality=(0.6, 0.0, 0.0),
        choice_intercept=CERTAIN,
        consumption_intercept=-0.5,
        consumption_affinity=2.0,
        consumption_quality=1.5,
        consumption_noise=0.8,
    )
    consumed = show(simulator, 0)["consumption"]
    logits = np.log(consumed / (1.0 - consumed))
    assert stats.kstest(logits, stats.norm(-0.5 + 2.0 * 0.1 + 1.5 * 0.6, 0.8).cdf).pvalue > UNLIKELY


def test_reward_is_the_weighted_sum_of_terms_that_are_means_over_slots():
    weights = RewardConfig(rating=2.0, click=3.0, consumption=5.0, retention=0.5)
    simulator = make_simulator(
        slate_size=3,
        reward=weights,
        choice_intercept=CERTAIN,
        continue_probability=0.0,
        rating_cuts=(-100.0, -99.0, -98.0, 99.0),  # 4 stars, whatever the opinion
        consumption_intercept=CERTAIN,
        consumption_noise=0.0,
    )
    outcome = show(simulator, 2, 0, 1)[0]
    assert outcome["rating"] == pytest.approx(4 / 3)
    assert outcome["click"] == pytest.approx(1 / 3)
    assert outcome["consumption"] == pytest.approx(1 / 3)
    assert outcome["retention"] == 1.0
    assert outcome["reward"] == pytest.approx(2.0 * 4 / 3 + 3.0 / 3 + 5.0 / 3 + 0.5)


def test_nothing_consumed_rates_zero():
    simulator = make_simulator(num_sessions=100, slate_size=2, choice_intercept=-CERTAIN)
    outcomes = show(simulator, 0, 1)
    assert all((outcomes[name] == 0.0).all() for name in ("reward", "rating", "click", "consumption"))
    assert (outcomes["retention"] == 1.0).all()
    assert not simulator.sessions["history_feedback"][:, :2, 1:].any()


# Change

FIVE_STARS = {"quality": (50.0, 0.0, 0.0), "choice_intercept": CERTAIN, "rating_noise": 0.01, "choice_appeal": 0.0}
ONE_STAR = FIVE_STARS | {"quality": (-50.0, 0.0, 0.0)}
THREE_STARS = FIVE_STARS | {"quality": (0.0, 0.0, 0.0)}


@pytest.mark.parametrize(("outcome", "moved"), [(FIVE_STARS, 0.1), (ONE_STAR, -0.1), (THREE_STARS, 0.0)])
def test_interests_move_toward_what_was_liked_and_away_from_what_was_not(outcome, moved):
    simulator = make_simulator(**outcome, receptiveness=0.1)
    show(simulator, 0)
    assert simulator.sessions["interests"][0] == pytest.approx([0.1 + moved, 0.2, 0.3])


def test_interests_stop_at_their_limit():
    simulator = make_simulator(**FIVE_STARS, receptiveness=1.0, interest_limit=0.8, patience_gain=0.0)
    for _ in range(3):
        show(simulator, 0)
    assert simulator.sessions["interests"][0] == pytest.approx([0.8, 0.2, 0.3])
    simulator = make_simulator(**ONE_STAR, receptiveness=1.0, interest_limit=0.8, patience_gain=0.0)
    for _ in range(3):
        show(simulator, 0)
    assert simulator.sessions["interests"][0] == pytest.approx([-0.8, 0.2, 0.3])


def test_satiation_rises_with_the_topics_consumed_and_decays():
    simulator = make_simulator(
        choice_intercept=CERTAIN,
        consumption_intercept=CERTAIN,
        consumption_noise=0.0,
        satiation_gain=0.4,
        satiation_decay=0.9,
        patience_gain=0.0,
    )
    show(simulator, 1)  # half of each topic
    assert simulator.sessions["satiation"][0] == pytest.approx([0.2, 0.2])
    show(simulator, 2)
    assert simulator.sessions["satiation"][0] == pytest.approx([0.18, 0.58])
    skipping = make_simulator(choice_intercept=-CERTAIN, satiation_decay=0.5)
    skipping.sessions["satiation"] = (1.0, 3.0)
    show(skipping, 0)
    assert skipping.sessions["satiation"][0] == pytest.approx([0.5, 1.5])


@pytest.mark.parametrize(
    ("outcome", "promise", "start_trust", "end_trust"),
    [
        (FIVE_STARS, -50.0, 0.5, 0.5 + 0.05 * 4),  # expected 1 star, got 5
        (ONE_STAR, 50.0, 0.5, 0.5 - 0.1 * 4),  # clickbait
        (FIVE_STARS, 50.0, 0.5, 0.5),  # as promised
        (FIVE_STARS, -50.0, 0.9, 1.0),
        (ONE_STAR, 50.0, 0.3, 0.0),
    ],
)
def test_trust_follows_rating_against_expectation_and_is_lost_faster_than_won(outcome, promise, start_trust, end_trust):
    simulator = make_simulator(**outcome, appeal=(promise, 0.0, 0.0), trust_gain=0.05, trust_loss=0.1)
    assert simulator.sessions["trust"][0] == 1.0
    simulator.sessions["trust"] = start_trust
    show(simulator, 0)
    assert simulator.sessions["trust"][0] == pytest.approx(end_trust)


@pytest.mark.parametrize(
    ("outcome", "start_patience", "end_patience"),
    [
        (FIVE_STARS, 5.0, 5.6),
        (FIVE_STARS, 7.8, 8.0),
        (ONE_STAR, 5.0, 4.4),
        (THREE_STARS, 5.0, 5.0),
        ({"choice_intercept": -CERTAIN}, 5.0, 4.8),
    ],
)
def test_patience_follows_ratings_and_skips(outcome, start_patience, end_patience):
    behaviour = {"patience_gain": 0.3, "patience_skip": 0.2, "patience_limit": 8.0}
    simulator = make_simulator(**outcome, **behaviour, patience=start_patience)
    show(simulator, 0)
    assert simulator.sessions["patience"][0] == pytest.approx(end_patience)


# End


@pytest.mark.parametrize(
    ("session_length", "ends"),
    [
        (4, [(False, False), (False, False), (True, False)]),  # left before the end
        (3, [(False, False), (False, False), (True, False)]),  # left in the last step: no truncation
        (2, [(False, False), (False, True)]),  # cut off before he could leave
    ],
)
def test_a_user_without_patience_terminates_and_the_last_step_truncates(session_length, ends):
    simulator = make_simulator(
        patience=1.5, patience_skip=0.5, choice_intercept=-CERTAIN, session_length=session_length
    )
    for terminated, truncated in ends:
        outcome = show(simulator, 0)[0]
        assert (bool(outcome["terminated"]), bool(outcome["truncated"])) == (terminated, truncated)
        assert outcome["retention"] == float(not terminated)


# Arrivals


def test_candidates_are_always_on_the_shelf_and_so_was_all_that_was_shown(scenario_name):
    envs = gymnasium.make_vec(f"recsim_env/{scenario_name}Slate-v0", 50)
    envs.reset(seed=4)
    items, simulator = envs.simulator.world.item_records, envs.simulator
    num_new = 0
    for actions in random_actions(envs.action_space, np.random.default_rng(0), 60):
        sessions = simulator.sessions
        now = (sessions["start_step"] + sessions["step"])[:, None]
        offered = items[sessions["candidates"]]
        assert (sessions["candidates"] != NO_ITEM).all()
        assert (offered["release_step"] <= now).all()
        assert (now < offered["retire_step"]).all()
        num_new += (offered["release_step"] > sessions["start_step"][:, None]).sum()
        on_offer = [set(row) for row in sessions["candidates"].tolist()]
        shown_before, episodes = sessions["num_shown"].copy(), simulator.episodes.copy()
        envs.step(actions)
        for n in np.flatnonzero(simulator.episodes == episodes):
            rows = np.arange(shown_before[n], sessions["num_shown"][n]) % sessions["history_items"].shape[1]
            assert set(sessions["history_items"][n, rows].tolist()) <= on_offer[n]
    assert num_new > 100


def test_items_arrive_and_retire_while_the_session_runs():
    simulator = make_simulator(
        quality=[0.0] * 4,
        appeal=[0.0] * 4,
        factors=np.eye(3)[[0, 1, 2, 0]],
        topics=np.eye(2)[[0, 1, 0, 1]],
        release=[0, 0, 2, 3],
        retire=[1, 10, 12, 13],
        patience_gain=0.0,
        patience_skip=0.0,
    )
    simulator.sessions["start_step"] = 0  # platform time 0, before the shelf is full
    simulator.sessions["first_item"], simulator.sessions["end_item"] = 0, 2
    available = []
    for _ in range(5):
        simulator.step(np.zeros((1, 1), np.int64))
        candidates = simulator.sessions["candidates"][0]
        available.append(sorted(candidates[candidates != NO_ITEM].tolist()))
    assert available == [[1], [1, 2], [1, 2, 3], [1, 2, 3], [1, 2, 3]]


def test_ordered_candidates_are_drawn_uniformly_and_without_repeats():
    num_items, num_sessions = 5, 30_000
    simulator = make_simulator(
        num_sessions=num_sessions,
        quality=[0.0] * num_items,
        appeal=[0.0] * num_items,
        factors=np.zeros((num_items, 3)),
        topics=np.full((num_items, 2), 0.5),
    )
    start(simulator, world_seed=np.arange(num_sessions))
    for _ in range(2):  # at the beginning and after a step
        drawn = simulator.sessions["candidates"]
        assert (np.diff(np.sort(drawn, 1), axis=1) > 0).all()
        _, counts = np.unique(drawn @ [25, 5, 1], return_counts=True)
        assert len(counts) == 5 * 4 * 3
        assert stats.chisquare(counts).pvalue > UNLIKELY
        simulator.step(np.zeros((num_sessions, 1), np.int64))


def test_people_and_moments_are_drawn_uniformly():
    envs = gymnasium.make_vec("recsim_env/Video-v0", 30_000)
    envs.reset(seed=0)
    sessions, world = envs.simulator.sessions, envs.simulator.world
    users, _ = np.histogram(sessions["user"], bins=20, range=(0, len(world.users)))
    assert stats.chisquare(users).pvalue > UNLIKELY
    first, number = world.session_starts(envs.simulator.config.session_length)
    assert first <= sessions["start_step"].min()
    assert sessions["start_step"].max() < first + number
    edges = first + np.linspace(0, number, 21).astype(int)
    moments = np.histogram(sessions["start_step"], bins=edges - 0.5)[0]
    assert stats.chisquare(moments, 30_000 * np.diff(edges) / number).pvalue > UNLIKELY
    assert abs(stats.spearmanr(sessions["user"], sessions["start_step"]).statistic) < 0.03


# The worked example of the design: user [0.1, 0.2, 0.3], content [0.4, 0.5, 0.6], three actions

USER, CONTENT = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


def test_one_rating_of_one_gives_a_reward_of_one():
    simulator = make_simulator(
        interests=USER, factors=[CONTENT] * 3, choice_intercept=CERTAIN, rating_cuts=(97.0, 98.0, 99.0, 100.0)
    )
    assert show(simulator, 0)["reward"][0] == 1.0


@pytest.mark.parametrize(
    ("weights", "state", "expected"), [(USER, USER, 0.14), (CONTENT, CONTENT, 0.77), (USER, CONTENT, 0.32)]
)
def test_pre_activations_of_the_worked_example(weights, state, expected):
    simulator = make_simulator(interests=weights, factors=[state] * 3)
    assert effective_affinity(simulator.sessions[0], simulator.world.item_records[0]) == pytest.approx(expected)


def test_a_boltzmann_policy_over_the_action_values_is_the_softmax():
    values = np.array([0.14, 0.77, 0.32])  # Q(S, C, a) of the three actions
    simulator = make_simulator(
        num_sessions=60_000, slate_size=3, interests=(1.0, 1.0, 1.0), factors=np.diag(values), continue_probability=1.0
    )
    show(simulator, 0, 1, 2)
    clicks = simulator.sessions["history_feedback"][:, :3, 1].sum(0)
    policy = np.exp(values) / np.exp(values).sum()
    assert policy == pytest.approx([0.2455, 0.4609, 0.2939], abs=5e-4)
    assert stats.chisquare(clicks, clicks.sum() * policy).pvalue > UNLIKELY
