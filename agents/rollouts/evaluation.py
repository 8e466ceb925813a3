"""Plays one session in each lane of a vector env, and keeps what was shown and what came of it.

Shape legend: N sessions, T steps of the longest session, S slots of a slate.
"""

from dataclasses import dataclass

import numpy as np

from agents.agent import Agent
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.simulation.records import NO_ITEM


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What N evaluation sessions gave; sessions stand in the order of their seeds, so two agents' are paired."""

    lengths: np.ndarray
    """[N] int64: steps until the session was over."""
    has_left: np.ndarray
    """[N] bool: the user left before the session's length was reached."""
    tenures: np.ndarray
    """[N] int64: steps of logged history that the user brought; 0 for a cold user."""
    start_times: np.ndarray
    """[N] int64: the platform's time at the session's first step."""
    items: np.ndarray
    """[T, N, S] int32: ids of what was shown, top slot first; NO_ITEM once the session is over."""
    rewards: np.ndarray
    """[T, N] float64; 0 once the session is over."""
    clicks: np.ndarray
    """[T, N] float64: share of the slate that was clicked; 0 once the session is over."""

    @property
    def returns(self) -> np.ndarray:
        """[N] float64: sum of rewards over the session."""
        return self.rewards.sum(0)

    @property
    def is_running(self) -> np.ndarray:
        """[T, N] bool: whether the step took place in the session."""
        return np.arange(len(self.rewards))[:, None] < self.lengths


def evaluate(agent: Agent, env: RecommenderVectorEnv, seed: int, agent_seed: int = 0) -> Evaluation:
    """Let `agent` play one session in each lane of `env`, seeded `seed`, `seed + 1`, ..."""
    agent.begin(env, agent_seed)
    observations, _ = env.reset(seed=seed)
    num_sessions, sessions = env.num_envs, env.simulator.sessions
    tenures, start_times = np.array(sessions["tenure"]), np.array(sessions["start_step"])
    lengths = np.zeros(num_sessions, np.int64)
    is_running, has_left = np.ones(num_sessions, np.bool_), np.zeros(num_sessions, np.bool_)
    is_first = np.ones(num_sessions, np.bool_)
    items, rewards, clicks = [], [], []
    while is_running.any():
        actions = agent.act(observations, is_first)
        items.append(np.where(is_running[:, None], env.shown_items(actions), NO_ITEM))
        observations, reward, terminated, truncated, infos = env.step(actions)
        click = infos["click"] + infos["final_info"]["click"] if "final_info" in infos else infos["click"]
        rewards.append(reward * is_running)
        clicks.append(click * is_running)
        lengths += is_running
        has_left |= terminated & is_running
        is_first = terminated | truncated
        is_running = is_running & ~is_first
    return Evaluation(
        lengths=lengths,
        has_left=has_left,
        tenures=tenures,
        start_times=start_times,
        items=np.stack(items),
        rewards=np.stack(rewards),
        clicks=np.stack(clicks),
    )
