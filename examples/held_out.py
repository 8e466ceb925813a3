"""Held-out return of a policy, on users and items that are not in its training; shared by the examples of libraries.

A policy is a function of a batch of observations to a batch of actions. Its return is the mean sum of ratings
over a session; sessions are the same for all policies.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from recsim_env import CANDIDATE_COLUMNS

Policy = Callable[[Any], Any]


def read_arguments(description: str | None, steps: int) -> argparse.Namespace:
    """The command line of an example: `--steps`, `--seed` and `--curve`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=steps, help="steps of training (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--curve", type=Path, help="JSON lines to append points of the learning curve to")
    parser.add_argument("--points", type=int, default=10, help="points of the learning curve (default: %(default)s)")
    return parser.parse_args()


def held_out_return(policy: Policy, env_id: str, num_sessions: int = 1_000, **arguments: Any) -> float:
    """Mean sum of ratings over sessions of test users with test items of another catalogue."""
    held_out = {"split": "test", "catalog_seed": 1, "autoreset_mode": "Disabled"}
    envs = gymnasium.make_vec(env_id, num_sessions, **held_out, **arguments)
    observations, _ = envs.reset(seed=0)
    total, is_over = 0.0, np.zeros(num_sessions, bool)
    while not is_over.all():
        observations, _, terminated, truncated, infos = envs.step(policy(observations))
        total += infos["reward_rating"].sum()  # 0 in sessions that are over
        is_over |= terminated | truncated
    return float(total / num_sessions)


def random_policy(env_id: str) -> Policy:
    """Uniform over actions."""
    space = gymnasium.make(env_id).action_space
    space.seed(0)
    return lambda observations: np.array([space.sample() for _ in range(num_rows(observations))])


def most_popular(observations: Any) -> np.ndarray:
    """The candidates with the highest observed rating per impression, from full observations."""
    exists = observations["candidate_mask"] > 0
    candidates = observations["candidates"].reshape(*exists.shape, -1)
    rating_rates = np.ones(exists.shape)
    for name in ("click_rate", "mean_rating"):
        rating_rates = rating_rates * candidates[:, :, CANDIDATE_COLUMNS.index(name) - len(CANDIDATE_COLUMNS)]
    return np.where(exists, rating_rates, -np.inf).argmax(1)


def first_candidate(observations: Any) -> np.ndarray:
    """The candidates with the highest predicted relevance, which come first."""
    return np.zeros(num_rows(observations), np.int64)


def num_rows(observations: Any) -> int:
    return len(next(iter(observations.values())) if isinstance(observations, dict) else observations)


class Progress:
    """Points of the learning curve, and a last line that compares the trained policy with random and popularity."""

    def __init__(self, name: str, env_id: str, arguments: argparse.Namespace) -> None:
        self.name, self.env_id, self.arguments = name, env_id, arguments
        self._num_points = 0

    def point(self, num_steps: int, policy: Policy) -> None:
        """Evaluate the policy after `num_steps` of training if a point of the curve is due."""
        num_due = num_steps * self.arguments.points // self.arguments.steps
        if self.arguments.curve is None or num_due <= self._num_points:
            return
        self._num_points = num_due
        row = {"name": self.name, "env": self.env_id, "seed": self.arguments.seed, "steps": num_steps}
        row["return"] = held_out_return(policy, self.env_id)
        with self.arguments.curve.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def finish(self, policy: Policy) -> None:
        """The last point of the curve, and the held-out returns in print."""
        self.point(self.arguments.steps, policy)
        print(f"random: {held_out_return(random_policy(self.env_id), self.env_id):.1f}")
        print(f"popularity: {held_out_return(most_popular, self.env_id, observation='full'):.1f}")
        print(f"{self.name}: {held_out_return(policy, self.env_id):.1f}")
