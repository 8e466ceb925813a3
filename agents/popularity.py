"""Shows what the platform's statistics say is liked best: the same ranking for everyone."""

import numpy as np

from agents.agent import Agent, Observations
from recsim_env.observation import CANDIDATE_COLUMNS
from recsim_env.traffic import STATISTICS


class PopularityAgent(Agent):
    """Ranks by observed stars per impression (click rate x mean rating), shrunk towards the candidates' mean.

    The shrinkage is that of a prior worth `prior_impressions` impressions, so that an item that nobody has seen yet
    ranks in the middle.
    """

    def __init__(self, prior_impressions: float = 20.0) -> None:
        self.prior_impressions = prior_impressions

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        mask = observations["candidate_mask"]
        known = self.candidates(observations)[:, :, -len(CANDIDATE_COLUMNS) :].astype(np.float64)
        column = {name: known[:, :, CANDIDATE_COLUMNS.index(name)] for name in STATISTICS}
        impressions = (2.0 ** (32.0 * column["impressions"]) - 1.0) * mask
        stars = column["click_rate"] * 5.0 * column["mean_rating"]
        total = np.maximum(impressions.sum(1, keepdims=True), 1.0)
        prior = (impressions * stars).sum(1, keepdims=True) / total
        shrunk = (impressions * stars + self.prior_impressions * prior) / (impressions + self.prior_impressions)
        return self.best(shrunk, mask)
