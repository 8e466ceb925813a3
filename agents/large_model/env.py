"""Envs that the large model can act in. Works without torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium

import recsim_env  # noqa: F401  (registers the ids)
from agents.large_model.compact_observations import check_history
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.scenarios import ITEMS
from recsim_env.world.world import build_world


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


def served_env(env_id: str, arguments: Mapping[str, Any]) -> Any:
    """The env of a server's items: `make_env` of one env, or `items_env` for the scenario of tables.

    Raises:
        ValueError: as there.
        FileNotFoundError: as there.
    """
    if env_id == ITEMS.name:
        return items_env(Path(arguments["world"]), arguments["slate_size"])
    return make_env(env_id, 1, **arguments)


def items_env(path: Path, slate_size: int = 1) -> RecommenderVectorEnv:
    """The catalogue of a table of items, see `recsim_env.world.item_table`; nobody is simulated there.

    Raises:
        ValueError: the table is invalid, or has fewer items than a slate; one line.
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; must be a table of items with a column of ids")
    num_items = len(build_world(ITEMS, world_path=path).items)
    num_candidates = min(max(ITEMS.session.num_candidates, slate_size), num_items)
    sizes: dict[str, Any] = {"slate_size": slate_size, "num_candidates": num_candidates}
    return RecommenderVectorEnv(1, ITEMS, world=path, observation="compact", **sizes)
