"""Agents: the protocol, evaluation, and each baseline's arithmetic."""

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401
from agents.agent import Agent
from agents.bandits.linucb import LinUCB
from agents.references.myopic_oracle import MyopicOracle
from agents.rollouts.evaluation import evaluate
from agents.rules.popularity import PopularityAgent
from agents.rules.random_agent import RandomAgent
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, FEEDBACK


def make(num_envs: int, **options):
    return gymnasium.make_vec("recsim_env/Video-v0", num_envs, **options)


def test_set(num_envs: int, **options):
    return make(num_envs, split="test", catalog_seed=1, **options)


test_set.__test__ = False  # a name that pytest would collect


@pytest.mark.parametrize("name", ["Ecommerce", "Social", "Music", "Video"])
@pytest.mark.parametrize("slate_size", [1, 4])
@pytest.mark.parametrize("make_agent", [RandomAgent, PopularityAgent, MyopicOracle, LinUCB])
def test_agents_act_inside_the_action_space_with_distinct_candidates(make_agent, slate_size, name):
    env = gymnasium.make_vec(f"recsim_env/{name}-v0", 16, slate_size=slate_size)
    agent: Agent = make_agent()
    agent.begin(env, 0)
    observations, _ = env.reset(seed=0)
    is_first = np.ones(16, bool)
    for _ in range(30):
        actions = agent.act(observations, is_first)
        assert actions in env.action_space
        assert all(len(set(np.atleast_1d(row).tolist())) == slate_size for row in actions)
        observations, _, terminated, truncated, _ = env.step(actions)
        is_first = terminated | truncated


def test_evaluation_counts_each_session_once_and_is_paired():
    env = test_set(32)
    first, second = (evaluate(RandomAgent(), env, seed=5, agent_seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.returns, second.returns)
    assert (first.lengths >= 1).all()
    assert (first.lengths <= 50).all()
    assert (first.lengths[~first.has_left] == 50).all()
    single = gymnasium.make("recsim_env/Video-v0", split="test", catalog_seed=1)
    agent = MyopicOracle()
    batch = evaluate(agent, env, seed=5)
    single.reset(seed=5)
    total, is_over = 0.0, False
    while not is_over:
        best = int(np.argmax(single.unwrapped.latent_state()["expected_rewards"]))
        _, reward, terminated, truncated, _ = single.step(best)
        total, is_over = total + reward, terminated or truncated
    assert total == pytest.approx(batch.returns[0])


def test_random_agent_is_uniform_and_follows_its_seed():
    env = make(2_000)
    observations, _ = env.reset(seed=0)
    draws = []
    for seed in (0, 0, 1):
        agent = RandomAgent()
        agent.begin(env, seed)
        draws.append(agent.act(observations, np.ones(2_000, bool)))
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
    counts = np.bincount(draws[0], minlength=20)
    assert ((counts - 100.0) ** 2 / 100.0).sum() < 43.8  # chi-square, 19 degrees of freedom, p = .001


def test_popularity_ranks_by_shrunken_stars_per_impression():
    env = make(1)
    observations, _ = env.reset(seed=0)
    observations["candidate_mask"][0, 3:] = 0.0
    candidates = observations["candidates"].reshape(1, 20, -1).copy()
    columns = {name: candidates.shape[2] - len(CANDIDATE_COLUMNS) + k for k, name in enumerate(CANDIDATE_COLUMNS)}
    # (impressions, click rate, mean rating): 0.5 x 4 = 2 stars; 1 x 1 = 1 star; one lucky impression of 5 stars.
    for item, (impressions, click_rate, stars) in enumerate([(1_000, 0.5, 4.0), (1_000, 1.0, 1.0), (1, 1.0, 5.0)]):
        candidates[0, item, columns["impressions"]] = np.log2(1.0 + impressions) / 32.0
        candidates[0, item, columns["click_rate"]] = click_rate
        candidates[0, item, columns["mean_rating"]] = stars / 5.0
    observations["candidates"] = candidates.reshape(1, -1)
    agent = PopularityAgent(prior_impressions=20.0)
    agent.begin(env)
    assert agent.act(observations, np.ones(1, bool))[0] == 0  # prior 1.5: the lucky item is at (5 + 30) / 21 = 1.67
    trusting = PopularityAgent(prior_impressions=0.1)
    trusting.begin(env)
    assert trusting.act(observations, np.ones(1, bool))[0] == 2


def test_myopic_oracle_shows_the_highest_expected_reward():
    env = make(64)
    observations, _ = env.reset(seed=0)
    agent = MyopicOracle()
    agent.begin(env)
    expected = env.unwrapped.latent_state()["expected_rewards"]
    np.testing.assert_array_equal(agent.act(observations, np.ones(64, bool)), expected.argmax(1))


def test_linucb_equals_ridge_regression_on_its_own_history():
    env = make(3)
    agent = LinUCB(alpha=0.7, ridge=2.0)
    agent.begin(env)
    observations, _ = env.reset(seed=4)
    is_first = np.ones(3, bool)
    for _ in range(6):
        observations, _, terminated, truncated, _ = env.step(agent.act(observations, is_first))
        is_first = terminated | truncated
        assert not is_first.any()  # patience lasts longer than six steps
    chosen = agent.act(observations, is_first)

    history = observations["history"].reshape(3, 20, -1)
    candidates = observations["candidates"].reshape(3, 20, -1)
    num_features = history.shape[2] - len(FEEDBACK)
    for lane in range(3):
        rows = history[lane, :6].astype(float)
        contents = np.hstack([rows[:, :num_features], np.ones((6, 1))])
        click, rating = (rows[:, num_features + FEEDBACK.index(name)] for name in ("click", "rating"))
        stars = np.where((click > 0) & (rating == 0), 3.0, 5.0 * rating)
        covariance = np.linalg.inv(2.0 * np.eye(num_features + 1) + contents.T @ contents)
        theta = covariance @ contents.T @ stars
        x = np.hstack([candidates[lane, :, :num_features].astype(float), np.ones((20, 1))])
        scores = x @ theta + 0.7 * np.sqrt(np.einsum("md,de,me->m", x, covariance, x))
        assert chosen[lane] == scores.argmax()


def test_linucb_counts_in_a_shop_what_was_bought_and_not_what_was_looked_at():
    env = gymnasium.make_vec("recsim_env/Ecommerce-v0", 40, overrides={"population": {"warm_share": 0.0}})
    agent = LinUCB()
    agent.begin(env)
    observations, _ = env.reset(seed=1)
    is_first = np.ones(40, bool)
    for _ in range(5):
        observations, _, terminated, truncated, _ = env.step(agent.act(observations, is_first))
        is_first = terminated | truncated
        assert not is_first.any()
    agent.act(observations, is_first)
    stars = agent._targets[:, -1]  # of the constant: the sum of stars
    rows = observations["history"].reshape(40, 20, -1)[:, :5, -len(FEEDBACK) :].astype(float)
    bought, rating = (rows[:, :, FEEDBACK.index(name)] for name in ("purchase", "rating"))
    expected = np.where((bought > 0) & (rating == 0), 3.0, 5.0 * rating).sum(1)
    np.testing.assert_allclose(stars, expected, atol=1e-5)
    assert (rows[:, :, FEEDBACK.index("click")].sum(1) > bought.sum(1)).any()


def test_linucb_takes_in_the_history_that_a_warm_user_brings():
    overrides = {"population": {"warm_share": 1.0, "warm_steps": 20}}
    env = gymnasium.make_vec("recsim_env/Video-v0", 5, overrides=overrides)
    agent = LinUCB(ridge=1.0)
    agent.begin(env)
    observations, _ = env.reset(seed=2)
    agent.act(observations, np.ones(5, bool))
    seen = np.linalg.inv(agent._inverse)[:, -1, -1] - 1.0  # of the constant: the number of rows
    np.testing.assert_allclose(seen, env.unwrapped.simulator.sessions["tenure"])


def test_linucb_takes_in_every_slot_of_a_slate_once():
    env = make(1, slate_size=4)
    agent = LinUCB(ridge=1.0)
    agent.begin(env)
    observations, _ = env.reset(seed=2)
    for step in range(3):
        observations, *_ = env.step(agent.act(observations, np.array([step == 0])))
    agent.act(observations, np.array([False]))
    constant = np.linalg.inv(agent._inverse[0])[-1, -1]  # ridge + number of rows seen: the constant's own entry
    assert constant == pytest.approx(1.0 + 3 * 4)


def test_linucb_forgets_a_visitor_when_the_next_one_comes():
    env = make(1)
    agent = LinUCB()
    agent.begin(env)
    observations, _ = env.reset(seed=1)
    first_choice = agent.act(observations, np.array([True]))
    later, *_ = env.step(first_choice)
    agent.act(later, np.array([False]))
    np.testing.assert_array_equal(agent.act(observations, np.array([True])), first_choice)
