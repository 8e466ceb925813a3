"""The protocol: what every agent can do.

Shape legend: N sessions side by side, M candidates, S slots of a slate, F content features.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Observations = Any
"""A batch of observations: a dict of arrays with the sessions first, or one such array (`observation="flat"`)."""

Env = Any
"""A `RecommenderVectorEnv`, or a `RecommenderEnv` for one session."""


class Agent(ABC):
    """Chooses what to show in N sessions at once.

    An agent's constructor takes keyword arguments only: its settings. Those that compute with torch take `device`.
    """

    observation: str = "dict"
    """The kind of observation it wants of the env."""

    env_variant: str = ""
    """Which of a scenario's ids it plays: `recsim_env/{scenario}{env_variant}-v0`."""

    def begin(self, env: Env, seed: int = 0) -> None:
        """Get ready to act in the sessions of `env`. `seed` is for agents that act at random."""
        simulator = env.unwrapped.simulator
        self.num_sessions = len(simulator)
        self.layout = simulator.layout
        self.slate_size = simulator.config.slate_size

    @abstractmethod
    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        """Actions for a batch of observations: [N] int64, or [N, S] for slates; points in content space for ids that
        take those.

        `is_first` [N] bool marks the sessions that have just begun: what was learnt of the person before is void.
        """

    def best_params(self) -> dict[str, Any]:
        """Settings that `learn` has chosen by itself, for the record."""
        return {}

    def recommend(self, observation: Any) -> Any:
        """What to show for one observation, unbatched, of the env of one session that was given to `begin`.

        All that the agent takes into account of the person is in the observation: its history in the first place.
        """
        is_dict = isinstance(observation, dict)
        batch = {name: part[None] for name, part in observation.items()} if is_dict else observation[None]
        return self.act(batch, np.ones(1, np.bool_))[0]

    def candidates(self, observations: Observations) -> np.ndarray:
        """[N, M, F + 6]: the candidates of a batch of `"dict"` observations."""
        return observations["candidates"].reshape(-1, *self.layout.candidates_shape)

    def history(self, observations: Observations) -> np.ndarray:
        """[N, H, F + 7]: the histories of a batch of `"dict"` observations, most recent first."""
        return observations["history"].reshape(-1, *self.layout.history_shape)

    def best(self, scores: np.ndarray, candidate_mask: np.ndarray) -> np.ndarray:
        """Actions that show the candidates with the highest scores [N, M], best on top; missing ones last."""
        ranked = np.argsort(np.where(candidate_mask > 0, -scores, np.inf), axis=1, kind="stable")
        return ranked[:, 0] if self.slate_size == 1 else ranked[:, : self.slate_size]


class Learner(Agent):
    """An agent that learns by acting."""

    has_budget: bool = True
    """Whether what it learns depends on the number of steps that it may take."""

    reads_evaluation_catalog: bool = False
    """Whether it learns from what other people answered on the very catalogue that it is evaluated on (its `learn` is
    then given that catalogue with training users): an advantage over those that never saw these items."""

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

        `report(steps taken)` is called at the start, about every `report_every` steps and at the end
        (`milestones.Milestones`). It may let the agent `begin` and `act` in another env: what learning needs to go on
        must not be kept in what those two change.
        """

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write what was learnt to a file, whole or not at all."""

    @abstractmethod
    def load(self, path: Path) -> None:
        """Take up what `save` wrote."""


class NotFittedError(RuntimeError):
    """An agent that has to learn first is asked to act or to save."""

    def __init__(self) -> None:
        super().__init__("this agent has not learnt anything yet: call learn() or load()")
