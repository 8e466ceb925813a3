"""Statistics of few runs: closed forms and invariances."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from benchmarks.analysis.statistics import (
    Scores,
    degrees_of_freedom,
    interquartile_mean,
    optimality_gap,
    paired_improvement,
    performance_profile,
    probability_of_improvement,
    t_interval,
)


def one_task(*runs: float) -> Scores:
    return {"Video": np.array(runs)}


def runs_of(num_runs: int):
    return arrays(np.float64, num_runs, elements=st.floats(-10, 10))


some_scores = st.dictionaries(st.sampled_from("ABCD"), st.integers(1, 6).flatmap(runs_of), min_size=1)


def test_interquartile_mean_is_the_mean_of_the_middle_half_of_all_runs():
    assert interquartile_mean(one_task(9.0, 1.0, 2.0, -50.0)) == 1.5
    assert (
        interquartile_mean({"Video": np.array([1.0, 100.0, 2.0]), "News": np.array([-7.0, 3.0, 4.0, 5.0, 6.0])}) == 3.5
    )


@pytest.mark.parametrize("num_runs", range(1, 14))
def test_interquartile_mean_is_the_trimmed_mean_of_scipy(num_runs):
    runs = np.random.default_rng(num_runs).normal(size=num_runs) ** 3
    assert interquartile_mean(one_task(*runs)) == pytest.approx(stats.trim_mean(runs, 0.25))


def test_optimality_gap_is_the_mean_shortfall_from_gamma():
    scores = {"Video": np.array([0.5, 3.0]), "News": np.array([0.0])}
    assert optimality_gap(scores) == pytest.approx((0.25 + 1.0) / 2)
    assert optimality_gap(scores, gamma=2.0) == pytest.approx((0.75 + 2.0) / 2)


def test_performance_profile_is_the_share_of_runs_above_each_threshold():
    scores = {"Video": np.array([0.0, 1.0]), "News": np.array([0.5, 0.6, 0.7, 2.0])}
    profile = performance_profile(scores, [-1.0, 0.0, 0.55, 1.0, 2.0])
    np.testing.assert_allclose(profile, [1.0, (0.5 + 1) / 2, (0.5 + 0.75) / 2, (0 + 0.25) / 2, 0.0])


def test_probability_of_improvement_counts_wins_and_half_of_the_ties():
    assert probability_of_improvement(one_task(1.0, 2.0), one_task(0.0, 3.0)) == 0.5
    assert probability_of_improvement(one_task(1.0, 1.0), one_task(1.0, 0.0)) == 0.75
    x, y = {"A": np.array([1.0]), "B": np.array([0.0, 1.0])}, {"A": np.array([0.0]), "B": np.array([0.0, 0.0])}
    assert probability_of_improvement(x, y) == pytest.approx((1.0 + 0.75) / 2)
    assert probability_of_improvement(x, y) + probability_of_improvement(y, x) == pytest.approx(1.0)


def test_paired_improvement_compares_runs_of_the_same_seed():
    x, y = {"A": np.array([1.0, 2.0, 3.0])}, {"A": np.array([0.5, 1.5, 2.5])}
    assert paired_improvement(x, y) == 1.0
    assert probability_of_improvement(x, y) == pytest.approx(6 / 9)


def test_degrees_of_freedom_by_hand():
    assert degrees_of_freedom([np.array([1.0, 3.0, 5.0])]) == pytest.approx(2.0)
    # Variances of the means: 2 / 2 = 1 with 1 degree of freedom, 4 / 3 with 2.
    found = degrees_of_freedom([np.array([1.0, 3.0]), np.array([1.0, 3.0, 5.0]), np.array([7.0])])
    assert found == pytest.approx((1.0 + 4 / 3) ** 2 / (1.0 + (4 / 3) ** 2 / 2))
    assert degrees_of_freedom([np.array([7.0])]) == degrees_of_freedom([np.array([2.0, 2.0])]) == np.inf


@settings(max_examples=60, deadline=None)
@given(some_scores, st.integers(0, 100))
def test_statistics_do_not_depend_on_the_order_of_runs_and_stay_in_range(scores, seed):
    generator = np.random.default_rng(seed)
    shuffled = {task: generator.permutation(runs) for task, runs in scores.items()}
    for statistic in (interquartile_mean, optimality_gap, partial(performance_profile, thresholds=[-1.0, 0.0, 1.0])):
        np.testing.assert_allclose(statistic(shuffled), statistic(scores), atol=1e-12)
    pooled = np.concatenate(list(scores.values()))
    assert pooled.min() - 1e-9 <= interquartile_mean(scores) <= pooled.max() + 1e-9
    assert optimality_gap(scores) >= 0.0
    assert (np.diff(performance_profile(scores, [-1.0, 0.0, 1.0])) <= 0.0).all()


def test_a_t_interval_by_hand():
    half = 3.1824463 * np.sqrt(10.0 / 3.0 / 4.0)  # the 97.5% quantile of t with 3 degrees of freedom
    mean, low, high = t_interval(np.array([1.0, 2.0, 4.0, 5.0]))
    assert (mean, low, high) == pytest.approx((3.0, 3.0 - half, 3.0 + half))
    assert t_interval(np.array([7.0])) == (7.0, 7.0, 7.0)
