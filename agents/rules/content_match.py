"""Content match: shows what is most like the items that went down well, by content alone.

Pazzani and Billsus, "Content-based recommendation systems", The Adaptive Web, 2007; Lops, de Gemmis and Semeraro,
"Content-based recommender systems: state of the art and trends", Recommender Systems Handbook, 2011.

Shape legend: N sessions, M candidates, H rows of the history, F content features.
"""

import numpy as np

from agents.agent import Agent, Observations
from agents.rollouts.feedback import column_of, counted_stars
from agents.rules.popularity import PopularityAgent
from recsim_env.envs.vector import RecommenderVectorEnv

WEIGHTS = ("stars", "clicks")


class ContentMatch(Agent):
    """Ranks by the cosine of a candidate's content with the profile, the mean of the history's contents by weight.

    An item that was clicked (in a shop: bought) without a rating counts 3 stars, one that was not 0. Whoever has no
    profile (no history, nothing clicked in it, or all of it alike) is shown what is popular.

    Args:
        weights: "stars", an item's stars less their mean over the history, so that dislikes push away; or "clicks", 1
            for what was clicked (in a shop: bought) and 0 for the rest.
        prior_impressions: of `PopularityAgent`, for those who have no profile.
    """

    def __init__(self, *, weights: str = "stars", prior_impressions: float = 20.0) -> None:
        if weights not in WEIGHTS:
            raise ValueError(f"weights={weights!r}: must be one of {', '.join(WEIGHTS)}")
        self.weights = weights
        self._popularity = PopularityAgent(prior_impressions=prior_impressions)

    def begin(self, env: RecommenderVectorEnv, seed: int = 0) -> None:
        super().begin(env, seed)
        self._popularity.begin(env, seed)

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        profiles = self.profiles(self.history(observations))
        contents = self.candidates(observations)[:, :, : profiles.shape[1]].astype(np.float64)
        lengths = np.linalg.norm(contents, axis=2) * np.linalg.norm(profiles, axis=1, keepdims=True)  # [N, M]
        cosines = np.einsum("nmf,nf->nm", contents, profiles) / np.maximum(lengths, 1e-9)
        has_profile = np.linalg.norm(profiles, axis=1, keepdims=True) > 1e-6
        scores = np.where(has_profile, cosines, self._popularity.scores(observations))
        return self.best(scores, observations["candidate_mask"])

    def profiles(self, history: np.ndarray) -> np.ndarray:
        """[N, F] float64: sum w content / number of rows, from histories [N, H, F + 7]; 0 for an empty one."""
        first = self.layout.num_content_features
        feedback = history[:, :, first:]
        is_used = column_of(feedback, "shown") > 0
        num_used = np.maximum(is_used.sum(1, keepdims=True), 1)
        stars = counted_stars(feedback, self.layout.has_purchases) * is_used
        if self.weights == "clicks":
            weights = (stars > 0.0).astype(np.float64)
        else:
            weights = (stars - stars.sum(1, keepdims=True) / num_used) * is_used
        return np.einsum("nh,nhf->nf", weights, history[:, :, :first].astype(np.float64)) / num_used
