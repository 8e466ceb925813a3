"""Sessions that linear softmax policies play, with all that off-policy estimators read.

Shape legend: N lanes, M candidates, R rows, E sessions, F features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class LinearSoftmax:
    """pi(candidate) = softmax(sum of weight x column) over the available candidates of `"dict"` observations."""

    popularity: float = 0.0
    """Weight of the mean answer of all users, 0 to 5: the candidate's predicted answer less its deviation."""
    deviation: float = 0.0
    """Weight of this user's predicted deviation from it."""
    evidence: float = 0.0
    """Weight of the share of the deviation that is known, 0 to 1."""

    def log_probabilities(self, candidates: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """[N, M] float64 from candidates [N, M, 3], in the order of `RELEVANCE_COLUMNS`; -inf where unavailable."""
        relevance, deviation, evidence = np.moveaxis(candidates.astype(np.float64), -1, 0)
        popularity = 5.0 * relevance - deviation
        logits = self.popularity * popularity + self.deviation * deviation + self.evidence * evidence
        logits = np.where(mask > 0, logits, -np.inf)
        logits -= logits.max(1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(1, keepdims=True))


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Whole sessions, one after the other."""

    sessions: np.ndarray
    """[R] int64: 0, 1, 2, ..."""
    steps: np.ndarray
    """[R] int64."""
    rewards: np.ndarray
    """[R] float64."""
    actions: np.ndarray
    """[R] int64."""
    log_probabilities: np.ndarray
    """[R] float64: of the actions under the policy that played."""
    users: np.ndarray
    """[R, P] float32: the part `user` of the observations."""
    candidates: np.ndarray
    """[R, M, 3] float32."""
    masks: np.ndarray
    """[R, M] float32."""


def play(env: Any, policy: LinearSoftmax, num_sessions: int, seed: int) -> Sessions:
    """The first `num_sessions` sessions of seeds `seed`, `seed + 1`, ..., the draws of the policy seeded alike.

    `env` is a vector env with `"dict"` observations and the autoreset mode `DISABLED`. All sessions are played to
    their end: short ones are no more frequent than they are.
    """
    steps = list(_steps(env, policy, num_sessions, seed))
    columns = {name: np.concatenate([step[name] for step in steps]) for name in steps[0]}
    order = np.argsort(columns["sessions"], kind="stable")
    return Sessions(**{name: values[order] for name, values in columns.items()})


def returns(env: Any, policy: LinearSoftmax, num_sessions: int, seed: int) -> np.ndarray:
    """[E] returns of such sessions, without keeping them."""
    total = np.zeros(num_sessions)
    for step in _steps(env, policy, num_sessions, seed):
        total[step["sessions"]] += step["rewards"]
    return total


def _steps(env: Any, policy: LinearSoftmax, num_sessions: int, seed: int) -> Iterator[dict[str, np.ndarray]]:
    """The rows of each step of the running sessions, N sessions at a time."""
    shape = env.simulator.layout.of_kind("dict").candidates_shape
    generator, num_envs = np.random.default_rng(seed), env.num_envs
    for first in range(0, num_sessions, num_envs):
        observations, _ = env.reset(seed=seed + first)
        is_running = np.arange(first, first + num_envs) < num_sessions
        step = 0
        while is_running.any():
            candidates, mask = observations["candidates"].reshape(-1, *shape), observations["candidate_mask"]
            log_probabilities = policy.log_probabilities(candidates, mask)
            actions = (log_probabilities + generator.gumbel(size=mask.shape)).argmax(1)  # a draw from the softmax
            following, rewards, terminated, truncated, _ = env.step(actions)
            lanes = np.flatnonzero(is_running)
            yield {
                "sessions": first + lanes,
                "steps": np.full(len(lanes), step),
                "rewards": rewards[lanes] / env.simulator.config.reward_scale,
                "actions": actions[lanes],
                "log_probabilities": log_probabilities[lanes, actions[lanes]],
                "users": observations["user"][lanes],
                "candidates": candidates[lanes],
                "masks": mask[lanes],
            }
            is_running &= ~(terminated | truncated)
            observations, step = following, step + 1
