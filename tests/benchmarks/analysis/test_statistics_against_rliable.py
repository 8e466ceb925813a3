"""Statistics against rliable, where it installs (1.2.0 asks for pandas < 3 and arch < 8); else nothing is tested."""

from functools import partial

import numpy as np
import pytest

from benchmarks.analysis.statistics import (
    improvement_interval,
    interquartile_mean,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
)

library = pytest.importorskip("rliable.library", exc_type=ImportError)
metrics = pytest.importorskip("rliable.metrics", exc_type=ImportError)

NUM_DRAWS, THEIR_DRAWS = 20_000, 2_000  # rliable is slow, and takes no seed


def assert_same_interval(ours: tuple[np.ndarray, np.ndarray], theirs: np.ndarray) -> None:
    """Ends that differ by .06 of the width, which is 4 standard errors of rliable's: a 90% interval differs by .08."""
    np.testing.assert_allclose(ours, theirs[:, 0], atol=0.06 * (ours[1] - ours[0]))


def matrices() -> tuple[np.ndarray, np.ndarray]:
    """[9 runs, 3 tasks] and [6 runs, 3 tasks] of scores, some of them tied."""
    generator = np.random.default_rng(0)
    levels = generator.normal(size=3)
    return tuple(np.round(levels + shift + generator.normal(size=(n, 3)), 1) for n, shift in ((9, 0.3), (6, 0.0)))


def by_task(matrix: np.ndarray) -> dict[str, np.ndarray]:
    return {f"task {task}": runs for task, runs in enumerate(matrix.T)}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(interquartile_mean, metrics.aggregate_iqm), (optimality_gap, metrics.aggregate_optimality_gap)],
)
def test_aggregates_and_their_intervals_are_the_same(ours, theirs):
    for matrix in matrices():
        assert ours(by_task(matrix)) == pytest.approx(theirs(matrix), abs=1e-12)
        _, intervals = library.get_interval_estimates({"a": matrix}, lambda m: np.array([theirs(m)]), reps=THEIR_DRAWS)
        interval = stratified_bootstrap(by_task(matrix), ours, np.random.default_rng(1), NUM_DRAWS)
        assert_same_interval(interval, intervals["a"])


def test_probability_of_improvement_and_its_interval_are_the_same():
    x, y = matrices()
    assert probability_of_improvement(by_task(x), by_task(y)) == pytest.approx(
        metrics.probability_of_improvement(x, y), abs=1e-12
    )
    _, intervals = library.get_interval_estimates(
        {"a,b": (x, y)}, lambda *pair: np.array([metrics.probability_of_improvement(*pair)]), reps=THEIR_DRAWS
    )
    interval = improvement_interval(by_task(x), by_task(y), np.random.default_rng(1), NUM_DRAWS)
    assert_same_interval(interval, intervals["a,b"])


def test_performance_profiles_and_their_bands_are_the_same():
    matrix, thresholds = matrices()[0], np.linspace(-3, 3, 25)
    profiles, bands = library.create_performance_profile({"a": matrix}, thresholds, reps=THEIR_DRAWS)
    ours = partial(performance_profile, thresholds=thresholds)
    np.testing.assert_allclose(ours(by_task(matrix)), profiles["a"], atol=1e-12)
    band = stratified_bootstrap(by_task(matrix), ours, np.random.default_rng(1), NUM_DRAWS)
    np.testing.assert_allclose(band, bands["a"], atol=1.5 / matrix.size)  # shares of 27 runs, in whole ones
