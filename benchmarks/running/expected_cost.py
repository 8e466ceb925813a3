"""The expected cost of a hyperparameter search, estimated from the durations of finished runs."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.rows import ResultsError, Row, read_rows
from benchmarks.running.result_folder import RESULTS
from benchmarks.suites import Suite


def final_rows_in(folder: Path) -> list[Row]:
    """The final rows of all results of suites in a folder; other files are skipped."""
    rows: list[Row] = []
    for path in sorted(folder.rglob(RESULTS)):
        try:
            rows += [row for row in read_rows(path) if row["is_final"] and row["status"] == "ok"]
        except ResultsError:
            continue
    return rows


def seconds_by_agent(rows: Iterable[Row], num_steps: int) -> dict[str, float]:
    """Median seconds of a run with `num_steps` user-steps of training, by agent; agents without rows are missing."""
    training, rest = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for row in rows:
        rest[row["agent"]].append(max((row.get("run_s") or row["wall_s"]) - row["wall_s"], 0.0))
        if row["env_steps"]:
            training[row["agent"]].append(row["wall_s"] / row["env_steps"])
    return {
        agent: float(np.median(seconds) + num_steps * np.median(training.get(agent, [0.0])))
        for agent, seconds in rest.items()
    }


def cost_of_search(suite: Suite, num_trials: int, measured: dict[str, float]) -> str:
    """One line with the number of runs and user-steps of a search without pruning, and its time as far as known."""
    num_agents, num_tasks, num_seeds = len(suite.agents), len(suite.tasks()), suite.num_seeds
    num_runs = num_agents * num_trials * num_tasks * num_seeds
    factors = " × ".join(
        f"{number} {noun}{'' if number == 1 else 's'}"
        for number, noun in ((num_agents, "agent"), (num_trials, "trial"), (num_tasks, "scenario"), (num_seeds, "seed"))
    )
    known = [agent for agent in suite.agents if agent in measured]
    hours = sum(measured[agent] for agent in known) * num_trials * num_tasks * num_seeds / 3600.0
    unknown = [agent for agent in suite.agents if agent not in measured]
    about = f"about {hours:.1f}" if hours >= 0.1 else "less than 0.1"
    time = f"{about} CPU hours, estimated from benchmarks/results" if known else "of unknown duration"
    without = f", not counting {', '.join(unknown)} (no measured runs)" if known and unknown else ""
    steps = f"{suite.num_steps:,} user-steps ({num_runs * suite.num_steps:,} in all)"
    return f"{factors} = {num_runs:,} runs of {steps}, {time}{without}; less if trials are pruned"
