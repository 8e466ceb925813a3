"""Conservative Q-learning: Q-learning from a log, with a penalty on the values of slates that are not in it.

Kumar, Zhou, Tucker and Levine, "Conservative Q-learning for offline reinforcement learning", NeurIPS 2020: equation 4,
CQL(H), for discrete actions.

Shape legend: B steps of a batch, M candidates, S slots of a slate.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agents.networks.q_network import QNetwork
from agents.networks.torch_learner import Tensors
from agents.offline.behavior_cloning import slate_log_likelihoods
from agents.offline.logged_steps import LoggedSteps
from agents.offline.offline_learner import OfflineLearner
from agents.offline.slate_values import best_slate_values, slate_values
from agents.offline.target_network import TargetNetwork
from recsim_env.config import number


@dataclass(kw_only=True, eq=False, repr=False)
class CQL(OfflineLearner):
    """Double Q-learning plus `conservatism` times (log sum_a exp Q(s, a) - Q(s, a_logged)).

    The penalty is the negative log-likelihood of the log under the policy softmax Q (Plackett-Luce for slates). With a
    large weight CQL imitates the log; with 0 it is plain Q-learning, which overestimates the values of rare actions.
    """

    has_layer_norm = True

    conservatism: float = number(0.5, 0.0, 1e6)
    """Weight of the penalty; alpha in the paper."""
    gamma: float = number(0.95, 0.0, 0.999)
    """Discount factor."""
    tau: float = number(0.005, 0.0, 1.0)
    """Coefficient of the soft update of the target network."""

    def make_network(self, sizes: Any) -> QNetwork:
        return QNetwork(sizes)

    def q_values(self, observations: Tensors) -> torch.Tensor:
        """[B, M]: Q-values of candidates, in units of reward; the network learns (1 - gamma) Q, a mean reward."""
        return self.network(observations) / (1.0 - self.gamma)

    def scores(self, observations: Tensors) -> torch.Tensor:
        return self.q_values(observations)

    def trainable_steps(self, log: LoggedSteps) -> np.ndarray:
        """All steps, except those whose next step is not in the log."""
        return np.flatnonzero(log.is_over | log.is_followed)

    def start_fit(self, log: LoggedSteps) -> None:
        self._target = TargetNetwork(self.network, self.tau)

    def after_update(self) -> None:
        self._target.follow()

    def loss(self, log: LoggedSteps, index: np.ndarray) -> torch.Tensor:
        """Mean of half the squared temporal-difference error plus the penalty."""
        q_values = self.q_values(self.observed(log, index))
        slates, is_shown = self.column(log.slates, index), self.column(log.is_shown, index)
        errors = slate_values(q_values, slates, is_shown) - self._targets(log, index)
        penalties = -slate_log_likelihoods(q_values, slates, is_shown)
        return (0.5 * errors.square() + self.conservatism * penalties).mean()

    @torch.no_grad()
    def _targets(self, log: LoggedSteps, index: np.ndarray) -> torch.Tensor:
        """[B]: r + gamma Q_target(s', argmax_a Q(s', a)), and r at the end of a session."""
        following = self.observed(log, np.where(log.is_followed[index], index + 1, index))
        values = self._target(following) / (1.0 - self.gamma)
        best = best_slate_values(self.q_values(following), values, following["candidate_mask"], self.slate_size)
        return self.column(log.rewards, index) + self.gamma * torch.where(self.column(log.is_over, index), 0.0, best)
