"""Finds settings by random search: equal trials for each agent, on worlds that are never evaluation worlds.

Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 2012.
"""

import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cell import Cell
from benchmarks.results import ResultsError, Row
from benchmarks.roster import ROSTER, TUNED, Entry, nearest
from benchmarks.search_spaces import SPACES
from benchmarks.suites import TUNING, Suite
from recsim_env.atomic_file import write_atomically

ZERO, ONE = "random", "myopic-oracle"
"""Whose returns set the scale on which scenarios are averaged; the planning oracle would take longer than all else."""


def tuning_suite(agents: tuple[str, ...], scenarios: tuple[str, ...], num_steps: int, num_seeds: int) -> Suite:
    """The suite whose cells are trials."""
    for agent in agents:
        if agent not in SPACES:
            raise ResultsError(f"agent {agent!r}: has nothing to tune{nearest(agent, SPACES)}")
    return Suite(
        scenarios=scenarios,
        agents=agents,
        num_seeds=num_seeds,
        num_steps=num_steps,
        num_evaluations=1,
        num_sessions=200,
        worlds=TUNING,
    )


def trial_settings(agent: str, trial: int) -> dict[str, Any]:
    """The settings of one trial: trial 0 changes nothing, the others draw a value for each setting."""
    if trial == 0:
        return dict(ROSTER[agent].settings)
    generator = np.random.default_rng([zlib.crc32(agent.encode()), trial])
    drawn = {name: values[generator.integers(len(values))] for name, values in SPACES[agent].items()}
    return {**ROSTER[agent].settings, **drawn}


def trials(suite: Suite, num_trials: int) -> list[Cell]:
    """A cell for each agent x trial x scenario x seed, and those of the two agents that set the scale."""
    entries: dict[str, Entry] = {name: ROSTER[name] for name in (ZERO, ONE)}
    for trial in range(num_trials):
        for agent in suite.agents:
            entry = dataclasses.replace(ROSTER[agent], settings=trial_settings(agent, trial))
            entries[f"{agent}#{trial}"] = entry
    return [
        Cell(
            suite_name="tuning",
            suite=suite,
            agent=name,
            entry=entry,
            task=task,
            scenario=scenario,
            changes=changes,
            seed=seed,
        )
        for name, entry in entries.items()
        for task, (scenario, changes) in suite.tasks().items()
        for seed in range(suite.num_seeds)
    ]


def trial_scores(rows: list[Row]) -> dict[str, float]:
    """Mean over scenarios and seeds of (return - random) / (myopic oracle - random); -inf for a trial that failed."""
    final = [row for row in rows if row["is_final"]]
    scale: dict[tuple[str, str], list[float]] = {}
    for row in final:
        if row["agent"] in (ZERO, ONE):
            scale.setdefault((row["agent"], row["scenario"]), []).append(row["return_mean"])
    scores: dict[str, list[float]] = {}
    for row in final:
        if "#" in row["agent"]:
            zero, one = (float(np.mean(scale[name, row["scenario"]])) for name in (ZERO, ONE))
            score = (row["return_mean"] - zero) / (one - zero) if row["status"] == "ok" else -np.inf
            scores.setdefault(row["agent"], []).append(score)
    return {trial: float(np.mean(each)) for trial, each in scores.items()}


def write_tuned(agent: str, rows: list[Row], suite: Suite, num_trials: int, folder: Path = TUNED) -> dict[str, Any]:
    """Write the best settings found for an agent, and how they were found; returns what was written."""
    scores = trial_scores(rows)
    of_trials = [scores[f"{agent}#{trial}"] for trial in range(num_trials)]
    found = [
        {"settings": _changed(agent, trial), "score": round(score, 4) if np.isfinite(score) else None}
        for trial, score in enumerate(of_trials)
    ]
    best = int(np.argmax(of_trials))
    origin = next(row for row in rows if row["agent"] == f"{agent}#{best}")
    content = {
        "settings": found[best]["settings"],
        "found": {
            "score": "mean over scenarios and seeds, 0 random, 1 myopic oracle, on tuning worlds",
            "scenarios": list(suite.scenarios),
            "num_seeds": suite.num_seeds,
            "num_steps": suite.num_steps,
            **{name: origin[name] for name in ("command", "commit", "version", "machine", "date")},
            "trials": found,
        },
    }
    folder.mkdir(exist_ok=True)
    write_atomically(folder / f"{agent}.json", (json.dumps(content, indent=1) + "\n").encode())
    return content


def _changed(agent: str, trial: int) -> dict[str, Any]:
    """What a trial says of the settings that are tuned."""
    settings = trial_settings(agent, trial)
    return {name: settings[name] for name in SPACES[agent] if name in settings}
