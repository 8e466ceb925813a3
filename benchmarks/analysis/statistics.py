"""Statistics of few runs, after Agarwal et al., "Deep reinforcement learning at the edge of the statistical
precipice", NeurIPS 2021: robust aggregates and profiles. `bootstrap.py` has their intervals.

Where a shape begins with `*`, further axes may precede the runs, and a statistic reduces the last axis: all draws of a
bootstrap are computed at once.

Shape legend: R runs of a task (each task has its own number of them), H thresholds.
"""

from collections.abc import Mapping, Sequence

import numpy as np

Scores = Mapping[str, np.ndarray]
"""Scores of the runs of each task, by name: [*, R] float64, finite; at least one task and one run."""

Z_95 = 1.96
"""Half the width of a normal 95% interval, in standard errors."""


def standard_error_interval(values: np.ndarray) -> tuple[float, float, float]:
    """(mean, low, high): normal 95% interval of the mean, 1.96 s / sqrt(n) to either side; low = high for n = 1."""
    mean = float(np.mean(values))
    half = Z_95 * float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return mean, mean - half, mean + half


def interquartile_mean(scores: Scores) -> np.ndarray:
    """[*] mean of the middle half of the K runs of all tasks, each with the same weight.

    floor(K / 4) runs are dropped at either end, without fractional weights, as in `scipy.stats.trim_mean` (3 of 5 runs
    remain, and 3 of 3).
    """
    pooled = np.sort(np.concatenate(list(scores.values()), -1), -1)
    num_trimmed = pooled.shape[-1] // 4
    return pooled[..., num_trimmed : pooled.shape[-1] - num_trimmed].mean(-1)


def optimality_gap(scores: Scores, gamma: float = 1.0) -> np.ndarray:
    """[*] mean over tasks of the mean of max(gamma - score, 0): the shortfall from `gamma`, without credit above it."""
    return np.mean([np.maximum(gamma - runs, 0.0).mean(-1) for runs in scores.values()], 0)


def performance_profile(scores: Scores, thresholds: Sequence[float] | np.ndarray) -> np.ndarray:
    """[*, H] share of runs above each threshold, mean over tasks."""
    levels = np.asarray(thresholds, np.float64)
    return np.mean([(runs[..., None, :] > levels[:, None]).mean(-1) for runs in scores.values()], 0)


def probability_of_improvement(x: Scores, y: Scores) -> np.ndarray:
    """[*] mean over tasks of P(X > Y) + P(X = Y) / 2, X and Y being runs of the same seed.

    Both have the same tasks and, in each, as many runs.
    """
    return np.mean([0.5 + 0.5 * np.sign(runs - y[task]).mean(-1) for task, runs in x.items()], 0)
