"""Base class of reward models: a network predicts the reward of a slate, and the best slate is shown.

Shape legend: N sessions, B logged steps, M candidates, S slots of a slate, G features of a candidate.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from agents.networks.torch_learner import Tensors
from agents.offline.log_learner import LogLearner
from agents.offline.logged_steps import LoggedSteps
from recsim_env.config import count, number
from recsim_env.sb3.candidate_scorer import CandidateScorer


@dataclass(kw_only=True, eq=False, repr=False)
class RewardModel(LogLearner):
    """Predicts the reward of the step from the scores of the items shown, by least squares.

    The value of a slate is the mean of its items' scores. All people have the same weight: their loss is the mean over
    their steps. Inputs and rewards have the units of the env; nothing is normalised by statistics of the log.
    """

    learning_rate: float = number(5e-3, 0.0, 1.0)
    """Initial learning rate of Adam, annealed linearly to 0."""
    people_per_step: int = count(64, 1, 1_000_000)
    """People in a gradient step."""

    def untrained(self, seed: int) -> Self:
        """An agent with the same settings and another seed that is not trained."""
        other = type(self)(**{**self.settings, "seed": seed})
        other._layout, other.slate_size = self._layout, self.slate_size
        return other

    def make_network(self, sizes: Any) -> torch.nn.Module:
        return CandidateScorer(sizes)

    def scores(self, observations: Tensors) -> torch.Tensor:
        return self.network(observations)[1]

    def shown(self, log: LoggedSteps, index: np.ndarray) -> Tensors:
        """The steps `index` [B] as observations whose candidates are the S items shown, with the `reward` [B]."""
        observations, slates = log.observations(index), log.slates[index]
        candidates = observations["candidates"].reshape(*observations["candidate_mask"].shape, -1)  # [B, M, G]
        items = np.take_along_axis(candidates, slates[:, :, None], 1)
        shown = {
            "user": observations["user"],
            "history": observations["history"],
            "candidates": items.reshape(len(index), -1),
            "candidate_mask": log.is_shown[index].astype(np.float32),
            "reward": log.rewards[index],
        }
        return self.tensors(shown)


def squared_errors(scores: torch.Tensor, shown: Tensors) -> torch.Tensor:
    """[B]: squared errors of the rewards predicted by scores [B, S] of the items shown; empty slots count as 0."""
    predicted = torch.where(shown["candidate_mask"] > 0, scores, 0.0).mean(1)
    return (predicted - shown["reward"]).square()


def person_losses(model: RewardModel, log: LoggedSteps, rows: list[np.ndarray]) -> np.ndarray:
    """[P] float64: mean squared error of a trained model on each person's own steps, given by their rows in the log."""
    index = np.concatenate(rows)
    errors = []
    with torch.no_grad():
        for part in np.array_split(index, -(-len(index) // 4_096)):
            shown = model.shown(log, part)
            errors.append(squared_errors(model.scores(shown), shown).cpu().numpy().astype(np.float64))
    lengths = np.array([len(each) for each in rows])
    return np.add.reduceat(np.concatenate(errors), np.cumsum(lengths) - lengths) / lengths
