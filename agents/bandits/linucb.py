"""LinUCB on content features: learns about each user within the session, with optimism under uncertainty.

Li, Chu, Langford and Schapire, "A contextual-bandit approach to personalized news article recommendation", WWW 2010,
Algorithm 1, with one linear model for each session shared by all items: content takes the place of arms.

Shape legend: N sessions, M candidates, d features of a candidate.
"""

from dataclasses import dataclass

import numpy as np

from agents.bandits.linear_posterior import LinearBandit, PosteriorState
from recsim_env.config import number


@dataclass(kw_only=True, eq=False, repr=False)
class LinUCB(LinearBandit):
    """Shows argmax_i x_i' theta + alpha sqrt(x_i' A^-1 x_i), with theta = A^-1 b the mean of the posterior."""

    alpha: float = number(1.0, 0.0, 1e9)
    """Standard deviations of optimism."""

    def scores(self, x: np.ndarray, state: PosteriorState) -> np.ndarray:
        variance = np.maximum(((x @ state.inverse) * x).sum(2), 0.0)
        return np.einsum("nmd,nd->nm", x, state.means) + self.alpha * np.sqrt(variance)
