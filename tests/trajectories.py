"""Recording what an env does, and comparing two recordings bit by bit.

As a program, `python trajectories.py FOLDER SEED STEPS OPTIONS ENV_ID ...` records each env, with options of `make_vec`
as JSON, into a file in FOLDER, and prints the sha256 of each recording.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import recsim_env  # noqa: F401  (registers the ids)
from recsim_env.envs.spaces_and_actions import REWARD_INFO_KEYS


def same(first: Any, second: Any) -> bool:
    """Whether two observations, infos, arrays or numbers are equal to the bit, types and keys included."""
    if isinstance(first, dict):
        return (
            isinstance(second, dict)
            and first.keys() == second.keys()
            and all(same(first[key], second[key]) for key in first)
        )
    if isinstance(first, tuple | list) or (isinstance(first, np.ndarray) and first.dtype == object):
        pairs = zip(first, second, strict=True)
        return type(first) is type(second) and all(same(one, other) for one, other in pairs)
    if isinstance(first, np.ndarray):
        return (
            isinstance(second, np.ndarray)
            and first.dtype == second.dtype
            and first.shape == second.shape
            and all(
                one.tobytes() == other.tobytes() for one, other in zip(columns(first), columns(second), strict=True)
            )
        )
    return type(first) is type(second) and (first is second or np.array(first).tobytes() == np.array(second).tobytes())


def columns(array: np.ndarray) -> list[np.ndarray]:
    """The fields of an array of records (the bytes between them are anything), or the array alone."""
    return [np.asarray(array[name]) for name in array.dtype.names] if array.dtype.names else [array]


def lane_of(batch: Any, lane: int) -> Any:
    """The part of a batched observation or info that belongs to one lane."""
    if isinstance(batch, dict):
        return {name: lane_of(values, lane) for name, values in batch.items() if not name.startswith("_")}
    return batch[lane]


def arrays_in(handed_out: Any) -> list[np.ndarray]:
    """Every array in an observation, an info or a step's results."""
    if isinstance(handed_out, np.ndarray) and handed_out.dtype == object:
        handed_out = list(handed_out)
    if isinstance(handed_out, np.ndarray):
        return [handed_out]
    if isinstance(handed_out, dict):
        handed_out = list(handed_out.values())
    if isinstance(handed_out, list | tuple):
        return [array for part in handed_out for array in arrays_in(part)]
    return []


def random_actions(space: gymnasium.Space, generator: np.random.Generator, num_steps: int) -> np.ndarray:
    """[num_steps, ...] actions of a (batched) action space; faster than sampling one by one."""
    shape = (num_steps, *(space.shape or ()))
    if isinstance(space, gymnasium.spaces.Box):
        return generator.uniform(space.low, space.high, shape).astype(space.dtype)
    top = space.n if isinstance(space, gymnasium.spaces.Discrete) else space.nvec
    return generator.integers(0, top, shape)


def record(env_id: str, seed: int, num_steps: int, num_envs: int = 3, **options: Any) -> dict[str, np.ndarray]:
    """Everything that `num_steps` random steps of a vector env hand out, and the latent course beside it."""
    env = gymnasium.make_vec(env_id, num_envs, vectorization_mode="vector_entry_point", **options)
    observation, _ = env.reset(seed=seed)
    recorded: dict[str, list[np.ndarray]] = {}
    for action in random_actions(env.action_space, np.random.default_rng(seed), num_steps):
        sessions = env.simulator.state()["sessions"]
        rows = {f"observation {name}": values for name, values in observation.items()}
        rows |= {f"session {name}": np.array(sessions[name]) for name in sessions.dtype.names}
        observation, rewards, terminated, truncated, infos = env.step(action)
        rows |= {"reward": rewards, "terminated": terminated, "truncated": truncated}
        rows |= {f"info {name}": infos[name] for name in REWARD_INFO_KEYS}
        for name, row in rows.items():
            recorded.setdefault(name, []).append(row)
    env.close()
    return {name: np.stack(rows) for name, rows in recorded.items()}


def digest(recorded: dict[str, np.ndarray]) -> str:
    """sha256 of a recording's names and bytes."""
    hashed = hashlib.sha256()
    for name, rows in recorded.items():
        hashed.update(name.encode() + rows.tobytes())
    return hashed.hexdigest()


def file_of(folder: str | Path, env_id: str) -> Path:
    """Where the program puts the recording of an env."""
    return Path(folder) / f"{env_id.rpartition('/')[2]}.npz"


def record_elsewhere(
    folder: Path, seed: int, num_steps: int, env_ids: list[str], environment: dict[str, str], **options: Any
) -> dict[str, str]:
    """Record envs in another process; the sha256 of each. What the process says on stderr is an error."""
    arguments = [sys.executable, __file__, str(folder), str(seed), str(num_steps), json.dumps(options), *env_ids]
    checkout = str(Path(__file__).resolve().parents[1])  # before the folder tests/recsim_env, which has the same name
    environment = {**os.environ, "PYTHONPATH": checkout, **environment}
    ran = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return dict(zip(env_ids, ran.stdout.split(), strict=True))


if __name__ == "__main__":
    folder_text, seed_text, steps_text, options_text, *recorded_ids = sys.argv[1:]
    given = json.loads(options_text)
    for recorded_id in recorded_ids:
        recording = record(recorded_id, int(seed_text), int(steps_text), **given)
        np.savez(file_of(folder_text, recorded_id), **recording)
        print(digest(recording))
