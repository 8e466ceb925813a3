"""Statistics of few runs: closed forms, intervals that cover what they should, and input that is refused."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from benchmarks.analysis.statistics import (
    Scores,
    improvement_interval,
    interquartile_mean,
    normalized_scores,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    standard_error_interval,
    stratified_bootstrap,
)


def one_task(*runs: float) -> Scores:
    return {"Video": np.array(runs)}


def runs_of(num_runs: int):
    return arrays(np.float64, num_runs, elements=st.floats(-10, 10))


some_scores = st.dictionaries(st.sampled_from("ABCD"), st.integers(1, 6).flatmap(runs_of), min_size=1)


def test_normalized_scores_are_zero_and_one_at_the_references():
    returns = {"Video": np.array([30.0, 50.0, 70.0, 90.0]), "News": np.array([-1.0, 1.0])}
    scores = normalized_scores(returns, {"Video": 30.0, "News": 1.0}, {"Video": 70.0, "News": 3.0})
    np.testing.assert_array_equal(scores["Video"], [0.0, 0.5, 1.0, 1.5])
    np.testing.assert_array_equal(scores["News"], [-1.0, 0.0])


def test_references_that_give_no_scale_are_refused():
    with pytest.raises(ValueError, match=r"one\['Video'\]=30.0: must be above zero\['Video'\]=30.0"):
        normalized_scores(one_task(1.0), {"Video": 30.0}, {"Video": 30.0})
    with pytest.raises(ValueError, match=r"one\['Video'\]=nan: must be above"):
        normalized_scores(one_task(1.0), {"Video": 30.0}, {"Video": np.nan})
    with pytest.raises(ValueError, match=r"returns\['Video'\]: has no reference"):
        normalized_scores(one_task(1.0), {"News": 30.0}, {"Video": 40.0})


def test_interquartile_mean_is_the_mean_of_the_middle_half_of_all_runs():
    assert interquartile_mean(one_task(9.0, 1.0, 2.0, -50.0)) == 1.5
    assert (
        interquartile_mean({"Video": np.array([1.0, 100.0, 2.0]), "News": np.array([-7.0, 3.0, 4.0, 5.0, 6.0])}) == 3.5
    )


@pytest.mark.parametrize("num_runs", range(1, 14))
def test_interquartile_mean_leaves_out_as_many_runs_as_scipy(num_runs):
    runs = np.random.default_rng(num_runs).normal(size=num_runs) ** 3
    assert interquartile_mean(one_task(*runs)) == pytest.approx(stats.trim_mean(runs, 0.25))


def test_optimality_gap_is_the_mean_of_what_lacks_to_gamma():
    scores = {"Video": np.array([0.5, 3.0]), "News": np.array([0.0])}
    assert optimality_gap(scores) == pytest.approx((0.25 + 1.0) / 2)
    assert optimality_gap(scores, gamma=2.0) == pytest.approx((0.75 + 2.0) / 2)


def test_performance_profile_is_the_share_of_runs_above_each_threshold():
    scores = {"Video": np.array([0.0, 1.0]), "News": np.array([0.5, 0.6, 0.7, 2.0])}
    profile = performance_profile(scores, [-1.0, 0.0, 0.55, 1.0, 2.0])
    np.testing.assert_allclose(profile, [1.0, (0.5 + 1) / 2, (0.5 + 0.75) / 2, (0 + 0.25) / 2, 0.0])


def test_probability_of_improvement_counts_wins_and_half_of_the_ties():
    assert probability_of_improvement(one_task(1.0, 2.0), one_task(0.0, -1.0, 0.5)) == 1.0
    assert probability_of_improvement(one_task(1.0, 2.0), one_task(3.0)) == 0.0
    assert probability_of_improvement(one_task(1.0, 1.0), one_task(1.0, 1.0, 1.0)) == 0.5
    assert probability_of_improvement(one_task(1.0, 3.0), one_task(0.0, 3.0, 2.0, 5.0)) == (1 + 2.5) / 8
    x, y = {"A": np.array([1.0]), "B": np.array([0.0, 1.0])}, {"A": np.array([0.0]), "B": np.array([0.0])}
    assert probability_of_improvement(x, y) == pytest.approx((1.0 + 0.75) / 2)


def test_probability_of_improvement_is_the_mann_whitney_statistic():
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 9, 12).astype(float), generator.integers(2, 11, 7).astype(float)
    expected = stats.mannwhitneyu(x, y).statistic / (12 * 7)
    assert probability_of_improvement(one_task(*x), one_task(*y)) == pytest.approx(expected)


def test_pairs_are_compared_run_by_run():
    levels = np.array([0.0, 10.0, 20.0, 30.0])
    better, worse = one_task(*(levels + 1.0)), one_task(*levels)
    assert probability_of_improvement(better, worse) == 10 / 16
    assert probability_of_improvement(better, worse, is_paired=True) == 1.0
    draw = partial(improvement_interval, better, worse)
    assert draw(np.random.default_rng(0), is_paired=True) == (1.0, 1.0)
    low, high = draw(np.random.default_rng(0))
    assert low < 10 / 16 < high
    with pytest.raises(ValueError, match=r"scores\['Video'\]: 4 and 1 runs, must be as many"):
        probability_of_improvement(better, one_task(1.0), is_paired=True)


def test_agents_of_different_tasks_are_not_compared():
    with pytest.raises(ValueError, match="y: has the tasks News, must have those of x: Video"):
        probability_of_improvement(one_task(1.0), {"News": np.ones(1)})


def test_the_bootstrap_interval_of_a_mean_of_gaussians_is_the_analytic_one():
    generator = np.random.default_rng(0)
    scores = {"A": generator.normal(5.0, 3.0, 400), "B": generator.normal(-1.0, 1.0, 100)}

    def mean_over_tasks(given: Scores) -> np.ndarray:
        return np.mean([runs.mean(-1) for runs in given.values()], 0)

    low, high = stratified_bootstrap(scores, mean_over_tasks, generator, 10_000)
    half = 1.96 * 0.5 * np.sqrt(sum(runs.var() / len(runs) for runs in scores.values()))
    centre = float(mean_over_tasks(scores))
    assert (low, high) == (pytest.approx(centre - half, abs=0.05 * half), pytest.approx(centre + half, abs=0.05 * half))
    narrow = stratified_bootstrap(scores, mean_over_tasks, generator, 10_000, confidence=0.5)
    assert narrow[1] - narrow[0] == pytest.approx(2 * half * 0.6745 / 1.96, rel=0.05)


def test_runs_are_drawn_within_their_task():
    apart = {"A": np.full(3, 1.0), "B": np.full(4, 100.0)}  # draws across tasks would differ from each other
    low, high = stratified_bootstrap(apart, optimality_gap, np.random.default_rng(0), 100, 0.9)
    assert low == high == 0.0
    low, high = stratified_bootstrap(apart, interquartile_mean, np.random.default_rng(0), 100)
    assert low == high == interquartile_mean(apart)


def test_the_interval_of_a_single_run_says_nothing():
    low, high = stratified_bootstrap({"A": np.ones(1), "B": np.zeros(1)}, interquartile_mean, np.random.default_rng(0))
    assert low == high == 0.5


@pytest.mark.parametrize(("num_tasks", "num_runs", "expected"), [(1, 3, 0.75), (4, 5, 0.90), (4, 10, 0.93)])
def test_the_nominal_95_percent_interval_covers_less_the_fewer_runs_there_are(num_tasks, num_runs, expected):
    num_repeats, generator = 800, np.random.default_rng(num_runs)
    levels = np.arange(num_tasks) - (num_tasks - 1) / 2  # the interquartile mean of this population is 0
    noise = generator.normal(0.0, 0.5, (num_repeats, num_tasks, num_runs))
    num_covered = 0
    for runs in levels[:, None] + noise:
        scores = {f"task {task}": runs[task] for task in range(num_tasks)}
        low, high = stratified_bootstrap(scores, interquartile_mean, generator, 300)
        num_covered += low <= 0.0 <= high
    assert num_covered / num_repeats == pytest.approx(expected, abs=0.03)


def test_the_same_generator_gives_the_same_interval():
    scores = one_task(*np.random.default_rng(0).normal(size=6))
    intervals = [stratified_bootstrap(scores, optimality_gap, np.random.default_rng(seed), 50) for seed in (1, 1, 2)]
    assert intervals[0] == intervals[1] != intervals[2]


def test_the_band_of_a_profile_lies_around_it():
    generator = np.random.default_rng(0)
    scores, thresholds = {task: generator.normal(size=8) for task in "ABC"}, np.linspace(-3, 3, 13)
    profile = partial(performance_profile, thresholds=thresholds)
    low, high = stratified_bootstrap(scores, profile, generator, 500)
    assert low.shape == high.shape == (13,)
    assert ((low <= profile(scores)) & (profile(scores) <= high)).all()
    assert (high - low).max() > 0.1


@settings(max_examples=60, deadline=None)
@given(some_scores, st.integers(0, 100))
def test_statistics_depend_on_no_order_of_runs_and_stay_in_their_ranges(scores, seed):
    generator = np.random.default_rng(seed)
    shuffled = {task: generator.permutation(runs) for task, runs in scores.items()}
    for statistic in (interquartile_mean, optimality_gap, partial(performance_profile, thresholds=[-1.0, 0.0, 1.0])):
        np.testing.assert_allclose(statistic(shuffled), statistic(scores), atol=1e-12)
    pooled = np.concatenate(list(scores.values()))
    assert pooled.min() - 1e-9 <= interquartile_mean(scores) <= pooled.max() + 1e-9
    assert optimality_gap(scores) >= 0.0
    assert (np.diff(performance_profile(scores, [-1.0, 0.0, 1.0])) <= 0.0).all()
    assert probability_of_improvement(scores, shuffled) == pytest.approx(0.5)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_of_two_agents_improves_on_the_other(data):
    x, y = ({task: data.draw(runs_of(data.draw(st.integers(1, 5)))) for task in "AB"} for _ in range(2))
    chance = probability_of_improvement(x, y)
    assert 0.0 <= chance <= 1.0
    assert chance + probability_of_improvement(y, x) == pytest.approx(1.0)
    low, high = improvement_interval(x, y, np.random.default_rng(0), 200)
    assert 0.0 <= low <= high <= 1.0


@settings(max_examples=30, deadline=None)
@given(some_scores, st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_the_interval_moves_and_stretches_with_the_scores(scores, scale, shift):
    moved = {task: scale * runs + shift for task, runs in scores.items()}
    here, there = (
        stratified_bootstrap(each, interquartile_mean, np.random.default_rng(3), 100) for each in (scores, moved)
    )
    np.testing.assert_allclose(there, scale * np.array(here) + shift, atol=1e-8)


EVERY = (
    interquartile_mean,
    optimality_gap,
    partial(performance_profile, thresholds=[0.0]),
    partial(probability_of_improvement, y=one_task(1.0)),
    partial(normalized_scores, zero={"Video": 0.0}, one={"Video": 1.0}),
    partial(stratified_bootstrap, statistic=interquartile_mean, generator=np.random.default_rng(0)),
)


@pytest.mark.parametrize("statistic", EVERY)
@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({}, "no tasks"),
        (one_task(), r"scores\['Video'\]: no runs"),
        (one_task(1.0, np.nan), r"scores\['Video'\]: holds nan"),
        (one_task(-np.inf, 1.0), r"scores\['Video'\]: holds -inf"),
    ],
)
def test_what_is_no_score_is_refused_by_the_name_of_its_task(statistic, scores, message):
    with pytest.raises(ValueError, match=message):
        statistic(scores)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_draws": 0}, "num_draws=0: must be at least 1"),
        ({"confidence": 95}, "confidence=95: must be between 0 and 1"),
    ],
)
def test_intervals_that_cannot_be_drawn_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        stratified_bootstrap(one_task(1.0), interquartile_mean, np.random.default_rng(0), **arguments)


def test_a_table_of_runs_is_no_row_of_runs():
    with pytest.raises(ValueError, match=r"scores\['Video'\]: of shape \(2, 3\), must be one row of runs"):
        stratified_bootstrap({"Video": np.ones((2, 3))}, interquartile_mean, np.random.default_rng(0))


def test_a_standard_error_interval_is_the_mean_with_1_96_standard_errors_to_either_side():
    half = 1.96 * np.sqrt(10.0 / 3.0 / 4.0)
    mean, low, high = standard_error_interval(np.array([1.0, 2.0, 4.0, 5.0]))
    assert (mean, low, high) == pytest.approx((3.0, 3.0 - half, 3.0 + half))
    assert standard_error_interval(np.array([7.0])) == (7.0, 7.0, 7.0)
