"""A small scorer of candidates that learns from the same teacher as the large model.

It plays its own sessions, and the teacher scores the candidates that it meets there (DAgger: Ross, Gordon and Bagnell,
"A reduction of imitation learning and structured prediction to no-regret online learning", AISTATS 2011). Its distance
to the large model is what a Transformer, and training in other scenarios, are worth.

Shape legend: N sessions side by side, M candidates.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from agents.agent import Env
from agents.imitation.teacher import spread, teacher_loss, teacher_weights
from agents.networks.softmax_policy import SoftmaxLearner
from agents.networks.torch_learner import Tensors
from agents.references.lookahead import lookahead_scores
from agents.reinforcement.rollout_learner import RolloutLearner
from recsim_env.config import count, number
from recsim_env.sb3.candidate_scorer import CandidateScorer, ScorerSizes


class _Scorer(nn.Module):
    """`"full"` observations to scores [N, M]."""

    def __init__(self, sizes: ScorerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.scorer = CandidateScorer(sizes)
        self.register_buffer("unit", torch.zeros(()))  # of scores, in units of reward; 0 until it is known

    def forward(self, observations: Tensors) -> torch.Tensor:
        return self.scorer(observations)[1]


@dataclass(kw_only=True, eq=False, repr=False)
class DistilledScorer(SoftmaxLearner, RolloutLearner):
    """Learns the scores of the lookahead oracle, which reads the latent state of the training env.

    Errors are in units of the spread of the teacher's scores in the first rollout.
    """

    rollout_length: int = count(16, 1, 1_000_000)
    num_epochs: int = count(6, 1, 1_000_000)
    learning_rate: float = number(1e-3, 0.0, 1.0)
    first_exploration: float = number(0.2, 0.0, 1.0)
    """Share of random slates at the start; it falls linearly."""
    last_exploration: float = number(0.05, 0.0, 1.0)
    """Share of random slates at the end."""
    _teacher: Any = field(default=None, init=False)

    def set_env(self, env: Env | str) -> None:
        super().set_env(env)
        if self.slate_size != 1:
            raise ValueError(f"slate_size={self.slate_size}: the teacher shows one item a step, must be 1")

    def make_network(self, sizes: ScorerSizes) -> nn.Module:
        return _Scorer(sizes)

    def scores(self, observations: Tensors) -> torch.Tensor:
        return self.network(observations)

    def start_training(self, total_timesteps: int) -> tuple[Any, Any, int]:
        env, observations, seed = super().start_training(total_timesteps)
        compact = self.closed_after_training(env.remake(observation="compact"))
        weights = teacher_weights(compact).as_array()
        of_lanes = [(simulator, np.tile(weights, (len(simulator), 1))) for simulator in env.simulators]
        self._teacher = lambda: np.concatenate([lookahead_scores(*each) for each in of_lanes])
        return env, observations, seed

    def explore(self, observations: Tensors, share: float, generator: torch.Generator) -> Tensors:
        """The best slates, a share of them random, and `labels` [N, M]: the teacher's scores."""
        mask = observations["candidate_mask"]
        exploration = self.first_exploration + (self.last_exploration - self.first_exploration) * share
        is_random = torch.rand(len(mask), 1, generator=generator, device=self.device) < exploration
        random = torch.rand(mask.shape, generator=generator, device=self.device)
        ranked = torch.where(is_random, random, self.scores(observations)).masked_fill(mask == 0, -torch.inf)
        labels = torch.as_tensor(self._teacher(), dtype=torch.float32, device=self.device)
        return {"slates": ranked.topk(self.slate_size).indices, "labels": labels}

    def with_targets(self, steps: Tensors, last: Tensors) -> Tensors:
        """The labels in units of their spread in the first rollout."""
        labels, unit = steps["labels"], self.network.unit
        if unit == 0.0:
            unit.fill_(spread(labels.flatten(0, 1), steps["candidate_mask"].flatten(0, 1) > 0))
        return {**steps, "labels": labels / unit}

    def loss(self, batch: Tensors) -> torch.Tensor:
        """Mean squared error of the scores, up to a constant in each step."""
        return teacher_loss(self.scores(batch), batch["labels"], batch["candidate_mask"] > 0).mean()
