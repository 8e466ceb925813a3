"""Writing simulated logs: a policy acts in a vector env, and its steps become rows.

Shape legend: N lanes.
"""

import dataclasses
import enum
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from gymnasium import spaces

from recsim_env.atomic_file import printable, write_atomically
from recsim_env.config import Scenario, check_number
from recsim_env.locked_folder import locked
from recsim_env.logs.simulated.log_folder import (
    MANIFEST,
    LogManifest,
    present_versions,
    read_manifest,
    read_shard,
    shard_path,
    write_shard,
)
from recsim_env.logs.simulated.logged_ids import write_ids
from recsim_env.logs.simulated.logging_policy import logging_policy
from recsim_env.logs.simulated.resume_point import (
    ResumePoint,
    delete_resume_point,
    read_resume_point,
    write_resume_point,
)
from recsim_env.logs.simulated.session_recorder import SessionRecorder
from recsim_env.progress_line import ProgressLine
from recsim_env.simulation.custom_user_model import DEFAULT_USER_MODEL
from recsim_env.simulation.records import NO_ITEM

_NOT_COPIED = ("num_threads", "render_mode", "user_model", "world")
"""Arguments of an env that are not copied to the manifest: they do not affect sessions, or are recorded differently."""


class LogWriter:
    """Writes the sessions of a policy in a vector env as Parquet shards, one row for each step of a session.

    Each shard is written atomically. A killed writer is resumed by the same arguments, and the result is the same, byte
    for byte: it simulates the last shard again, compares it, and continues. With a policy that keeps a state, or
    samples by itself, it starts over and compares all shards. Policies must therefore be reproducible: the same seed
    gives the same actions.

    ```python
    env = gymnasium.make_vec("recsim_env/Video-v0", num_envs=100, split="train")
    LogWriter(env, "random", "runs/log", num_steps=100_000).write()
    ```

    Args:
        env: a `RecommenderVectorEnv` with the autoreset mode `NEXT_STEP`, the default, or `DISABLED`.
        policy: `"random"`, which shows a random slate of available candidates (or random points, in ids with points in
            content space), or an object with `predict(observations, state, episode_start, deterministic)`, which
            returns actions and the next state, like agents and Stable-Baselines3 models. Propensities come from its
            `log_probabilities(observations, actions, state, episode_start)`, called with the state before `predict`;
            without that method they are unknown.
        path: the folder. It must not exist, be empty, or contain the beginning of this log.
        num_steps: number of rows, rounded up to a multiple of N; at least 1.
        seed: lane i is seeded with `seed` + i, so that logs with seeds less than N apart share sessions; random draws
            of this writer, and the policy if it has `set_random_seed`, are seeded with `seed`.
        epsilon: probability of a random slate in place of the policy's, in [0, 1]. The policy then chooses
            `deterministic` actions, and propensities are exact. With None the policy may sample.
        policy_name: name of the policy in the manifest; by default the name of its class.
        rows_per_shard: rows in each shard, rounded down to whole vector steps, at least one.

    Raises:
        ValueError: an unsupported env or policy, or a number out of range.
    """

    def __init__(
        self,
        env: Any,
        policy: Any,
        path: Path | str,
        *,
        num_steps: int,
        seed: int = 0,
        epsilon: float | None = None,
        policy_name: str | None = None,
        rows_per_shard: int = 50_000,
    ) -> None:
        check_number("num_steps", num_steps, 1, 10**15, int)
        check_number("seed", seed, 0, 2**63 - 1, int)
        check_number("rows_per_shard", rows_per_shard, 1, 10**9, int)
        self._recorder = SessionRecorder(env)
        self._env = self._recorder.env
        self._action_space = self._env.single_action_space
        self._policy, self._epsilon, self._seed = policy, epsilon, int(seed)
        self._new_logging_policy()  # for its errors
        self._folder = Path(path)
        if policy_name is None:
            policy_name = (
                policy if isinstance(policy, str) else f"{type(policy).__module__}:{type(policy).__qualname__}"
            )
        self.manifest = self._make_manifest(policy_name, num_steps, rows_per_shard)
        """The `LogManifest` of the log."""

    def write(self) -> LogManifest:
        """Write the log, or the missing part of it, and return its manifest. A terminal shows the remaining time.

        Raises:
            ValueError: the folder contains another log or other files, or is in use by another process; or one of its
                shards is damaged or not reproduced.
            OSError: the folder cannot be written.
        """
        folder, manifest = self._folder, self.manifest
        with locked(folder):
            self._check_folder()
            if not all(shard_path(folder, number).is_file() for number in range(len(manifest.shard_lengths))):
                self._write_shards()
            write_ids(folder, self._env.simulator.world)
            delete_resume_point(folder)
        return manifest

    def _check_folder(self) -> None:
        """`ValueError` unless the folder is empty or contains a part of this log."""
        file = self._folder / MANIFEST
        if file.is_file():
            present, own = (dataclasses.asdict(each) for each in (read_manifest(self._folder), self.manifest))
            difference = _difference(present, json.loads(json.dumps(own)))
            if difference:
                raise ValueError(
                    f"{printable(self._folder)}: contains another log ({difference}); choose another folder"
                )
        elif any(not each.name.startswith(".") for each in self._folder.iterdir()):
            raise ValueError(f"{printable(self._folder)}: contains other files; choose an empty folder")

    def _write_shards(self) -> None:
        manifest, folder = self.manifest, self._folder
        first = self._start()
        num_rows = first * manifest.steps_per_shard * manifest.num_envs
        with ProgressLine(manifest.num_steps, "steps", done=num_rows) as progress:
            for number in range(first, len(manifest.shard_lengths)):
                start, steps = self._resume_point(number), []
                for _ in range(manifest.shard_lengths[number]):
                    steps.append(self._next_step())
                    num_rows += manifest.num_envs
                    progress.update(num_rows)
                frame = _as_frame(steps, manifest)
                if not (folder / MANIFEST).is_file():  # not earlier: a policy that fails leaves an empty folder
                    write_atomically(folder / MANIFEST, manifest.as_json().encode())
                if not shard_path(folder, number).is_file():
                    write_shard(folder, number, frame, manifest)
                elif not read_shard(folder, number, manifest).equals(frame):
                    raise ValueError(
                        f"{printable(shard_path(folder, number))}: is not reproduced; the policy, or the file that it "
                        "is loaded from, has changed or is not deterministic given its seed; choose another folder"
                    )
                if start is not None:
                    write_resume_point(folder, start)

    def _start(self) -> int:
        """Start the sessions, or restore those of the resume point; returns the first shard to simulate.

        The shard after a resume point exists already; it is simulated again to check that the policy is reproducible.
        """
        if hasattr(self._policy, "set_random_seed"):
            self._policy.set_random_seed(self._seed)
        point, self._logging_policy = read_resume_point(self._folder), self._new_logging_policy()
        if point is None or not all(shard_path(self._folder, number).is_file() for number in range(point.shard)):
            self._recorder.reset(self._seed)
            return 0
        self._recorder.restore(point.simulator)
        self._logging_policy.restore(point.policy)
        return point.shard

    def _resume_point(self, shard: int) -> ResumePoint | None:
        policy = self._logging_policy.state()
        if policy is None:
            return None
        return ResumePoint(shard=shard, simulator=self._env.simulator.state(), policy=policy)

    def _next_step(self) -> dict[str, Any]:
        recorder = self._recorder
        actions, log_propensities = self._logging_policy.act(
            recorder.observations, recorder.candidates != NO_ITEM, recorder.episode_start
        )
        return {**recorder.step(actions), "log_propensity": log_propensities}

    def _new_logging_policy(self) -> Any:
        return logging_policy(self._policy, action_space=self._action_space, epsilon=self._epsilon, seed=self._seed)

    def _make_manifest(self, policy_name: str, num_steps: int, rows_per_shard: int) -> LogManifest:
        env, num_envs = self._env, self._env.num_envs
        arguments = {name: value for name, value in env.arguments.items() if name not in _NOT_COPIED}
        arguments["max_episode_steps"] = env.max_episode_steps
        source, config = env.simulator.world.source, env.simulator.config
        takes_points = isinstance(self._action_space, spaces.Box)
        has_own_user_model = env.arguments["user_model"] is not DEFAULT_USER_MODEL
        if has_own_user_model:
            arguments["user_model"] = "own"
        if source is not None:
            arguments["world"] = source.path
        return LogManifest(
            env_id=f"recsim_env/{env.simulator.world.scenario.name}-v0" if env.spec is None else env.spec.id,
            env_arguments=json.loads(json.dumps(arguments, default=_as_json)),
            is_remade=isinstance(arguments["scenario"], str) and not has_own_user_model,
            world_fingerprint=None if source is None else source.fingerprint,
            policy=policy_name,
            epsilon=None if self._epsilon is None else float(self._epsilon),
            seed=self._seed,
            num_envs=num_envs,
            num_steps=math.ceil(num_steps / num_envs) * num_envs,
            steps_per_shard=max(rows_per_shard // num_envs, 1),
            slate_size=config.slate_size,
            num_candidates=config.num_candidates,
            num_action_features=spaces.flatdim(self._action_space) if takes_points else 0,
            versions=present_versions(),
        )


def _as_frame(steps: list[dict[str, Any]], manifest: LogManifest) -> pl.DataFrame:
    """The rows of several steps, in order."""
    columns = {}
    for name, kind in manifest.schema.items():
        if steps[0][name] is None:
            columns[name] = pl.repeat(None, manifest.num_envs * len(steps), dtype=kind, eager=True)
        else:
            columns[name] = pl.Series(np.concatenate([step[name] for step in steps])).cast(kind)
    return pl.DataFrame(columns)


def _difference(present: dict[str, Any], own: dict[str, Any], prefix: str = "") -> str | None:
    """The first difference between two manifests, in words; None if there is none."""
    for name in {**present, **own}:
        there, here = present.get(name), own.get(name)
        if isinstance(there, dict) and isinstance(here, dict):
            difference = _difference(there, here, f"{prefix}{name}.")
            if difference:
                return difference
        elif there != here:
            return f"{prefix}{name}={there!r}, here {here!r}"
    return None


def _as_json(value: Any) -> Any:
    """Encode arguments of an env that JSON does not support."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, enum.Enum):
        return value.value
    return dataclasses.asdict(value) if isinstance(value, Scenario) else str(value)
