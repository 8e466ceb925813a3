"""One vector env over several catalogues, so that an agent is trained in more than one.

Shape legend: N sessions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from recsim_env.config import check_number
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.simulation.simulator import Simulator


class SeveralCatalogs(VectorEnv[Any, Any, Any]):
    """N sessions, divided evenly over the catalogue of an env and those with the next catalogue seeds.

    Each catalogue has users of its own. Sessions start in the step in which the last ones end (`SAME_STEP`).

    Args:
        env: its arguments, but for the catalogue, are those of all parts.
        num_envs: N.
        num_catalogs: number of catalogues, at most N.
    """

    def __init__(self, env: RecommenderVectorEnv, num_envs: int, num_catalogs: int) -> None:
        check_number("num_catalogs", num_catalogs, 1, num_envs, int)
        first = int(env.simulator.catalog_seed)
        self.parts = [
            env.remake(num_envs=len(lanes), catalog_seed=first + number, autoreset_mode=AutoresetMode.SAME_STEP)
            for number, lanes in enumerate(np.array_split(np.arange(num_envs), num_catalogs))
        ]
        self._ends = np.cumsum([part.num_envs for part in self.parts])[:-1]
        self.num_envs, self.metadata = num_envs, self.parts[0].metadata
        self.observation_kind, self.render_mode = self.parts[0].observation_kind, None
        self.single_observation_space = self.parts[0].single_observation_space
        self.single_action_space = self.parts[0].single_action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    @property
    def simulator(self) -> Simulator:
        """Of the first catalogue; all have the same layout and sizes."""
        return self.parts[0].simulator

    @property
    def simulators(self) -> tuple[Simulator, ...]:
        """Of each catalogue, in the order of the lanes."""
        return tuple(part.simulator for part in self.parts)

    def remake(self, **arguments: Any) -> RecommenderVectorEnv:
        """An env in the first catalogue alone, with other arguments; see `RecommenderVectorEnv.remake`."""
        return self.parts[0].remake(**{"num_envs": self.num_envs, **arguments})

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As `RecommenderVectorEnv.reset`; an integer s seeds lane i with s + i."""
        if options:
            raise ValueError(f"options={options!r}: must be empty for several catalogues")
        seeds = range(seed, seed + self.num_envs) if isinstance(seed, int | np.integer) else seed
        starts = [0, *self._ends.tolist()]
        results = []
        for part, start in zip(self.parts, starts, strict=True):
            own = None if seeds is None else list(seeds[start : start + part.num_envs])
            results.append(part.reset(seed=own))
        return self._joined([observations for observations, _ in results]), self._joined([info for _, info in results])

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """As `RecommenderVectorEnv.step`."""
        parts = np.split(np.asarray(actions), self._ends)
        results = [part.step(own) for part, own in zip(self.parts, parts, strict=True)]
        observations, rewards, terminated, truncated, infos = (list(column) for column in zip(*results, strict=True))
        rows = (np.concatenate(column) for column in (rewards, terminated, truncated))
        return self._joined(observations), *rows, self._joined_infos(infos)

    def close_extras(self, **kwargs: Any) -> None:
        """Close all parts."""
        for part in getattr(self, "parts", ()):
            part.close()

    def _joined(self, parts: list[Any]) -> Any:
        if isinstance(parts[0], dict):
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return np.concatenate(parts)

    def _joined_infos(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        """Infos of all lanes; those of the last step of a session are empty where no session of a part ended."""
        ended = [part for part in parts if "final_obs" in part]
        infos = self._joined([{name: x for name, x in part.items() if "final" not in name} for part in parts])
        if not ended:
            return infos
        sizes = [part.num_envs for part in self.parts]
        missing = [
            {
                "final_obs": np.full(size, None, dtype=object),
                "_final_obs": np.zeros(size, bool),
                "_final_info": np.zeros(size, bool),
                "final_info": {name: np.zeros(size, x.dtype) for name, x in ended[0]["final_info"].items()},
            }
            for size in sizes
        ]
        last = [part if "final_obs" in part else other for part, other in zip(parts, missing, strict=True)]
        infos |= {name: np.concatenate([part[name] for part in last]) for name in missing[0] if name != "final_info"}
        return infos | {"final_info": self._joined([part["final_info"] for part in last])}
