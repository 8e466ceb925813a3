"""LinUCB on content features: a bandit that learns each visitor within the session.

Li, Chu, Langford and Schapire, "A contextual-bandit approach to personalized news article recommendation", WWW 2010,
Algorithm 1, with one linear model for each session shared by all items, as content takes the place of arms. It is
written with a Gaussian prior on theta, so that the prior can be that of a population (`empirical_bayes`).

Shape legend: N sessions, M candidates, S slots, F content features, d = F + 1 (content and a constant).
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from agents.agent import Agent, Observations
from recsim_env.observation import FEEDBACK
from recsim_env.vector_env import RecommenderVectorEnv

_UNRATED_STARS = 3.0


@dataclass(frozen=True, kw_only=True)
class LinearPrior:
    """What is believed of a visitor beforehand: stars = x' theta + e, theta ~ Normal(mean, covariance)."""

    mean: np.ndarray
    """[d] float64."""
    covariance: np.ndarray
    """[d, d] float64, positive definite."""
    noise_variance: float
    """Variance of e, in stars squared."""

    @classmethod
    def isotropic(cls, size: int, ridge: float) -> "LinearPrior":
        """Nothing is believed: mean 0, covariance I / ridge, noise of variance 1."""
        return cls(mean=np.zeros(size), covariance=np.eye(size) / ridge, noise_variance=1.0)


class LinUCB(Agent):
    """Shows argmax_i x_i' theta + alpha sqrt(x_i' A^-1 x_i).

    With a prior of mean m, covariance C and noise variance v: A = C^-1 + sum x x' / v and
    theta = A^-1 (C^-1 m + sum r x / v). r is the stars given to a shown item, 0 if it was skipped, and 3 if it was
    consumed but not rated. Without a prior of a population, m = 0, C = I / ridge and v = 1: ridge regression.
    """

    prior: LinearPrior | None = None

    def __init__(self, alpha: float = 1.0, ridge: float = 1.0) -> None:
        self.alpha, self.ridge = alpha, ridge

    def begin(self, env: RecommenderVectorEnv, seed: int = 0) -> None:
        super().begin(env, seed)
        self._size = self.layout.num_content_features + 1
        self._believed = self.prior or LinearPrior.isotropic(self._size, self.ridge)
        self._inverse = np.zeros((self.num_sessions, self._size, self._size))
        self._targets = np.zeros((self.num_sessions, self._size))

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        prior = self._believed
        self._inverse[is_first] = prior.covariance
        self._targets[is_first] = np.linalg.solve(prior.covariance, prior.mean)
        history = self.history(observations)
        for contents, stars, is_new in last_slate(history, self.slate_size, self.layout.has_purchases):
            self._update(contents, stars, is_new & ~is_first)
        if is_first.any():  # a warm user brings a history
            for contents, stars, is_used in rows_of(history, self.layout.has_purchases):
                self._update(contents, stars, is_used & is_first)
        contents = with_constant(self.candidates(observations)[:, :, : self._size - 1])
        theta = np.einsum("nij,nj->ni", self._inverse, self._targets)
        projected = contents @ self._inverse  # [N, M, d]
        variance = np.maximum((projected * contents).sum(2), 0.0)
        scores = np.einsum("nmd,nd->nm", contents, theta) + self.alpha * np.sqrt(variance)
        return self.best(scores, observations["candidate_mask"])

    def _update(self, contents: np.ndarray, stars: np.ndarray, is_new: np.ndarray) -> None:
        """Sherman and Morrison (1950): (A + x x')^-1 = A^-1 - A^-1 x x' A^-1 / (1 + x' A^-1 x)."""
        noise_variance = self._believed.noise_variance
        scaled = contents * is_new[:, None] / np.sqrt(noise_variance)
        direction = np.einsum("nij,nj->ni", self._inverse, scaled)
        divisor = 1.0 + (direction * scaled).sum(1)
        self._inverse -= direction[:, :, None] * direction[:, None, :] / divisor[:, None, None]
        self._targets += contents * (is_new * stars / noise_variance)[:, None]


def rows_of(history: np.ndarray, has_purchases: bool) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Histories [N, H, F + 7] one row at a time, the last shown first.

    Yields content with a constant [N, d], stars [N] as `LinUCB` counts them, and [N] bool whether the row is in use.
    """
    first = history.shape[2] - len(FEEDBACK)
    for row in range(history.shape[1]):
        feedback = {name: history[:, row, first + k] for k, name in enumerate(FEEDBACK)}
        stars = 5.0 * feedback["rating"].astype(np.float64)
        was_consumed = feedback["purchase" if has_purchases else "click"] > 0
        stars = np.where(was_consumed & (stars == 0.0), _UNRATED_STARS, stars)
        yield with_constant(history[:, row, :first]), stars, feedback["shown"] > 0


def last_slate(
    history: np.ndarray, slate_size: int, has_purchases: bool
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What the last step added to histories: as `rows_of`, with whether the row is part of the last slate, which is
    the most recent run of rising slots."""
    slots = history[:, :, history.shape[2] - len(FEEDBACK) + FEEDBACK.index("slot")]
    is_new = np.ones(len(history), np.bool_)
    rows = itertools.islice(rows_of(history, has_purchases), slate_size)
    for row, (contents, stars, is_used) in enumerate(rows):
        is_new = is_new & is_used
        if row > 0:  # slots fall as one goes back within a slate
            is_new = is_new & (slots[:, row] < slots[:, row - 1])
        yield contents, stars, is_new


def with_constant(contents: np.ndarray) -> np.ndarray:
    """[..., F] to [..., d] float64."""
    constant = np.ones((*contents.shape[:-1], 1))
    return np.concatenate([contents.astype(np.float64), constant], axis=-1)
