"""Behaviour cloning: supervised imitation of the behaviour policy.

Pomerleau, "Efficient training of artificial neural networks for autonomous navigation", Neural Computation 1991.

Shape legend: B steps of a batch, M candidates, S slots of a slate.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agents.networks.plackett_luce import slate_log_probabilities
from agents.networks.softmax_policy import SoftmaxLearner
from agents.networks.torch_learner import Tensors
from agents.offline.logged_steps import LoggedSteps
from agents.offline.offline_learner import OfflineLearner
from recsim_env.sb3.candidate_scorer import CandidateScorer


@dataclass(kw_only=True, eq=False, repr=False)
class BehaviorCloning(SoftmaxLearner, OfflineLearner):
    """The softmax policy under which the slates of the log are most likely.

    It ignores rewards, so that at best it equals the behaviour policy; its most likely action is often better, since it
    does not explore.
    """

    def make_network(self, sizes: Any) -> CandidateScorer:
        return CandidateScorer(sizes)

    def scores(self, observations: Tensors) -> torch.Tensor:
        return self.network(observations)[1]

    def loss(self, log: LoggedSteps, index: np.ndarray) -> torch.Tensor:
        """Minus the mean log-likelihood of the slates."""
        scores, is_shown = self.scores(self.observed(log, index)), self.column(log.is_shown, index)
        return -slate_log_likelihoods(scores, self.column(log.slates, index), is_shown).mean()


def slate_log_likelihoods(scores: torch.Tensor, slates: torch.Tensor, is_shown: torch.Tensor) -> torch.Tensor:
    """[B]: log-likelihoods of slates [B, S] under the softmax of scores [B, M], over slots that are `is_shown`."""
    return (slate_log_probabilities(scores, slates) * is_shown).sum(1)
