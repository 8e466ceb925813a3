"""The platform's ranking as a policy."""

import gymnasium
import numpy as np
import pytest

from agents.rules.platform_ranking import PlatformRanking


def play(env: gymnasium.vector.VectorEnv, choose) -> np.ndarray:
    """[T, N]: rewards of a policy."""
    observations, _ = env.reset(seed=0)
    rewards = []
    for _ in range(20):
        observations, reward, *_ = env.step(choose(observations))
        rewards.append(reward)
    return np.stack(rewards)


@pytest.mark.parametrize("variant", ["", "Slate"])
def test_it_shows_the_first_candidates_in_order_of_relevance(variant):
    env = gymnasium.make_vec(f"recsim_env/Video{variant}-v0", 8, observation="full")
    agent = PlatformRanking(env)
    shape = env.action_space.shape
    first = np.zeros(shape, np.int64) + (np.arange(shape[1]) if len(shape) > 1 else 0)
    for _ in range(3):
        observations, _ = env.reset(seed=1)
        np.testing.assert_array_equal(agent.predict(observations)[0], first)


def test_it_shows_the_same_items_in_any_order_of_the_candidates():
    rewards = []
    for order in ("relevance", "random"):
        env = gymnasium.make_vec("recsim_env/Video-v0", 64, observation="full", candidate_order=order)
        agent = PlatformRanking(env)
        rewards.append(play(env, lambda observations, agent=agent: agent.predict(observations)[0]))
    np.testing.assert_array_equal(*rewards)
