"""Ranks candidates by their item statistics: the same ranking for all users.

Shape legend: N sessions, M candidates, G features of a candidate.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.agent import Agent, Observations
from recsim_env.config import number
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, STATISTICS, num_impressions


@dataclass(kw_only=True, eq=False, repr=False)
class PopularityAgent(Agent):
    """Ranks by the rating per impression (click rate x mean rating), shrunk towards the candidates' mean.

    In a shop a click is not yet a purchase, and sales are not among the statistics: there it ranks by the mean rating
    alone, as "best rated" lists do.
    """

    prior_impressions: float = number(20.0, 0.0, np.inf)
    """Impressions that the prior is worth, so that a new item ranks in the middle."""

    def act(self, observations: Observations, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        return self.top_candidates(self.scores(observations), observations["candidate_mask"])

    def scores(self, observations: Observations) -> np.ndarray:
        """[N, M] float64: the shrunk rating per impression of each candidate, from `"full"` observations."""
        return popularity_scores(
            self.candidates(observations),
            observations["candidate_mask"],
            has_purchases=self.layout.has_purchases,
            prior_impressions=self.prior_impressions,
        )


def popularity_scores(
    candidates: np.ndarray, candidate_mask: np.ndarray, *, has_purchases: bool, prior_impressions: float
) -> np.ndarray:
    """[N, M] float64: the rating per impression of candidates [N, M, G], shrunk towards their mean; arguments as in
    `PopularityAgent`."""
    first = CANDIDATE_COLUMNS.index(STATISTICS[0]) - len(CANDIDATE_COLUMNS)
    statistics = candidates[:, :, first : first + len(STATISTICS)]
    impressions = num_impressions(statistics) * candidate_mask
    ratings = rating_per_impression(statistics, has_purchases)
    total = np.maximum(impressions.sum(1, keepdims=True), 1.0)
    prior = (impressions * ratings).sum(1, keepdims=True) / total
    return (impressions * ratings + prior_impressions * prior) / np.maximum(impressions + prior_impressions, 1e-9)


def rating_per_impression(statistics: np.ndarray, has_purchases: bool) -> np.ndarray:
    """[...] float64: ratings summed over impressions, 0 without one; in a shop the mean rating; from `STATISTICS`
    [..., 3]."""
    mean_rating = 5.0 * statistics[..., 2].astype(np.float64)
    return mean_rating if has_purchases else mean_rating * statistics[..., 1]
