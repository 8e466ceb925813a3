"""Envs that the large model can act in. Works without torch."""

from typing import Any

import gymnasium

import recsim_env  # noqa: F401  (registers the ids)
from agents.large_model.compact_observations import check_history


def make_env(env_id: str, num_envs: int, **arguments: Any) -> Any:
    """A vector env with compact observations, unless `arguments` say otherwise.

    Raises:
        ValueError: there is no such env, or the large model cannot act in it.
    """
    try:
        env: Any = gymnasium.make_vec(
            env_id, num_envs, vectorization_mode="vector_entry_point", **{"observation": "compact", **arguments}
        )
    except gymnasium.error.Error as error:
        raise ValueError(f"env {env_id!r}: {' '.join(str(error).split())}") from None
    except TypeError as error:
        raise ValueError(f"env {env_id!r}: not an env for the large model ({error})") from None
    if isinstance(env.single_action_space, gymnasium.spaces.Box):
        raise ValueError(f"env {env_id!r}: takes points in content space, and the large model shows candidates")
    check_history(env.simulator)
    return env
