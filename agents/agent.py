"""The protocol: what every agent can do.

Shape legend: N sessions side by side, M candidates, S slots of a slate, F content features.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from recsim_env.vector_env import RecommenderVectorEnv

Observations = Any
"""A batch of observations: a dict of arrays with the sessions first, or one such array (`observation="flat"`)."""


class Agent(ABC):
    """Chooses what to show in N sessions at once."""

    observation: str = "dict"
    """The kind of observation it wants of the env."""

    def begin(self, env: RecommenderVectorEnv, seed: int = 0) -> None:
        """Get ready to act in the sessions of `env`. `seed` is for agents that act at random."""
        self.num_sessions = env.num_envs
        self.layout = env.simulator.layout
        self.slate_size = env.simulator.config.slate_size

    @abstractmethod
    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        """Actions for a batch of observations: [N] int64, or [N, S] for slates.

        `is_first` [N] bool marks the sessions that have just begun: what was learnt of the person before is void.
        """

    def candidates(self, observations: Observations) -> np.ndarray:
        """[N, M, F + 4]: the candidates of a batch of `"dict"` observations."""
        return observations["candidates"].reshape(-1, *self.layout.candidates_shape)

    def history(self, observations: Observations) -> np.ndarray:
        """[N, H, F + 5]: the histories of a batch of `"dict"` observations, most recent first."""
        return observations["history"].reshape(-1, *self.layout.history_shape)

    def best(self, scores: np.ndarray, candidate_mask: np.ndarray) -> np.ndarray:
        """Actions that show the candidates with the highest scores [N, M], best on top; missing ones last."""
        ranked = np.argsort(np.where(candidate_mask > 0, -scores, np.inf), axis=1, kind="stable")
        return ranked[:, 0] if self.slate_size == 1 else ranked[:, : self.slate_size]


class Learner(Agent):
    """An agent that learns by acting."""

    @abstractmethod
    def learn(
        self,
        env_id: str,
        env_options: dict[str, Any],
        num_steps: int,
        seed: int,
        report: Callable[[int], None] | None = None,
        report_every: int = 0,
    ) -> None:
        """Act for `num_steps` user-steps in sessions of `gymnasium.make_vec(env_id, ..., **env_options)`.

        `report(steps taken)` is called at the start, about every `report_every` steps and at the end.
        """

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write what was learnt to a file, whole or not at all."""

    @abstractmethod
    def load(self, path: Path) -> None:
        """Take up what `save` wrote."""
