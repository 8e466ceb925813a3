"""Agents ranked in worlds fitted to some people of a log, and by the real ratings of other people: rows.

Every agent is trained in a world fitted to the people of `train`, whose users rate every item that they are shown.
Frozen, it is then evaluated with users and people that it has never met, in each world of `WORLDS`. For the control, it
is trained once more in that world with item factors shuffled among items.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import recsim_env
from agents.agent import Agent, Learner
from agents.registry import Entry, entry_named
from agents.rollouts.evaluation import evaluate
from benchmarks.report.validity import CONTROLS, EVALUATED_IN, REAL, TASTES
from benchmarks.rows import append_rows, read_objects, write_rows
from benchmarks.running.workers import Failure, run_in_processes
from benchmarks.suites import HELD_OUT, Overrides, tuned_settings, with_settings
from recsim_env.atomic_file import write_atomically
from recsim_env.logs import fingerprint, fit_ratings, read_log
from recsim_env.logs.fitting.fitted_world import FittedWorld
from recsim_env.world.replayed_log import train_log

AGENTS = (
    *("random", "popularity", "platform-ranking", "content-match"),
    *("linucb", "thompson", "eb-linucb", "eb-thompson", "neural-linear"),
    *("item-knn", "matrix-factorization", "sequence-model", "pqn", "ppo"),
)
"""Agents that are ranked unless others are named."""

NOTHING_BUT_TASTES: Overrides = {
    "population": {"receptiveness_mean": 0.0},
    "behaviour": {
        "choice_intercept": 50.0,
        "choice_distrust": 0.0,
        "consumption_intercept": 50.0,
        "rating_probability": 1.0,
        "satiation_gain": 0.0,
        "patience_gain": 0.0,
        "patience_skip": 0.0,
    },
}
"""Users of MovieLens with nothing but tastes: they rate every item shown, and neither change nor leave."""

RESULTS = "validity.jsonl"
_FITTED, _SHUFFLED = "fitted.npz", "shuffled.npz"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes that all rows of one folder share."""

    num_steps: int
    """User-steps of training."""
    num_sessions: int
    """Sessions of each evaluation."""
    session_length: int
    num_candidates: int


@dataclass(frozen=True, kw_only=True)
class ValidityRun:
    """One agent with one seed: trained in one world, and evaluated in several. The unit of work of one worker."""

    agent: str
    seed: int
    trained_in: str
    """A key of `EVALUATED_IN`."""
    log: Path
    log_fingerprint: str
    worlds: Path
    """Folder of the fitted world and of its control."""
    sizes: Sizes

    @cached_property
    def entry(self) -> Entry:
        """The agent's registry entry with its tuned settings."""
        return with_settings(entry_named(self.agent), tuned_settings(self.agent))

    @cached_property
    def digest(self) -> str:
        """Hash of everything that the row depends on."""
        settings = [self.entry.settings, self.entry.num_envs, NOTHING_BUT_TASTES, asdict(self.sizes)]
        parts = [recsim_env.__version__, self.agent, self.seed, self.trained_in, self.log_fingerprint, settings]
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()

    def execute(self) -> dict[str, Any]:
        """Train the agent if it learns, and evaluate it; the row."""
        import torch  # takes a second to import, and only workers need it

        torch.set_num_threads(1)
        agent_class = self.entry.agent_class()
        training = {"user_split": "train", "catalog_seed": HELD_OUT.training_catalog_seed + self.seed}
        env = self._env(self.trained_in, self.entry.num_envs or agent_class.num_envs, **training)
        agent = agent_class(env=env, seed=self.seed, **self.entry.settings)
        if isinstance(agent, Learner):
            agent.learn(self.sizes.num_steps)
        returns = {world: self._returns(agent, world) for world in EVALUATED_IN[self.trained_in]}
        env.close()
        return {
            "agent": self.agent,
            "seed": self.seed,
            "trained_in": self.trained_in,
            "run": self.digest,
            "version": recsim_env.__version__,
            **asdict(self.sizes),
            "returns": returns,
        }

    def _env(self, world: str, num_envs: int, **split: Any) -> Any:
        observation, variant = self.entry.agent_class().env_requirements(**self.entry.settings)
        if world == REAL:
            name, arguments = "Replay", {"world": str(self.log), **split}
        else:
            file = _SHUFFLED if world in CONTROLS.values() else _FITTED
            overrides = NOTHING_BUT_TASTES if world in (TASTES, CONTROLS[TASTES]) else {}
            name, arguments = "MovieLens", {"world": str(self.worlds / file), "overrides": overrides, **split}
        return gymnasium.make_vec(
            f"recsim_env/{name}{variant}-v0",
            num_envs,
            vectorization_mode="vector_entry_point",
            observation=observation,
            session_length=self.sizes.session_length,
            num_candidates=self.sizes.num_candidates,
            **arguments,
        )

    def _returns(self, agent: Agent, world: str) -> list[float | None]:
        """Mean return of the sessions of each held-out person, None for a person without one."""
        people = {"split": "test"} if world == REAL else {"user_split": "test"}
        env = self._env(world, self.sizes.num_sessions, catalog_seed=HELD_OUT.catalog_seed + self.seed, **people)
        first_seed = HELD_OUT.sessions_seed + HELD_OUT.sessions_apart * self.seed
        env.reset(seed=first_seed)
        users = np.array(env.simulator.sessions["user"])
        returns = evaluate(agent, env, first_seed, self.seed).returns
        num_people = len(env.simulator.world.users)
        env.close()
        counts = np.bincount(users, minlength=num_people)
        means = np.bincount(users, returns, num_people) / np.maximum(counts, 1)
        return [round(float(mean), 3) if count else None for mean, count in zip(means, counts, strict=True)]


def prepare_worlds(log: Path, folder: Path, say: Callable[[str], None]) -> str:
    """Fit a world to the people of `train` and write it and its control into `folder`, unless they are there; returns
    the fingerprint of the log.

    Raises:
        ValueError: the log is invalid or too small for a replay.
    """
    found, made_from = fingerprint(log), folder / "log.txt"
    if made_from.is_file() and made_from.read_text() == found:
        return found
    gymnasium.make("recsim_env/Replay-v0", world=str(log)).close()  # says whether the log is too small
    say(f"fitting a world to the people of 'train' in {log.name}")
    world = fit_ratings(train_log(read_log(log)))
    folder.mkdir(parents=True, exist_ok=True)
    world.save(folder / _FITTED)
    shuffled(world).save(folder / _SHUFFLED)
    write_atomically(made_from, found.encode())
    return found


def shuffled(world: FittedWorld) -> FittedWorld:
    """The world with item factors shuffled among items: quality and popularity stay, the structure of tastes does
    not."""
    order = np.random.default_rng(0).permutation(len(world.item_factors))
    return replace(world, item_factors=world.item_factors[order])


def finished_rows(path: Path, runs: list[ValidityRun]) -> list[dict[str, Any]]:
    """Rows of these runs in a results file; an incomplete last line is dropped from it.

    Raises:
        ResultsError: another line is not a JSON object.
    """
    if not path.is_file():
        return []
    rows = read_objects(path, allow_incomplete=True)
    write_rows(path, rows)
    digests = {run.digest for run in runs}
    return [row for row in rows if row.get("run") in digests]


def execute(
    runs: list[ValidityRun],
    path: Path,
    rows: list[dict[str, Any]],
    origin: dict[str, Any],
    num_workers: int,
    say: Callable[[str], None],
) -> int:
    """Execute the runs that have no row yet and append their rows to the file and to `rows`; returns the number that
    failed."""
    done, num_failed = {row["run"] for row in rows}, 0
    todo = [run for run in runs if run.digest not in done]
    if len(todo) < len(runs):
        say(f"{len(runs) - len(todo)} of {len(runs)} runs are finished already")
    for number, (run, result) in enumerate(run_in_processes(todo, ValidityRun.execute, num_workers), 1):
        name = f"{number:>3}/{len(todo)}  {run.agent:<20} seed {run.seed}, trained in {run.trained_in}:"
        if isinstance(result, Failure):
            num_failed += 1
            say(f"{name}  failed: {result.reason}")
            continue
        append_rows(path, [{**result, **origin}])
        rows.append({**result, **origin})
        means = (f"{world} {np.nanmean(np.array(each, float)):.2f}" for world, each in result["returns"].items())
        say(f"{name}  {'  '.join(means)}")
    return num_failed
