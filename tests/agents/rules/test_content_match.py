"""Content match: a profile of what went down well, and the candidates most like it."""

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
    """[1, H, F + 7] from (first two features, click, stars) of each row, the last shown first."""
    history = np.zeros((1, *agent.layout.history_shape), np.float32)
    first = agent.layout.num_content_features
    for row, (content, click, stars) in enumerate(rows):
        history[0, row, :2] = content
        for name, value in {"shown": 1.0, "click": click, "rating": stars / 5.0}.items():
            history[0, row, first + FEEDBACK.index(name)] = value
    return history


def begun(weights: str = "stars") -> tuple[ContentMatch, dict[str, np.ndarray]]:
    """An agent, and the first observation of a cold session of Video."""
    env = gymnasium.make_vec("recsim_env/Video-v0", 1)
    agent = ContentMatch(weights=weights)
    agent.begin(env)
    return agent, env.reset(seed=0)[0]


ROWS = [([1.0, 0.0], 1.0, 5.0), ([0.0, 1.0], 1.0, 0.0), ([-1.0, 1.0], 0.0, 0.0), ([0.0, -1.0], 1.0, 4.0)]


def test_a_profile_is_the_mean_content_weighted_by_stars_less_their_mean():
    agent, _ = begun()
    profile = agent.profiles(history_of(agent, ROWS))[0]
    weights = np.array([5.0, 3.0, 0.0, 4.0]) - 3.0  # 3 stars for a click without a rating
    assert weights.tolist() == [2.0, 0.0, -3.0, 1.0]
    np.testing.assert_allclose(profile[:2], [(2.0 + 3.0) / 4, (-3.0 - 1.0) / 4])
    assert (profile[2:] == 0.0).all()


def test_a_profile_by_clicks_is_the_mean_content_of_what_was_clicked():
    agent, _ = begun("clicks")
    np.testing.assert_allclose(agent.profiles(history_of(agent, ROWS))[0, :2], [1.0 / 4, 0.0])


def test_the_candidate_at_the_smallest_angle_to_the_profile_is_shown_whatever_its_length():
    agent, observations = begun()
    candidates = np.zeros_like(agent.candidates(observations))
    candidates[0, :, 0], candidates[0, :, 1] = -1.0, 0.5
    candidates[0, 3, :2] = [0.05, -0.04]  # cosine .99 with the profile (5, -4) / 4
    candidates[0, 8, :2] = [1.0, 0.0]  # cosine .78, and the larger product
    observations["candidates"] = candidates.reshape(1, -1)
    observations["history"] = history_of(agent, ROWS).reshape(1, -1)
    assert agent.act(observations, np.ones(1, bool))[0] == 3
    observations["candidate_mask"][0, 3] = 0.0
    assert agent.act(observations, np.ones(1, bool))[0] == 8


@pytest.mark.parametrize("rows", [[], [([1.0, 0.0], 0.0, 0.0), ([0.0, 1.0], 0.0, 0.0)]])
def test_who_has_no_profile_is_shown_what_is_popular(rows):
    agent, observations = begun()
    popularity = PopularityAgent()
    popularity.begin(gymnasium.make_vec("recsim_env/Video-v0", 1))
    observations["history"] = history_of(agent, rows).reshape(1, -1)
    shown = [each.act(observations, np.ones(1, bool))[0] for each in (agent, popularity)]
    assert shown[0] == shown[1]


def test_in_a_shop_what_was_only_looked_at_counts_as_nothing():
    env = gymnasium.make_vec("recsim_env/Ecommerce-v0", 1)
    agent = ContentMatch(weights="clicks")
    agent.begin(env)
    history = history_of(agent, [([1.0, 0.0], 1.0, 0.0), ([0.0, 1.0], 1.0, 0.0)])
    history[0, 1, agent.layout.num_content_features + FEEDBACK.index("purchase")] = 1.0
    np.testing.assert_allclose(agent.profiles(history)[0, :2], [0.0, 0.5])


@pytest.mark.parametrize("variant", ["", "Slate"])
def test_recommends_for_one_observation_by_the_history_in_it(variant):
    env, agent, changed = gymnasium.make(f"recsim_env/News{variant}-v0", overrides=WARM), ContentMatch(), 0
    agent.begin(env)
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        action = agent.recommend(observation)
        assert env.action_space.contains(action)
        assert len(set(np.atleast_1d(action).tolist())) == np.size(action)
        np.testing.assert_array_equal(agent.recommend(observation), action)
        forgotten = {**observation, "history": np.zeros_like(observation["history"])}
        changed += np.any(agent.recommend(forgotten) != action)
    assert changed > 10


def test_matching_content_beats_random_in_news():
    env = gymnasium.make_vec("recsim_env/News-v0", 200, split="test", catalog_seed=1)
    returns = [evaluate(agent, env, seed=5).returns for agent in (ContentMatch(), ContentMatch(), RandomAgent())]
    np.testing.assert_array_equal(returns[0], returns[1])
    gain = returns[0] - returns[2]
    assert gain.mean() > 3.0 * gain.std() / np.sqrt(200)


def test_wrong_arguments_are_refused_in_one_line():
    with pytest.raises(ValueError, match="weights='likes': must be one of stars, clicks"):
        ContentMatch(weights="likes")
    with pytest.raises(ValueError, match=r"prior_impressions=-1\.0: must be a number in"):
        ContentMatch(prior_impressions=-1.0)
