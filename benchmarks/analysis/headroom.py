"""The headroom of a scenario: gains of personalisation, of memory and of planning, from the reference agents.

A ratio of gains is a score: 0 is random play, 1 the lower of the two agents. Its interval resamples seeds as those of
scores do (`bootstrap`), and all three agents alike.
"""

from collections.abc import Mapping

import numpy as np

from benchmarks.analysis.bootstrap import AgentRuns, Estimate, Runs
from benchmarks.analysis.scale import has_scale
from benchmarks.analysis.scores import MAX_SHARE_BELOW
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


def ratio_of_gains(upper: Runs, lower: Runs, at_random: Runs) -> Estimate | None:
    """(mean upper − mean random) / (mean lower − mean random) with its 95% interval, from returns with the same seeds.

    None if the lower agent is not above random in the mean or in more than `MAX_SHARE_BELOW` of the bootstrap draws:
    there is no gain to compare with.
    """
    zero, one = (float(runs.values.mean()) for runs in (at_random, lower))
    drawn_zero, drawn_one = (runs.resampled.mean(1, keepdims=True) for runs in (at_random, lower))
    if not has_scale(zero, one) or np.mean(drawn_one <= drawn_zero) > MAX_SHARE_BELOW:
        return None
    return upper.scaled(zero, one, drawn_zero, drawn_one).mean


def ladder_runs(agent_runs: Mapping[str, AgentRuns], scenario: str) -> dict[str, Runs]:
    """Returns of the ladder's agents in one scenario, with the seeds that all of them have."""
    runs = {
        agent: own.returns[scenario] for agent, own in agent_runs.items() if agent in LADDER and scenario in own.returns
    }
    seeds = set.intersection(*(set(each.seeds) for each in runs.values())) if runs else set()
    return {agent: each.of_seeds(seeds) for agent, each in runs.items()} if seeds else {}


def gains(runs: Mapping[str, Runs]) -> dict[str, Estimate]:
    """Each of `GAINS` whose agents have returns, if it can be measured (`ratio_of_gains`)."""
    ratios = {
        name: ratio_of_gains(runs[upper], runs[lower], runs[ZERO])
        for name, (upper, lower) in GAINS.items()
        if {upper, lower, ZERO} <= set(runs)
    }
    return {name: ratio for name, ratio in ratios.items() if ratio}
