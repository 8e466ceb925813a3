"""LinUCB on content features: a bandit that learns each visitor within the session, and tries what it is unsure of.

Li, Chu, Langford and Schapire, "A contextual-bandit approach to personalized news article recommendation", WWW 2010,
Algorithm 1, with one linear model for each session shared by all items, as content takes the place of arms.

Shape legend: N sessions, M candidates, d features of a candidate.
"""

import numpy as np

from agents.bandits.linear_posterior import LinearBandit, LinearPrior
from recsim_env.config import check_number

__all__ = ["LinUCB", "LinearPrior"]


class LinUCB(LinearBandit):
    """Shows argmax_i x_i' theta + alpha sqrt(x_i' A^-1 x_i), with theta = A^-1 b the mean of the posterior.

    Args:
        alpha: how many standard deviations of optimism.
        ridge: weight of the prior where no population's is known (`LinearBandit`).
    """

    def __init__(self, *, alpha: float = 1.0, ridge: float = 1.0) -> None:
        super().__init__(ridge=ridge)
        check_number("alpha", alpha, 0.0, 1e9)
        self.alpha = alpha

    def scores(self, x: np.ndarray) -> np.ndarray:
        variance = np.maximum(((x @ self._inverse) * x).sum(2), 0.0)
        return np.einsum("nmd,nd->nm", x, self.thetas()) + self.alpha * np.sqrt(variance)
