"""Base class of learners that are trained from a log alone: where the log comes from, and how it is read.

Shape legend: L logged steps, B steps of a batch.
"""

import tempfile
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from agents.agent import unwrapped
from agents.callbacks import MaybeCallback, training_progress
from agents.networks.torch_learner import Tensors, TorchLearner
from agents.offline.behavior_policy import EPSILONS, BehaviorPolicy
from agents.offline.logged_steps import LoggedSteps
from recsim_env.atomic_file import printable
from recsim_env.config import check_number, choice, count
from recsim_env.logs.simulated.log_folder import read_manifest
from recsim_env.logs.simulated.log_writer import LogWriter
from recsim_env.logs.simulated.replay import make_logged_env, replay

MAX_UPDATES = 10**9


@dataclass(kw_only=True, eq=False, repr=False)
class LogLearner(TorchLearner):
    """Learns from a log in memory, by `fit`.

    `learn_from_log` reads the log of any policy. `learn` first writes a log of `total_timesteps` steps of the behaviour
    policy in the agent's env.
    """

    behavior: str = choice("mixed", *EPSILONS)
    """The `BehaviorPolicy` that collects the log in `learn`; ignored by `learn_from_log`."""
    num_fitting_steps: int = count(50_000, 0, 10**9)
    """User-steps that the behaviour policy is fitted to before it collects the log."""
    num_updates: int = count(2_000, 0, MAX_UPDATES)
    """Gradient steps."""
    max_logged_steps: int = count(2_000_000, 1, 10**12)
    """Maximum length of a log that is read into memory; a step of Video takes 1.5 kB."""

    def learn_from_log(
        self,
        path: Path | str,
        *,
        num_updates: int | None = None,
        env: Any = None,
        callback: MaybeCallback = None,
        progress_bar: bool = False,
    ) -> Self:
        """Train from a log alone, and return the agent. A second log continues the training.

        Args:
            path: the folder of a log of any policy, written by `LogWriter`.
            num_updates: gradient steps; by default the setting of that name.
            env: for a log with a custom scenario or user model: its env, with `observation="full"` (see `replay`).
            callback: as for `learn`; called after each gradient step, with a proportional number of logged steps.
            progress_bar: as for `learn`.

        Raises:
            FileNotFoundError: there is no log.
            ValueError: the log cannot be replayed, is longer than `max_logged_steps`, or does not match the agent's
                env.
        """
        if num_updates is not None:
            check_number("num_updates", num_updates, 0, MAX_UPDATES, int)
        log = self.read_log(path, env)
        with training_progress(self, len(log), callback, progress_bar) as update:
            self.fit(log, num_updates, update)
        return self

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        if total_timesteps > self.max_logged_steps:
            raise ValueError(
                f"total_timesteps={total_timesteps}: must be at most max_logged_steps={self.max_logged_steps}"
            )
        if total_timesteps == 0:
            self.init_new_network()
            update(0)
            return
        env, seed = self.training_env(total_timesteps), self.seed + self.num_timesteps
        policy = BehaviorPolicy(env, behavior=self.behavior, num_fitting_steps=self.num_fitting_steps, seed=seed)
        policy.learn(0)
        logged = self.closed_after_training(
            self.env.remake(num_envs=env.num_envs, autoreset_mode=AutoresetMode.NEXT_STEP)
        )
        with tempfile.TemporaryDirectory() as folder:
            LogWriter(logged, policy, folder, num_steps=total_timesteps, seed=seed).write()
            log = self.read_log(folder, logged)
        self.fit(log, update=update)

    @abstractmethod
    def fit(
        self, log: LoggedSteps, num_updates: int | None = None, update: Callable[[int], bool] = lambda num_taken: True
    ) -> None:
        """Train on a log in memory; see `learn_from_log` for `num_updates` and `train` for `update`.

        Raises:
            ValueError: the log is too short.
        """

    def init_new_network(self) -> None:
        """Make the network, unless the agent is already trained."""
        if self._network is None:
            self.init_network()

    def read_log(self, path: Path | str, env: Any = None) -> LoggedSteps:
        """Read a log into memory; arguments and errors as for `learn_from_log`."""
        manifest = read_manifest(path)
        if manifest.num_steps > self.max_logged_steps:
            raise ValueError(
                f"{printable(path)}: has {manifest.num_steps} steps, more than max_logged_steps={self.max_logged_steps}"
            )
        if manifest.num_action_features:
            raise ValueError(
                f"{printable(path)}: shows points in content space; {type(self).__name__} chooses candidates"
            )
        env = make_logged_env(path, observation=self.observation) if env is None else unwrapped(env)
        if self._layout is None:
            self.set_env(env)
        layout, slate_size = env.simulator.layout.of_kind(self.observation), env.simulator.config.slate_size
        if env.observation_kind != self.observation or (layout, slate_size) != (self.layout, self.slate_size):
            raise ValueError(f"{printable(path)}: its observations or slates differ from those of the agent's env")
        return LoggedSteps.of(
            replay(path, env=env),
            num_vector_steps=manifest.num_steps // manifest.num_envs,
            num_envs=manifest.num_envs,
            reward_scale=env.simulator.config.reward_scale,
        )

    def observed(self, log: LoggedSteps, index: np.ndarray) -> Tensors:
        """Observations before the steps `index` [B], as tensors."""
        return self.tensors(log.observations(index))

    def column(self, values: np.ndarray, index: np.ndarray) -> torch.Tensor:
        """Rows `index` [B] of a column of a log, on the device."""
        return torch.as_tensor(values[index]).to(self.device)
