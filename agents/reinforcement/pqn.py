"""PQN: Q-learning in many parallel sessions, without a replay buffer and without target networks.

Gallici et al., "Simplifying deep temporal difference learning", ICLR 2025: layer normalisation stabilises training,
and lambda-returns of short rollouts, each used for a few epochs, replace the target network.

Shape legend: N sessions side by side, B rows of a batch, M candidates, S slots of a slate.
"""

from dataclasses import dataclass

import torch
from torch import nn

from agents.agent import Env
from agents.networks.lambda_returns import lambda_returns
from agents.networks.q_network import QNetwork
from agents.networks.torch_learner import Tensors
from agents.reinforcement.rollout_learner import RolloutLearner
from recsim_env.config import number
from recsim_env.sb3.candidate_scorer import ScorerSizes


@dataclass(kw_only=True, eq=False, repr=False)
class PQN(RolloutLearner):
    """Q-learning from lambda-returns; one item a step.

    The network learns (1 - gamma) Q, a mean of rewards, whose scale does not depend on gamma.
    """

    has_layer_norm = True

    gamma: float = number(0.95, 0.0, 0.999)
    """Discount factor of a step."""
    lambda_: float = number(0.65, 0.0, 1.0)
    """0 bootstraps after each step, 1 at the end of a rollout."""
    final_epsilon: float = number(0.05, 0.0, 1.0)
    """Share of random slates once exploration is over; 1 at the start."""
    exploration_fraction: float = number(0.3, 0.0, 1.0)
    """Share of the training over which epsilon is annealed, linearly."""

    def set_env(self, env: Env | str) -> None:
        super().set_env(env)
        self.check_sizes()

    def make_network(self, sizes: ScorerSizes) -> nn.Module:
        return QNetwork(sizes)

    def check_sizes(self) -> None:
        """`ValueError` if it cannot play slates of the env's size."""
        if self.slate_size != 1:
            raise ValueError(f"slate_size={self.slate_size}: PQN values single items, must be 1 (SlateQ plays slates)")

    def q_values(self, observations: Tensors) -> torch.Tensor:
        """[B, M]: Q of each candidate, in units of reward."""
        return self.network(observations) / (1.0 - self.gamma)

    def rank(self, observations: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores [B, M] whose S highest make the best slate, best on top, and its value [B]."""
        q_values = self.q_values(observations)
        return q_values, q_values.max(1).values

    def scores(self, observations: Tensors) -> torch.Tensor:
        return self.rank(observations)[0]

    def loss(self, batch: Tensors) -> torch.Tensor:
        """Mean of ((1 - gamma) (Q(s, a) - target))^2."""
        shown = self.q_values(batch).gather(1, batch["slates"]).squeeze(1)
        return ((1.0 - self.gamma) * (shown - batch["targets"])).square().mean()

    def epsilon(self, share: float) -> float:
        """Share of random slates when that share of the training is over."""
        if share >= self.exploration_fraction:
            return self.final_epsilon
        return 1.0 - (1.0 - self.final_epsilon) * share / self.exploration_fraction

    def explore(self, observations: Tensors, share: float, generator: torch.Generator) -> Tensors:
        """Epsilon-greedy slates, and `values` [N] of the best slates."""
        mask = observations["candidate_mask"]
        scores, values = self.rank(observations)
        is_random = torch.rand(len(mask), 1, generator=generator, device=self.device) < self.epsilon(share)
        random = torch.rand(mask.shape, generator=generator, device=self.device)
        ranked = torch.where(is_random, random, scores.float()).masked_fill(mask == 0, -torch.inf)
        return {"slates": ranked.topk(self.slate_size).indices, "values": values}

    def with_targets(self, steps: Tensors, last: Tensors) -> Tensors:
        """Adds `targets`: lambda-returns, in units of reward."""
        next_values = torch.cat([steps["values"][1:], self.rank(last)[1][None]])
        rewards, returns = steps["rewards"].float(), {"gamma": self.gamma, "lambda_": self.lambda_}
        return {**steps, "targets": lambda_returns(rewards, steps["is_over"], next_values, **returns)}
