"""What is believed of each visitor's taste, when stars are linear in an item's features: a Gaussian posterior.

Bayesian linear regression (Lindley and Smith, "Bayes estimates for the linear model", JRSS B 1972), one for each
session, shared by all items as content takes the place of arms. `LinUCB` and `LinearThompson` differ in how they rank
under it, `EmpiricalBayes` in the prior, `NeuralLinear` in the features.

Shape legend: N sessions, M candidates, S slots, H rows of the history, F content features, P profile features, U
features of the user, G = F + 6 features of a candidate, d features that stars are linear in.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from agents.agent import Agent, Observations
from agents.rollouts.feedback import UNRATED_STARS, column_of, counted_stars, last_slate
from recsim_env.config import check_number
from recsim_env.envs.vector import RecommenderVectorEnv


@dataclass(frozen=True, kw_only=True)
class LinearPrior:
    """What is believed of a visitor beforehand: stars = x' theta + e, theta ~ Normal(mean + slopes' p, covariance).

    p is the visitor's profile.
    """

    mean: np.ndarray
    """[d] float64."""
    covariance: np.ndarray
    """[d, d] float64, positive definite."""
    noise_variance: float
    """Variance of e, in stars squared."""
    slopes: np.ndarray | None = None
    """[P, d] float64: what the profile says of theta; None for nothing."""
    unrated_stars: float = UNRATED_STARS
    """What an item counts that was consumed but not rated."""

    @classmethod
    def isotropic(cls, size: int, ridge: float) -> "LinearPrior":
        """Nothing is believed: mean 0, covariance I / ridge, noise of variance 1."""
        return cls(mean=np.zeros(size), covariance=np.eye(size) / ridge, noise_variance=1.0)

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, np.ndarray]) -> "LinearPrior":
        """The prior that `tensors` was made of; others among them are left alone."""
        return cls(
            mean=tensors["mean"],
            covariance=tensors["covariance"],
            noise_variance=float(tensors["noise_variance"]),
            slopes=tensors.get("slopes"),
            unrated_stars=float(tensors["unrated_stars"]),
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """For a file."""
        return {name: np.asarray(value) for name, value in vars(self).items() if value is not None}

    def means(self, profiles: np.ndarray) -> np.ndarray:
        """[N, d]: the prior means of visitors with these profiles [N, P]."""
        means = np.broadcast_to(self.mean, (len(profiles), len(self.mean)))
        return means if self.slopes is None else means + profiles.astype(np.float64) @ self.slopes


class LinearBandit(Agent):
    """Keeps theta's posterior Normal(A^-1 b, A^-1) for each session, and ranks candidates by `scores`.

    With a prior of mean m, covariance C and noise variance v: A = C^-1 + sum x x' / v and b = C^-1 m + sum r x / v.
    r is the stars given to a shown item, 0 if it was skipped, and the prior's `unrated_stars` (3 without a population)
    if it was consumed but not rated. Without the prior of a population, m = 0, C = I / ridge and v = 1: ridge
    regression.
    """

    prior: LinearPrior | None = None

    def __init__(self, *, ridge: float = 1.0) -> None:
        check_number("ridge", ridge, 1e-9, 1e9)
        self.ridge = ridge

    @abstractmethod
    def scores(self, x: np.ndarray) -> np.ndarray:
        """[N, M]: what candidates with features x [N, M, d] are ranked by, under `_inverse` and `_targets`."""

    @property
    def num_features(self) -> int:
        """d."""
        return self.layout.num_content_features + 1

    def features(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[N, K, d] float64: what stars are linear in, for K items of each user: content and a constant.

        `users` [N, U] and `items` [N, K, G] are as in observations. Of an item of the history only the content is
        known; its other columns are 0, as they are for an item that has just been released.
        """
        return with_constant(items[:, :, : self.layout.num_content_features])

    def begin(self, env: RecommenderVectorEnv, seed: int = 0) -> None:
        super().begin(env, seed)
        size = self.num_features
        self._believed = self.prior or LinearPrior.isotropic(size, self.ridge)
        self._inverse = np.zeros((self.num_sessions, size, size))  # A^-1
        self._targets = np.zeros((self.num_sessions, size))  # b
        self._shown = np.zeros((self.num_sessions, self.slate_size, size))

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        history, users = self.history(observations), observations["user"]
        if not is_first.all():
            self._take_in_last_slate(history, ~is_first)
        lanes = np.flatnonzero(is_first)
        if len(lanes):
            self._meet(lanes, users[lanes], history[lanes])
        x = self.features(users, self.candidates(observations))
        actions = self.best(self.scores(x), observations["candidate_mask"])
        slates = actions.reshape(self.num_sessions, -1)
        self._shown = np.take_along_axis(x, slates[:, :, None], 1)
        return actions

    def thetas(self) -> np.ndarray:
        """[N, d]: the posterior means A^-1 b."""
        return np.einsum("nij,nj->ni", self._inverse, self._targets)

    def _meet(self, lanes: np.ndarray, users: np.ndarray, history: np.ndarray) -> None:
        """Begin the sessions `lanes` [n] with the prior and with the history that a warm user brings."""
        believed, first = self._believed, self.layout.num_content_features
        items = np.zeros((*history.shape[:2], self.layout.candidates_shape[1]), np.float32)
        items[:, :, :first] = history[:, :, :first]
        feedback = history[:, :, first:]
        is_used = column_of(feedback, "shown") > 0
        x = self.features(users, items) * is_used[:, :, None]  # [n, H, d]
        stars = counted_stars(feedback, self.layout.has_purchases, believed.unrated_stars)
        precision = np.linalg.inv(believed.covariance)
        means = believed.means(users[:, : self.layout.num_profile_features])
        self._inverse[lanes] = np.linalg.inv(precision + x.transpose(0, 2, 1) @ x / believed.noise_variance)
        self._targets[lanes] = means @ precision + np.einsum("nhd,nh->nd", x, stars) / believed.noise_variance

    def _take_in_last_slate(self, history: np.ndarray, is_going_on: np.ndarray) -> None:
        """Learn from the answers to what this agent showed last, in the sessions that go on [N] bool."""
        feedback = history[:, :, self.layout.num_content_features :]
        rows, is_shown = last_slate(feedback, self.slate_size)
        stars = counted_stars(rows, self.layout.has_purchases, self._believed.unrated_stars)
        for slot in range(self.slate_size):
            self._update(self._shown[:, slot], stars[:, slot], is_shown[:, slot] & is_going_on)

    def _update(self, x: np.ndarray, stars: np.ndarray, is_new: np.ndarray) -> None:
        """Sherman and Morrison (1950): (A + x x')^-1 = A^-1 - A^-1 x x' A^-1 / (1 + x' A^-1 x)."""
        noise_variance = self._believed.noise_variance
        scaled = x * is_new[:, None] / np.sqrt(noise_variance)
        direction = np.einsum("nij,nj->ni", self._inverse, scaled)
        divisor = 1.0 + (direction * scaled).sum(1)
        self._inverse -= direction[:, :, None] * direction[:, None, :] / divisor[:, None, None]
        self._targets += x * (is_new * stars / noise_variance)[:, None]


def with_constant(contents: np.ndarray) -> np.ndarray:
    """[..., F] to [..., F + 1] float64."""
    constant = np.ones((*contents.shape[:-1], 1))
    return np.concatenate([contents.astype(np.float64), constant], axis=-1)
