"""Whether an agent gains in other worlds as much as in the public ones.

Shape legend: R runs of a scenario, each in a catalogue of its own.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from scipy import stats

from benchmarks.analysis.bootstrap import Estimate
from benchmarks.analysis.scores import final_by_scenario, scales
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

    The means of scenarios have equal weights, their variances are those of independent runs, and the degrees of freedom
    are Satterthwaite's (Biometrics Bulletin 2, 1946), as in Welch's test. At least two runs of each scenario.

    Raises:
        ResultsError: a scenario has one run.
    """
    groups = (*public.values(), *other.values())
    if any(len(values) < 2 for values in groups):
        raise ResultsError("one run of a scenario has no interval: at least 2 seeds")
    terms = [(float(values.var(ddof=1)) / len(values), len(values) - 1) for values in groups]
    means = [float(other[scenario].mean() - values.mean()) for scenario, values in public.items()]
    variance = sum(term for term, _ in terms) / len(means) ** 2
    value = float(np.mean(means))
    if variance == 0.0:
        return Estimate(value=value, low=value, high=value)
    squares = sum((term / len(means) ** 2) ** 2 / freedom for term, freedom in terms)
    half = float(stats.t.ppf(0.5 + confidence / 2, variance**2 / squares)) * variance**0.5
    return Estimate(value=value, low=value - half, high=value + half)


def scenarios_below(public: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> list[str]:
    """Scenarios in which the agent gains significantly less in other worlds, at 5% for all of them (Bonferroni)."""
    confidence = 1.0 - 0.05 / len(public)
    parts = {name: difference({name: public[name]}, {name: other[name]}, confidence) for name in public}
    return [name for name, part in parts.items() if part.high < 0.0]
