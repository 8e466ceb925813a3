"""Implicit Q-learning: learns values and a policy from a log without evaluating actions that are not in it.

Kostrikov, Nair and Levine, "Offline reinforcement learning with implicit Q-learning", ICLR 2022: equations 5 to 7.

Shape legend: B steps of a batch, M candidates, S slots of a slate.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from agents.networks.q_network import QNetwork
from agents.networks.softmax_policy import SoftmaxLearner
from agents.networks.torch_learner import Tensors
from agents.offline.behavior_cloning import slate_log_likelihoods
from agents.offline.logged_steps import LoggedSteps
from agents.offline.offline_learner import OfflineLearner
from agents.offline.slate_values import slate_values
from agents.offline.target_network import TargetNetwork
from recsim_env.config import number
from recsim_env.sb3.candidate_scorer import CandidateScorer, ScorerSizes

_MAX_WEIGHT = 100.0
"""Upper bound of the weight of a step in the policy loss, as in the authors' code."""


class PolicyAndValues(nn.Module):
    """Three networks: the policy's scores [B, M], and (1 - gamma) times Q [B, M] and V [B]."""

    def __init__(self, sizes: ScorerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.policy, self.q_network, self.v_network = CandidateScorer(sizes), QNetwork(sizes), QNetwork(sizes)

    def values(self, observations: Tensors) -> torch.Tensor:
        """[B]: values of states, a soft maximum over candidates, since a value depends on the available candidates."""
        mask = observations["candidate_mask"]
        return self.v_network(observations).logsumexp(1) - mask.sum(1).clamp(min=1.0).log()


@dataclass(kw_only=True, eq=False, repr=False)
class IQL(SoftmaxLearner, OfflineLearner):
    """V is an expectile of Q over logged actions, Q is bootstrapped from V, and the policy imitates logged actions with
    weights exp(beta (Q - V)).
    """

    has_layer_norm = True

    expectile: float = number(0.8, 0.5, 0.999)
    """0.5 for the value of the behaviour policy, near 1 for that of the best logged actions; tau in the paper."""
    beta: float = number(3.0, 0.0, 1e6)
    """Inverse temperature, per unit of reward; 0 is behaviour cloning."""
    gamma: float = number(0.95, 0.0, 0.999)
    """Discount factor."""
    tau: float = number(0.005, 0.0, 1.0)
    """Coefficient of the soft update of the target network; alpha in the paper."""

    def make_network(self, sizes: Any) -> PolicyAndValues:
        return PolicyAndValues(sizes)

    def scores(self, observations: Tensors) -> torch.Tensor:
        return self.network.policy(observations)[1]

    def trainable_steps(self, log: LoggedSteps) -> np.ndarray:
        """All steps, except those whose next step is not in the log."""
        return np.flatnonzero(log.is_over | log.is_followed)

    def start_fit(self, log: LoggedSteps) -> None:
        self._target = TargetNetwork(self.network.q_network, self.tau)

    def after_update(self) -> None:
        self._target.follow()

    def loss(self, log: LoggedSteps, index: np.ndarray) -> torch.Tensor:
        """The losses of V, Q and the policy, in units of (1 - gamma) times the reward."""
        observations, network = self.observed(log, index), self.network
        slates, is_shown = self.column(log.slates, index), self.column(log.is_shown, index)
        values, mean_reward = network.values(observations), 1.0 - self.gamma
        advantages = slate_values(self._target(observations), slates, is_shown) - values
        q_values = slate_values(network.q_network(observations), slates, is_shown)
        weights = (self.beta / mean_reward * advantages.detach()).clamp(max=math.log(_MAX_WEIGHT)).exp()
        likelihoods = slate_log_likelihoods(self.scores(observations), slates, is_shown)
        return (
            expectile_loss(advantages, self.expectile)
            + (q_values - self._targets(log, index)).square()
            - weights * likelihoods
        ).mean()

    @torch.no_grad()
    def _targets(self, log: LoggedSteps, index: np.ndarray) -> torch.Tensor:
        """[B]: (1 - gamma) r + gamma (1 - gamma) V(s'), without V at the end of a session."""
        following = self.network.values(self.observed(log, np.where(log.is_followed[index], index + 1, index)))
        rewards = (1.0 - self.gamma) * self.column(log.rewards, index)
        return rewards + self.gamma * torch.where(self.column(log.is_over, index), 0.0, following)


def expectile_loss(differences: torch.Tensor, expectile: float) -> torch.Tensor:
    """[B]: |expectile - 1(u < 0)| u^2 for each difference u [B]; the shift that minimises its mean is the expectile."""
    return torch.where(differences < 0.0, 1.0 - expectile, expectile) * differences.square()
