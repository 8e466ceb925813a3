"""Finds settings by random search: equal trials for each agent, on worlds that are never evaluation worlds.

No settings are tried twice: many trials are the search of the whole grid, and end where there is no more of it.

Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 2012.
"""

import dataclasses
import inspect
import itertools
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from agents.registry import REGISTRY, TUNED, Entry, nearest
from benchmarks.running.rows import ResultsError, Row
from benchmarks.running.run import Cell
from benchmarks.running.search_spaces import SPACES
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


def trial_settings(agent: str, num_trials: int) -> list[dict[str, Any]]:
    """The settings of each trial: the first changes nothing, the others draw a value for each setting.

    Fewer than `num_trials` where the agent's space has fewer points than are left to draw.
    """
    entry, names = REGISTRY[agent], SPACES[agent].keys()
    defaults = {
        name: parameter.default
        for made in reversed(entry.agent_class().__mro__[:-1])
        for name, parameter in inspect.signature(made).parameters.items()
    }
    first = {**defaults, **entry.settings}
    grid = [dict(zip(names, point, strict=True)) for point in itertools.product(*SPACES[agent].values())]
    grid = [point for point in grid if any(first.get(name) != value for name, value in point.items())]
    order = np.random.default_rng(zlib.crc32(agent.encode())).permutation(len(grid))
    return [{**entry.settings, **changed} for changed in ({}, *(grid[place] for place in order[: num_trials - 1]))]


def trials(suite: Suite, num_trials: int) -> list[Cell]:
    """A cell for each agent x trial x scenario x seed, and those of the two agents that set the scale."""
    entries: dict[str, Entry] = {name: REGISTRY[name] for name in (ZERO, ONE)}
    for agent in suite.agents:
        for trial, settings in enumerate(trial_settings(agent, num_trials)):
            entries[f"{agent}#{trial}"] = dataclasses.replace(REGISTRY[agent], settings=settings)
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
    scores, of_agent = trial_scores(rows), trial_settings(agent, num_trials)
    of_trials = [scores[f"{agent}#{trial}"] for trial in range(len(of_agent))]
    found = [
        {"settings": _tuned(agent, settings), "score": round(score, 4) if np.isfinite(score) else None}
        for settings, score in zip(of_agent, of_trials, strict=True)
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


def _tuned(agent: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What a trial says of the settings that are tuned."""
    return {name: settings[name] for name in SPACES[agent] if name in settings}
