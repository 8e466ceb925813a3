"""Linear Thompson sampling: ranks by a draw from the posterior of each user's preferences.

Agrawal and Goyal, "Thompson sampling for contextual bandits with linear payoffs", ICML 2013; Chapelle and Li, "An
empirical evaluation of Thompson sampling", NeurIPS 2011, which also shrinks the posterior before sampling.

Shape legend: N sessions, M candidates, d features of a candidate.
"""

from dataclasses import dataclass

import numpy as np

from agents.bandits.linear_posterior import LinearBandit, PosteriorState
from recsim_env.config import number


@dataclass(kw_only=True, eq=False, repr=False)
class LinearThompson(LinearBandit):
    """Shows argmax_i x_i' theta, with theta ~ Normal(A^-1 b, scale^2 A^-1) drawn in each step.

    It samples whether `deterministic` or not: without the draws it would not explore.
    """

    scale: float = number(1.0, 0.0, 1e9)
    """Factor of the posterior's standard deviation; 1 is Thompson sampling proper, 0 greedy."""

    def scores(self, x: np.ndarray, state: PosteriorState) -> np.ndarray:
        return np.einsum("nmd,nd->nm", x, self.sample(state))

    def sample(self, state: PosteriorState) -> np.ndarray:
        """[N, d]: A^-1 b + scale L z, with L L' = A^-1 (Cholesky) and z standard normal."""
        root = np.linalg.cholesky(state.inverse)
        noise = state.generator.standard_normal(state.targets.shape)
        return state.means + self.scale * np.einsum("nij,nj->ni", root, noise)
