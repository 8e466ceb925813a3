"""Logs of simulated sessions that tests write, and policies that are in no library."""

import gymnasium
import numpy as np

from recsim_env import LogWriter


class FirstCandidates:
    """Shows the first candidates, in order; a policy on its own, in no library."""

    def __init__(self, env):
        self.slate_size = env.unwrapped.simulator.config.slate_size

    def predict(self, observations, state=None, episode_start=None, deterministic=True):
        slates = np.tile(np.arange(self.slate_size), (len(observations["user"]), 1))
        return (slates[:, 0] if self.slate_size == 1 else slates), state


class CountsSessions(FirstCandidates):
    """Has a memory: shows the candidate that is numbered as the session's step."""

    def predict(self, observations, state=None, episode_start=None, deterministic=True):
        steps = (
            np.zeros(len(observations["user"]), np.int64) if state is None else np.where(episode_start, 0, state + 1)
        )
        return steps % 20, steps


class Unsteady(FirstCandidates):
    """Not reproducible."""

    def __init__(self, env):
        self.generator = np.random.default_rng()

    def predict(self, observations, state=None, episode_start=None, deterministic=True):
        return self.generator.integers(0, 20, len(observations["user"])), state


class NotTrained(FirstCandidates):
    """As agents that have to learn first."""

    def predict(self, observations, state=None, episode_start=None, deterministic=True):
        raise RuntimeError("not trained: call learn() or load()")


def make_env(env_id="recsim_env/Video-v0", num_envs=8, **arguments):
    return gymnasium.make_vec(env_id, num_envs, **arguments)


def write(path, env=None, policy="random", **arguments):
    arguments = {"num_steps": 400, "rows_per_shard": 80, **arguments}
    LogWriter(make_env() if env is None else env, policy, path, **arguments).write()
    return path


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.startswith(".")}
