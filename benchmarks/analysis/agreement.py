"""Comparison of an agent's gains in hidden worlds with those in the public ones.

Shape legend: R runs of a scenario, each in a separate catalogue.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from scipy import stats

from benchmarks.analysis.bootstrap import Estimate
from benchmarks.analysis.scores import final_by_scenario, scales
from benchmarks.analysis.statistics import degrees_of_freedom
from benchmarks.rows import ResultsError, Row
from benchmarks.suites import ONE, ZERO


def gains_by_scenario(rows: Iterable[Row], agent: str, public: Iterable[Row]) -> dict[str, np.ndarray]:
    """[R] by scenario: an agent's gain over random in the same catalogue, in units of the oracle's mean public gain.

    In the public worlds, the mean gain is the score. Hidden worlds need no runs of the planning oracle, which take a
    minute each.

    Raises:
        ResultsError: the planning oracle is not measurably above random in the public worlds.
    """
    scale, found = scales(public), {}
    for scenario, by_agent in final_by_scenario(rows).items():
        if scenario not in scale:
            raise ResultsError(f"{scenario}: {ONE} does not return measurably more than {ZERO}, so there are no scores")
        zero, one = scale[scenario]
        own, random = by_agent[agent], by_agent[ZERO]
        gains = [own[seed]["return_mean"] - random[seed]["return_mean"] for seed in sorted(own)]
        found[scenario] = np.array(gains) / (one - zero)
    return found


def difference(public: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], confidence: float = 0.95) -> Estimate:
    """Mean gain over scenarios in `other` worlds minus that in the public ones, with a t interval.

    Scenarios have equal weights. For an agent that is not overfitted, both kinds of worlds are alike, so the variances
    of a scenario are pooled, as in Student's t test: the variance of three runs alone is too uncertain. The degrees of
    freedom of the mean are Satterthwaite's.

    Raises:
        ResultsError: a scenario has fewer than two runs.
    """
    changes, variances, numbers = [], [], []
    for scenario, first in public.items():
        second = other[scenario]
        if min(len(first), len(second)) < 2:
            raise ResultsError(f"{scenario}: an interval needs at least 2 seeds")
        freedom = len(first) + len(second) - 2
        pooled = (first.var() * len(first) + second.var() * len(second)) / freedom
        variances.append(float(pooled) * (1 / len(first) + 1 / len(second)) / len(public) ** 2)
        numbers.append(freedom)
        changes.append(float(second.mean() - first.mean()))
    value, df = float(np.mean(changes)), degrees_of_freedom(variances, numbers)
    half = float(stats.t.ppf(0.5 + confidence / 2, df)) * sum(variances) ** 0.5
    return Estimate(value=value, low=value - half, high=value + half)


def scenarios_below(
    public: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], confidence: float = 0.95
) -> list[str]:
    """Scenarios whose interval is below 0, at this joint confidence for all scenarios (Bonferroni)."""
    of_each = 1.0 - (1.0 - confidence) / len(public)
    parts = {name: difference({name: public[name]}, {name: other[name]}, of_each) for name in public}
    return [name for name, part in parts.items() if part.high < 0.0]
