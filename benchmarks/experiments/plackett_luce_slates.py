"""Probabilities of Plackett-Luce slates of three slots, and sessions of one step that show them.

Each slot is a draw of the softmax over the candidates that are left (Plackett, 1975; Luce, 1959).

Shape legend: R rows (one slate each), M candidates, S = 3 slots.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

NUM_SLOTS = 3


def remaining(probabilities: np.ndarray, slates: np.ndarray) -> np.ndarray:
    """[R, S, M]: probabilities of the candidates in each slot, given the items above it in slates [R, S]."""
    found = np.empty((*slates.shape, probabilities.shape[1]))
    left = probabilities.copy()
    for slot in range(slates.shape[1]):
        found[:, slot] = left / left.sum(1, keepdims=True)
        left[np.arange(len(slates)), slates[:, slot]] = 0.0
    return found


def marginals(probabilities: np.ndarray, slates: np.ndarray) -> np.ndarray:
    """[R, 3]: probability of each item of slates [R, 3] in its slot, summed over all items above it."""
    num_rows, num_candidates = probabilities.shape
    rows, each, p = np.arange(num_rows), np.arange(num_candidates), probabilities
    differs = each[:, None] != each
    # 1 - p_b - p_c and the like as sums over the others: differences lose all digits where a policy is almost sure.
    others = (p @ (differs[:, :, None] & differs[:, None, :]).reshape(num_candidates, -1)).reshape(*p.shape, -1)
    after_one = p / others[:, each, each]  # p_b / (1 - p_b)
    pairs = after_one[:, :, None] * p[:, None, :] * differs / others  # [R, first, second]
    top, middle, bottom = slates.T
    above_middle, above_bottom = differs[middle].astype(np.float64), differs[bottom].astype(np.float64)
    return np.column_stack(
        [
            p[rows, top],
            p[rows, middle] * np.einsum("rb,rb->r", after_one, above_middle),
            p[rows, bottom] * np.einsum("rbc,rb,rc->r", pairs, above_bottom, above_bottom),
        ]
    )


@dataclass(frozen=True, kw_only=True)
class ShownSlates:
    """Slates, each the only step of a session."""

    slates: np.ndarray
    """[R, S] int64."""
    clicks: np.ndarray
    """[R, S] float64: 0 or 1."""
    candidates: np.ndarray
    """[R, M, 3] float32, in the order of `RELEVANCE_COLUMNS`."""
    masks: np.ndarray
    """[R, M] float32."""


def show(env: Any, policy: Any, num_rows: int, seed: int) -> ShownSlates:
    """Slates of a policy in sessions of seeds `seed`, `seed + 1`, ..., and their clicks.

    `env` is a vector env of slates of three with `"full"` observations, the autoreset mode `DISABLED` and
    `max_episode_steps=1`; `policy` is a `LinearSoftmax`.
    """
    from agents.rollouts.feedback import feedback_column, last_slate
    from recsim_env.simulation.observation import FEEDBACK, RELEVANCE_COLUMNS

    layout, generator = env.simulator.layout, np.random.default_rng(seed)
    parts = []
    for first in range(0, num_rows, env.num_envs):
        observations, _ = env.reset(seed=seed + first)
        candidates = observations["candidates"].reshape(-1, *layout.candidates_shape)[:, :, -len(RELEVANCE_COLUMNS) :]
        mask = observations["candidate_mask"]
        scores = policy.log_probabilities(candidates, mask) + generator.gumbel(size=mask.shape)
        slates = np.argsort(-scores, 1)[:, :NUM_SLOTS]
        following, *_ = env.step(slates)
        rows, _ = last_slate(following["history"].reshape(-1, *layout.history_shape), NUM_SLOTS)
        clicks = feedback_column(rows[:, :, -len(FEEDBACK) :], "click")
        parts.append([slates, clicks.astype(np.float64), candidates, mask])
    columns = (np.concatenate(column)[:num_rows] for column in zip(*parts, strict=True))
    return ShownSlates(**dict(zip(("slates", "clicks", "candidates", "masks"), columns, strict=True)))
