"""Agents that a user might add to the leaderboard with `--agent`: two valid ones, and invalid ones."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from agents.agent import Agent, Learner


class Slow(Agent):
    """Shows the first candidate after a pause."""

    def act(self, observations, state, episode_start, deterministic):
        time.sleep(0.02)
        return np.zeros(len(episode_start), np.int64)


class Oracle(Slow):
    """Declares that it reads the latent state."""

    is_privileged = True


class Holds(Slow):
    """Records its process and Ray node in the folder HOLDS, and waits while a file there holds the node."""

    def act(self, observations, state, episode_start, deterministic):
        if "RAY_RAYLET_PID" in os.environ:
            folder, node = Path(os.environ["HOLDS"]), os.environ["RAY_RAYLET_PID"]
            (folder / f"{node}.runs").write_text(str(os.getpid()))
            while (folder / f"{node}.held").exists():
                time.sleep(0.1)
        return super().act(observations, state, episode_start, deterministic)


class Counts(Learner):
    """Learns the number of steps, and shows the first candidate."""

    def train(self, total_timesteps, update):
        for step in range(1_000, total_timesteps + 1, 1_000):
            update(step)

    def act(self, observations, state, episode_start, deterministic):
        return np.zeros(len(episode_start), np.int64)

    def learned(self):
        return {}, {"num_timesteps": self.num_timesteps}


class Raises(Agent):
    """Fails in the middle of a session, with a message that UTF-8 cannot hold."""

    num_calls = 0

    def act(self, observations, state, episode_start, deterministic):
        self.num_calls += 1
        if self.num_calls > 5:
            raise ValueError("no idea\nwhat to show \ud800")
        return np.zeros(len(episode_start), np.int64)


@dataclass(kw_only=True, eq=False, repr=False)
class RaisesWithSettings(Raises):
    """Likewise, whatever its setting."""

    boldness: float = 0.0


class Exits(Raises):
    """Ends its process politely."""

    def act(self, observations, state, episode_start, deterministic):
        raise SystemExit("enough")


class Dies(Agent):
    """Kills its process."""

    def act(self, observations, state, episode_start, deterministic):
        os._exit(9)


class ReportsFloat32(Slow):
    """Works, and reports parameters that JSON cannot hold."""

    rate: ClassVar[float] = np.float32(0.5)

    def best_params(self):
        return {"rate": self.rate}


class ReportsNaN(ReportsFloat32):
    """Likewise."""

    rate = float("nan")


class NoAgent:
    """Does not extend Agent."""
