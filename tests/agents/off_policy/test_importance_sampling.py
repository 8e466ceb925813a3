"""Importance sampling: by hand, against enumeration, and under changes that must not matter."""

import dataclasses

import numpy as np
import pytest
import tiny_decision_process as tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.off_policy import (
    WEIGHTING,
    OffPolicyLog,
    clipped_ips,
    importance_sampling,
    ips,
    per_decision,
    snips,
    weighted_importance_sampling,
    weighted_per_decision,
)

SEQUENTIAL = (importance_sampling, weighted_importance_sampling, per_decision, weighted_per_decision)


def two_sessions() -> OffPolicyLog:
    """Ratios 2 and 1/2 in a session of two steps, 3 in a session of one; rewards 1, 4 and 2."""
    return OffPolicyLog(
        sessions=np.array([7, 7, 9]),
        steps=np.array([0, 1, 0]),
        rewards=np.array([1.0, 4.0, 2.0]),
        behaviour_log_probabilities=np.log([0.25, 0.5, 0.25]),
        evaluation_log_probabilities=np.log([0.5, 0.25, 0.75]),
    )


def test_estimates_of_single_steps_by_hand():
    log = two_sessions()
    found = ips(log)
    assert found.value == pytest.approx((2.0 * 1.0 + 0.5 * 4.0 + 3.0 * 2.0) / 2)
    half = 1.96 * np.std([4.0, 6.0], ddof=1) / np.sqrt(2.0)
    assert (found.low, found.high) == pytest.approx((5.0 - half, 5.0 + half))
    assert clipped_ips(log, max_weight=1.5).value == pytest.approx((1.5 * 1.0 + 0.5 * 4.0 + 1.5 * 2.0) / 2)
    assert snips(log).value == pytest.approx(5.0 / (5.5 / 3))
    assert found.effective_sample_size == pytest.approx(5.5**2 / (4.0 + 0.25 + 9.0) * 2 / 3)


def test_estimates_of_whole_sessions_by_hand():
    log = two_sessions()  # weights of the sessions are 2 x 1/2 = 1 and 3, returns 5 and 2
    assert importance_sampling(log).value == pytest.approx((1.0 * 5.0 + 3.0 * 2.0) / 2)
    assert weighted_importance_sampling(log).value == pytest.approx((1.0 * 5.0 + 3.0 * 2.0) / 4)
    assert importance_sampling(log).effective_sample_size == pytest.approx(4.0**2 / 10.0)
    assert per_decision(log).value == pytest.approx((2.0 * 1.0 + 1.0 * 4.0 + 3.0 * 2.0) / 2)
    first, second = (2.0 * 1.0 + 3.0 * 2.0) / 5.0, 1.0 * 4.0 / (1.0 + 3.0)  # the ended session keeps its weight of 3
    assert weighted_per_decision(log).value == pytest.approx(first + second)


def test_rewards_are_discounted_by_step():
    log = dataclasses.replace(two_sessions(), gamma=0.5)
    assert per_decision(log).value == pytest.approx((2.0 * 1.0 + 0.5 * 1.0 * 4.0 + 3.0 * 2.0) / 2)
    assert importance_sampling(log).value == pytest.approx((1.0 * 3.0 + 3.0 * 2.0) / 2)


@pytest.mark.parametrize("gamma", [1.0, 0.7])
@pytest.mark.parametrize("estimator", SEQUENTIAL)
def test_estimates_over_all_sessions_equal_the_value_by_enumeration(estimator, gamma):
    log, _, _ = tiny.population(gamma=gamma)
    found = estimator(log)
    assert found.value == pytest.approx(tiny.true_value(gamma=gamma), rel=1e-9)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("estimator", [ips, snips])
def test_weights_of_single_steps_are_exact_in_sessions_of_one_step_only(estimator):
    assert estimator(tiny.population(1)[0]).value == pytest.approx(tiny.true_value(1), rel=1e-9)
    assert estimator(tiny.population(3)[0]).value != pytest.approx(tiny.true_value(3), rel=0.02)


def random_log(
    generator: np.random.Generator, num_sessions: int, length: int, same_policy: bool = False
) -> OffPolicyLog:
    lengths = generator.integers(1, length + 1, num_sessions)
    behaviour = generator.uniform(0.2, 1.0, lengths.sum())
    evaluation = behaviour if same_policy else behaviour * generator.uniform(0.3, 1.0, lengths.sum())
    return OffPolicyLog(
        sessions=np.repeat(np.arange(num_sessions), lengths),
        steps=np.concatenate([np.arange(each) for each in lengths]),
        rewards=generator.normal(1.0, 2.0, lengths.sum()),
        behaviour_log_probabilities=np.log(behaviour),
        evaluation_log_probabilities=np.log(evaluation),
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(2, 20), st.integers(1, 6))
def test_the_value_of_the_logging_policy_is_the_mean_return(seed, num_sessions, length):
    log = random_log(np.random.default_rng(seed), num_sessions, length, same_policy=True)
    returns = log.session_sums(log.rewards)
    half = 1.96 * returns.std(ddof=1) / np.sqrt(num_sessions)
    for name, estimator in WEIGHTING.items():
        found = estimator(log)
        assert found.value == pytest.approx(returns.mean(), abs=1e-9), name
        assert found.effective_sample_size == pytest.approx(num_sessions), name
        if name != "WPDIS":  # its steps are means over different sessions
            assert found.high - found.value == pytest.approx(half, abs=1e-9), name


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.floats(-50.0, 50.0))
def test_a_constant_added_to_rewards_shifts_normalised_estimates_by_just_that(seed, constant):
    log = random_log(np.random.default_rng(seed), 12, 1)
    shifted = dataclasses.replace(log, rewards=log.rewards + constant)
    for estimator in (snips, weighted_importance_sampling, weighted_per_decision):
        before, after = estimator(log), estimator(shifted)
        assert after.value - before.value == pytest.approx(constant, abs=1e-9)
        assert after.high - after.low == pytest.approx(before.high - before.low, abs=1e-9)


@pytest.mark.parametrize("estimator", [snips, weighted_importance_sampling, weighted_per_decision])
def test_intervals_of_normalised_estimates_are_as_wide_as_those_of_a_bootstrap(estimator):
    generator = np.random.default_rng(0)
    log = random_log(generator, 2_000, 3)
    starts, values = log.first_rows, []
    for _ in range(300):
        picks = generator.integers(0, log.num_sessions, log.num_sessions)
        rows = np.concatenate([starts[pick] + np.arange(log.lengths[pick]) for pick in picks])
        resampled = dataclasses.replace(
            log,
            sessions=np.repeat(np.arange(log.num_sessions), log.lengths[picks]),
            **{
                name: getattr(log, name)[rows]
                for name in ("steps", "rewards", "behaviour_log_probabilities", "evaluation_log_probabilities")
            },
        )
        values.append(estimator(resampled).value)
    found = estimator(log)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.std(values), rel=0.15)


def test_actions_that_the_policy_never_takes_have_weight_zero_from_then_on():
    log = dataclasses.replace(two_sessions(), evaluation_log_probabilities=np.array([-np.inf, 0.0, np.log(0.75)]))
    assert log.weights.tolist() == pytest.approx([0.0, 0.0, 3.0])
    assert per_decision(log).value == pytest.approx(3.0 * 2.0 / 2)


def test_a_policy_without_any_logged_action_has_no_normalised_estimate():
    log = dataclasses.replace(two_sessions(), evaluation_log_probabilities=np.full(3, -np.inf))
    for estimator in (snips, weighted_importance_sampling, weighted_per_decision):
        found = estimator(log)
        assert np.isnan([found.value, found.low, found.high]).all()
        assert "every logged session has probability 0" in found.warning
    assert per_decision(log).value == 0.0
    assert per_decision(log).effective_sample_size == 0.0


def test_a_small_effective_sample_has_a_warning_and_a_large_one_has_none():
    assert "effective sample size 1.6 of 2 sessions, below 100" in importance_sampling(two_sessions()).warning
    log, _, _ = tiny.population()
    assert all(estimator(log).warning == "" for estimator in SEQUENTIAL)


def test_missing_support_is_reported_by_the_mean_weight():
    num_rows = 4_000  # the behaviour policy never takes the third of three actions, of which it has half
    actions = np.random.default_rng(0).integers(0, 2, num_rows)
    log = OffPolicyLog(
        sessions=np.arange(num_rows),
        steps=np.zeros(num_rows, int),
        rewards=np.ones(num_rows),
        behaviour_log_probabilities=np.full(num_rows, np.log(0.5)),
        evaluation_log_probabilities=np.log([0.2, 0.3])[actions],
    )
    assert "mean weight 0.50 instead of 1" in ips(log).warning
    assert "mean weight 0.50 instead of 1" in per_decision(log).warning


def test_clipping_is_reported_with_the_share_of_weights():
    assert "66.7% of the weights are clipped at 1.5" in clipped_ips(two_sessions(), max_weight=1.5).warning


def test_weights_beyond_all_bounds_stay_finite():
    num_steps = 2_000
    log = OffPolicyLog(
        sessions=np.repeat([0, 1], num_steps),
        steps=np.tile(np.arange(num_steps), 2),
        rewards=np.ones(2 * num_steps),
        behaviour_log_probabilities=np.full(2 * num_steps, np.log(0.1)),
        evaluation_log_probabilities=np.concatenate([np.zeros(num_steps), np.full(num_steps, np.log(0.01))]),
    )
    for estimator in SEQUENTIAL:
        found = estimator(log)
        assert np.isfinite([found.value, found.low, found.high]).all()
        assert found.effective_sample_size == pytest.approx(1.0)
