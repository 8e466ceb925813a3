"""Content match: shows the candidates most similar to the items that the user rated well, by content alone.

Pazzani and Billsus, "Content-based recommendation systems", The Adaptive Web, 2007; Lops, de Gemmis and Semeraro,
"Content-based recommender systems: state of the art and trends", Recommender Systems Handbook, 2011.

Shape legend: N sessions, M candidates, H rows of the history, F content features.
"""

from dataclasses import dataclass

import numpy as np

from agents.agent import Observations
from agents.rollouts.feedback import feedback_column, observed_ratings, observed_rewards
from agents.rules.popularity import PopularityAgent
from recsim_env.config import choice


@dataclass(kw_only=True, eq=False, repr=False)
class ContentMatch(PopularityAgent):
    """Ranks by the cosine of a candidate's content with the profile, the weighted mean of the contents in the history.

    An item that was clicked (in a shop: bought) without a rating counts as a rating of 3. Users without a profile (no
    history, no click in it, or equal rewards throughout) get the popularity ranking.
    """

    weights: str = choice("rewards", "rewards", "clicks")
    """`rewards`, an item's reward (its rating minus the neutral rating, 0 for what was skipped) minus the mean of the
    history, so that dislikes count against similar items; or `clicks`, 1 for items that were clicked (in a shop:
    bought), else 0."""

    def scores(self, observations: Observations) -> np.ndarray:
        profiles = self.profiles(self.history(observations))
        contents = self.candidates(observations)[:, :, : profiles.shape[1]].astype(np.float64)
        lengths = np.linalg.norm(contents, axis=2) * np.linalg.norm(profiles, axis=1, keepdims=True)  # [N, M]
        cosines = np.einsum("nmf,nf->nm", contents, profiles) / np.maximum(lengths, 1e-9)
        has_profile = np.linalg.norm(profiles, axis=1, keepdims=True) > 1e-6
        return np.where(has_profile, cosines, super().scores(observations))

    def profiles(self, history: np.ndarray) -> np.ndarray:
        """[N, F] float64: sum of weight x content / number of rows, from histories [N, H, F + 7]; 0 for empty ones."""
        first = self.layout.num_content_features
        feedback = history[:, :, first:]
        is_used = feedback_column(feedback, "shown") > 0
        num_used = np.maximum(is_used.sum(1, keepdims=True), 1)
        if self.weights == "clicks":
            weights = (observed_ratings(feedback, self.layout.has_purchases) > 0.0) * is_used
        else:
            rewards = observed_rewards(feedback, self.layout) * is_used
            weights = (rewards - rewards.sum(1, keepdims=True) / num_used) * is_used
        return np.einsum("nh,nhf->nf", weights, history[:, :, :first].astype(np.float64)) / num_used
