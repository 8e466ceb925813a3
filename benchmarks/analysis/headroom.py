"""The headroom of a scenario: gains of personalisation, of memory and of planning, from the reference agents.

Shape legend: N evaluation sessions of all seeds together; differences between agents are paired by session.
"""

import numpy as np

from benchmarks.analysis.bootstrap import Estimate, estimate
from benchmarks.analysis.scores import final_by_scenario
from benchmarks.rows import Row
from benchmarks.suites import LADDER, ZERO

GAINS = {
    "personalisation": ("lookahead-oracle", "history-blind"),
    "memory": ("bayes-filter", "history-blind"),
    "long-term value": ("planning-oracle", "myopic-oracle"),
    "planning": ("planning-oracle", "lookahead-oracle"),
}
"""Two agents of the ladder; the ratio of their gains over random measures what the first one adds.

In personalisation and in memory, both agents weigh the long-term consequences of an action, so they differ only in
their knowledge of the user."""


def ratio_of_gains(upper: np.ndarray, lower: np.ndarray, at_random: np.ndarray, num_draws: int = 2_000) -> Estimate:
    """(mean upper − mean random) / (mean lower − mean random), with its 95% interval by the paired bootstrap.

    Arguments are returns [N] of the same sessions, which are resampled together.
    """
    generator = np.random.default_rng(0)
    draws = generator.integers(len(upper), size=(num_draws, len(upper)))

    def ratio(sample: np.ndarray) -> np.ndarray:
        zero = at_random[sample].mean(-1)
        return (upper[sample].mean(-1) - zero) / (lower[sample].mean(-1) - zero)

    return estimate(ratio(np.arange(len(upper))), ratio(draws))


def ladder_returns(rows: list[Row], scenario: str) -> dict[str, np.ndarray]:
    """Returns [N] of the ladder's agents in one scenario, over the seeds that all of them have."""
    by_agent = {agent: runs for agent, runs in final_by_scenario(rows).get(scenario, {}).items() if agent in LADDER}
    seeds = sorted(set.intersection(*map(set, by_agent.values()))) if by_agent else []
    if not seeds:
        return {}
    return {agent: np.concatenate([runs[seed]["returns"] for seed in seeds]) for agent, runs in by_agent.items()}


def gains(returns: dict[str, np.ndarray]) -> dict[str, Estimate]:
    """Each of `GAINS` whose agents have returns."""
    return {
        name: ratio_of_gains(returns[upper], returns[lower], returns[ZERO])
        for name, (upper, lower) in GAINS.items()
        if {upper, lower, ZERO} <= set(returns)
    }
