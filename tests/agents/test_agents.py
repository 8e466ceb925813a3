"""Agents that need no training: evaluation, and the arithmetic of each."""

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401
from agents.bandits.linear_bandits import LinUCB
from agents.references.myopic_oracle import MyopicOracle
from agents.rollouts.evaluation import evaluate
from agents.rules.popularity import PopularityAgent
from agents.rules.random_agent import RandomAgent
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, FEEDBACK


def make(num_envs: int, name: str = "Video", **arguments):
    return gymnasium.make_vec(f"recsim_env/{name}-v0", num_envs, **{"observation": "full", **arguments})


def held_out(num_envs: int):
    return make(num_envs, split="test", catalog_seed=1)


def play(agent, env, num_steps: int, seed: int):
    """The observations after some steps in which no session ends, and the agent's state then."""
    observations, _ = env.reset(seed=seed)
    state = None
    for _ in range(num_steps):
        actions, state = agent.predict(observations, state)
        observations, _, terminated, truncated, _ = env.step(actions)
        assert not (terminated | truncated).any()
    return observations, state


@pytest.mark.parametrize("name", ["Ecommerce", "Social", "Music", "Video"])
@pytest.mark.parametrize("slate_size", [1, 4])
@pytest.mark.parametrize("agent_class", [RandomAgent, PopularityAgent, MyopicOracle, LinUCB])
def test_actions_are_in_the_action_space_and_slates_distinct(agent_class, slate_size, name):
    env = make(16, name, slate_size=slate_size)
    agent, state, episode_start = agent_class(env), None, None
    observations, _ = env.reset(seed=0)
    for _ in range(30):
        actions, state = agent.predict(observations, state, episode_start)
        assert actions in env.action_space
        assert all(len(set(np.atleast_1d(row).tolist())) == slate_size for row in actions)
        observations, _, terminated, truncated, _ = env.step(actions)
        episode_start = terminated | truncated


class CountsItems(PopularityAgent):
    def set_env(self, env) -> None:
        super().set_env(env)
        self.num_items = self.env.simulator.layout.num_items


def test_an_evaluation_leaves_an_agent_without_an_env_as_it_was():
    agent = CountsItems(seed=3)
    before = dict(agent.__dict__)
    assert np.isfinite(evaluate(agent, make(4), seed=0).returns).all()
    assert agent.__dict__ == before
    with pytest.raises(ValueError, match="CountsItems"):
        evaluate(agent, make(4, observation="compact"), seed=0)
    assert agent.__dict__ == before


def test_evaluation_counts_each_session_once_and_is_paired():
    env = held_out(32)
    first, second = (evaluate(RandomAgent(), env, seed=5, agent_seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.returns, second.returns)
    assert (first.lengths >= 1).all()
    assert (first.lengths <= 50).all()
    assert (first.lengths[~first.has_left] == 50).all()
    single = gymnasium.make("recsim_env/Video-v0", split="test", catalog_seed=1, reward_scale=1.0, observation="full")
    batch = evaluate(MyopicOracle(), env, seed=5)
    single.reset(seed=5)
    total, is_over = 0.0, False
    while not is_over:
        best = int(np.argmax(single.unwrapped.latent_state()["expected_rewards"]))
        _, reward, terminated, truncated, _ = single.step(best)
        total, is_over = total + reward, terminated or truncated
    assert total == pytest.approx(batch.returns[0])


def test_random_agent_is_uniform_and_reproducible():
    env = make(2_000)
    observations, _ = env.reset(seed=0)
    draws = [RandomAgent(env, seed=seed).predict(observations)[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
    counts = np.bincount(draws[0], minlength=20)
    assert ((counts - 100.0) ** 2 / 100.0).sum() < 43.8  # chi-square, 19 degrees of freedom, p = 0.001


def test_random_plays_in_a_plain_env_as_gymnasium_makes_it(tmp_path):
    env = gymnasium.make("recsim_env/Video-v0")
    agent = RandomAgent(env)
    observation, _ = env.reset(seed=0)
    assert env.action_space.contains(agent.predict(observation)[0])
    agent.save(tmp_path / "random.safetensors")
    assert (
        RandomAgent.load(tmp_path / "random.safetensors").predict(observation)[0]
        == RandomAgent(env).predict(observation)[0]
    )
    plain = gymnasium.make_vec("recsim_env/Video-v0", num_envs=2)
    full = plain.remake(observation="full")
    np.testing.assert_array_equal(*(evaluate(RandomAgent(), each, seed=1).items for each in (plain, full)))


def test_random_slates_have_one_over_the_number_of_ordered_slates_as_probability():
    env = make(2, slate_size=3)
    observations, _ = env.reset(seed=0)
    observations["candidate_mask"][1, 2:] = 0.0
    agent = RandomAgent(env)
    actions, _ = agent.predict(observations)
    np.testing.assert_allclose(
        np.exp(agent.log_probabilities(observations, actions)), [1 / (20 * 19 * 18), 1 / (2 * 1)]
    )
    impossible = np.array([[3, 3, 5], [0, 2, 1]])  # one candidate twice; a missing one before one that exists
    assert np.isneginf(agent.log_probabilities(observations, impossible)).all()


def test_a_deterministic_policy_has_no_log_probabilities():
    env = make(2)
    observations, _ = env.reset(seed=0)
    with pytest.raises(NotImplementedError, match="PopularityAgent"):
        PopularityAgent(env).log_probabilities(observations, np.zeros(2, np.int64))


def test_popularity_ranks_by_the_shrunk_reward_per_impression():
    env = make(1)
    observations, _ = env.reset(seed=0)
    observations["candidate_mask"][0, 3:] = 0.0
    candidates = observations["candidates"].reshape(1, 20, -1).copy()
    columns = {name: candidates.shape[2] - len(CANDIDATE_COLUMNS) + k for k, name in enumerate(CANDIDATE_COLUMNS)}
    # (impressions, click rate, mean rating): 0.5 x (4 - 2) = 1; 1 x (1 - 2) = -1; one impression with a rating of 5: 3.
    for item, (impressions, click_rate, rating) in enumerate([(1_000, 0.5, 4.0), (1_000, 1.0, 1.0), (1, 1.0, 5.0)]):
        candidates[0, item, columns["impressions"]] = np.log2(1.0 + impressions) / 32.0
        candidates[0, item, columns["click_rate"]] = click_rate
        candidates[0, item, columns["mean_rating"]] = rating / 5.0
    observations["candidates"] = candidates.reshape(1, -1)
    # The prior is 0: the item with one impression has 3 / 21 = 0.14.
    assert PopularityAgent(env, prior_impressions=20.0).predict(observations)[0] == 0
    assert PopularityAgent(env, prior_impressions=0.1).predict(observations)[0] == 2


def test_myopic_oracle_shows_the_highest_expected_reward():
    env = make(64)
    observations, _ = env.reset(seed=0)
    expected = env.unwrapped.latent_state()["expected_rewards"]
    np.testing.assert_array_equal(MyopicOracle(env).predict(observations)[0], expected.argmax(1))


def test_an_oracle_refuses_observations_of_other_sessions_than_its_envs():
    env = make(8)
    observations, _ = env.reset(seed=0)
    with pytest.raises(ValueError, match="8 sessions, must be the 4 of the env"):
        MyopicOracle(make(4)).predict(observations)


def test_linucb_equals_ridge_regression_on_its_own_history():
    env = make(3)
    agent = LinUCB(env, alpha=0.7, ridge=2.0)
    observations, state = play(agent, env, 6, seed=4)
    chosen, _ = agent.predict(observations, state)

    history = observations["history"].reshape(3, 20, -1)
    candidates = observations["candidates"].reshape(3, 20, -1)
    num_features = history.shape[2] - len(FEEDBACK)
    for lane in range(3):
        rows = history[lane, :6].astype(float)
        contents = np.hstack([rows[:, :num_features], np.ones((6, 1))])
        click, rating = (rows[:, num_features + FEEDBACK.index(name)] for name in ("click", "rating"))
        rewards = np.where(click > 0, np.where(rating == 0, 3.0, 5.0 * rating) - 2.0, 0.0)
        covariance = np.linalg.inv(2.0 * np.eye(num_features + 1) + contents.T @ contents)
        theta = covariance @ contents.T @ rewards
        x = np.hstack([candidates[lane, :, :num_features].astype(float), np.ones((20, 1))])
        scores = x @ theta + 0.7 * np.sqrt(np.einsum("md,de,me->m", x, covariance, x))
        assert chosen[lane] == scores.argmax()


def test_linucb_counts_purchases_in_a_shop_and_not_clicks():
    patient = {"behaviour": {"patience_gain": 0.0, "patience_skip": 0.0}}  # no session ends within 5 steps
    env = make(40, "Ecommerce", overrides={"population": {"warm_share": 0.0}, **patient})
    agent = LinUCB(env)
    observations, state = play(agent, env, 5, seed=1)
    agent.predict(observations, state)
    rows = observations["history"].reshape(40, 20, -1)[:, :5, -len(FEEDBACK) :].astype(float)
    bought, rating = (rows[:, :, FEEDBACK.index(name)] for name in ("purchase", "rating"))
    expected = np.where(bought > 0, np.where(rating == 0, 3.0, 5.0 * rating) - 2.0, 0.0).sum(1)
    np.testing.assert_allclose(state.targets[:, -1], expected, atol=1e-5)  # of the constant: the sum of rewards
    assert (rows[:, :, FEEDBACK.index("click")].sum(1) > bought.sum(1)).any()


def test_linucb_learns_from_the_logged_history_of_warm_users():
    env = make(5, overrides={"population": {"warm_share": 1.0, "warm_steps": 20}})
    observations, _ = env.reset(seed=2)
    _, state = LinUCB(env, ridge=1.0).predict(observations)
    num_rows = np.linalg.inv(state.inverse)[:, -1, -1] - 1.0  # of the constant: the number of rows
    np.testing.assert_allclose(num_rows, env.unwrapped.simulator.sessions["tenure"])


def test_linucb_learns_from_every_slot_of_a_slate_once():
    env = make(1, slate_size=4)
    agent = LinUCB(env, ridge=1.0)
    observations, state = play(agent, env, 3, seed=2)
    agent.predict(observations, state)
    constant = np.linalg.inv(state.inverse[0])[-1, -1]  # ridge + number of rows: the constant's own entry
    assert constant == pytest.approx(1.0 + 3 * 4)


def test_linucb_forgets_a_user_when_the_next_session_starts():
    env = make(1)
    agent = LinUCB(env)
    observations, _ = env.reset(seed=1)
    first, state = agent.predict(observations)
    later, *_ = env.step(first)
    agent.predict(later, state, np.array([False]))
    np.testing.assert_array_equal(agent.predict(observations, state, np.array([True]))[0], first)
