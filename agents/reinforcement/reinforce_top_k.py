"""REINFORCE with a top-K off-policy correction: a softmax over candidates.

Chen, Beutel, Covington, Jain, Belletti and Chi, "Top-K off-policy correction for a REINFORCE recommender system",
WSDM 2019: the gradient is corrected for the behaviour policy, and for slates of K items.

Shape legend: N sessions side by side, T steps of a rollout, B steps of a batch, M candidates, S = K slots.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from agents.networks import plackett_luce
from agents.networks.lambda_returns import lambda_returns
from agents.networks.softmax_policy import SoftmaxLearner
from agents.networks.torch_learner import Tensors
from agents.reinforcement.rollout_learner import RolloutLearner
from recsim_env.config import count, number
from recsim_env.sb3.candidate_scorer import CandidateScorer, ScorerSizes


def behaviour_log_probs(scores: torch.Tensor, candidate_mask: torch.Tensor, exploration: float) -> torch.Tensor:
    """[..., M]: log of (1 - exploration) softmax(scores) + exploration / (number of available candidates).

    A candidate that is missing (0 in `candidate_mask` [..., M]) gets -inf.
    """
    uniform = candidate_mask / candidate_mask.sum(-1, keepdim=True).clamp(min=1.0)
    return ((1.0 - exploration) * torch.softmax(scores, -1) * candidate_mask + exploration * uniform).log()


def gradient_weights(
    log_probs: torch.Tensor, logged_log_probs: torch.Tensor, slate_size: int, cap: float
) -> torch.Tensor:
    """min(pi / beta, cap) K (1 - pi)^(K - 1): the weight of the gradient of log pi(a | s), besides the advantage.

    `log_probs` are of the items shown under pi, the policy being trained, `logged_log_probs` under beta, the behaviour
    policy; both have the shape of the result. K is `slate_size`; with K = 1 the weight is the capped ratio alone. The
    second factor is the derivative of 1 - (1 - pi)^K, the probability of being among K draws: it is small for an item
    that is almost certainly on the slate, so that other items gain. A slot that is empty because there are too few
    candidates is logged as -inf and has weight 0.
    """
    ratio = (log_probs - logged_log_probs).exp().clamp(max=cap)
    multiplier = slate_size * (1.0 - log_probs.exp()).clamp(min=0.0) ** (slate_size - 1)
    return torch.where(logged_log_probs.isneginf(), 0.0, ratio * multiplier)


def policy_loss(
    log_probs: torch.Tensor, logged_log_probs: torch.Tensor, advantages: torch.Tensor, cap: float
) -> torch.Tensor:
    """Its gradient is minus the corrected policy gradient: mean over steps of sum over slots of weight A grad log pi.

    `log_probs` [B, S] of the items shown are under the policy being trained, and gradients flow through them;
    `logged_log_probs` [B, S] are under the behaviour policy. `advantages` are [B].
    """
    weights = gradient_weights(log_probs.detach(), logged_log_probs, log_probs.shape[1], cap)
    return -(weights * advantages.unsqueeze(1) * log_probs).sum(1).mean()


class PolicyAndBaseline(nn.Module):
    """`"full"` observations to scores [B, M], whose softmax is the policy, and values [B], which are (1 - gamma) V:
    a mean of rewards, whose scale does not depend on gamma.

    Two networks, since the large errors of the regression of returns would disturb a shared one.
    """

    def __init__(self, sizes: ScorerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.policy, self.baseline = CandidateScorer(sizes), CandidateScorer(sizes)
        self.value = nn.Linear(sizes.width, 1)

    def forward(self, observations: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return self.policy(observations)[1], self.values(observations)

    def values(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.value(self.baseline(observations)[0]).squeeze(1)


@dataclass(kw_only=True, eq=False, repr=False)
class ReinforceTopK(SoftmaxLearner, RolloutLearner):
    """Samples slates from a softmax of scores, mixed with uniform exploration, and follows the corrected gradient.

    A rollout is used for several epochs; capped importance ratios correct for the change of the policy meanwhile. The
    advantage is the return-to-go minus a learned state value. `predict` shows the highest scores, or samples from the
    softmax without uniform exploration.
    """

    max_gradient_norm = 0.5
    adam_epsilon = 1e-5

    rollout_length: int = count(50, 1, 1_000_000)
    num_epochs: int = count(4, 1, 1_000_000)
    batch_size: int = count(400, 1, 1_000_000)
    learning_rate: float = number(4e-3, 0.0, 1.0)
    gamma: float = number(0.9, 0.0, 0.999)
    """Discount factor of a step."""
    exploration: float = number(0.1, 0.0, 1.0)
    """Share of uniform draws."""
    cap: float = number(3.0, 1.0, math.inf)
    """Largest importance ratio."""
    entropy_weight: float = number(0.06, 0.0, 1_000.0)
    """Of the policy's entropy, in standard deviations of the advantage."""

    def make_network(self, sizes: ScorerSizes) -> PolicyAndBaseline:
        return PolicyAndBaseline(sizes)

    def scores(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.network.policy(observations)[1]

    def explore(self, observations: Tensors, share: float, generator: torch.Generator) -> Tensors:
        """Slates of the behaviour policy, and `logged_log_probs` [N, S]: of each item as a single draw."""
        log_probs = behaviour_log_probs(self.scores(observations), observations["candidate_mask"], self.exploration)
        slates = plackett_luce.draw_slates(log_probs, self.slate_size, generator)
        return {"slates": slates, "logged_log_probs": log_probs.gather(1, slates)}

    def with_targets(self, steps: Tensors, last: Tensors) -> Tensors:
        """Adds `targets`, returns-to-go times 1 - gamma, and `advantages`, in units of their standard deviation."""
        rewards, is_over, shape = (1.0 - self.gamma) * steps["rewards"], steps["is_over"], steps["rewards"].shape
        last_values = self.network.values(last).expand(shape)  # with lambda = 1, those of the last step alone count
        targets = lambda_returns(rewards, is_over, last_values, gamma=self.gamma, lambda_=1.0).float()
        values = self.network.values({name: column.flatten(0, 1) for name, column in steps.items()})
        advantages = targets - values.reshape(shape)
        return {**steps, "targets": targets, "advantages": advantages / (advantages.std() + 1e-8)}

    def loss(self, batch: Tensors) -> torch.Tensor:
        """Policy, entropy and baseline loss."""
        scores, values = self.network(batch)
        log_probs = torch.log_softmax(scores, 1)
        shown = log_probs.gather(1, batch["slates"])
        entropy = -(log_probs.exp() * log_probs).sum(1).mean()
        loss = policy_loss(shown, batch["logged_log_probs"], batch["advantages"], self.cap)
        return loss - self.entropy_weight * entropy + (values - batch["targets"]).square().mean()
