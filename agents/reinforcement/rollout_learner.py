"""Base of learners that collect short rollouts in many sessions and use each for a few epochs.

Shape legend: N sessions side by side, T steps of a rollout, B rows of a batch (of a rollout: T * N), S slots of a
slate.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from agents.networks.torch_learner import Tensors, TorchLearner
from agents.rollouts.feedback import clicked_slots
from recsim_env.config import count, number
from recsim_env.envs.vector import last_observations


@dataclass(kw_only=True, eq=False, repr=False)
class RolloutLearner(TorchLearner):
    """Trains its network by Adam on minibatches of rollouts.

    A batch is a dict: the parts of the observations before the step, and in training `slates` [B, S] int64 (candidates
    that were shown, top slot first), `clicked` [B] int64 (the slot that was clicked, or -1), and the columns of
    `explore` and `with_targets`. Sessions have a fixed length and observations contain the elapsed time, so truncation
    is treated like termination: no value is bootstrapped there.
    """

    max_gradient_norm: ClassVar[float] = 10.0
    adam_epsilon: ClassVar[float] = 1e-8

    num_catalogs: int = count(1, 1, 10_000)
    rollout_length: int = count(16, 1, 1_000_000)
    """T; values are bootstrapped after the last step."""
    num_epochs: int = count(2, 1, 1_000_000)
    """Epochs for each rollout."""
    batch_size: int = count(64, 1, 1_000_000)
    """User-steps in a minibatch."""
    learning_rate: float = number(2e-3, 0.0, 1.0)
    """Of Adam, annealed linearly to 0."""

    @abstractmethod
    def explore(self, observations: Tensors, share: float, generator: torch.Generator) -> Tensors:
        """`slates` [N, S] to show when that share of the training is over, and other columns of the batch."""

    @abstractmethod
    def with_targets(self, steps: Tensors, last: Tensors) -> Tensors:
        """The steps [T, N, ...] of a rollout, with the columns that `loss` needs.

        `steps` has `rewards` [T, N] float64 and `is_over` [T, N] bool as well; `last` are the observations after it.
        """

    @abstractmethod
    def loss(self, batch: Tensors) -> torch.Tensor:
        """The loss of a minibatch."""

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        env, observations, seed = self.start_training(total_timesteps)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate, eps=self.adam_epsilon)
        generator = torch.Generator(self.device).manual_seed(seed)
        num_taken = 0
        is_running = update(0)
        while is_running and num_taken < total_timesteps:
            share = num_taken / total_timesteps
            optimizer.param_groups[0]["lr"] = self.learning_rate * (1.0 - share)
            length = min(self.rollout_length, math.ceil((total_timesteps - num_taken) / env.num_envs))
            steps, observations = self.roll_out(env, observations, length, share, generator)
            for _ in range(self.num_epochs):
                order = torch.randperm(length * env.num_envs, generator=generator, device=self.device)
                for rows in order.split(self.batch_size):
                    optimizer.zero_grad()
                    self.loss({name: column[rows] for name, column in steps.items()}).backward()
                    nn.utils.clip_grad_norm_(self.network.parameters(), self.max_gradient_norm)
                    optimizer.step()
            num_taken += length * env.num_envs
            is_running = update(num_taken)

    @torch.no_grad()
    def roll_out(
        self, env: Any, observations: Any, length: int, share: float, generator: torch.Generator
    ) -> tuple[Tensors, Any]:
        """A batch of `length` steps in all sessions, and the observations after them."""
        history_shape = env.simulator.layout.history_shape
        log: list[Tensors] = []
        for _ in range(length):
            seen = self.tensors(observations)
            step = seen | self.explore(seen, share, generator)
            slates = step["slates"].cpu().numpy()
            actions = slates[:, 0] if self.slate_size == 1 else slates
            observations, rewards, terminated, truncated, infos = env.step(actions)
            histories = last_observations(observations, infos, "history").reshape(-1, *history_shape)
            outcomes = {
                "clicked": clicked_slots(histories, self.slate_size),
                "rewards": rewards / env.simulator.config.reward_scale,
                "is_over": terminated | truncated,
            }
            log.append(step | self.tensors(outcomes))
        steps = {name: torch.stack([step[name] for step in log]) for name in log[0]}
        steps = self.with_targets(steps, self.tensors(observations))
        return {name: column.flatten(0, 1) for name, column in steps.items()}, observations
