"""Learners whose policy is a softmax of scores; slates are Plackett-Luce.

Shape legend: N sessions side by side, M candidates, S slots of a slate.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from agents.agent import Observations, Starts, State
from agents.networks import plackett_luce
from agents.networks.torch_learner import TorchLearner


@dataclass(kw_only=True, eq=False, repr=False)
class SoftmaxLearner(TorchLearner):
    """`predict` shows the highest `scores`, or draws slates from their softmax if it is not `deterministic`."""

    state_class: ClassVar[type | None] = torch.Generator

    def initial_state(self, num_sessions: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(int(self.new_generator().integers(2**62)))

    @torch.no_grad()
    def act(self, observations: Observations, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        if deterministic:
            return super().act(observations, state, episode_start, deterministic)
        return self.draw(self.scores(self.tensors(observations)), state)

    def draw(self, scores: torch.Tensor, generator: torch.Generator) -> np.ndarray:
        """Actions that show slates drawn by these scores [N, M]."""
        slates = plackett_luce.draw_slates(scores, self.slate_size, generator)
        return (slates[:, 0] if self.slate_size == 1 else slates).cpu().numpy()

    @torch.no_grad()
    def log_probabilities(
        self, observations: Observations, actions: np.ndarray, state: State = None, episode_start: Starts = None
    ) -> np.ndarray:
        return self.log_probabilities_of(self.scores(self.tensors(observations)), actions)

    def log_probabilities_of(self, scores: torch.Tensor, actions: np.ndarray) -> np.ndarray:
        """[N] float64: of these actions under the softmax of scores [N, M]."""
        slates = torch.as_tensor(actions, device=self.device).reshape(len(scores), -1)
        return plackett_luce.slate_log_probabilities(scores.double(), slates).sum(1).cpu().numpy()
