"""The result of an estimator: a value, its interval, and its effective sample size.

Shape legend: R rows, E sessions, T steps of the longest session.
"""

from dataclasses import dataclass, field

import numpy as np

from agents.off_policy.log import OffPolicyLog

Z_95 = 1.96
"""Half the width of a normal 95% interval, in standard errors."""

MIN_EFFECTIVE_SIZE = 100.0
"""Effective sample size below which an estimate has a warning: some session then has more than 1% of the weight, and
a normal interval is too short."""

_MAX_DEVIATION, _ROUNDING = 4.0, 1e-6
"""Standard errors, and rounding error, by which the mean weight may differ from 1 without a warning."""


@dataclass(frozen=True, kw_only=True)
class OffPolicyEstimate:
    """An estimate of the value of a policy, its expected discounted return of a session.

    The interval is a normal 95% interval: 1.96 standard errors of the mean contribution of a session to either side.
    Contributions to estimators that divide by a mean weight are linearised (delta method). The value of self-normalised
    estimators is NaN if all weights are 0, the interval is NaN with a single session.
    """

    value: float
    low: float
    high: float
    effective_sample_size: float
    """(sum of weights)^2 / sum of squared weights over sessions (Kish, "Survey Sampling", 1965): the number of equally
    weighted sessions with the same variance of the mean. The minimum over steps, if weights differ between steps."""
    contributions: np.ndarray = field(repr=False, compare=False)
    """[E] float64: of each session; the standard error of their mean is that of the value."""
    other_warning: str = ""
    """Reasons to distrust the estimate, apart from a small effective sample."""

    @property
    def warning(self) -> str:
        """Reasons to distrust the estimate; empty if there are none."""
        parts = [self.other_warning] if self.other_warning else []
        if self.effective_sample_size < MIN_EFFECTIVE_SIZE:
            parts.insert(
                0,
                f"effective sample size {self.effective_sample_size:.1f} of {len(self.contributions)} sessions, below "
                f"{MIN_EFFECTIVE_SIZE:.0f}: the interval is too short",
            )
        return "; ".join(parts)


def estimate(value: float, contributions: np.ndarray, effective_sample_size: float, warning: str) -> OffPolicyEstimate:
    """The result for a value and contributions [E], whose standard error is that of the value."""
    num_sessions, half = len(contributions), float("nan")
    if num_sessions > 1 and np.isfinite(value):
        half = Z_95 * float(contributions.std(ddof=1)) / num_sessions**0.5
    return OffPolicyEstimate(
        value=float(value),
        low=float(value - half),
        high=float(value + half),
        effective_sample_size=float(effective_sample_size),
        contributions=contributions,
        other_warning=warning,
    )


def difference(first: OffPolicyEstimate, second: OffPolicyEstimate) -> OffPolicyEstimate:
    """The value of the first estimate minus that of the second: two policies, estimated from the same sessions.

    The interval is that of paired contributions: the more alike the policies are, the shorter it is. The effective
    sample size is the smaller of the two.

    Raises:
        ValueError: different numbers of sessions.
    """
    sizes = len(first.contributions), len(second.contributions)
    if sizes[0] != sizes[1]:
        raise ValueError(f"contributions of {sizes[0]} and {sizes[1]} sessions: must be of the same sessions")
    contributions = first.contributions - second.contributions
    effective = min(first.effective_sample_size, second.effective_sample_size)
    warnings = dict.fromkeys(each.other_warning for each in (first, second) if each.other_warning)
    return estimate(first.value - second.value, contributions, effective, "; ".join(warnings))


def clustered_error(values: np.ndarray, clusters: np.ndarray) -> float:
    """The standard error of the mean of values [E], of which only those in different `clusters` [E] are independent.

    Deviations are summed in each of the G clusters (Liang and Zeger, "Longitudinal data analysis using generalized
    linear models", Biometrika 1986), with the correction G / (G - 1); NaN with a single one. With each value in a
    cluster of its own, it is the usual standard error.
    """
    number = len(np.unique(clusters))
    if number < 2:
        return float("nan")
    sums = np.bincount(np.unique(clusters, return_inverse=True)[1], values - values.mean())
    return float((number / (number - 1) * (sums**2).sum()) ** 0.5 / len(values))


def kish_size(weights: np.ndarray) -> float:
    """(sum of weights)^2 / sum of squared weights; 0 if all weights are 0."""
    largest = weights.max(initial=0.0)
    if largest == 0.0:
        return 0.0
    scaled = weights / largest  # squares of large weights overflow
    return float(scaled.sum() ** 2 / (scaled**2).sum())


def smallest_kish_size(log: OffPolicyLog, weights: np.ndarray) -> float:
    """The minimum over steps of `kish_size` of weights [R]; a session that has ended keeps its last weight."""
    scaled = weights / max(weights.max(), np.finfo(float).tiny)
    sums, squares = sums_by_step(log, scaled), sums_by_step(log, scaled**2)
    return float(np.divide(sums**2, squares, out=np.zeros_like(sums), where=squares > 0.0).min())


def smallest_clustered_size(log: OffPolicyLog, weights: np.ndarray, clusters: np.ndarray) -> float:
    """`smallest_kish_size` where the weights of all sessions in a cluster, by the `clusters` [E] of sessions, count as
    one."""
    _, places = np.unique(clusters, return_inverse=True)
    steps = np.minimum(np.arange(log.lengths.max()), log.lengths[:, None] - 1)  # [E, T]
    sums = np.zeros((places.max() + 1, steps.shape[1]))
    np.add.at(sums, places, weights[log.first_rows[:, None] + steps])
    return min(kish_size(column) for column in sums.T)


def sums_by_step(log: OffPolicyLog, values: np.ndarray) -> np.ndarray:
    """[T]: sums of values [R] over all sessions, at each step; a session that has ended keeps its last value."""
    at_end = np.bincount(log.lengths, values[log.last_rows], minlength=int(log.lengths.max()) + 1)
    return np.bincount(log.steps, values) + np.cumsum(at_end)[:-1]


def support_warning(weights: np.ndarray) -> str:
    """A warning if the mean weight differs from 1 by more than four standard errors.

    The expected weight is 1 minus the probability that the evaluation policy leaves the support of the behaviour
    policy. Another mean indicates a lack of support or wrong propensities.
    """
    if len(weights) < 2:
        return ""
    mean, error = float(weights.mean()), float(weights.std(ddof=1)) / len(weights) ** 0.5
    if abs(mean - 1.0) <= _MAX_DEVIATION * error + _ROUNDING:
        return ""
    return f"mean weight {mean:.2f} instead of 1: the log lacks actions of this policy, or its propensities are wrong"
