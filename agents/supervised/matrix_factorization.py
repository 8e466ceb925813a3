"""Matrix factorisation: a few latent factors of items, learned from a log of ratings.

Koren, Bell and Volinsky, "Matrix factorization techniques for recommender systems", IEEE Computer 2009: biases and
factors, by alternating ridge regressions. New users are folded in by one more ridge regression.

Shape legend: N sessions, M candidates, H rows of the history, R logged items, I items, D factors.
"""

from dataclasses import dataclass

import numpy as np

from agents.supervised.logged_ratings import LoggedRatingsLearner
from recsim_env.config import count, number
from recsim_env.logs.fitting.grouped_ridge import Design, ridge_by_group, rows_by_group

_INITIAL_FACTORS_SD = 0.1
_USER_RIDGE = 5.0
"""Of the users' biases."""


@dataclass(kw_only=True, eq=False, repr=False)
class MatrixFactorization(LoggedRatingsLearner):
    """Ranks by level + effect + p'q_i, with q_i the item's factors and p those of the user.

    Factors and users' biases are fitted to the logged ratings minus level and effect. p and the user's bias are the
    ridge regression on q of the history's ratings minus level and effect. Users without a history have p = 0, items
    that are not in the log q = 0; for both, popularity remains (`LoggedRatingsLearner`).
    """

    num_factors: int = count(8, 1, 1_000)
    """D."""
    factor_ridge: float = number(15.0, 1e-9, 1e9)
    """Of the factors of users and items."""
    num_sweeps: int = count(8, 1, 10_000)
    """Alternations."""

    def fit_users(
        self, sessions: np.ndarray, items: np.ndarray, residuals: np.ndarray, num_items: int, seed: int
    ) -> dict[str, np.ndarray]:
        shape = (num_items, self.num_factors)
        factors = _INITIAL_FACTORS_SD * np.random.default_rng(seed).standard_normal(shape)
        by_session = rows_by_group(sessions, int(sessions.max(initial=-1)) + 1)
        by_item, ones = rows_by_group(items, num_items), np.ones(len(items))
        for _ in range(self.num_sweeps):
            users = ridge_by_group(by_session, Design(ones, items, factors), residuals, self._user_ridge())
            target, design = residuals - users[sessions, 0], Design(None, sessions, users[:, 1:])
            factors = ridge_by_group(by_item, design, target, np.full(self.num_factors, self.factor_ridge))
        return {"item_factors": factors}

    def _user_ridge(self) -> np.ndarray:
        return np.r_[_USER_RIDGE, np.full(self.num_factors, self.factor_ridge)]

    def user_scores(
        self, candidates: np.ndarray, shown: np.ndarray, residuals: np.ndarray, is_used: np.ndarray
    ) -> np.ndarray:
        factors = self.parameters["item_factors"]
        constant = np.ones((*shown.shape, 1))
        design = np.concatenate([constant, factors[shown]], 2) * is_used[:, :, None]  # [N, H, 1 + D]
        moments = np.einsum("nhd,nh->nd", design, residuals * is_used)
        grams = design.transpose(0, 2, 1) @ design + np.diag(self._user_ridge())
        users = np.linalg.solve(grams, moments[:, :, None])[:, :, 0]  # the bias, then the factors
        return np.einsum("nmd,nd->nm", factors[candidates], users[:, 1:])
