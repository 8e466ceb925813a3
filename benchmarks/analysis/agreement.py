"""Whether an agent gains in other worlds as much as in the public ones.

Shape legend: R runs of a scenario, each in a catalogue of its own.
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
    """[R] by scenario, an agent's mean return above random in the same catalogue, in units of the planning oracle's in
    the public worlds: there, its mean is the score. Other worlds need no runs of the oracle, which take a minute each.

    Raises:
        ResultsError: the planning oracle is not above random in the public worlds.
    """
    scale, found = scales(public), {}
    for scenario, by_agent in final_by_scenario(rows).items():
        if scenario not in scale:
            raise ResultsError(f"{scenario}: {ONE} does not return more than {ZERO}, so there are no scores")
        zero, one = scale[scenario]
        own, random = by_agent[agent], by_agent[ZERO]
        gains = [own[seed]["return_mean"] - random[seed]["return_mean"] for seed in sorted(own)]
        found[scenario] = np.array(gains) / (one - zero)
    return found


def difference(public: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], confidence: float = 0.95) -> Estimate:
    """Mean gain over scenarios in other worlds minus that in the public ones, with a t interval.

    Scenarios have equal weights. An agent that is not fitted to the public worlds finds both kinds alike, so the
    variance of a scenario is pooled, as in Student's test: that of three runs alone is too uncertain. The degrees of
    freedom of the mean are Satterthwaite's. At least two runs of each scenario.

    Raises:
        ResultsError: a scenario has one run.
    """
    changes, variances, numbers = [], [], []
    for scenario, first in public.items():
        second = other[scenario]
        if min(len(first), len(second)) < 2:
            raise ResultsError(f"{scenario}: one run has no interval: at least 2 seeds")
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
    """Scenarios whose interval is below 0, at this confidence for all of them together (Bonferroni)."""
    of_each = 1.0 - (1.0 - confidence) / len(public)
    parts = {name: difference({name: public[name]}, {name: other[name]}, of_each) for name in public}
    return [name for name, part in parts.items() if part.high < 0.0]
