"""Export of simulated logs to Minari datasets (https://minari.farama.org).

Shape legend: T steps of a session.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from recsim_env.logs.simulated.event_schema import REWARD_COLUMNS
from recsim_env.logs.simulated.log_folder import LogManifest, read_manifest
from recsim_env.logs.simulated.replay import ReplayedStep, env_arguments, replay

_INFOS = {"log_propensity": np.nan, **dict.fromkeys(REWARD_COLUMNS, 0.0)}
"""Columns exported as infos, and their values after `reset`."""


def to_minari(
    path: Path | str, dataset_id: str, *, observation: str | None = None, env: Any = None, **details: Any
) -> Any:
    """Export a log to a Minari dataset, with an episode for each session and the observations of `replay`.

    Infos contain the reward terms, 0 after `reset`, and `log_propensity`, NaN after `reset` and if unknown. Sessions
    that have not ended at the end of the log are truncated there.

    Args:
        path: the folder of a log.
        dataset_id: name of the dataset, such as `"recsim/video/random-v0"`.
        observation: see `replay`.
        env: see `replay`; the dataset then has the spaces of that env, but no env.
        details: further arguments of `minari.create_dataset_from_buffers`, such as `author` or `description`.

    Returns:
        The `minari.MinariDataset`.

    Raises:
        ImportError: Minari is not installed.
        FileNotFoundError: see `replay`.
        ValueError: see `replay`; or a dataset of that name exists. No partial dataset is left behind.
    """
    try:
        import minari
    except ImportError:
        raise ImportError("to_minari needs Minari: pip install 'minari[create,hdf5]'") from None
    if dataset_id in minari.list_local_datasets():
        raise ValueError(f"dataset_id={dataset_id!r}: already exists; delete it or choose another name")
    manifest, steps = read_manifest(path), replay(path, observation=observation, env=env)
    own: dict[str, Any] = {
        "algorithm_name": _algorithm(manifest),
        "requirements": [f"recsim-env=={manifest.versions['recsim_env']}"],
    }
    if env is None:
        own["env"] = gymnasium.make(manifest.env_id, **env_arguments(manifest, observation))
    else:
        own |= {"observation_space": env.single_observation_space, "action_space": env.single_action_space}
    # Minari consumes the episodes one by one, so that they need not all be in memory.
    episodes: Any = (minari.data_collector.EpisodeBuffer(**episode) for episode in _episodes(steps))
    try:
        return minari.create_dataset_from_buffers(dataset_id, episodes, **{**own, **details})
    except BaseException:
        if dataset_id in minari.list_local_datasets():
            minari.delete_dataset(dataset_id)
        raise


def _algorithm(manifest: LogManifest) -> str:
    return manifest.policy if manifest.epsilon is None else f"{manifest.policy}, epsilon {manifest.epsilon}"


def _episodes(steps: Iterator[ReplayedStep]) -> Iterator[dict[str, Any]]:
    """Fields of an `EpisodeBuffer` for each session, in the order of their ends."""
    running: dict[int, list[ReplayedStep]] = {}
    for step in steps:
        is_over_by_lane = step.terminated | step.truncated
        for lane in np.flatnonzero(step.is_logged).tolist():
            running.setdefault(lane, []).append(step)
            if is_over_by_lane[lane]:
                yield _episode(running.pop(lane), lane)
    for lane, session in running.items():
        episode = _episode(session, lane)
        episode["truncations"][-1] = True
        yield episode


def _episode(session: list[ReplayedStep], lane: int) -> dict[str, Any]:
    observed = [*(step.observations for step in session), session[-1].next_observations]
    names = observed[0].keys() if isinstance(observed[0], dict) else None
    return {
        "observations": np.stack([each[lane] for each in observed])
        if names is None
        else {name: np.stack([each[name][lane] for each in observed]) for name in names},
        "actions": np.stack([step.actions[lane] for step in session]),
        "rewards": [float(step.rewards[lane]) for step in session],
        "terminations": [bool(step.terminated[lane]) for step in session],
        "truncations": [bool(step.truncated[lane]) for step in session],
        "infos": {
            name: np.array([first, *(step.events[name][lane] for step in session)]) for name, first in _INFOS.items()
        },
    }
