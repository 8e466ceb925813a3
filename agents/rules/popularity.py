"""Shows what the platform's statistics say is liked best: the same ranking for everyone.

Shape legend: N sessions, M candidates.
"""

import numpy as np

from agents.agent import Agent, Env, Observations
from recsim_env.config import check_number
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, STATISTICS


class PopularityAgent(Agent):
    """Ranks by observed stars per impression (click rate x mean rating), shrunk towards the candidates' mean.

    In a shop a click is only a look, and sales are not among the statistics: there it ranks by the mean rating alone,
    as "best rated" lists do. The shrinkage is that of a prior worth `prior_impressions` impressions, so that an item
    that nobody has seen yet ranks in the middle.
    """

    def __init__(self, env: Env | str | None = None, *, prior_impressions: float = 20.0, seed: int = 0) -> None:
        super().__init__(env, seed=seed)
        check_number("prior_impressions", prior_impressions, 0.0, np.inf, float)
        self.prior_impressions = prior_impressions

    def act(
        self, observations: Observations, state: None, episode_start: np.ndarray, deterministic: bool
    ) -> np.ndarray:
        return self.top_candidates(self.scores(observations), observations["candidate_mask"])

    def scores(self, observations: Observations) -> np.ndarray:
        """[N, M] float64: shrunken stars of each candidate, from `"dict"` observations."""
        first = CANDIDATE_COLUMNS.index(STATISTICS[0]) - len(CANDIDATE_COLUMNS)
        statistics = self.candidates(observations)[:, :, first : first + len(STATISTICS)]
        impressions = num_impressions(statistics) * observations["candidate_mask"]
        stars = observed_stars(statistics, self.layout.has_purchases)
        total = np.maximum(impressions.sum(1, keepdims=True), 1.0)
        prior = (impressions * stars).sum(1, keepdims=True) / total
        shrinkage = self.prior_impressions
        return (impressions * stars + shrinkage * prior) / np.maximum(impressions + shrinkage, 1e-9)


def num_impressions(statistics: np.ndarray) -> np.ndarray:
    """[...] float64: how often items were shown, from `traffic.STATISTICS` [..., 3]."""
    return 2.0 ** (32.0 * statistics[..., 0].astype(np.float64)) - 1.0


def observed_stars(statistics: np.ndarray, has_purchases: bool) -> np.ndarray:
    """[...] float64: stars per impression, from `traffic.STATISTICS` [..., 3]; in a shop, per rating."""
    mean_rating = 5.0 * statistics[..., 2].astype(np.float64)
    return mean_rating if has_purchases else mean_rating * statistics[..., 1]
