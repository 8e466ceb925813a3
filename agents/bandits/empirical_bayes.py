"""Linear bandits that begin with what is known of people in general: the prior is fitted to logged sessions.

The prior is that of a hierarchical linear model, theta_n ~ Normal(mean + slopes' p_n, covariance) for each visitor n
with profile p_n, fitted by expectation maximisation (Laird and Ware, "Random-effects models for longitudinal data",
Biometrics 1982; with the profile as in Lindley and Smith, JRSS B 1972).

Shape legend: N sessions, R logged answers, P profile features, G features of a candidate, d features that stars are
linear in.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import recsim_env  # noqa: F401  (registers the ids)
from agents.agent import Learner, NotFittedError, Observations
from agents.bandits.linear_posterior import LinearBandit, LinearPrior, with_constant
from agents.bandits.linucb import LinUCB
from agents.bandits.thompson import LinearThompson
from agents.callbacks import Milestones
from agents.rollouts.feedback import UNRATED_STARS, AnswerLog, rollout
from agents.rules.popularity import num_impressions
from agents.rules.random_agent import RandomAgent
from agents.saved_tensors import load_tensors, save_tensors
from recsim_env.config import check_number
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, STATISTICS

_SLOPE_RIDGE = 30.0
"""Sessions' worth of evidence against each slope: profiles have many columns that say little."""


class EmpiricalBayes(LinearBandit, Learner):
    """A linear bandit that logs sessions in which items are shown at random, fits the prior to them, and then acts.

    Stars are linear in the content, in the platform's statistics w, w click_rate, w mean_rating and w click_rate
    mean_rating, with w = impressions / (impressions + prior_impressions), in whether the creator is followed, in plays
    and plays^2, in the age, and in a constant. An item that nobody has seen has w = 0, and its content speaks for it.

    Args:
        num_envs: sessions that run side by side while learning.
        prior_impressions: impressions from which on an item's statistics count for half and more.
        max_answers: the prior is fitted to the latest so many answers; more tell it nothing new.
    """

    def __init__(
        self, *, num_envs: int = 512, prior_impressions: float = 20.0, max_answers: int = 200_000, **settings: Any
    ) -> None:
        super().__init__(**settings)
        check_number("num_envs", num_envs, 1, 1_000_000, int)
        check_number("prior_impressions", prior_impressions, 1e-9, 1e9)
        check_number("max_answers", max_answers, 1, 10**9, int)
        self.num_envs, self.prior_impressions, self.max_answers = num_envs, prior_impressions, max_answers

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
        clicks, stars, plays = column["click_rate"], column["mean_rating"], column["plays"]
        statistics = [weight, weight * clicks, weight * stars, weight * clicks * stars]
        others = [column["followed"], plays, plays**2, column["age"]]
        content = items[:, :, :first].astype(np.float64)
        return with_constant(np.concatenate([content, np.stack([*statistics, *others], 2)], 2))

    def learn(
        self,
        env_id: str,
        env_options: dict[str, Any],
        num_steps: int,
        seed: int,
        report: Callable[[int], None] | None = None,
        report_every: int = 0,
    ) -> None:
        num_envs = min(self.num_envs, num_steps)
        env: Any = gymnasium.make_vec(env_id, num_envs, vectorization_mode="vector_entry_point", **env_options)
        self.begin(env, seed)
        log = AnswerLog(has_purchases=self.layout.has_purchases, max_answers=self.max_answers)
        candidates_shape = self.layout.candidates_shape

        def fit_and_report(num_taken: int) -> None:
            if len(log):
                self.prior = self.fitted_prior(log)
            if report:
                report(num_taken)

        self.prior = LinearPrior.isotropic(self.num_features, self.ridge)
        milestones = Milestones(fit_and_report, report_every, num_steps)
        milestones.begin()
        player = RandomAgent()
        player.begin(env, seed)
        for step, exposure in enumerate(rollout(env, player.act, num_steps, seed), start=1):
            users, items = shown_of(exposure.observations, exposure.slates, candidates_shape)
            log.add(exposure, users=users, items=items)
            milestones.reach(step * num_envs)
        milestones.end(num_steps // num_envs * num_envs)

    def fitted_prior(self, log: AnswerLog, num_iterations: int = 60) -> LinearPrior:
        """The prior under which the log's answers are most likely; its columns are `session`, `stars`, `users` [R, U]
        and `items` [R, G]."""
        sessions, users = log["session"], log["users"]
        x = self.features(users, log["items"][:, None])[:, 0]
        first_rows = np.unique(sessions, return_index=True)[1]
        return fit_prior(
            *sums_by_session(sessions, x, log["stars"]),
            profiles=users[first_rows, : self.layout.num_profile_features],
            unrated_stars=log.unrated_stars,
            num_iterations=num_iterations,
        )

    def save(self, path: Path) -> None:
        if self.prior is None:
            raise NotFittedError
        settings = {"prior_impressions": self.prior_impressions}
        save_tensors(path, type(self).__name__, self.prior.tensors(), settings)

    def load(self, path: Path) -> None:
        tensors, settings = load_tensors(path, type(self).__name__)
        self.prior = LinearPrior.of_tensors(tensors)
        self.prior_impressions = settings["prior_impressions"]

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        if self.prior is None:
            raise NotFittedError
        return super().act(observations, is_first)


class EmpiricalBayesLinUCB(EmpiricalBayes, LinUCB):
    """LinUCB with the prior of a population. Further arguments: `EmpiricalBayes`."""

    def __init__(self, *, alpha: float = 0.5, **settings: Any) -> None:
        super().__init__(alpha=alpha, **settings)


class EmpiricalBayesThompson(EmpiricalBayes, LinearThompson):
    """Linear Thompson sampling with the prior of a population. Further arguments: `EmpiricalBayes`."""

    def __init__(self, *, scale: float = 0.25, **settings: Any) -> None:
        super().__init__(scale=scale, **settings)


def shown_of(
    observations: Observations, slates: np.ndarray, candidates_shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """To whom what was shown: users [N, S, U], the same in each slot, and items [N, S, G], of slates [N, S]."""
    users = np.repeat(observations["user"][:, None], slates.shape[1], 1)
    candidates = observations["candidates"].reshape(-1, *candidates_shape)
    return users, np.take_along_axis(candidates, slates[:, :, None], 1)


def sums_by_session(
    sessions: np.ndarray, x: np.ndarray, stars: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """sum x x' [N, d, d], sum r x [N, d], sum r^2 [N] and the number of answers [N] of each session.

    `sessions` [R] counts from 0 and leaves none out; x [R, d]; r is `stars` [R].
    """
    order = np.argsort(sessions, kind="stable")
    x, stars = x[order], stars[order]
    counts = np.bincount(sessions)
    ends = np.cumsum(counts)
    grams, targets = np.empty((len(counts), x.shape[1], x.shape[1])), np.empty((len(counts), x.shape[1]))
    for session, (end, count) in enumerate(zip(ends, counts, strict=True)):
        rows = slice(end - count, end)
        grams[session] = x[rows].T @ x[rows]
        targets[session] = stars[rows] @ x[rows]
    squares = np.add.reduceat(stars**2, ends - counts)
    return grams, targets, squares, counts.astype(np.float64)


def fit_prior(
    grams: np.ndarray,
    targets: np.ndarray,
    squares: np.ndarray,
    counts: np.ndarray,
    *,
    profiles: np.ndarray | None = None,
    unrated_stars: float = UNRATED_STARS,
    num_iterations: int = 60,
) -> LinearPrior:
    """The mean, slopes, covariance and noise variance under which the logged sessions are most likely, by EM.

    The first four arguments are as `sums_by_session` returns them; `profiles` [N, P] are those of the sessions'
    visitors, None for a prior without slopes. Slopes are shrunk by a ridge worth 30 sessions.
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
        mean=effects[0],
        covariance=covariance,
        noise_variance=noise_variance,
        slopes=slopes,
        unrated_stars=unrated_stars,
    )
