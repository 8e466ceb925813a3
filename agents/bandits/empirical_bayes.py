"""Linear bandits with an empirical-Bayes prior: fitted to logged sessions of the population.

The prior is that of a hierarchical linear model, theta_n ~ Normal(mean + slopes' p_n, covariance) for each user n with
profile p_n, fitted by expectation maximisation (Laird and Ware, "Random-effects models for longitudinal data",
Biometrics 1982; with the profile as in Lindley and Smith, JRSS B 1972).

Shape legend: N sessions, R logged items, S slots, P profile features, U features of the user, G features of a
candidate, d features of the regression.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.bandits.linear_bandits import LinearBandit, LinearPrior, LinearThompson, LinUCB, with_constant
from agents.rollouts.feedback import UNRATED, Exposure, FeedbackLearner, FeedbackLog
from recsim_env.config import number
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, STATISTICS, num_impressions

_SLOPE_RIDGE = 30.0
"""Weight of the slopes' ridge, in sessions: profiles have many columns that carry little information."""


@dataclass(kw_only=True, eq=False, repr=False)
class EmpiricalBayes(FeedbackLearner, LinearBandit):
    """A linear bandit whose prior is fitted to sessions in which items are shown at random.

    Rewards are linear in the content, in the item statistics w, w click_rate, w mean_rating and w click_rate
    mean_rating, with w = impressions / (impressions + prior_impressions), in whether the creator is followed, in plays
    and plays^2, in the age, and in a constant. A new item has w = 0 and is judged by its content.
    """

    prior_impressions: float = number(20.0, 1e-9, 1e9)
    """Impressions at which w is a half."""

    @property
    def num_features(self) -> int:
        return self.layout.num_content_features + 9

    def features(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[N, K, d] float64: see the class; `users` and `items` as in `LinearBandit.features`."""
        first = self.layout.num_content_features
        known = items[:, :, first:].astype(np.float64)
        column = {name: known[:, :, k] for k, name in enumerate(CANDIDATE_COLUMNS)}
        impressions = num_impressions(known[:, :, CANDIDATE_COLUMNS.index(STATISTICS[0]) :])
        weight = impressions / (impressions + self.prior_impressions)
        clicks, ratings, plays = column["click_rate"], column["mean_rating"], column["plays"]
        statistics = [weight, weight * clicks, weight * ratings, weight * clicks * ratings]
        others = [column["followed"], plays, plays**2, column["age"]]
        content = items[:, :, :first].astype(np.float64)
        return with_constant(np.concatenate([content, np.stack([*statistics, *others], 2)], 2))

    @property
    def prior(self) -> LinearPrior:
        """The fitted prior; `NotFittedError` before training."""
        self.require_fit()
        return LinearPrior.from_tensors(self.parameters)

    def columns(self, env: Any, exposure: Exposure) -> dict[str, np.ndarray]:
        """`users` [N, S, U] and `items` [N, S, G]."""
        users, candidates = exposure.observations["user"], self.candidates(exposure.observations)
        return {
            "users": np.repeat(users[:, None], exposure.slates.shape[1], 1),
            "items": np.take_along_axis(candidates, exposure.slates[:, :, None], 1),
        }

    def fit(self, log: FeedbackLog, env: Any, seed: int) -> dict[str, np.ndarray]:
        return (self.fitted_prior(log) if len(log) else super().prior).tensors()

    def fitted_prior(self, log: FeedbackLog, num_iterations: int = 60) -> LinearPrior:
        """The maximum-likelihood prior; columns of the log: `session`, `reward`, `users` [R, U] and `items` [R, G]."""
        sessions, users = log["session"], log["users"]
        x = self.features(users, log["items"][:, None])[:, 0]
        first_rows = np.unique(sessions, return_index=True)[1]
        return fit_prior(
            *sums_by_session(sessions, x, log["reward"]),
            profiles=users[first_rows, : self.layout.num_profile_features],
            unrated=log.unrated,
            num_iterations=num_iterations,
        )


@dataclass(kw_only=True, eq=False, repr=False)
class EmpiricalBayesLinUCB(EmpiricalBayes, LinUCB):
    """LinUCB with an empirical-Bayes prior."""

    alpha: float = number(0.5, 0.0, 1e9)
    """As in `LinUCB`."""


@dataclass(kw_only=True, eq=False, repr=False)
class EmpiricalBayesThompson(EmpiricalBayes, LinearThompson):
    """Linear Thompson sampling with an empirical-Bayes prior."""

    scale: float = number(0.25, 0.0, 1e9)
    """As in `LinearThompson`."""


def sums_by_session(
    sessions: np.ndarray, x: np.ndarray, rewards: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """sum x x' [N, d, d], sum r x [N, d], sum r^2 [N] and the number of items [N] of each session.

    `sessions` [R] counts from 0 without gaps; x is [R, d]; r is `rewards` [R].
    """
    order = np.argsort(sessions, kind="stable")
    x, rewards = x[order], rewards[order]
    counts = np.bincount(sessions)
    ends = np.cumsum(counts)
    grams, targets = np.empty((len(counts), x.shape[1], x.shape[1])), np.empty((len(counts), x.shape[1]))
    for session, (end, count) in enumerate(zip(ends, counts, strict=True)):
        rows = slice(end - count, end)
        grams[session] = x[rows].T @ x[rows]
        targets[session] = rewards[rows] @ x[rows]
    squares = np.add.reduceat(rewards**2, ends - counts)
    return grams, targets, squares, counts.astype(np.float64)


def fit_prior(
    grams: np.ndarray,
    targets: np.ndarray,
    squares: np.ndarray,
    counts: np.ndarray,
    *,
    profiles: np.ndarray | None = None,
    unrated: float = UNRATED,
    num_iterations: int = 60,
) -> LinearPrior:
    """The maximum-likelihood mean, slopes, covariance and noise variance for the logged sessions, by EM.

    The first four arguments are as `sums_by_session` returns them; `profiles` [N, P] are those of the sessions' users,
    None for a prior without slopes. Slopes are shrunk by a ridge worth 30 sessions.
    """
    size, num_sessions = targets.shape[1], len(targets)
    design = np.ones((num_sessions, 1))
    if profiles is not None:
        design = np.column_stack([design, profiles.astype(np.float64)])
    shrinkage = np.diag(np.r_[0.0, np.full(design.shape[1] - 1, _SLOPE_RIDGE)])
    regression = np.linalg.solve(design.T @ design + shrinkage, design.T)  # [1 + P, N]
    effects = np.zeros((design.shape[1], size))  # the mean, then the slopes
    effects[0] = np.linalg.solve(grams.sum(0) + 1e-3 * np.eye(size), targets.sum(0))
    noise_variance = float(squares.sum() / counts.sum())
    covariance = np.eye(size) * noise_variance
    for _ in range(num_iterations):
        precision = np.linalg.inv(covariance)
        posterior = np.linalg.inv(precision + grams / noise_variance)  # [N, d, d]
        thetas = np.einsum("nij,nj->ni", posterior, design @ effects @ precision + targets / noise_variance)
        effects = regression @ thetas
        deviations = thetas - design @ effects
        covariance = posterior.mean(0) + deviations.T @ deviations / num_sessions + 1e-6 * np.eye(size)
        explained = 2.0 * (thetas * targets).sum(1) - (np.einsum("nij,nj->ni", grams, thetas) * thetas).sum(1)
        uncertainty = np.einsum("nij,nij->n", posterior, grams)  # both are symmetric
        noise_variance = max(float((squares - explained + uncertainty).sum() / counts.sum()), 1e-6)
    slopes = None if profiles is None else effects[1:]
    return LinearPrior(
        mean=effects[0], covariance=covariance, noise_variance=noise_variance, slopes=slopes, unrated=unrated
    )
