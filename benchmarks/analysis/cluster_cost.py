"""The cost of a suite on a cluster, estimated from the durations of finished runs."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from benchmarks.rows import Row, RunKey

Seconds = Mapping[tuple[str, str], float]
"""Seconds of a run by agent and scenario."""


def measured_seconds(rows: Iterable[Row]) -> dict[tuple[str, str], float]:
    """Median seconds (`run_s`) of finished runs by agent and scenario."""
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row["is_final"] and row["status"] == "ok" and (run_s := row.get("run_s")):
            seconds[row["agent"], row["scenario"]].append(run_s)
    return {key: median(values) for key, values in seconds.items()}


def expected_seconds(runs: Iterable[RunKey], measured: Seconds) -> tuple[list[float], list[str]]:
    """Seconds of each run, and the agents without any measurement.

    A run without a measurement takes the agent's median over scenarios; a run of an agent without any measurement takes
    as long as the longest measured run.
    """
    by_agent: dict[str, list[float]] = defaultdict(list)
    for (agent, _), of_pair in measured.items():
        by_agent[agent].append(of_pair)
    typical = {agent: median(values) for agent, values in by_agent.items()}
    longest = max(measured.values())
    runs = list(runs)
    seconds = [measured.get((agent, scenario), typical.get(agent, longest)) for agent, scenario, _ in runs]
    return seconds, list(dict.fromkeys(agent for agent, _, _ in runs if agent not in typical))


def makespan(seconds: Sequence[float], num_slots: int) -> float:
    """Time at which the last run ends, if each slot takes the next run of the list as soon as it is free.

    With the longest runs first (LPT), this is at most 4/3 of the shortest possible time (Graham 1969).
    """
    free = [0.0] * min(num_slots, max(len(seconds), 1))
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def lower_bound(seconds: Sequence[float], num_slots: int) -> float:
    """Lower bound of the makespan of any schedule: the longest run, or the total work divided by the slots."""
    return max(max(seconds), sum(seconds) / num_slots)
