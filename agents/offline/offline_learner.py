"""Base class of offline learners: Adam on random minibatches of a log.

Shape legend: L logged steps, B steps of a batch.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from agents.offline.log_learner import LogLearner
from agents.offline.logged_steps import LoggedSteps
from recsim_env.config import count, number


@dataclass(kw_only=True, eq=False, repr=False)
class OfflineLearner(LogLearner):
    """Trains its network with Adam on random minibatches of a log."""

    max_gradient_norm: ClassVar[float] = 10.0

    batch_size: int = count(256, 1, 1_000_000)
    """Logged steps in a minibatch."""
    learning_rate: float = number(2e-3, 0.0, 1.0)
    """Initial learning rate of Adam, annealed linearly to 0."""

    @abstractmethod
    def loss(self, log: LoggedSteps, index: np.ndarray) -> torch.Tensor:
        """The loss of a minibatch, the steps `index` [B] of a log."""

    def trainable_steps(self, log: LoggedSteps) -> np.ndarray:
        """The rows of a log that minibatches are drawn from; by default all."""
        return np.arange(len(log))

    def start_fit(self, log: LoggedSteps) -> None:
        """Called before the first gradient step on a log."""

    def after_update(self) -> None:
        """Called after each gradient step."""

    def fit(
        self, log: LoggedSteps, num_updates: int | None = None, update: Callable[[int], bool] = lambda num_taken: True
    ) -> None:
        """Train on a log in memory; see `learn_from_log` for `num_updates` and `train` for `update`.

        Raises:
            ValueError: the log is too short.
        """
        rows, seed = self.trainable_steps(log), self.seed + self.num_timesteps
        if len(rows) == 0:
            raise ValueError(f"log of {len(log)} steps: too short for {type(self).__name__}")
        self.init_new_network()
        self.start_fit(log)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate)
        generator = np.random.default_rng(seed)
        total = self.num_updates if num_updates is None else num_updates
        is_running, num_done = update(0), 0
        while is_running and num_done < total:
            optimizer.param_groups[0]["lr"] = self.learning_rate * (1.0 - num_done / total)
            optimizer.zero_grad()
            self.loss(log, generator.choice(rows, self.batch_size)).backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), self.max_gradient_norm)
            optimizer.step()
            self.after_update()
            num_done += 1
            is_running = update(round(len(log) * num_done / total))
