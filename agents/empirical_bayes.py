"""LinUCB that begins with what is known of people in general: the prior is fitted to logged sessions.

The prior is that of a hierarchical linear model, theta_n ~ Normal(mean, covariance) for each visitor n, fitted by
expectation maximisation (Laird and Ware, "Random-effects models for longitudinal data", Biometrics 1982).

Shape legend: N sessions, d = F + 1 features of an item with the constant.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from agents.agent import Learner
from agents.linucb import LinearPrior, LinUCB, last_slate
from agents.random_agent import RandomAgent
from recsim_env.atomic_file import write_atomically

_NUM_ITERATIONS = 30


class EmpiricalBayesLinUCB(LinUCB, Learner):
    """Logs sessions in which items are shown at random, fits the prior to them, then acts as LinUCB does."""

    def __init__(self, alpha: float = 0.5, num_envs: int = 512) -> None:
        super().__init__(alpha=alpha)
        self.num_envs = num_envs

    def learn(
        self,
        env_id: str,
        env_options: dict[str, Any],
        num_steps: int,
        seed: int,
        report: Callable[[int], None] | None = None,
        report_every: int = 0,
    ) -> None:
        if report:
            report(0)
        self.prior = fit_prior(*log_sessions(env_id, env_options, num_steps, self.num_envs, seed))
        if report:
            report(num_steps // self.num_envs * self.num_envs)

    def save(self, path: Path) -> None:
        if self.prior is None:
            raise RuntimeError("this agent has not learnt anything yet: call learn() or load()")
        content = io.BytesIO()
        np.savez(content, **vars(self.prior))
        write_atomically(Path(path), content.getvalue())

    def load(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as found:
            self.prior = LinearPrior(
                mean=found["mean"], covariance=found["covariance"], noise_variance=float(found["noise_variance"])
            )


def log_sessions(
    env_id: str, env_options: dict[str, Any], num_steps: int, num_envs: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Show items at random and keep, for each session that took place, the sums that a linear model needs.

    Returns sum x x' [N, d, d], sum r x [N, d], sum r^2 [N] and the number of items shown [N].
    """
    env: Any = gymnasium.make_vec(env_id, num_envs, vectorization_mode="vector_entry_point", **env_options)
    agent, finished = RandomAgent(), []
    agent.begin(env, seed)
    observations, _ = env.reset(seed=seed)
    size = agent.layout.num_content_features + 1
    # One row of sums a session: x x', r x, r^2 and the count, side by side.
    sums = np.zeros((num_envs, size * size + size + 2))
    is_first = np.ones(num_envs, np.bool_)
    for _ in range(num_steps // num_envs):
        observations, _, terminated, truncated, _ = env.step(agent.act(observations, is_first))
        is_first = terminated | truncated
        finished.append(sums[is_first])
        sums[is_first] = 0.0
        for contents, stars, is_new in last_slate(
            agent.history(observations), agent.slate_size, agent.layout.has_purchases
        ):
            outer = (contents[:, :, None] * contents[:, None, :]).reshape(num_envs, -1)
            row = np.column_stack([outer, contents * stars[:, None], stars**2, np.ones(num_envs)])
            sums += row * (is_new & ~is_first)[:, None]
    every = np.concatenate([*finished, sums])
    every = every[every[:, -1] > 0]
    grams, targets = every[:, : size * size].reshape(-1, size, size), every[:, size * size : -2]
    return grams, targets, every[:, -2], every[:, -1]


def fit_prior(grams: np.ndarray, targets: np.ndarray, squares: np.ndarray, counts: np.ndarray) -> LinearPrior:
    """The mean, covariance and noise variance under which the logged sessions are most likely, by EM.

    Arguments as `log_sessions` returns them.
    """
    size = targets.shape[1]
    total = grams.sum(0) + 1e-3 * np.eye(size)
    mean = np.linalg.solve(total, targets.sum(0))
    noise_variance = float(squares.sum() / counts.sum())
    covariance = np.eye(size) * noise_variance
    for _ in range(_NUM_ITERATIONS):
        precision = np.linalg.inv(covariance)
        posterior = np.linalg.inv(precision + grams / noise_variance)  # [N, d, d]
        thetas = np.einsum("nij,nj->ni", posterior, precision @ mean + targets / noise_variance)
        mean = thetas.mean(0)
        deviations = thetas - mean
        covariance = posterior.mean(0) + deviations.T @ deviations / len(thetas) + 1e-6 * np.eye(size)
        explained = 2.0 * (thetas * targets).sum(1) - np.einsum("ni,nij,nj->n", thetas, grams, thetas)
        uncertainty = np.einsum("nij,nji->n", posterior, grams)
        noise_variance = float((squares - explained + uncertainty).sum() / counts.sum())
    return LinearPrior(mean=mean, covariance=covariance, noise_variance=noise_variance)
