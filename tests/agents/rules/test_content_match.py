"""Content match: a profile of the items that were rated well, and the candidates most similar to it."""

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401
from agents.rollouts.evaluation import evaluate
from agents.rules.content_match import ContentMatch
from agents.rules.popularity import PopularityAgent
from agents.rules.random_agent import RandomAgent
from recsim_env.simulation.observation import FEEDBACK

WARM = {"population": {"warm_share": 1.0}}


def history_of(agent: ContentMatch, rows: list[tuple[list[float], float, float]]) -> np.ndarray:
    """[1, H, F + 7] from (first two features, click, rating) of each row, most recent first."""
    history = np.zeros((1, *agent.layout.history_shape), np.float32)
    first = agent.layout.num_content_features
    for row, (content, click, rating) in enumerate(rows):
        history[0, row, :2] = content
        for name, value in {"shown": 1.0, "click": click, "rating": rating / 5.0}.items():
            history[0, row, first + FEEDBACK.index(name)] = value
    return history


def start(weights: str = "rewards") -> tuple[ContentMatch, dict[str, np.ndarray]]:
    """An agent, and the first observation of a cold session of Video."""
    env = gymnasium.make_vec("recsim_env/Video-v0", 1, observation="full")
    return ContentMatch(env, weights=weights), env.reset(seed=0)[0]


ROWS = [([1.0, 0.0], 1.0, 5.0), ([0.0, 1.0], 1.0, 0.0), ([-1.0, 1.0], 0.0, 0.0), ([0.0, -1.0], 1.0, 4.0)]


def test_a_profile_weighs_contents_by_rewards_minus_their_mean():
    agent, _ = start()
    profile = agent.profiles(history_of(agent, ROWS))[0]
    weights = np.array([3.0, 1.0, 0.0, 2.0]) - 1.5  # ratings minus 2; a click without a rating counts as 3
    assert weights.tolist() == [1.5, -0.5, -1.5, 0.5]
    np.testing.assert_allclose(profile[:2], [(1.5 + 1.5) / 4, (-0.5 - 1.5 - 0.5) / 4], rtol=1e-6)
    assert (profile[2:] == 0.0).all()


def test_a_profile_by_clicks_is_the_mean_content_of_clicked_items():
    agent, _ = start("clicks")
    np.testing.assert_allclose(agent.profiles(history_of(agent, ROWS))[0, :2], [1.0 / 4, 0.0])


def test_the_candidate_at_the_smallest_angle_to_the_profile_is_shown():
    agent, observations = start()
    candidates = np.zeros_like(agent.candidates(observations))
    candidates[0, :, 0], candidates[0, :, 1] = -1.0, 0.5
    candidates[0, 3, :2] = [0.05, -0.04]  # cosine 0.99 with the profile (3, -2.5) / 4
    candidates[0, 8, :2] = [1.0, 0.0]  # cosine 0.77, and the larger product
    observations["candidates"] = candidates.reshape(1, -1)
    observations["history"] = history_of(agent, ROWS).reshape(1, -1)
    assert agent.predict(observations)[0] == 3
    observations["candidate_mask"][0, 3] = 0.0
    assert agent.predict(observations)[0] == 8


@pytest.mark.parametrize("rows", [[], [([1.0, 0.0], 0.0, 0.0), ([0.0, 1.0], 0.0, 0.0)]])
def test_users_without_a_profile_get_the_popularity_ranking(rows):
    agent, observations = start()
    popularity = PopularityAgent(gymnasium.make_vec("recsim_env/Video-v0", 1, observation="full"))
    observations["history"] = history_of(agent, rows).reshape(1, -1)
    assert agent.predict(observations)[0] == popularity.predict(observations)[0]


def test_in_a_shop_a_click_without_a_purchase_counts_as_0():
    env = gymnasium.make_vec("recsim_env/Ecommerce-v0", 1, observation="full")
    agent = ContentMatch(env, weights="clicks")
    history = history_of(agent, [([1.0, 0.0], 1.0, 0.0), ([0.0, 1.0], 1.0, 0.0)])
    history[0, 1, agent.layout.num_content_features + FEEDBACK.index("purchase")] = 1.0
    np.testing.assert_allclose(agent.profiles(history)[0, :2], [0.0, 0.5])


@pytest.mark.parametrize("variant", ["", "Slate"])
def test_a_single_observation_is_judged_by_its_history(variant):
    env, num_changed = gymnasium.make(f"recsim_env/News{variant}-v0", overrides=WARM, observation="full"), 0
    agent = ContentMatch(env)
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        action = agent.predict(observation)[0]
        assert env.action_space.contains(action)
        assert len(set(np.atleast_1d(action).tolist())) == np.size(action)
        np.testing.assert_array_equal(agent.predict(observation)[0], action)
        cold = {**observation, "history": np.zeros_like(observation["history"])}
        num_changed += np.any(agent.predict(cold)[0] != action)
    assert num_changed > 10


def test_matching_content_beats_random_in_news():
    env = gymnasium.make_vec("recsim_env/News-v0", 200, split="test", catalog_seed=1, observation="full")
    returns = [evaluate(agent, env, seed=5).returns for agent in (ContentMatch(), ContentMatch(), RandomAgent())]
    np.testing.assert_array_equal(returns[0], returns[1])
    gain = returns[0] - returns[2]
    assert gain.mean() > 3.0 * gain.std() / np.sqrt(200)


def test_wrong_arguments_are_refused_in_one_line():
    with pytest.raises(ValueError, match="weights='likes': must be one of rewards, clicks"):
        ContentMatch(weights="likes")
    with pytest.raises(ValueError, match=r"prior_impressions=-1\.0: must be a number in"):
        ContentMatch(prior_impressions=-1.0)
