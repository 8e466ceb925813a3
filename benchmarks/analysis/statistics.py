"""Statistics of few runs, after Agarwal et al., "Deep reinforcement learning at the edge of the statistical
precipice", NeurIPS 2021: robust aggregates and profiles. `bootstrap.py` has their intervals.

Where a shape begins with `*`, further axes may precede the runs, and a statistic reduces the last axis: all draws of a
bootstrap are computed at once.

Shape legend: R runs of a task (each task has its own number of them), H thresholds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.stats import t as student_t

from agents.off_policy.estimate import Z_95

Scores = Mapping[str, np.ndarray]
"""Scores of the runs of each task, by name: [*, R] float64, finite; at least one task and one run."""


def half_width(sd: float | np.ndarray, number: int | np.ndarray) -> np.ndarray:
    """[*] half the width of the 95% t interval of a mean: t(number - 1) sd / sqrt(number), 0 for a single value.

    `sd` [*] are standard deviations with the divisor number - 1, of `number` [*] values.
    """
    df = np.maximum(np.asarray(number) - 1, 1)
    return np.where(np.asarray(number) > 1, student_t.ppf(0.975, df) * sd / np.sqrt(df + 1.0), 0.0)


def t_interval(values: np.ndarray) -> tuple[float, float, float]:
    """(mean, low, high): 95% t interval of the mean; low = high for a single value."""
    mean = float(np.mean(values))
    half = float(half_width(np.std(values, ddof=1), len(values))) if len(values) > 1 else 0.0
    return mean, mean - half, mean + half


def interval_text(interval: Sequence[float], spec: str = "+.2f") -> str:
    """`+0.62 (+0.58 to +0.66)`, from (mean, low, high), in a format of numbers."""
    mean, low, high = (f"{value:{spec}}" for value in interval)
    return f"{mean} ({low} to {high})"


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
    """[*] mean over tasks of P(X > Y) + P(X = Y) / 2, over all pairs of runs X and Y of the task (Agarwal et al.).

    Both must have the same tasks; numbers of runs may differ.
    """
    return np.mean([_above(runs[..., :, None], y[task][..., None, :]).mean((-2, -1)) for task, runs in x.items()], 0)


def paired_improvement(x: Scores, y: Scores) -> np.ndarray:
    """[*] `probability_of_improvement` over pairs of runs with the same seed.

    Both must have the same tasks, and the same number of runs in each. Runs with the same seed share their catalogue
    and their sessions, whose noise therefore cancels.
    """
    return np.mean([_above(runs, y[task]).mean(-1) for task, runs in x.items()], 0)


def paired_improvement_interval(value: float, numbers: Sequence[int]) -> tuple[float, float]:
    """95% interval of `paired_improvement`; `numbers` has the number of seeds of each task.

    The score interval of a proportion (Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22, 1927): all probabilities that differ from the value by at most
    1.96 of their standard errors. A bootstrap interval would have no width if one agent always wins.
    """
    return _score_interval(value, lambda p: p * (1.0 - p) * _mean_variance(numbers, lambda n: 1.0 / n))


def improvement_interval(value: float, numbers: Sequence[int]) -> tuple[float, float]:
    """95% interval of `probability_of_improvement`; `numbers` has the number of seeds of each agent in each task.

    Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic", part 2, method 5,
    Statistics in Medicine 25(4), 2006.
    """

    def variance(p: float) -> float:
        shape = (1.0 - p) / (2.0 - p) + p / (1.0 + p)
        return p * (1.0 - p) * _mean_variance(numbers, lambda n: (1.0 + (n - 1) * shape) / n**2)

    return _score_interval(value, variance)


def _mean_variance(numbers: Sequence[int], variance: Callable[[int], float]) -> float:
    """Variance of the mean over tasks with these numbers of runs."""
    return sum(map(variance, numbers)) / len(numbers) ** 2


def _score_interval(value: float, variance: Callable[[float], float]) -> tuple[float, float]:
    """The smallest and the largest probability p with |value - p| <= 1.96 sqrt(variance(p))."""

    def excess(p: float) -> float:
        return abs(value - p) - Z_95 * variance(p) ** 0.5

    # At 0 and 1, where the variance is 0, the value itself is also a root, which is excluded.
    low = brentq(excess, 0.0, value * (1.0 - 1e-9)) if value > 0.0 else 0.0
    high = brentq(excess, value + 1e-9 * (1.0 - value), 1.0) if value < 1.0 else 1.0
    return low, high


def _above(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.sign(x - y)


def holm(p_values: np.ndarray) -> np.ndarray:
    """[M] p-values adjusted for M tests, so that the family-wise error rate at level 0.05 is at most 0.05.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6(2), 1979.
    """
    order = np.argsort(p_values)
    adjusted = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    return np.minimum(adjusted, 1.0)[np.argsort(order)]


def degrees_of_freedom(variances: Sequence[float], numbers: Sequence[float]) -> float:
    """Degrees of freedom of a sum of estimated variances v with n degrees each: (Σ v)² / Σ (v² / n); infinite if all
    variances are 0.

    Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics Bulletin 2(6), 1946.
    """
    weights = sum(variance**2 / number for variance, number in zip(variances, numbers, strict=True))
    return sum(variances) ** 2 / weights if weights > 0.0 else np.inf


def degrees_of_freedom_of_means(strata: Iterable[np.ndarray]) -> float:
    """`degrees_of_freedom` of a sum of means, each of R runs: the variance of one is s² / R, with R − 1.

    A stratum of one run has no estimate of its variance and is left out.
    """
    known = [runs for runs in strata if len(runs) > 1]
    return degrees_of_freedom(
        [float(np.var(runs, ddof=1)) / len(runs) for runs in known], [len(runs) - 1 for runs in known]
    )
