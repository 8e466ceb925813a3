"""The user model against the equations of the docstrings, one part of a step at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tiny_world import CERTAIN, make_simulator, show

from recsim_env.config import BehaviourConfig, RewardConfig, Scenario
from recsim_env.simulation.normal_distribution import normal_cdf
from recsim_env.simulation.rating_scale import expected_rating_of
from recsim_env.simulation.records import NO_ITEM, make_parameters

UNLIKELY = 1e-4  # seeds are fixed: a test that passes once passes always


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
    is_missing = simulator.sessions["candidates"] == NO_ITEM
    assert (is_missing.sum(1) == 1).all()
    outcomes = simulator.step(is_missing.argmax(1)[:, None])
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
def test_the_expected_rating_is_the_mean_of_noisy_ratings(opinion, noise_sd):
    behaviour = BehaviourConfig(rating_cuts=(-1.0, 0.2, 0.9, 2.0))
    scenario = Scenario(name="Made", source="synthetic", behaviour=behaviour)
    parameters = make_parameters(scenario, np.zeros((2, 2)), session_length=10, first_start=0, num_starts=1)
    noise = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    ratings = 1 + np.searchsorted(behaviour.rating_cuts, opinion + noise_sd * noise)
    assert expected_rating_of(opinion, noise_sd, parameters[0]) == pytest.approx(ratings.mean(), abs=1e-3)


def test_the_table_of_the_normal_distribution_is_right_to_nine_digits():
    points = np.concatenate([np.linspace(-9.0, 9.0, 50_001), np.random.default_rng(0).normal(size=50_000)])
    found = np.array([normal_cdf(x) for x in points])
    np.testing.assert_allclose(found, stats.norm.cdf(points), rtol=0.0, atol=1e-9)
    assert normal_cdf(-np.inf) == normal_cdf(-1e300) == 0.0
    assert normal_cdf(np.inf) == normal_cdf(1e300) == 1.0


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
    weights = RewardConfig(rating=2.0, click=3.0, consumption=5.0, purchase=7.0, retention=0.5)
    simulator = make_simulator(
        slate_size=3,
        reward=weights,
        choice_intercept=CERTAIN,
        continue_probability=0.0,
        rating_cuts=(-100.0, -99.0, -98.0, 99.0),  # always a rating of 4
        consumption_intercept=CERTAIN,
        consumption_noise=0.0,
        is_shop=True,
        purchase_intercept=CERTAIN,
    )
    outcome = show(simulator, 2, 0, 1)[0]
    assert outcome["rating"] == pytest.approx(4 / 3)
    assert outcome["click"] == pytest.approx(1 / 3)
    assert outcome["consumption"] == pytest.approx(1 / 3)
    assert outcome["purchase"] == pytest.approx(1 / 3)
    assert outcome["retention"] == 1.0
    assert outcome["reward"] == pytest.approx(2.0 * 4 / 3 + 3.0 / 3 + 5.0 / 3 + 7.0 / 3 + 0.5)


def test_nothing_consumed_rates_zero():
    simulator = make_simulator(num_sessions=100, slate_size=2, choice_intercept=-CERTAIN)
    outcomes = show(simulator, 0, 1)
    assert all((outcomes[name] == 0.0).all() for name in ("reward", "rating", "click", "consumption", "purchase"))
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
        (FIVE_STARS, -50.0, 0.5, 0.5 + 0.05 * 4),  # anticipated 1, rated 5
        (ONE_STAR, 50.0, 0.5, 0.5 - 0.1 * 4),  # clickbait
        (FIVE_STARS, 50.0, 0.5, 0.5),  # as promised
        (FIVE_STARS, -50.0, 0.9, 1.0),
        (ONE_STAR, 50.0, 0.3, 0.0),
    ],
)
def test_trust_follows_rating_minus_anticipation_and_falls_faster_than_it_rises(
    outcome, promise, start_trust, end_trust
):
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


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_after_a_click_the_user_considers_the_rest_with_a_fixed_probability(probability):
    simulator = make_simulator(
        num_sessions=20_000,
        slate_size=3,
        choice_intercept=CERTAIN,
        continue_probability=1.0,
        choose_again_probability=probability,
    )
    outcomes = show(simulator, 0, 1, 2)
    clicks = np.rint(3.0 * outcomes["click"]).astype(int)
    expected = [1.0 - probability, probability * (1.0 - probability), probability**2]
    assert np.bincount(clicks, minlength=4)[1:] / 20_000 == pytest.approx(expected, abs=0.015)
    feedback = simulator.sessions["history_feedback"][:, :3]
    assert (feedback[:, :, 1].sum(1) == clicks).all()
    assert (simulator.sessions["num_clicks"] == clicks).all()
    assert (simulator.sessions["num_consumed"] == clicks).all()
    rated = np.where(feedback[:, :, 3] > 0, feedback[:, :, 3], 0.0).sum(1)
    assert simulator.sessions["rating_sum"] == pytest.approx(rated)


def test_ratings_below_the_neutral_one_cost_and_an_item_that_is_not_consumed_is_neutral():
    weights = RewardConfig(neutral_rating=2.5)
    for quality, intercept, reward in ((CERTAIN, CERTAIN, 2.5), (-CERTAIN, CERTAIN, -1.5), (CERTAIN, -CERTAIN, 0.0)):
        simulator = make_simulator(quality=(quality,) * 3, choice_intercept=intercept, reward=weights)
        assert show(simulator, 0)["reward"].tolist() == [reward]
    slate = make_simulator(
        slate_size=3,
        quality=(CERTAIN, -CERTAIN, 0.0),
        choice_intercept=CERTAIN,
        continue_probability=1.0,
        choose_again_probability=1.0,
        reward=weights,
        rating_cuts=(-1.5, -0.5, 40.0, 45.0),
        rating_noise=0.01,
        interests=(0.0, 0.0, 0.0),
    )
    outcomes = show(slate, 0, 1, 2)  # 5, 1 and 3
    assert outcomes["rating"].tolist() == pytest.approx([(5 + 1 + 3) / 3])
    assert outcomes["reward"].tolist() == pytest.approx([(2.5 - 1.5 + 0.5) / 3])
