"""Fitted Q evaluation: exact where the model can be, unbiased with cross-fitting, and honest about its noise."""

import dataclasses

import numpy as np
import pytest
import tiny_decision_process as tiny

from agents.off_policy import OffPolicyLog, direct_method, doubly_robust, fitted_q_evaluation
from agents.off_policy.fitted_q import fit


def tables(log: OffPolicyLog, states: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A feature for each step, state and action: the model can represent every q."""
    features = np.zeros((len(states), tiny.LENGTH, 2, 2))
    means = np.zeros_like(features)
    rows = np.arange(len(states))
    features[rows, log.steps, states, actions] = 1.0
    means[rows, log.steps, states] = tiny.EVALUATION[states]
    return features.reshape(len(states), -1), means.reshape(len(states), -1)


@pytest.mark.parametrize("gamma", [1.0, 0.7])
def test_with_a_table_over_all_sessions_it_equals_backward_induction(gamma):
    log, states, actions = tiny.population(gamma=gamma)
    features, means = tables(log, states, actions)
    found = fitted_q_evaluation(log, features, means, penalty=1e-12)
    assert found.value == pytest.approx(tiny.true_value(gamma=gamma), rel=1e-6)
    action_values, state_values = fit(log, features, means, penalty=1e-12)
    expected = tiny.with_values(log, states, actions, tiny.action_values(gamma=gamma))
    assert action_values == pytest.approx(expected.action_values, abs=0.1)  # folds differ a little
    assert direct_method(log.with_values(action_values, state_values)).value == pytest.approx(found.value, abs=0.01)


def test_two_sessions_by_hand():
    log = OffPolicyLog(
        sessions=np.array([0, 0, 1]),
        steps=np.array([0, 1, 0]),
        rewards=np.array([1.0, 4.0, 2.0]),
        behaviour_log_probabilities=np.zeros(3),
        evaluation_log_probabilities=np.zeros(3),
    )
    ones = np.ones((3, 1))
    # One constant feature: q is the mean of 1 + q, 4 and 2.
    assert fitted_q_evaluation(log, ones, ones, penalty=1e-12).value == pytest.approx(3.5)
    action_values, state_values = fit(log, ones, ones, penalty=1e-12)
    assert action_values.tolist() == pytest.approx([2.0, 2.0, 5.0])  # 5 is the mean of 1 + 5 and 4
    assert state_values.tolist() == pytest.approx(action_values.tolist())


def sampled(generator: np.random.Generator, num_sessions: int) -> tuple[OffPolicyLog, np.ndarray, np.ndarray]:
    """Sessions drawn from the decision process."""
    log, states, actions = tiny.population()
    picks = generator.integers(0, log.num_sessions, num_sessions)
    rows = np.concatenate([log.first_rows[pick] + np.arange(log.lengths[pick]) for pick in picks])
    drawn = OffPolicyLog(
        sessions=np.repeat(np.arange(num_sessions), log.lengths[picks]),
        steps=log.steps[rows],
        rewards=log.rewards[rows] + generator.normal(size=len(rows)),
        behaviour_log_probabilities=log.behaviour_log_probabilities[rows],
        evaluation_log_probabilities=log.evaluation_log_probabilities[rows],
    )
    return drawn, states[rows], actions[rows]


def test_its_interval_covers_the_noise_of_the_regression():
    generator, truth = np.random.default_rng(0), tiny.true_value()
    is_covered, widths, values = [], [], []
    for _ in range(200):
        log, states, actions = sampled(generator, 400)
        found = fitted_q_evaluation(log, *tables(log, states, actions))
        is_covered.append(found.low <= truth <= found.high)
        widths.append(found.high - found.low)
        values.append(found.value)
    assert 0.90 <= np.mean(is_covered) <= 0.99
    assert np.mean(widths) / 2 == pytest.approx(1.96 * np.std(values), rel=0.15)


def test_doubly_robust_with_cross_fitted_values_covers_the_truth():
    generator, truth = np.random.default_rng(1), tiny.true_value()
    is_covered = []
    for _ in range(200):
        log, states, _ = sampled(generator, 400)
        constant = np.ones((len(states), 1))  # a model that knows neither state nor action
        found = doubly_robust(log.with_values(*fit(log, constant, constant)))
        is_covered.append(found.low <= truth <= found.high)
    assert 0.90 <= np.mean(is_covered) <= 0.99


def test_a_session_does_not_change_its_own_predictions():
    log, states, actions = sampled(np.random.default_rng(2), 30)
    features, means = tables(log, states, actions)
    before, _ = fit(log, features, means)
    rewards = log.rewards.copy()
    rewards[log.first_rows[7]] += 1_000.0
    changed = OffPolicyLog(
        sessions=log.sessions,
        steps=log.steps,
        rewards=rewards,
        behaviour_log_probabilities=log.behaviour_log_probabilities,
        evaluation_log_probabilities=log.evaluation_log_probabilities,
    )
    after, _ = fit(changed, features, means)
    is_own = log.sessions == 7
    assert after[is_own] == pytest.approx(before[is_own])
    assert abs(after[~is_own] - before[~is_own]).max() > 1.0


def test_with_a_constant_feature_the_logging_policy_has_its_mean_return():
    log, states, _ = sampled(np.random.default_rng(3), 300)
    log = dataclasses.replace(log, evaluation_log_probabilities=log.behaviour_log_probabilities)
    for features in (np.ones((len(states), 1)), np.column_stack([np.ones(len(states)), log.steps, states])):
        found = fitted_q_evaluation(log, features, features, penalty=1e-12)
        assert found.value == pytest.approx(log.session_sums(log.rewards).mean(), abs=1e-6)


def test_a_fit_that_diverges_is_stopped_with_a_warning():
    log = OffPolicyLog(
        sessions=np.array([0, 0, 0]),
        steps=np.array([0, 1, 2]),
        rewards=np.array([1.0, 2.0, 3.0]),
        behaviour_log_probabilities=np.zeros(3),
        evaluation_log_probabilities=np.zeros(3),
    )
    found = fitted_q_evaluation(log, np.ones((3, 1)), np.full((3, 1), 2.0), penalty=1e-12)
    theta = 2.0 * (1.0 + 4.0 / 3.0 + 16.0 / 9.0)  # each fit multiplies by 2 x 2 / 3
    assert found.value == pytest.approx(2.0 * theta)
    assert "fitted Q evaluation diverges" in found.warning


def test_features_that_are_always_zero_do_no_harm():
    log, states, actions = tiny.population()
    features, means = tables(log, states, actions)
    wider = [np.column_stack([part, np.zeros(len(part))]) for part in (features, means)]
    assert fitted_q_evaluation(log, *wider).value == pytest.approx(fitted_q_evaluation(log, features, means).value)


@pytest.mark.parametrize(
    ("features", "means", "message"),
    [
        (np.ones(4), np.ones(4), r"features of shape \(4,\)"),
        (np.ones((3, 2)), np.ones((3, 2)), r"must be \(4, F\)"),
        (np.ones((4, 2)), np.ones((4, 1)), r"policy_features of shape \(4, 1\): must be \(4, 2\)"),
        (np.full((4, 2), np.nan), np.ones((4, 2)), r"features\[0, 0\]=nan: must be finite"),
    ],
)
def test_bad_features_are_refused_in_one_line(features, means, message):
    log = OffPolicyLog(
        sessions=np.arange(4),
        steps=np.zeros(4, int),
        rewards=np.zeros(4),
        behaviour_log_probabilities=np.zeros(4),
        evaluation_log_probabilities=np.zeros(4),
    )
    with pytest.raises(ValueError, match=message):
        fit(log, features, means)
