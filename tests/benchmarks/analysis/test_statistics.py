"""Statistics of few runs: closed forms and invariances."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from benchmarks.analysis.statistics import (
    Scores,
    degrees_of_freedom_of_means,
    holm,
    improvement_interval,
    interquartile_mean,
    optimality_gap,
    paired_improvement,
    paired_improvement_interval,
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
    assert degrees_of_freedom_of_means([np.array([1.0, 3.0, 5.0])]) == pytest.approx(2.0)
    # Variances of the means: 2 / 2 = 1 with 1 degree of freedom, 4 / 3 with 2.
    found = degrees_of_freedom_of_means([np.array([1.0, 3.0]), np.array([1.0, 3.0, 5.0]), np.array([7.0])])
    assert found == pytest.approx((1.0 + 4 / 3) ** 2 / (1.0 + (4 / 3) ** 2 / 2))
    for runs in (np.array([7.0]), np.array([2.0, 2.0])):
        assert degrees_of_freedom_of_means([runs]) == np.inf


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


def test_holm_by_hand():
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 (not below the one before), 0.9 x 1.
    assert holm(np.array([0.9, 0.02, 0.01, 0.03])) == pytest.approx([0.9, 0.06, 0.04, 0.06])
    assert holm(np.array([])).shape == (0,)


def test_the_interval_of_paired_improvement_is_wilsons():
    value, number, z = 0.8, 70, 1.96
    centre = (value + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z / (1 + z**2 / number) * np.sqrt(value * (1 - value) / number + z**2 / (4 * number**2))
    assert paired_improvement_interval(value, [10] * 7) == pytest.approx((centre - half, centre + half))
    assert paired_improvement_interval(1.0, [3]) == pytest.approx((3 / (3 + z**2), 1.0))


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(st.sampled_from([0.0, 1.0]), st.floats(1e-6, 1.0 - 1e-6)),
    st.lists(st.integers(1, 20), min_size=1, max_size=8),
)
def test_intervals_of_improvement_contain_their_value_and_stay_in_range(value, numbers):
    for interval in (paired_improvement_interval, improvement_interval):
        low, high = interval(value, numbers)
        assert 0.0 <= low <= value + 1e-6
        assert value - 1e-6 <= high <= 1.0
        assert high > low
        assert interval(1.0 - value, numbers) == pytest.approx((1.0 - high, 1.0 - low), abs=1e-6)


def test_statistics_are_those_of_rliable():
    reference = json.loads(Path(__file__).with_name("rliable_reference.json").read_text())
    for case in reference["cases"]:
        x, y = ({str(n): runs for n, runs in enumerate(np.array(case[agent]).T)} for agent in ("x", "y"))
        assert optimality_gap(x) == pytest.approx(case["optimality_gap"], abs=1e-6)
        assert interquartile_mean(x) == pytest.approx(case["interquartile_mean"], abs=1e-6)
        assert probability_of_improvement(x, y) == pytest.approx(case["probability_of_improvement"], abs=1e-6)
        assert performance_profile(x, reference["thresholds"]) == pytest.approx(case["profile"], abs=1e-6)
