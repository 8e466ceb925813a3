"""Sessions in which random slates are shown, to check exports with and to calibrate them.

Shape legend: N sessions.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

ENV_IDS = ("recsim_env/Video-v0", "recsim_env/Music-v0")
"""Where they are played: without and with repeated items."""


def random_sessions(env: Any, seed: int) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Compact observations of N sessions of a vector env, the first of which are seeded `seed`, `seed + 1`, ...; and
    [N] whether each session has just begun. Ended sessions are followed by others."""
    generator, num_slots = np.random.default_rng(seed), env.simulator.config.slate_size
    observations, _ = env.reset(seed=seed)
    starts, is_over = np.ones(env.num_envs, np.bool_), np.zeros(env.num_envs, np.bool_)
    while True:
        yield observations, starts
        is_missing = observations["candidate_items"] < 0
        order = np.argsort(generator.random(is_missing.shape) + is_missing, axis=1)  # missing ones last
        observations, _, terminated, truncated, _ = env.step(order[:, 0] if num_slots == 1 else order[:, :num_slots])
        starts, is_over = is_over, terminated | truncated  # an env restarts in the step after a session's last
