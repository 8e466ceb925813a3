"""Item-based nearest neighbours: people who liked what you liked, liked this.

Sarwar, Karypis, Konstan and Riedl, "Item-based collaborative filtering recommendation algorithms", WWW 2001 (adjusted
cosine, weighted sum); Deshpande and Karypis, "Item-based top-N recommendation algorithms", TOIS 2004 (few neighbours,
kept for each item).

Shape legend: N sessions, M candidates, H rows of the history, R logged answers, I items, K neighbours.
"""

from typing import Any

import numpy as np

from agents.supervised.logged_ratings import LogLearner
from recsim_env.config import check_number

_SESSIONS_AT_ONCE = 4_096
VISITOR_RIDGE = 5.0
"""Answers from which on a visitor's own mean counts for half and more."""


class ItemKNN(LogLearner):
    """Ranks by level + effect + sum_j s_ij t_j / (shrinkage + sum_j s_ij), over the shown items j near the candidate i.

    t_j is the stars that the visitor gave to j, less level, effect and the visitor's own mean (shrunk). s_ij is the
    cosine of what the log's sessions gave to i and to j, in the same units and 0 for what a session was not shown, if j
    is one of the nearest neighbours of i and the cosine is positive, and 0 otherwise. With no neighbour shown, and for
    items that the log does not have, level and effect remain: popularity (`LogLearner`).

    Args:
        num_neighbors: K, for each item.
        shrinkage: what the similarities must sum to for the neighbours' stars to count for half and more.
        settings: further arguments of `LogLearner`.
    """

    def __init__(self, *, num_neighbors: int = 100, shrinkage: float = 0.1, **settings: Any) -> None:
        super().__init__(**settings)
        check_number("num_neighbors", num_neighbors, 1, 1_000_000, int)
        check_number("shrinkage", shrinkage, 1e-9, 1e9)
        self.num_neighbors, self.shrinkage = num_neighbors, shrinkage

    def fit(
        self, sessions: np.ndarray, items: np.ndarray, residuals: np.ndarray, num_items: int, seed: int
    ) -> dict[str, np.ndarray]:
        deviations = residuals - visitor_means(sessions, residuals)[sessions]
        similarities = cosines(sessions, items, deviations, num_items)
        np.fill_diagonal(similarities, 0.0)
        num_kept = min(self.num_neighbors, num_items - 1)
        neighbors = np.empty((num_items, num_kept), np.int32)
        for item in range(num_items):  # one by one: the order of the whole table takes twice its memory
            neighbors[item] = np.argpartition(similarities[item], num_items - num_kept)[num_items - num_kept :]
        kept = np.maximum(np.take_along_axis(similarities, neighbors, 1), 0.0)
        return {"neighbors": neighbors, "similarities": kept}

    def tastes(
        self, candidates: np.ndarray, shown: np.ndarray, residuals: np.ndarray, is_used: np.ndarray
    ) -> np.ndarray:
        assert self.learnt is not None
        means = residuals.sum(1) / (is_used.sum(1) + VISITOR_RIDGE)
        deviations = (residuals - means[:, None]) * is_used
        neighbors, similarities = (self.learnt[name][candidates] for name in ("neighbors", "similarities"))  # [N, M, K]
        above, total = np.zeros(candidates.shape), np.full(candidates.shape, self.shrinkage)
        for row in range(shown.shape[1]):
            is_near = (neighbors == shown[:, row, None, None]) & is_used[:, row, None, None]
            weights = (similarities * is_near).sum(2)  # [N, M]
            above += weights * deviations[:, row, None]
            total += weights
        return above / total


def visitor_means(sessions: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """[number of sessions] float64: the mean residual of each session, shrunk towards 0."""
    return np.bincount(sessions, residuals) / (np.bincount(sessions) + VISITOR_RIDGE)


def cosines(sessions: np.ndarray, items: np.ndarray, deviations: np.ndarray, num_items: int) -> np.ndarray:
    """[I, I] float32: the cosine of each two items' columns in the table of sessions x items that `deviations` [R]
    fill (what a session was shown twice adds up); 0 with an item that the log does not have."""
    products = np.zeros((num_items, num_items), np.float32)
    num_sessions = int(sessions.max(initial=-1)) + 1
    for first in range(0, num_sessions, _SESSIONS_AT_ONCE):
        rows = np.flatnonzero((sessions >= first) & (sessions < first + _SESSIONS_AT_ONCE))
        table = np.zeros((min(_SESSIONS_AT_ONCE, num_sessions - first), num_items), np.float32)
        np.add.at(table, (sessions[rows] - first, items[rows]), deviations[rows].astype(np.float32))
        products += table.T @ table
    lengths = np.sqrt(np.maximum(np.diag(products), 1e-12))
    products /= lengths[:, None]
    products /= lengths
    return products
