"""Random search for settings: the same number of trials for each agent, on worlds that are never evaluation worlds.

No settings are tried twice, so that many trials are a search of the whole grid (Optuna's `GridSampler`).

Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 2012.
"""

import inspect
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from agents.registry import REGISTRY
from benchmarks.rows import ResultsError, Row
from benchmarks.running.run import Run
from benchmarks.running.search_spaces import SPACES
from benchmarks.suites import TUNING, Suite, with_settings
from recsim_env.atomic_file import write_atomically
from recsim_env.config import unknown_name

COMPLETE, FAIL = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL

ZERO, ONE = "random", "myopic-oracle"
"""The agents whose returns are the scores 0 and 1; the planning oracle would take longer than all trials."""

Params = dict[str, Any]


def tuning_suite(agents: tuple[str, ...], scenarios: tuple[str, ...], num_steps: int, num_seeds: int) -> Suite:
    """The suite whose runs are trials."""
    for agent in agents:
        if agent not in SPACES:
            raise ResultsError(f"agent {agent!r}: has nothing to tune ({unknown_name(agent, SPACES)})")
    return Suite(
        name="tuning",
        scenarios=scenarios,
        agents=agents,
        num_seeds=num_seeds,
        num_steps=num_steps,
        num_evaluations=1,
        num_sessions=200,
        worlds=TUNING,
    )


def _asked_trials(agent: str, num_trials: int) -> tuple[optuna.Study, list[optuna.trial.Trial]]:
    """A study, and the trials after trial 0: points of the grid that differ from the registry's settings."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space, defaults = SPACES[agent], _default_settings(agent)
    sampler = optuna.samplers.GridSampler(space, seed=zlib.crc32(agent.encode()))
    study, trials = optuna.create_study(direction="maximize", sampler=sampler), []
    for _ in range(min(num_trials, math.prod(len(values) for values in space.values()))):
        trial = study.ask()
        params = {name: trial.suggest_categorical(name, values) for name, values in space.items()}
        if any(defaults.get(name) != value for name, value in params.items()):
            trials.append(trial)
    return study, trials[: num_trials - 1]


def trial_params(agent: str, num_trials: int) -> list[Params]:
    """The parameters of each trial: none in trial 0, which takes the registry's settings; then points of the grid."""
    return [{}, *(trial.params for trial in _asked_trials(agent, num_trials)[1])]


def _default_settings(agent: str) -> Params:
    entry = REGISTRY[agent]
    defaults = {
        name: parameter.default
        for each in reversed(entry.agent_class().__mro__[:-1])
        for name, parameter in inspect.signature(each).parameters.items()
    }
    return {**defaults, **entry.settings, "num_envs": entry.num_envs or entry.agent_class().num_envs}


def trial_runs(suite: Suite, num_trials: int) -> list[Run]:
    """A run for each agent x trial x scenario x seed, and those of the two agents that set the scale."""
    entries = {name: REGISTRY[name] for name in (ZERO, ONE)}
    for agent in suite.agents:
        for number, params in enumerate(trial_params(agent, num_trials)):
            entries[f"{agent}#{number}"] = with_settings(REGISTRY[agent], params)
    return [
        Run(suite=suite, agent=name, entry=entry, task=task, seed=seed)
        for name, entry in entries.items()
        for task in suite.tasks()
        for seed in range(suite.num_seeds)
    ]


def trial_scores(rows: list[Row]) -> dict[str, float]:
    """Mean over scenarios and seeds of (return - random) / (myopic oracle - random); -inf for a trial that failed."""
    final = [row for row in rows if row["is_final"]]
    scale: dict[tuple[str, str], list[float]] = {}
    for row in final:
        if row["agent"] in (ZERO, ONE) and row["status"] == "ok":
            scale.setdefault((row["agent"], row["scenario"]), []).append(row["return_mean"])
    scores: dict[str, list[float]] = {}
    for row in final:
        if "#" in row["agent"]:
            try:
                zero, one = (float(np.mean(scale[name, row["scenario"]])) for name in (ZERO, ONE))
            except KeyError as missing:
                raise ResultsError(
                    f"no run of {missing.args[0][0]} in {missing.args[0][1]} is left to scale by"
                ) from None
            score = (row["return_mean"] - zero) / (one - zero) if row["status"] == "ok" else -np.inf
            scores.setdefault(row["agent"], []).append(score)
    return {trial: float(np.mean(values)) for trial, values in scores.items()}


def tuning_result(agent: str, rows: list[Row], suite: Suite, num_trials: int) -> dict[str, Any]:
    """The best parameters of an agent and how they were found.

    Raises:
        ResultsError: all trials failed.
    """
    scores, (study, trials) = trial_scores(rows), _asked_trials(agent, num_trials)
    values = [scores[f"{agent}#{number}"] for number in range(1 + len(trials))]
    outcomes = [(value, COMPLETE) if np.isfinite(value) else (None, FAIL) for value in values]
    study.add_trial(optuna.create_trial(value=outcomes[0][0], state=outcomes[0][1]))
    for trial, (value, state) in zip(trials, outcomes[1:], strict=True):
        study.tell(trial, value, state)
    try:
        best = study.best_trial
    except ValueError:
        raise ResultsError(f"agent {agent!r}: all trials failed; results.jsonl has the errors") from None
    all_params = [{}, *(trial.params for trial in trials)]
    origin = next(row for row in rows if row["agent"] == f"{agent}#{all_params.index(best.params)}")
    return {
        "settings": best.params,
        "search": {
            "score": "mean over scenarios and seeds, 0 random, 1 myopic oracle, on tuning worlds",
            "scenarios": list(suite.scenarios),
            "num_seeds": suite.num_seeds,
            "num_steps": suite.num_steps,
            **{name: origin.get(name) for name in ("command", "commit", "version", "machine", "date")},
            "trials": [
                {"settings": params, "score": round(value, 4) if np.isfinite(value) else None}
                for params, value in zip(all_params, values, strict=True)
            ],
        },
    }


def write_tuned(folder: Path, agent: str, result: dict[str, Any]) -> None:
    """Write `AGENT.json`, which `Suite.entry` reads from `benchmarks/tuned`."""
    write_atomically(folder / f"{agent}.json", (json.dumps(result, indent=1) + "\n").encode())
