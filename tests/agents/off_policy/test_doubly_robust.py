"""The direct method and its corrections: by hand, against enumeration, and at their limits."""

import dataclasses

import numpy as np
import pytest
import tiny_decision_process as tiny

from agents.off_policy import (
    OffPolicyLog,
    direct_method,
    doubly_robust,
    per_decision,
    switch_doubly_robust,
)


def two_sessions() -> OffPolicyLog:
    """Ratios 2 and 1/2 in a session of two steps, 3 in a session of one."""
    return OffPolicyLog(
        sessions=np.array([0, 0, 1]),
        steps=np.array([0, 1, 0]),
        rewards=np.array([1.0, 4.0, 2.0]),
        behaviour_log_probabilities=np.log([0.25, 0.5, 0.25]),
        evaluation_log_probabilities=np.log([0.5, 0.25, 0.75]),
        action_values=np.array([5.0, 3.0, 1.0]),
        state_values=np.array([4.0, 2.0, 1.5]),
    )


def test_estimates_by_hand():
    log = two_sessions()
    assert direct_method(log).value == pytest.approx((4.0 + 1.5) / 2)
    first = 4.0 + 2.0 * (1.0 - 5.0) + 2.0 * 2.0 + 1.0 * (4.0 - 3.0)
    second = 1.5 + 3.0 * (2.0 - 1.0)
    found = doubly_robust(log)
    assert found.value == pytest.approx((first + second) / 2)
    assert found.high - found.value == pytest.approx(1.96 * abs(first - second) / 2)
    assert switch_doubly_robust(log, max_weight=2.5).value == pytest.approx((first + 1.5) / 2)
    assert switch_doubly_robust(log, max_weight=1.5).value == pytest.approx((4.0 + 1.5) / 2)  # from the first step on


@pytest.mark.parametrize("gamma", [1.0, 0.7])
def test_doubly_robust_is_unbiased_whatever_the_model(gamma):
    log, states, actions = tiny.population(gamma=gamma)
    for seed in range(5):
        values = np.random.default_rng(seed).normal(0.0, 5.0, (tiny.LENGTH, 2, 2))
        log = tiny.with_values(log, states, actions, values)
        assert doubly_robust(log).value == pytest.approx(tiny.true_value(gamma=gamma), rel=1e-9)


def test_a_perfect_model_makes_the_direct_method_exact_and_doubly_robust_precise():
    log, states, actions = tiny.population()
    log = tiny.with_values(log, states, actions, tiny.action_values())
    assert direct_method(log).value == pytest.approx(tiny.true_value(), rel=1e-9)
    robust, plain = doubly_robust(log), per_decision(log)
    assert robust.high - robust.low < 0.8 * (plain.high - plain.low)


def test_a_model_that_predicts_nothing_makes_doubly_robust_per_decision():
    log, _, _ = tiny.population()
    robust, plain = (
        doubly_robust(log.with_values(np.zeros(len(log.steps)), np.zeros(len(log.steps)))),
        per_decision(log),
    )
    assert (robust.value, robust.low, robust.high) == pytest.approx((plain.value, plain.low, plain.high))


def test_without_a_possible_logged_action_doubly_robust_is_the_direct_method():
    log = dataclasses.replace(two_sessions(), evaluation_log_probabilities=np.full(3, -np.inf))
    assert doubly_robust(log).value == direct_method(log).value
    assert doubly_robust(log).effective_sample_size == 0.0
    assert "effective sample size 0.0" in doubly_robust(log).warning


def test_switching_never_is_doubly_robust_and_always_the_direct_method():
    log, states, actions = tiny.population()
    log = tiny.with_values(log, states, actions, np.random.default_rng(1).normal(size=(tiny.LENGTH, 2, 2)))
    assert switch_doubly_robust(log, max_weight=np.inf) == doubly_robust(log)
    always = switch_doubly_robust(log, max_weight=0.0)
    assert always.value == pytest.approx(direct_method(log).value)
    assert "100.0% of the sessions switch to the model" in always.warning
