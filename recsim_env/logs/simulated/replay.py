"""Replay of a simulated log: repeats its sessions with the logged actions, which recovers all observations.

Shape legend: N lanes.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import polars as pl

from recsim_env.atomic_file import printable
from recsim_env.logs.simulated.log_folder import (
    LogManifest,
    check_complete,
    present_versions,
    read_manifest,
    read_shard,
)
from recsim_env.logs.simulated.session_recorder import SessionRecorder

_GIVEN = ("action", "log_propensity")
"""Columns that a replay takes from the log; it recomputes and compares all others."""


@dataclass(frozen=True, kw_only=True)
class ReplayedStep:
    """One step of N running sessions; after the last step of a session, its lane continues with the next session."""

    observations: Any
    """Observations before the step: a dict of arrays whose first axis is the lane, or one array for `"flat"`."""
    actions: np.ndarray
    """[N] int32 indices of candidates, [N, S] for slates, or [N, S * F] float32 points in content space."""
    log_propensities: np.ndarray
    """[N] float64: log-probabilities of the actions under the logging policy; NaN where unknown."""
    rewards: np.ndarray
    """[N] float64."""
    next_observations: Any
    """Observations of the same sessions after the step."""
    terminated: np.ndarray
    """[N] bool: whether the user left."""
    truncated: np.ndarray
    """[N] bool: whether the session reached its length limit."""
    episode_start: np.ndarray
    """[N] bool: whether this is the first step of a session."""
    is_logged: np.ndarray
    """[N] bool: False in lanes without a row, as their user was removed; ignore the values of these lanes."""
    events: dict[str, np.ndarray]
    """The rows of the log: [N, ...] for each column, 0 in lanes without a row."""


def replay(path: Path | str, *, observation: str | None = None, env: Any = None) -> Iterator[ReplayedStep]:
    """Replay a log: iterate over its steps, with the observations of the logging policy.

    The env of the log is remade, seeded as before, and given the logged actions. Each row is compared with the log. If
    users were removed, other sessions may run side by side than in the log, which does not affect their course.

    Args:
        path: the folder of a log.
        observation: kind of observations, such as `"full"`; by default that of the log. Sessions do not depend on it.
        env: the env to replay in, for a log with a custom scenario or user model. It must have the same arguments as
            that of the log; `observation` must be None.

    Raises:
        FileNotFoundError: there is no log, or the ratings log behind its env has moved.
        ValueError: a damaged file, or sessions that this version or this env does not reproduce.
    """
    folder, manifest = Path(path), read_manifest(path)
    check_complete(folder, manifest)
    if env is not None and observation is not None:
        raise ValueError(f"observation={observation!r}: must be None if env is given, which has its own kind")
    recorder = SessionRecorder(make_logged_env(path, observation=observation) if env is None else env)
    _check_same_world(folder, manifest, recorder)
    return _steps(folder, manifest, recorder)


def make_logged_env(path: Path | str, *, observation: str | None = None) -> Any:
    """Remake the vector env of a log, the default `env` of `replay`.

    Raises:
        FileNotFoundError: see `replay`.
        ValueError: its scenario or user model is a custom one, or this version cannot make the env.
    """
    folder, manifest = Path(path), read_manifest(path)
    if not manifest.is_remade:
        raise ValueError(f"{printable(folder)}: has a custom scenario or user model; make its env and pass it as env=")
    arguments = env_arguments(manifest, observation)
    try:
        return gymnasium.make_vec(
            manifest.env_id, num_envs=manifest.num_envs, vectorization_mode="vector_entry_point", **arguments
        )
    except (gymnasium.error.Error, TypeError) as error:  # ids and arguments of other versions
        raise ValueError(f"{printable(folder)}: its env cannot be made by this version ({error})") from None


def _steps(folder: Path, manifest: LogManifest, recorder: SessionRecorder) -> Iterator[ReplayedStep]:
    recorder.reset(manifest.seed)
    num_envs, shape = manifest.num_envs, recorder.env.single_action_space.shape or ()
    for number in range(len(manifest.shard_lengths)):
        shard = read_shard(folder, number, manifest)
        for events, is_logged in _vector_steps(shard, num_envs):
            actions = events["action"].reshape(num_envs, *shape)
            starts = np.flatnonzero(is_logged & (events["step"] == 0) & ~_runs(recorder, events))
            if len(starts):  # sessions after those of a removed user
                recorder.start_session(starts, events["session"][starts])
            observations, episode_start = recorder.observations, recorder.episode_start
            _check_equal(folder, manifest, events, recorder.step(actions), is_logged)
            yield ReplayedStep(
                observations=observations,
                actions=actions,
                log_propensities=events["log_propensity"],
                rewards=events["reward"],
                next_observations=recorder.next_observations,
                terminated=events["terminated"],
                truncated=events["truncated"],
                episode_start=episode_start,
                is_logged=is_logged,
                events=events,
            )


def _vector_steps(shard: pl.DataFrame, num_envs: int) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """The rows of each vector step, [N, ...] for each column, and which lanes [N] have one."""
    arrays = {column.name: column.to_numpy() for column in shard}
    lanes = arrays["session"] % num_envs
    if len(lanes) == 0:
        return
    for first, last in itertools.pairwise((0, *np.flatnonzero(lanes[1:] <= lanes[:-1]) + 1, len(lanes))):
        is_logged = np.zeros(num_envs, np.bool_)
        is_logged[lanes[first:last]] = True
        if is_logged.all():
            yield {name: values[first:last] for name, values in arrays.items()}, is_logged
            continue
        events = {name: np.zeros((num_envs, *values.shape[1:]), values.dtype) for name, values in arrays.items()}
        for name, values in arrays.items():
            events[name][is_logged] = values[first:last]
        yield events, is_logged


def _runs(recorder: SessionRecorder, events: dict[str, np.ndarray]) -> np.ndarray:
    """[N] bool: whether the lane is about to take the first step of the logged session."""
    sessions = recorder.env.simulator.sessions
    return recorder.episode_start & (sessions["episode"] == events["session"] // recorder.env.num_envs)


def env_arguments(manifest: LogManifest, observation: str | None = None) -> dict[str, Any]:
    """Arguments of `gymnasium.make`, other than the id, for the env of a log."""
    arguments = {name: value for name, value in manifest.env_arguments.items() if value is not None}
    return arguments if observation is None else {**arguments, "observation": observation}


def _check_same_world(folder: Path, manifest: LogManifest, recorder: SessionRecorder) -> None:
    env = recorder.env
    source = env.simulator.world.source
    if manifest.world_fingerprint is not None and (source is None or source.fingerprint != manifest.world_fingerprint):
        raise ValueError(f"{printable(folder)}: the ratings log behind its env has changed")
    for name, value, logged in (
        ("num_envs", env.num_envs, manifest.num_envs),
        ("slate_size", env.simulator.config.slate_size, manifest.slate_size),
        ("num_candidates", env.simulator.config.num_candidates, manifest.num_candidates),
    ):
        if value != logged:
            raise ValueError(f"env: has {name}={value}; that of {printable(folder)} has {logged}")


def _check_equal(
    folder: Path,
    manifest: LogManifest,
    logged: dict[str, np.ndarray],
    played: dict[str, np.ndarray],
    is_logged: np.ndarray,
) -> None:
    for name, values in logged.items():
        if name in _GIVEN or np.array_equal(values, played[name]):
            continue
        differs = (values != played[name]).reshape(len(values), -1).any(1) & is_logged
        if not differs.any():
            continue
        lane = int(differs.argmax())
        then, now = (each["recsim_env"] for each in (manifest.versions, present_versions()))
        raise ValueError(
            f"{printable(folder)}: step {logged['step'][lane]} of session {logged['session'][lane]} is not "
            f"reproduced ({name}={played[name][lane].tolist()}, logged: {values[lane].tolist()}); it was written "
            f"by recsim_env {then}, this is {now}"
        )
