"""The result of an estimator: a value, its interval, and how many sessions effectively stand behind it.

Shape legend: R rows, E sessions, T steps of the longest session.
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.analysis.off_policy.log import OffPolicyLog
from benchmarks.analysis.statistics import Z_95

MIN_EFFECTIVE_SIZE = 100.0
"""Effective sample size below which an estimate has a warning: some session then has more than a hundredth of the
weight, and a normal interval is too short."""

_MAX_DEVIATION, _ROUNDING = 4.0, 1e-6
"""Standard errors, and more, by which the mean weight may differ from 1 without a warning."""


@dataclass(frozen=True, kw_only=True)
class OffPolicyEstimate:
    """An estimate of a policy's value, its mean discounted return of a session.

    The interval is normal, over sessions: 1.96 standard errors of the mean of the sessions' contributions to either
    side. Contributions of estimators that divide by a mean weight are linearised (delta method). NaN where it is
    undefined: the value if all weights are 0, the interval with a single session.
    """

    value: float
    low: float
    high: float
    effective_sample_size: float
    """(sum of weights)^2 / sum of squared weights over sessions (Kish, "Survey Sampling", 1965): as many sessions of
    the evaluation policy itself would have the same weight. The smallest over steps where weights change with them."""
    warning: str
    """Why the estimate may be wrong; empty without a reason."""


def estimate(value: float, contributions: np.ndarray, effective_sample_size: float, warning: str) -> OffPolicyEstimate:
    """The result for a value and its contributions [E], whose mean deviation is the sampling error.

    A warning that the effective sample is small is added to `warning`.
    """
    num_sessions, half = len(contributions), float("nan")
    if num_sessions > 1 and np.isfinite(value):
        half = Z_95 * float(contributions.std(ddof=1)) / num_sessions**0.5
    parts = [warning] if warning else []
    if effective_sample_size < MIN_EFFECTIVE_SIZE:
        parts.insert(
            0,
            f"effective sample size {effective_sample_size:.1f} of {num_sessions} sessions, below "
            f"{MIN_EFFECTIVE_SIZE:.0f}: the interval is too short",
        )
    return OffPolicyEstimate(
        value=float(value),
        low=float(value - half),
        high=float(value + half),
        effective_sample_size=float(effective_sample_size),
        warning="; ".join(parts),
    )


def kish_size(weights: np.ndarray) -> float:
    """(sum of weights)^2 / sum of their squares; 0 if all are 0."""
    largest = weights.max(initial=0.0)
    if largest == 0.0:
        return 0.0
    scaled = weights / largest  # squares of large weights overflow
    return float(scaled.sum() ** 2 / (scaled**2).sum())


def smallest_kish_size(log: OffPolicyLog, weights: np.ndarray) -> float:
    """The smallest over steps of `kish_size` of weights [R]; a session that has ended keeps its last weight."""
    scaled = weights / max(weights.max(), np.finfo(float).tiny)
    sums, squares = sums_by_step(log, scaled), sums_by_step(log, scaled**2)
    return float(np.divide(sums**2, squares, out=np.zeros_like(sums), where=squares > 0.0).min())


def sums_by_step(log: OffPolicyLog, values: np.ndarray) -> np.ndarray:
    """[T]: sums over all sessions of values [R] at each step; a session that has ended keeps its last value."""
    at_end = np.bincount(log.lengths, values[log.last_rows], minlength=int(log.lengths.max()) + 1)
    return np.bincount(log.steps, values) + np.cumsum(at_end)[:-1]


def support_warning(weights: np.ndarray) -> str:
    """A warning if the mean of weights differs from 1 by more than four standard errors.

    Their expectation is 1 less the probability that the evaluation policy leaves what the behaviour policy can do:
    a smaller mean is a violation of support, or propensities that are wrong.
    """
    if len(weights) < 2:
        return ""
    mean, error = float(weights.mean()), float(weights.std(ddof=1)) / len(weights) ** 0.5
    if abs(mean - 1.0) <= _MAX_DEVIATION * error + _ROUNDING:
        return ""
    return f"mean weight {mean:.2f} instead of 1: the log lacks actions of this policy, or its propensities are wrong"
