"""Matrix factorisation: what people have in common as a few factors of items, learnt from a log of ratings.

Koren, Bell and Volinsky, "Matrix factorization techniques for recommender systems", IEEE Computer 2009: biases and
factors, by alternating ridge regressions. A visitor who is not in the log is folded in: one more ridge regression.

Shape legend: N sessions, M candidates, H rows of the history, R logged answers, I items, D factors.
"""

from typing import Any

import numpy as np

from agents.supervised.logged_ratings import LogLearner
from recsim_env.config import check_number
from recsim_env.logs.factorization import Grouping, ridge_by_group

_FIRST_FACTORS_SD = 0.1
_VISITOR_RIDGE = 5.0
"""Of the visitors' biases."""


class MatrixFactorization(LogLearner):
    """Ranks by level + effect + p'q_i, with q_i the item's factors and p those of the visitor.

    Factors and the visitors' biases are fitted to what the logged stars are above level and effect. p and the visitor's
    bias are the ridge regression of what the history's stars are above them on q: a visitor without a history has
    p = 0, and an item that the log does not have q = 0; both are served by popularity (`LogLearner`).

    Args:
        num_factors: D.
        factor_ridge: of the factors of visitors and items.
        num_sweeps: alternations.
        settings: further arguments of `LogLearner`.
    """

    def __init__(
        self, *, num_factors: int = 8, factor_ridge: float = 15.0, num_sweeps: int = 8, **settings: Any
    ) -> None:
        super().__init__(**settings)
        check_number("num_factors", num_factors, 1, 1_000, int)
        check_number("factor_ridge", factor_ridge, 1e-9, 1e9)
        check_number("num_sweeps", num_sweeps, 1, 10_000, int)
        self.num_factors, self.factor_ridge, self.num_sweeps = num_factors, factor_ridge, num_sweeps

    def fit(
        self, sessions: np.ndarray, items: np.ndarray, residuals: np.ndarray, num_items: int, seed: int
    ) -> dict[str, np.ndarray]:
        shape = (num_items, self.num_factors)
        factors = _FIRST_FACTORS_SD * np.random.default_rng(seed).standard_normal(shape)
        by_session = Grouping.of(sessions, int(sessions.max(initial=-1)) + 1)
        by_item, constant = Grouping.of(items, num_items), np.ones((len(items), 1))
        for _ in range(self.num_sweeps):
            design = np.hstack([constant, factors[items]])
            visitors = ridge_by_group(by_session, design, residuals, self._visitor_ridge())[sessions]
            target = residuals - visitors[:, 0]
            factors = ridge_by_group(by_item, visitors[:, 1:], target, np.full(self.num_factors, self.factor_ridge))
        return {"item_factors": factors}

    def _visitor_ridge(self) -> np.ndarray:
        return np.r_[_VISITOR_RIDGE, np.full(self.num_factors, self.factor_ridge)]

    def tastes(
        self, candidates: np.ndarray, shown: np.ndarray, residuals: np.ndarray, is_used: np.ndarray
    ) -> np.ndarray:
        assert self.learnt is not None
        factors = self.learnt["item_factors"]
        constant = np.ones((*shown.shape, 1))
        design = np.concatenate([constant, factors[shown]], 2) * is_used[:, :, None]  # [N, H, 1 + D]
        moments = np.einsum("nhd,nh->nd", design, residuals * is_used)
        grams = design.transpose(0, 2, 1) @ design + np.diag(self._visitor_ridge())
        visitors = np.linalg.solve(grams, moments[:, :, None])[:, :, 0]  # the bias, then the factors
        return np.einsum("nmd,nd->nm", factors[candidates], visitors[:, 1:])
