"""Plays one session in each lane of a vector env and adds up what came of it.

Shape legend: N sessions.
"""

from dataclasses import dataclass

import numpy as np

from agents.agent import Agent
from recsim_env.vector_env import RecommenderVectorEnv


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What N evaluation sessions gave; sessions stand in the order of their seeds, so two agents' are paired."""

    returns: np.ndarray
    """[N] float64: sum of rewards over the session."""
    lengths: np.ndarray
    """[N] int64: steps until the session was over."""
    has_left: np.ndarray
    """[N] bool: the user left before the session's length was reached."""


def evaluate(agent: Agent, env: RecommenderVectorEnv, seed: int, agent_seed: int = 0) -> Evaluation:
    """Let `agent` play one session in each lane of `env`, seeded `seed`, `seed + 1`, ..."""
    agent.begin(env, agent_seed)
    observations, _ = env.reset(seed=seed)
    num_sessions = env.num_envs
    returns, lengths = np.zeros(num_sessions), np.zeros(num_sessions, np.int64)
    is_running, has_left = np.ones(num_sessions, np.bool_), np.zeros(num_sessions, np.bool_)
    is_first = np.ones(num_sessions, np.bool_)
    while is_running.any():
        observations, rewards, terminated, truncated, _ = env.step(agent.act(observations, is_first))
        returns += rewards * is_running
        lengths += is_running
        has_left |= terminated & is_running
        is_first = terminated | truncated
        is_running &= ~is_first
    return Evaluation(returns=returns, lengths=lengths, has_left=has_left)
