"""Item-based nearest neighbours: items are similar if the same users rate both above or below their expectation.

Sarwar, Karypis, Konstan and Riedl, "Item-based collaborative filtering recommendation algorithms", WWW 2001 (adjusted
cosine, weighted sum); Deshpande and Karypis, "Item-based top-N recommendation algorithms", TOIS 2004 (few neighbours,
kept for each item).

Shape legend: N sessions, M candidates, H rows of the history, R logged items, I items, K neighbours.
"""

from dataclasses import dataclass

import numpy as np

from agents.supervised.logged_ratings import LoggedRatingsLearner
from recsim_env.config import count, number

_SESSIONS_AT_ONCE = 4_096
USER_RIDGE = 5.0
"""Ratings at which the weight of a user's own mean is a half."""


@dataclass(kw_only=True, eq=False, repr=False)
class ItemKNN(LoggedRatingsLearner):
    """Ranks by level + effect + sum_j s_ij t_j / (shrinkage + sum_j s_ij), over the shown items j near the candidate i.

    t_j is the user's rating of j minus level, effect and the user's own mean (shrunk). s_ij is the cosine of the logged
    sessions' ratings of i and of j, in the same units and 0 for items that a session was not shown, if j is one of the
    nearest neighbours of i and the cosine is positive, and 0 otherwise. Without a neighbour in the history, and for
    items that are not in the log, level and effect remain: popularity (`LoggedRatingsLearner`).
    """

    num_neighbors: int = count(100, 1, 1_000_000)
    """K, for each item."""
    shrinkage: float = number(3.0, 1e-9, 1e9)
    """Sum of similarities at which the weight of the neighbours' ratings is a half."""

    def fit_users(
        self, sessions: np.ndarray, items: np.ndarray, residuals: np.ndarray, num_items: int, seed: int
    ) -> dict[str, np.ndarray]:
        deviations = residuals - user_means(sessions, residuals)[sessions]
        similarities = cosines(sessions, items, deviations, num_items)
        np.fill_diagonal(similarities, 0.0)
        num_kept = min(self.num_neighbors, num_items - 1)
        neighbors = np.empty((num_items, num_kept), np.int32)
        for item in range(num_items):  # one by one: partitioning the whole matrix takes twice its memory
            neighbors[item] = np.argpartition(similarities[item], num_items - num_kept)[num_items - num_kept :]
        kept = np.maximum(np.take_along_axis(similarities, neighbors, 1), 0.0)
        return {"neighbors": neighbors, "similarities": kept}

    def user_scores(
        self, candidates: np.ndarray, shown: np.ndarray, residuals: np.ndarray, is_used: np.ndarray
    ) -> np.ndarray:
        means = residuals.sum(1) / (is_used.sum(1) + USER_RIDGE)
        deviations = (residuals - means[:, None]) * is_used
        neighbors, similarities = (
            self.parameters[name][candidates] for name in ("neighbors", "similarities")
        )  # [N, M, K]
        above, total = np.zeros(candidates.shape), np.full(candidates.shape, self.shrinkage)
        for row in range(shown.shape[1]):
            is_near = (neighbors == shown[:, row, None, None]) & is_used[:, row, None, None]
            weights = (similarities * is_near).sum(2)  # [N, M]
            above += weights * deviations[:, row, None]
            total += weights
        return above / total


def user_means(sessions: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """[number of sessions] float64: the mean residual of each session, shrunk towards 0."""
    return np.bincount(sessions, residuals) / (np.bincount(sessions) + USER_RIDGE)


def cosines(sessions: np.ndarray, items: np.ndarray, deviations: np.ndarray, num_items: int) -> np.ndarray:
    """[I, I] float32: cosines of the columns of the sessions x items matrix of `deviations` [R].

    Repeated items of a session add up; cosines with items that are not in the log are 0.
    """
    products = np.zeros((num_items, num_items), np.float32)
    num_sessions = int(sessions.max(initial=-1)) + 1
    for first in range(0, num_sessions, _SESSIONS_AT_ONCE):
        rows = np.flatnonzero((sessions >= first) & (sessions < first + _SESSIONS_AT_ONCE))
        matrix = np.zeros((min(_SESSIONS_AT_ONCE, num_sessions - first), num_items), np.float32)
        np.add.at(matrix, (sessions[rows] - first, items[rows]), deviations[rows].astype(np.float32))
        products += matrix.T @ matrix
    lengths = np.sqrt(np.maximum(np.diag(products), 1e-12))
    products /= lengths[:, None]
    products /= lengths
    return products
