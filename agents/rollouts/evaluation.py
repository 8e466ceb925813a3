"""Evaluation: one session in each lane of a vector env, and everything that was shown and answered.

Shape legend: N sessions, T steps of the longest session, S slots of a slate, H rows of the history.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from gymnasium.vector import AutoresetMode

from agents.agent import Agent, Env, unwrapped
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.simulation.records import HISTORY_FEEDBACK, NO_ITEM


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Results of N evaluation sessions, in the order of their seeds: those of two agents are paired."""

    lengths: np.ndarray
    """[N] int64: steps until the session was over."""
    has_left: np.ndarray
    """[N] bool: the user left before the session's length was reached."""
    tenures: np.ndarray
    """[N] int64: steps of logged history that the user brought; 0 for a cold-start user."""
    times: np.ndarray
    """[T, N] int64: the platform's time at each step; it runs on between the visits of a lifetime."""
    items: np.ndarray
    """[T, N, S] int32: ids of the items shown, top slot first; NO_ITEM once the session is over."""
    rewards: np.ndarray
    """[T, N] float64; 0 once the session is over."""
    is_clicked: np.ndarray
    """[T, N, S] bool: whether the item in the slot was clicked."""
    clicked_before: np.ndarray
    """[N, H] int32: ids of the items clicked in the part of the logged history that the observation shows; NO_ITEM
    elsewhere."""
    num_ratings: np.ndarray
    """[N] int64: number of items that the user rated, submitted or not; in a shop, of purchases."""
    rating_sums: np.ndarray
    """[N] float64: sum of these ratings."""
    num_visits: np.ndarray
    """[N] int64: visits of the user; 1 in ids in which a session is one visit."""
    num_active_days: np.ndarray
    """[N] int64: number of days with a visit, including the first."""
    metric: np.ndarray
    """[N] float64: sum over the session of the term of the reward that the industry measures (`Scenario.metric`)."""

    @property
    def returns(self) -> np.ndarray:
        """[N] float64: sum of rewards over the session."""
        return self.rewards.sum(0)

    @property
    def mean_return(self) -> float:
        """Mean of `returns`."""
        return float(self.returns.mean())

    @property
    def return_sem(self) -> float | None:
        """Standard error of `mean_return` over sessions; None for a single session."""
        returns = self.returns
        return float(returns.std(ddof=1) / len(returns) ** 0.5) if len(returns) > 1 else None

    @property
    def mean_length(self) -> float:
        """Mean of `lengths`."""
        return float(self.lengths.mean())

    @property
    def churn(self) -> float:
        """Share of sessions that the user left."""
        return float(self.has_left.mean())

    @property
    def is_running(self) -> np.ndarray:
        """[T, N] bool: whether the step took place in the session."""
        return np.arange(len(self.rewards))[:, None] < self.lengths


def evaluate(agent: Agent, env: Env, seed: int, agent_seed: int = 0, deterministic: bool = True) -> Evaluation:
    """Let `agent` play one session in each lane of `env`, seeded `seed`, `seed + 1`, ...

    The agent's own env and random seed are as before afterwards, so that a callback may evaluate an agent in training.

    Raises:
        ValueError: a single env.
    """
    env = unwrapped(env)
    if not isinstance(env, RecommenderVectorEnv):
        raise ValueError("env: must be a vector env: gymnasium.make_vec(...)")
    with acting_in(agent, env, agent_seed), _resetting_in_the_next_step(env):
        return _play(agent, env, seed, deterministic)


@contextmanager
def acting_in(agent: Agent, env: Env, seed: int) -> Iterator[None]:
    """Within the block, `agent` acts in `env` with that random seed; afterwards it is in its own env again."""
    before, changed = agent.__dict__.copy(), {"seed", "_num_generators"}
    try:
        agent.set_random_seed(seed)
        agent.set_env(env)
        changed |= {name for name, value in agent.__dict__.items() if value is not before.get(name)}
        yield
    finally:
        for name in changed & before.keys():
            agent.__dict__[name] = before[name]
        for name in changed - before.keys():  # set_env() of an agent that had no env may make attributes
            agent.__dict__.pop(name, None)


@contextmanager
def _resetting_in_the_next_step(env: RecommenderVectorEnv) -> Iterator[None]:
    """Within the block, a lane whose session is over keeps its state for one step: the feedback on its last slate."""
    mode, env.autoreset_mode = env.autoreset_mode, AutoresetMode.NEXT_STEP
    try:
        yield
    finally:
        env.autoreset_mode = mode


def _play(agent: Agent, env: RecommenderVectorEnv, seed: int, deterministic: bool) -> Evaluation:
    observations, _ = env.reset(seed=seed)
    num_sessions, sessions, slate_size = env.num_envs, env.simulator.sessions, env.simulator.config.slate_size
    tenures, clicked_before = np.array(sessions["tenure"]), _clicked_items(sessions)
    lengths = np.zeros(num_sessions, np.int64)
    is_running, has_left = np.ones(num_sessions, np.bool_), np.zeros(num_sessions, np.bool_)
    episode_start, state = np.ones(num_sessions, np.bool_), None
    metric = env.simulator.world.scenario.metric
    sums = {name: np.zeros(num_sessions) for name in {metric, "rating", "consumed", "visit", "active_day"}}
    times, items, rewards, is_clicked = [], [], [], []
    while is_running.any():
        actions, state = agent.predict(observations, state, episode_start, deterministic)
        times.append(sessions["start_step"] + sessions["step"])
        items.append(np.where(is_running[:, None], env.shown_items(actions), NO_ITEM))
        observations, reward, terminated, truncated, _ = env.step(actions)
        for name, values in sums.items():
            values += env.simulator.outcomes[name] * is_running
        rewards.append(reward / env.simulator.config.reward_scale * is_running)
        is_clicked.append((sessions["clicked"][:, :slate_size] > 0) & is_running[:, None])
        lengths += is_running
        has_left |= terminated & is_running
        episode_start = terminated | truncated
        is_running = is_running & ~episode_start
    return Evaluation(
        lengths=lengths,
        has_left=has_left,
        tenures=tenures,
        times=np.stack(times),
        items=np.stack(items),
        rewards=np.stack(rewards),
        is_clicked=np.stack(is_clicked),
        clicked_before=clicked_before,
        num_ratings=np.round(slate_size * sums["consumed"]).astype(np.int64),
        rating_sums=slate_size * sums["rating"],
        num_visits=1 + sums["visit"].astype(np.int64),
        num_active_days=1 + sums["active_day"].astype(np.int64),
        metric=sums[metric],
    )


def _clicked_items(sessions: np.ndarray) -> np.ndarray:
    """[N, H] int32: ids of the clicked items among those in the histories, NO_ITEM elsewhere."""
    clicks = sessions["history_feedback"][:, :, HISTORY_FEEDBACK.index("click")]
    return np.where(clicks > 0.0, sessions["history_items"], NO_ITEM)
