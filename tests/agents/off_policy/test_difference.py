"""The difference of two policies' values, estimated from the same sessions."""

import dataclasses

import numpy as np
import pytest

from agents.off_policy import OffPolicyLog, difference, per_decision, weighted_per_decision


def three_sessions(evaluation) -> OffPolicyLog:
    """Sessions of one step, logged by a fair coin, with rewards 1, 4 and 2."""
    return OffPolicyLog(
        sessions=np.arange(3),
        steps=np.zeros(3, int),
        rewards=np.array([1.0, 4.0, 2.0]),
        behaviour_log_probabilities=np.log([0.5] * 3),
        evaluation_log_probabilities=np.log(evaluation),
    )


def test_the_difference_and_its_interval_by_hand():
    found = difference(per_decision(three_sessions([0.5, 0.75, 0.25])), per_decision(three_sessions([0.5] * 3)))
    # Contributions: 0, (1.5 - 1) 4 and (0.5 - 1) 2.
    assert found.value == pytest.approx((0.0 + 2.0 - 1.0) / 3)
    half = 1.96 * np.std([0.0, 2.0, -1.0], ddof=1) / 3**0.5
    assert (found.low, found.high) == pytest.approx((1 / 3 - half, 1 / 3 + half))


@pytest.mark.parametrize("estimator", [per_decision, weighted_per_decision])
def test_a_policy_does_not_differ_from_itself(estimator):
    found = estimator(three_sessions([0.9, 0.2, 0.4]))
    same = difference(found, found)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_the_interval_of_similar_policies_is_shorter_than_that_of_their_values():
    first, second = (weighted_per_decision(three_sessions(each)) for each in ([0.5, 0.6, 0.4], [0.5, 0.61, 0.39]))
    found = difference(first, second)
    assert found.high - found.low < 0.2 * (first.high - first.low)


def test_it_warns_of_the_smaller_effective_sample():
    first, second = (weighted_per_decision(three_sessions(each)) for each in ([0.5] * 3, [0.9, 0.1, 0.1]))
    assert difference(first, second).effective_sample_size == second.effective_sample_size < 3.0
    assert "effective sample size" in difference(first, second).warning


def test_estimates_from_other_sessions_are_refused():
    log = three_sessions([0.5] * 3)
    cut = OffPolicyLog(
        **{
            field.name: getattr(log, field.name)[:2]
            for field in dataclasses.fields(log)
            if isinstance(getattr(log, field.name), np.ndarray)
        }
    )
    with pytest.raises(ValueError, match="contributions of 3 and 2 sessions: must be of the same sessions"):
        difference(per_decision(log), per_decision(cut))
