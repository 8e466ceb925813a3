"""Ranks candidates by their item statistics: the same ranking for all users.

Shape legend: N sessions, M candidates, G features of a candidate.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.agent import Agent, Observations
from agents.rollouts.feedback import UNRATED
from recsim_env.config import number
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, STATISTICS, ObservationLayout, num_impressions


@dataclass(kw_only=True, eq=False, repr=False)
class PopularityAgent(Agent):
    """Ranks by the reward per impression, click rate x (mean rating - neutral rating), shrunk towards the candidates'
    mean.

    In a shop a click is not yet a purchase, and sales are not among the statistics: there it ranks by the mean rating
    alone, as "best rated" lists do.
    """

    prior_impressions: float = number(20.0, 0.0, np.inf)
    """Impressions that the prior is worth, so that a new item ranks in the middle."""

    def act(self, observations: Observations, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        return self.top_candidates(self.scores(observations), observations["candidate_mask"])

    def scores(self, observations: Observations) -> np.ndarray:
        """[N, M] float64: the shrunk reward per impression of each candidate, from `"full"` observations."""
        return popularity_scores(
            self.candidates(observations),
            observations["candidate_mask"],
            layout=self.layout,
            prior_impressions=self.prior_impressions,
        )


def popularity_scores(
    candidates: np.ndarray, candidate_mask: np.ndarray, *, layout: ObservationLayout, prior_impressions: float
) -> np.ndarray:
    """[N, M] float64: the reward per impression of candidates [N, M, G], shrunk towards their mean; arguments as in
    `PopularityAgent`."""
    first = CANDIDATE_COLUMNS.index(STATISTICS[0]) - len(CANDIDATE_COLUMNS)
    statistics = candidates[:, :, first : first + len(STATISTICS)]
    impressions = num_impressions(statistics) * candidate_mask
    rewards = reward_per_impression(statistics, layout)
    total = np.maximum(impressions.sum(1, keepdims=True), 1.0)
    prior = (impressions * rewards).sum(1, keepdims=True) / total
    return (impressions * rewards + prior_impressions * prior) / np.maximum(impressions + prior_impressions, 1e-9)


def reward_per_impression(statistics: np.ndarray, layout: ObservationLayout) -> np.ndarray:
    """[...] float64: click rate x (mean rating - neutral rating), with a mean of 3 for items without a rating; in a
    shop the mean rating, 0 without one; from `STATISTICS` [..., 3]."""
    mean_ratings = 5.0 * statistics[..., 2].astype(np.float64)
    if layout.has_purchases:
        return mean_ratings
    known = np.where(mean_ratings == 0.0, UNRATED, mean_ratings)
    return (known - layout.neutral_rating) * statistics[..., 1]
