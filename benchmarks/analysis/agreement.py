"""Whether an agent scores in other worlds as in the public ones.

Shape legend: R public runs of a scenario, Q runs in other worlds; each run has a catalogue of its own.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from scipy import stats

from benchmarks.analysis.bootstrap import Estimate
from benchmarks.analysis.scores import final_by_scenario
from benchmarks.rows import ResultsError, Row
from benchmarks.suites import ONE, ZERO


def scores_by_scenario(rows: Iterable[Row], agent: str) -> dict[str, np.ndarray]:
    """[R] scores of an agent's final runs by scenario, each on the scale of the references in its own catalogue.

    Raises:
        ResultsError: the planning oracle is not above random in some catalogue, so there is no scale.
    """
    found: dict[str, np.ndarray] = {}
    for scenario, by_agent in final_by_scenario(rows).items():
        scores = []
        for seed, row in sorted(by_agent[agent].items()):
            zero, one = (by_agent[name][seed]["return_mean"] for name in (ZERO, ONE))
            if one <= zero:
                raise ResultsError(f"{scenario}, seed {seed}: {ONE} returns {one:.2f}, {ZERO} {zero:.2f}: no scale")
            scores.append((row["return_mean"] - zero) / (one - zero))
        found[scenario] = np.array(scores)
    return found


def difference(public: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], confidence: float = 0.95) -> Estimate:
    """Mean score over scenarios in other worlds minus that in the public ones, with a t interval.

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
    """Scenarios in which the agent scores significantly less in other worlds, at 5% for all of them (Bonferroni)."""
    confidence = 1.0 - 0.05 / len(public)
    parts = {name: difference({name: public[name]}, {name: other[name]}, confidence) for name in public}
    return [name for name, part in parts.items() if part.high < 0.0]
