"""Base of agents that learn from a log of items shown at random."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from agents.agent import Learner, NotFittedError
from agents.rollouts.feedback import Exposure, FeedbackLog, rollout, uniform_policy
from recsim_env.config import count


@dataclass(kw_only=True, eq=False, repr=False)
class FeedbackLearner(Learner):
    """Logs the feedback on items shown at random, and is fitted to the log when it next has to act or to be saved.

    A subclass implements `columns` and `fit`, and calls `require_fit` before it reads `parameters`.
    """

    num_envs = 512

    max_rows: int = count(200_000, 1, 10**9)
    """The latest logged items are used, at most this many."""
    parameters: dict[str, np.ndarray] = field(default_factory=dict, init=False)
    """The results of `fit`."""
    _pending_fit: Callable[[], dict[str, np.ndarray]] | None = field(default=None, init=False)

    @abstractmethod
    def columns(self, env: Any, exposure: Exposure) -> dict[str, np.ndarray]:
        """Columns of the log besides `session` and `rating`, from one step; [N, S, ...] each."""

    @abstractmethod
    def fit(self, log: FeedbackLog, env: Any, seed: int) -> dict[str, np.ndarray]:
        """The parameters for a log, which may be empty; `env` is the training env."""

    def new_log(self) -> FeedbackLog:
        """An empty log."""
        return FeedbackLog(has_purchases=self.layout.has_purchases, max_rows=self.max_rows)

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        env, log = self.training_env(total_timesteps), self.new_log()
        self._pending_fit = fit = partial(self.fit, log, env, self.seed)
        update(0)
        exposures = rollout(env, uniform_policy(self, self.seed), total_timesteps, self.seed)
        for step, exposure in enumerate(exposures, start=1):
            log.add(exposure, **self.columns(env, exposure))
            self._pending_fit = fit
            if not update(step * env.num_envs):
                break
        self.require_fit()

    def require_fit(self) -> None:
        """Fit to the feedback logged so far; `NotFittedError` before training."""
        if self._pending_fit is not None:
            fit, self._pending_fit = self._pending_fit, None
            self.parameters = fit()
        if not self.parameters:
            raise NotFittedError

    def learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        self.require_fit()
        return self.parameters, {}

    def restore(self, tensors: dict[str, np.ndarray], learned: dict[str, Any]) -> None:
        self.parameters = tensors
