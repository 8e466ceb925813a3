"""Rewards estimated from observed feedback.

`predict` does not observe rewards, which include ratings that are not submitted. A least-squares regression on the
feedback estimates their expected value.

Shape legend: n steps, S slots of a slate, T features of a row of the history.
"""

import numpy as np

from recsim_env.simulation.observation import FEEDBACK

NUM_REGRESSORS = len(FEEDBACK) + 2

_RIDGE = 1e-3
_RATING = FEEDBACK.index("rating")


def regressors(rows: np.ndarray) -> np.ndarray:
    """[n, 9] float64: feedback on slates with rows [n, S, T] of the history, summed over slots; the number of ratings;
    and a constant. Empty slots are rows of zeros."""
    feedback = rows[:, :, -len(FEEDBACK) :].astype(np.float64)
    num_ratings = (feedback[:, :, _RATING] > 0.0).sum(1)
    return np.column_stack([feedback.sum(1), num_ratings, np.ones(len(rows))])


def fit_reward_weights(rows: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """[9] float64: weights of the `regressors`, fitted to slates with rows [n, S, T] and rewards [n]."""
    x = regressors(rows)
    return np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ rewards)
