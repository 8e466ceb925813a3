"""Export of simulated logs to the Open Bandit Pipeline (Saito et al., 2021, arXiv:2008.07146).

Shape legend: N rounds, M candidates, D features of an observation.
"""

from pathlib import Path
from typing import Any

import numpy as np

from recsim_env.atomic_file import printable
from recsim_env.logs.simulated.log_folder import read_manifest
from recsim_env.logs.simulated.replay import replay


def to_obp(path: Path | str, *, env: Any = None) -> dict[str, Any]:
    """The bandit feedback of a log, in the format of `obp.dataset`, in memory.

    A round is a step, an action is the index of one of the M candidates, and the context is the `"flat"` observation,
    which includes the predicted answer to each candidate. A bandit ignores the effects of an action on later steps.

    Args:
        path: the folder of a log with known propensities, from an id that shows one candidate in each step.
        env: see `replay`; it must have `observation="flat"`.

    Returns:
        `n_rounds` (N), `n_actions` (M), `context` [N, D] float32, `action_context` [M, M] int64 (one-hot), `action` [N]
        int64, `position` [N] int64 (0), `reward` [N] float64, `pscore` [N] float64 in (0, 1].

    Raises:
        FileNotFoundError: see `replay`.
        ValueError: see `replay`; or a log with slates, points in content space, or unknown propensities.
    """
    manifest = read_manifest(path)
    if manifest.slate_size > 1 or manifest.num_action_features:
        shown = "points in content space" if manifest.num_action_features else f"slates of {manifest.slate_size} items"
        raise ValueError(f"{printable(path)}: shows {shown}; bandit feedback has one candidate in each step")
    contexts, actions, rewards, log_propensities = [], [], [], []
    for step in replay(path, observation="flat" if env is None else None, env=env):
        if np.isnan(step.log_propensities[step.is_logged]).any():
            raise ValueError(f"{printable(path)}: has unknown propensities, but bandit feedback needs them")
        contexts.append(step.observations[step.is_logged])
        actions.append(step.actions[step.is_logged])
        rewards.append(step.rewards[step.is_logged])
        log_propensities.append(step.log_propensities[step.is_logged])
    num_rounds = sum(map(len, rewards))
    return {
        "n_rounds": num_rounds,
        "n_actions": manifest.num_candidates,
        "context": np.concatenate(contexts),
        "action_context": np.eye(manifest.num_candidates, dtype=np.int64),
        "action": np.concatenate(actions).astype(np.int64),
        "position": np.zeros(num_rounds, np.int64),
        "reward": np.concatenate(rewards),
        "pscore": np.exp(np.concatenate(log_propensities)),
    }
