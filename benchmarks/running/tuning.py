"""Hyperparameter search: the same number of trials for each agent, in worlds that evaluation never uses.

Trial 0 uses the settings of the registry; the others are sampled by the tree-structured Parzen estimator. A trial is
evaluated in one scenario after the other, and pruned as soon as a Wilcoxon signed-rank test finds it worse than the
best trial in the same worlds. Intermediate means are not compared: scores within a scenario are too noisy, and
scenarios too different.

All trials of a round are sampled before any of their results are known, and reported to the sampler together: a search
depends on the results of its runs, never on their order in time or the number of workers. When a search is resumed, it
is replayed from its first round with the finished runs.

Bergstra, Bardenet, Bengio and Kégl, "Algorithms for hyper-parameter optimization", NeurIPS 2011; Akiba et al., "Optuna:
a next-generation hyperparameter optimization framework", KDD 2019.
"""

import json
import warnings
import zlib
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from agents.registry import REGISTRY, Entry, entry_named
from benchmarks.analysis.run_times import Seconds, expected_seconds
from benchmarks.analysis.scale import has_scale, score
from benchmarks.rows import ResultsError, Row, RunKey, key_of
from benchmarks.running.run import Run
from benchmarks.running.search_spaces import Space, registry_settings, settings_at
from benchmarks.running.suite_runs import project_paths
from benchmarks.suites import TUNING, Suite, with_settings
from recsim_env.atomic_file import write_atomically
from recsim_env.config import unknown_name

ZERO, ONE = "random", "myopic-oracle"
"""The agents whose returns are the scores 0 and 1; runs of the planning oracle would take longer than all trials."""

ROUND = 4
"""Number of trials that are sampled together."""

NUM_RANDOM_TRIALS = ROUND
"""Number of initial trials, including trial 0, that are sampled at random before the estimator is used."""

PRUNING_P = 0.1
"""A trial is pruned if it is worse than the best one with a p-value below this, which takes at least 4 worlds."""

Params = dict[str, Any]


@dataclass(kw_only=True)
class Trial:
    """Settings under evaluation, with their scores so far."""

    number: int
    settings: Params
    """Keyword arguments that override the registry's; empty in trial 0."""
    asked: optuna.trial.Trial = field(repr=False)
    scores: dict[str, list[float]] = field(default_factory=dict)
    """By scenario, the scores of the seeds."""
    state: str = "running"
    """One of `running`, `complete`, `pruned` and `failed`."""

    @property
    def score(self) -> float:
        """Mean over scenarios and seeds."""
        return float(np.mean([score for scores in self.scores.values() for score in scores]))


Search = Generator[list[Run], Mapping[RunKey, float | None], list[Trial]]
"""Yields the next runs to execute, receives their scores (None for a failed run), and returns its trials."""


def tuning_suite(agents: tuple[str, ...], scenarios: tuple[str, ...], num_steps: int, num_seeds: int) -> Suite:
    """The suite of the runs of trials."""
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


def space_of(agent: str, spaces: Mapping[str, Space]) -> Space:
    """The agent's search space; `ResultsError` if it has none."""
    if agent not in spaces:
        raise ResultsError(f"agent {agent!r}: has no search space ({unknown_name(agent, spaces)})")
    return spaces[agent]


def reference_runs(suite: Suite, world: str | None = None) -> list[Run]:
    """The runs of the two reference agents that define the scale."""
    return [
        Run(suite=suite, agent=agent, entry=REGISTRY[agent], task=task, seed=seed, world=world)
        for agent in (ZERO, ONE)
        for task in suite.tasks()
        for seed in range(suite.num_seeds)
    ]


def search(agent: str, space: Space, suite: Suite, num_trials: int, world: str | None = None) -> Search:
    """The search for one agent's settings."""
    entry, study = entry_named(agent), _new_study(agent)
    study.enqueue_trial(registry_settings(entry, space))
    trials: list[Trial] = []
    while len(trials) < num_trials:
        drawn = [_drawn_trial(len(trials) + n, entry, space, study) for n in range(ROUND)]
        drawn = drawn[: num_trials - len(trials)]
        yield from _round(agent, entry, drawn, suite, world)
        for trial in drawn:
            value = trial.score if trial.state == "complete" else None
            states = {"pruned": optuna.trial.TrialState.PRUNED, "failed": optuna.trial.TrialState.FAIL}
            study.tell(trial.asked, value, state=states.get(trial.state))
        trials += drawn
    return trials


def _new_study(agent: str) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=NUM_RANDOM_TRIALS,
            multivariate=True,
            constant_liar=True,  # so that the trials of a round differ
            seed=zlib.crc32(agent.encode()),
        )
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=PRUNING_P)
    return optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)


def _drawn_trial(number: int, entry: Entry, space: Space, study: optuna.Study) -> Trial:
    asked = study.ask(space)
    params = {name: _rounded(asked.params[name]) for name in space}
    return Trial(number=number, settings=settings_at(entry, params) if number else {}, asked=asked)


def _rounded(value: Any) -> Any:
    """The number with four significant digits, for readable tables."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _round(
    agent: str, entry: Entry, trials: list[Trial], suite: Suite, world: str | None
) -> Generator[list[Run], Mapping[RunKey, float | None], None]:
    """Evaluate trials in one scenario after the other until each is complete, pruned or failed."""
    *_, last = suite.tasks()
    for task in suite.tasks():
        running = {trial.number: trial for trial in trials if trial.state == "running"}
        runs = {
            number: [
                Run(
                    suite=suite,
                    agent=f"{agent}#{number}",
                    entry=with_settings(entry, trial.settings),
                    task=task,
                    seed=seed,
                    world=world,
                    has_own_source=entry.path not in project_paths(),
                )
                for seed in range(suite.num_seeds)
            ]
            for number, trial in running.items()
        }
        if not running:
            return
        found = yield [run for each in runs.values() for run in each]
        for number, trial in running.items():
            scores = [score for run in runs[number] if (score := found[run.key]) is not None]
            if len(scores) < suite.num_seeds:
                trial.state = "failed"
                continue
            for seed, score in enumerate(scores):
                trial.asked.report(score, len(trial.scores) * suite.num_seeds + seed)
            trial.scores[task] = scores
            if task == last:
                trial.state = "complete"
            elif trial.asked.should_prune():
                trial.state = "pruned"


def search_all(
    searches: Mapping[str, Search], references: list[Run], execute: Callable[[list[Run]], Iterable[Row]]
) -> dict[str, list[Trial]]:
    """The trials of each search; the next runs of all searches are executed together.

    Args:
        searches: the searches by agent.
        references: the runs of `reference_runs`.
        execute: executes runs and returns their rows.

    Raises:
        ResultsError: the references define no scale, because a run failed or the oracle does not exceed random.
    """
    scale = _scale(execute(references))
    needed = {agent: next(each) for agent, each in searches.items()}
    found: dict[str, list[Trial]] = {}
    while needed:
        rows = execute([run for runs in needed.values() for run in runs])
        scores = {key_of(row): _score(row, scale) for row in rows if row["is_final"]}
        for agent in list(needed):
            try:
                needed[agent] = searches[agent].send(scores)
            except StopIteration as end:
                found[agent] = end.value
                del needed[agent]
    return found


def _scale(rows: Iterable[Row]) -> dict[str, tuple[float, float]]:
    """By scenario, the mean returns of random and of the myopic oracle."""
    returns: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if row["is_final"]:
            if row["status"] == "failed":
                raise ResultsError(f"{row['agent']} failed in {row['scenario']} ({row['error']}): there is no scale")
            returns.setdefault(row["scenario"], {}).setdefault(row["agent"], []).append(row["return_mean"])
    scale = {task: (float(np.mean(by[ZERO])), float(np.mean(by[ONE]))) for task, by in returns.items()}
    for task, (zero, one) in scale.items():
        if not has_scale(zero, one):
            raise ResultsError(f"{task}: {ONE} is not above {ZERO} ({one:.2f}, {zero:.2f}): there is no scale")
    return scale


def _score(row: Row, scale: Mapping[str, tuple[float, float]]) -> float | None:
    """(return - random) / (myopic oracle - random); None if the run failed."""
    if row["status"] == "failed":
        return None
    return float(score(row["return_mean"], *scale[row["scenario"]]))


def expected_cost(suite: Suite, num_trials: int, measured: Seconds) -> str:
    """One line with the number of runs and user-steps of a search without pruning, and its expected time.

    `measured` has seconds of runs with as many steps (`measured_seconds`).
    """
    tasks, num_seeds = suite.tasks(), suite.num_seeds
    parts = ((len(suite.agents), "agent"), (num_trials, "trial"), (len(tasks), "scenario"), (num_seeds, "seed"))
    factors = " × ".join(f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in parts)
    runs = [(agent, task, seed) for agent in suite.agents for task in tasks for seed in range(num_seeds)]
    num_runs = len(runs) * num_trials
    time = "of unknown duration"
    if measured:
        seconds, unknown = expected_seconds(runs, measured)
        hours = sum(seconds) * num_trials / 3600.0
        about = f"about {hours:.1f}" if hours >= 0.1 else "less than 0.1"
        longest = f" (not measured, and assumed to take as long as the longest run: {', '.join(unknown)})"
        time = f"{about} CPU hours{longest if unknown else ''}"
    steps = f"{suite.num_steps:,} user-steps ({num_runs * suite.num_steps:,} in all)"
    return f"{factors} = {num_runs:,} runs of {steps}, {time}; less if trials are pruned"


def best_of(agent: str, trials: Iterable[Trial]) -> Trial:
    """The complete trial with the highest score; of equal scores, the first.

    Raises:
        ResultsError: no trial is complete.
    """
    complete = [trial for trial in trials if trial.state == "complete"]
    if not complete:
        raise ResultsError(f"agent {agent!r}: all trials failed; results.jsonl has the errors")
    return max(complete, key=lambda trial: trial.score)


def tuning_result(agent: str, trials: list[Trial], suite: Suite, origin: Mapping[str, Any]) -> dict[str, Any]:
    """The best settings of an agent and the protocol of their search; `origin` is the provenance of the best trial."""
    return {
        "settings": best_of(agent, trials).settings,
        "search": {
            "score": "mean over scenarios and seeds, 0 random, 1 myopic oracle, on tuning worlds",
            "sampler": f"TPE, multivariate, {NUM_RANDOM_TRIALS} trials at random, in rounds of {ROUND}",
            "pruner": f"Wilcoxon signed-rank test against the best trial, p < {PRUNING_P}",
            "scenarios": list(suite.tasks()),
            "num_seeds": suite.num_seeds,
            "num_steps": suite.num_steps,
            **{name: origin.get(name) for name in ("command", "commit", "version", "machine", "date")},
            "trials": [
                {
                    "settings": trial.settings,
                    "state": trial.state,
                    "score": round(trial.score, 4) if trial.state == "complete" else None,
                    "scores": {task: [round(each, 4) for each in scores] for task, scores in trial.scores.items()},
                }
                for trial in trials
            ],
        },
    }


def write_tuned(folder: Path, agent: str, result: Mapping[str, Any]) -> None:
    """Write `AGENT.json`, which `Suite.entry` reads from `benchmarks/tuned`."""
    write_atomically(folder / f"{agent}.json", (json.dumps(result, indent=1) + "\n").encode())
