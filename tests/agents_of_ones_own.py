"""Agents that a user might put on the board with `--agent`: one that works, slowly, and some that do not."""

import os
import time

import numpy as np

from agents.agent import Agent


class Slow(Agent):
    """Shows the first candidate, and takes its time."""

    def act(self, observations, is_first):
        time.sleep(0.02)
        return np.zeros(self.num_sessions, np.int64)


class Raises(Agent):
    """Fails in the middle of a session."""

    def act(self, observations, is_first):
        if not is_first.all():
            raise ValueError("no idea\nwhat to show")
        return np.zeros(self.num_sessions, np.int64)


class Dies(Agent):
    """Takes its process with it."""

    def act(self, observations, is_first):
        os._exit(9)


class SaysFloat32(Agent):
    """Works, and says of itself what JSON cannot hold."""

    said = np.float32(0.5)

    def act(self, observations, is_first):
        return np.zeros(self.num_sessions, np.int64)

    def best_params(self):
        return {"rate": self.said}


class SaysNaN(SaysFloat32):
    """Likewise."""

    said = float("nan")


class NoAgent:
    """Does not extend Agent."""
