"""Linear Thompson sampling: ranks by a draw from the posterior of each user's preferences.

Agrawal and Goyal, "Thompson sampling for contextual bandits with linear payoffs", ICML 2013; Chapelle and Li, "An
empirical evaluation of Thompson sampling", NeurIPS 2011, which also shrinks the posterior before sampling.

Shape legend: N sessions, M candidates, d features of a candidate.
"""

import numpy as np

from agents.agent import Env
from agents.bandits.linear_posterior import LinearBandit, PosteriorState
from recsim_env.config import check_number


class LinearThompson(LinearBandit):
    """Shows argmax_i x_i' theta, with theta ~ Normal(A^-1 b, scale^2 A^-1) drawn in each step.

    It samples whether `deterministic` or not: without the draws it would not explore.

    Args:
        env: the env to act in.
        scale: factor of the posterior's standard deviation; 1 is Thompson sampling proper, 0 greedy.
        ridge: weight of the isotropic prior (`LinearBandit`).
        seed: seeds the draws.
    """

    def __init__(self, env: Env | str | None = None, *, scale: float = 1.0, ridge: float = 1.0, seed: int = 0) -> None:
        super().__init__(env, ridge=ridge, seed=seed)
        check_number("scale", scale, 0.0, 1e9)
        self.scale = scale

    def scores(self, x: np.ndarray, state: PosteriorState) -> np.ndarray:
        return np.einsum("nmd,nd->nm", x, self.sample(state))

    def sample(self, state: PosteriorState) -> np.ndarray:
        """[N, d]: A^-1 b + scale L z, with L L' = A^-1 (Cholesky) and z standard normal."""
        root = np.linalg.cholesky(state.inverse)
        noise = state.generator.standard_normal(state.targets.shape)
        return state.means + self.scale * np.einsum("nij,nj->ni", root, noise)
