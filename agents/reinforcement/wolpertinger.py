"""Wolpertinger: an actor's point in content space, and a critic that picks among the items near it.

Dulac-Arnold et al., "Deep reinforcement learning in large discrete action spaces", 2015, Algorithm 2, over SAC and TD3
in place of DDPG. With 1 neighbour it is the plain nearest item; with as many as there are candidates the critic alone
decides.

Shape legend: N sessions, B batch, M candidates, F content features, k neighbours.
"""

from typing import Any

import numpy as np
import torch
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.agent import Env
from agents.reinforcement.sb3 import SB3Learner
from recsim_env.config import check_number


class _Refines:
    """Makes SAC or TD3 show, and store, the content of the items picked. Comes before them among the bases of a
    class."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        points, state = super().predict(observation, state, episode_start, deterministic)  # type: ignore[misc]
        return self._refine(observation, points), state

    def _sample_action(
        self, learning_starts: int, action_noise: Any = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        algorithm: Any = self
        if algorithm.num_timesteps < learning_starts:
            points = np.stack([algorithm.action_space.sample() for _ in range(n_envs)])
        else:
            points = super().predict(algorithm._last_obs, deterministic=False)[0]  # type: ignore[misc]
        if action_noise is not None:
            points = np.clip(points + action_noise(), -1.0, 1.0).astype(np.float32)
        actions = self._refine(algorithm._last_obs, points)
        return actions, actions  # the Box is [-1, 1], so that nothing is to be scaled

    def _refine(self, observations: Any, points: np.ndarray) -> np.ndarray:
        policy: Any = self.policy  # type: ignore[attr-defined]
        tensors, is_batch = policy.obs_to_tensor(observations)
        with torch.no_grad():
            asked = torch.as_tensor(points, device=policy.device).reshape(-1, points.shape[-1])
            contents = policy.critic.refined(tensors, asked, policy.num_neighbours).cpu().numpy()
        return contents if is_batch else contents[0]


class WolpertingerSAC(_Refines, SAC):
    """SAC whose entropy is that of the actor's points, as that of the items has no closed form."""


class WolpertingerTD3(_Refines, TD3):
    """TD3; exploration noise is added to the actor's point, before the critic picks."""


class Wolpertinger(SB3Learner):
    """SAC or TD3 that shows the best of the items near the actor's point.

    As in the paper, the content of the item shown is stored, the target critic picks the target's action in the same
    way, and the actor ascends the critic at its own point. During `learning_starts`, points are uniform in content
    space.

    Args:
        env: see `Agent`.
        algorithm: "SAC" or "TD3".
        num_neighbours: k, at least 1; if there are fewer candidates, all of them.
        settings: see `SB3Learner`.
    """

    algorithms = ("SAC", "TD3")

    def __init__(
        self, env: Env | str | None = None, *, algorithm: str = "SAC", num_neighbours: int = 5, **settings: Any
    ) -> None:
        check_number("num_neighbours", num_neighbours, 1, 1_000_000, int)
        policy_settings = {**settings.pop("policy_kwargs", {}), "num_neighbours": num_neighbours}
        super().__init__(env, algorithm=algorithm, policy_kwargs=policy_settings, **settings)

    def algorithm_class(self) -> type[BaseAlgorithm]:
        return {"SAC": WolpertingerSAC, "TD3": WolpertingerTD3}[self.algorithm]
