"""Linear Thompson sampling: believes for one step what it draws from the posterior of each visitor's taste.

Agrawal and Goyal, "Thompson sampling for contextual bandits with linear payoffs", ICML 2013; Chapelle and Li, "An
empirical evaluation of Thompson sampling", NeurIPS 2011, which also shrinks the posterior before it draws.

Shape legend: N sessions, M candidates, d features of a candidate.
"""

import numpy as np

from agents.bandits.linear_posterior import LinearBandit
from recsim_env.config import check_number
from recsim_env.envs.vector import RecommenderVectorEnv


class LinearThompson(LinearBandit):
    """Shows argmax_i x_i' theta, with theta ~ Normal(A^-1 b, scale^2 A^-1) drawn anew in each step.

    Args:
        scale: of the posterior's standard deviation; 1 is Thompson sampling proper, 0 greedy.
        ridge: weight of the prior where no population's is known (`LinearBandit`).
    """

    def __init__(self, *, scale: float = 1.0, ridge: float = 1.0) -> None:
        super().__init__(ridge=ridge)
        check_number("scale", scale, 0.0, 1e9)
        self.scale = scale

    def begin(self, env: RecommenderVectorEnv, seed: int = 0) -> None:
        super().begin(env, seed)
        self._generator = np.random.default_rng(seed)

    def scores(self, x: np.ndarray) -> np.ndarray:
        return np.einsum("nmd,nd->nm", x, self.drawn_thetas())

    def drawn_thetas(self) -> np.ndarray:
        """[N, d]: A^-1 b + scale L z, with L L' = A^-1 (Cholesky) and z standard normal."""
        root = np.linalg.cholesky(self._inverse)
        noise = self._generator.standard_normal(self._targets.shape)
        return self.thetas() + self.scale * np.einsum("nij,nj->ni", root, noise)
