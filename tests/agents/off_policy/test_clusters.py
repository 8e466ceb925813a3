"""Sessions that depend on each other, such as those of one person."""

import numpy as np
import pytest

from agents.off_policy import OffPolicyLog
from agents.off_policy.estimate import clustered_error, smallest_clustered_size, smallest_kish_size

VALUES = np.array([1.0, 4.0, 2.0, 5.0])


def test_the_error_of_independent_values_is_the_usual_one():
    assert clustered_error(VALUES, np.array([7, 3, 5, 1])) == pytest.approx(np.std(VALUES, ddof=1) / 2.0)


def test_the_error_of_two_clusters_by_hand():
    # Deviations from the mean, 3: -2 - 1 in one cluster, 1 + 2 in the other.
    assert clustered_error(VALUES, np.array([0, 1, 0, 1])) == pytest.approx((2 / 1 * (9 + 9)) ** 0.5 / 4)


def test_the_error_of_one_cluster_is_unknown():
    assert np.isnan(clustered_error(VALUES, np.zeros(4, int)))


def test_weights_of_a_cluster_count_as_one():
    log = OffPolicyLog(
        sessions=np.array([0, 0, 1, 2, 2]),
        steps=np.array([0, 1, 0, 0, 1]),
        rewards=np.zeros(5),
        behaviour_log_probabilities=np.zeros(5),
        evaluation_log_probabilities=np.zeros(5),
    )
    weights = np.array([1.0, 3.0, 2.0, 1.0, 4.0])
    alone = smallest_clustered_size(log, weights, np.arange(3))
    assert alone == pytest.approx(smallest_kish_size(log, weights)) == pytest.approx(4.0**2 / 6.0)  # in the first step
    # Sums of the two clusters: 3 and 1 in the first step, 5 and 4 in the second one.
    assert smallest_clustered_size(log, weights, np.array([0, 0, 1])) == pytest.approx(4.0**2 / 10.0)
