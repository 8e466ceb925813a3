"""How long runs take, estimated from finished ones."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median

from benchmarks.rows import Row, RunKey

Seconds = Mapping[tuple[str, str], float]
"""Seconds of a run by agent and scenario."""


def measured_seconds(rows: Iterable[Row], num_steps: int) -> dict[tuple[str, str], float]:
    """Median seconds of the finished runs by agent and scenario, as if they had trained for `num_steps` user-steps.

    Training time is assumed to be proportional to the number of steps, evaluation time to be constant. Runs of loaded
    agents, which are not trained, are ignored.
    """
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        is_measured = row["is_final"] and row["status"] == "ok" and "loaded_from" not in row
        if is_measured and (run_s := row.get("run_s")):
            training = row["wall_s"] if row["env_steps"] else 0.0
            scaled = training * num_steps / max(row["env_steps"], 1)
            found[row["agent"], row["scenario"]].append(run_s - training + scaled)
    return {key: median(values) for key, values in found.items()}


def expected_seconds(runs: Iterable[RunKey], measured: Seconds) -> tuple[list[float], list[str]]:
    """Seconds of each run, and the agents without any measurement.

    A run without a measurement takes the agent's median over scenarios; a run of an agent without any measurement takes
    as long as the longest measured run. `measured` must not be empty.
    """
    by_agent: dict[str, list[float]] = defaultdict(list)
    for (agent, _), of_pair in measured.items():
        by_agent[agent].append(of_pair)
    typical = {agent: median(values) for agent, values in by_agent.items()}
    longest = max(measured.values())
    runs = list(runs)
    seconds = [measured.get((agent, scenario), typical.get(agent, longest)) for agent, scenario, _ in runs]
    return seconds, list(dict.fromkeys(agent for agent, _, _ in runs if agent not in typical))
