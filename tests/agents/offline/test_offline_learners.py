"""Offline learners find the known answers of probe environments, and learn from the folder of a log."""

import dataclasses

import gymnasium
import numpy as np
import pytest
import torch
from probe_environments import ProbeVectorEnv, first_observations
from probe_logs import probe_log

from agents import registry
from agents.offline.behavior_cloning import BehaviorCloning, slate_log_likelihoods
from agents.offline.behavior_policy import BehaviorPolicy
from agents.offline.cql import CQL
from agents.offline.decision_transformer import DecisionTransformer
from agents.offline.iql import IQL, expectile_loss
from agents.offline.reward_estimate import fit_reward_weights, regressors
from agents.offline.slate_values import best_slate_values, slate_values
from recsim_env import LogWriter
from recsim_env.simulation.observation import FEEDBACK

NAMES = ("behavior-cloning", "cql", "iql", "decision-transformer")
SMALL = {"num_updates": 20, "batch_size": 16, "num_fitting_steps": 500}
PROBE = {"batch_size": 48, "learning_rate": 5e-3, "width": 32}


def half(signals):
    return np.full(signals.shape, 0.5)


def fitted(agent_class, probe, log, num_updates=400, **settings):
    agent = agent_class(ProbeVectorEnv(8, probe=probe), **{**PROBE, **settings})
    agent.fit(log, num_updates)
    return agent


def shown(agent, probe):
    """[B]: columns of `first_values` that it shows in each of `first_observations`."""
    observations, _, columns = first_observations(probe)
    return np.take_along_axis(columns, agent.predict(observations)[0][:, None], 1)[:, 0]


def probabilities_of_high(agent, probe):
    """[B]: of showing the candidate with content 1 in each of `first_observations`, and its user's signal [B]."""
    observations, _, columns = first_observations(probe)
    return np.exp(agent.log_probabilities(observations, columns.argmax(1))), observations["user"][:, 0]


def in_tensors(observations):
    return {name: torch.as_tensor(part) for name, part in observations.items()}


# Known answers


def test_behaviour_cloning_has_the_probabilities_of_the_logging_policy():
    log = probe_log("action", lambda signals: np.where(signals > 0, 0.9, 0.3))
    probabilities, signals = probabilities_of_high(fitted(BehaviorCloning, "action", log), "action")
    np.testing.assert_allclose(probabilities, np.where(signals > 0, 0.9, 0.3), atol=0.04)


@pytest.mark.parametrize(("agent_class", "near_the_log"), [(CQL, {"conservatism": 0.02}), (IQL, {"beta": 20.0})])
@pytest.mark.parametrize(("gamma", "best"), [(0.6, 0), (0.9, 1)])
def test_the_better_action_is_found_now_or_later_though_rare(agent_class, near_the_log, gamma, best):
    log = probe_log("now-or-later", lambda signals: np.full(signals.shape, 0.25 if best else 0.75))
    agent = fitted(agent_class, "now-or-later", log, 500, gamma=gamma, tau=0.05, **near_the_log)
    assert (shown(agent, "now-or-later") == best).all()


@pytest.mark.parametrize("agent_class", [CQL, IQL])
def test_the_better_action_is_found_for_each_user(agent_class):
    agent = fitted(agent_class, "action-and-observation", probe_log("action-and-observation", half))
    _, rows, _ = first_observations("action-and-observation")
    np.testing.assert_array_equal(shown(agent, "action-and-observation"), rows)


@pytest.mark.parametrize("is_truncated", [False, True])
def test_without_conservatism_cql_learns_action_values_and_stops_at_the_end(is_truncated):
    log = probe_log("now-or-later", half, is_truncated=is_truncated)
    agent = fitted(CQL, "now-or-later", log, gamma=0.6, tau=0.05, conservatism=0.0, num_updates=500)
    observations, _, columns = first_observations("now-or-later")
    with torch.no_grad():
        values = agent.q_values(in_tensors(observations)).numpy()
    np.testing.assert_allclose(values, np.array([2.0, 0.6 * 3.0])[columns], atol=0.2)


def test_conservatism_shrinks_the_difference_of_values_as_calculated_by_hand():
    # rewards 1 and 3, each half of the time: 0.5 (Q_a - r_a) + softmax(Q)_a - 0.5 = 0 for both actions a, so that
    # Q_1 + Q_2 = 4, and d = Q_2 - Q_1 solves d - 2 + 2 tanh(d / 2) = 0: d = 1.043
    agent = fitted(CQL, "action", probe_log("action", half), conservatism=1.0, num_updates=600)
    observations, _, columns = first_observations("action")
    with torch.no_grad():
        values = agent.q_values(in_tensors(observations)).numpy()
    np.testing.assert_allclose(values, np.array([1.479, 2.521])[columns], atol=0.1)


def test_the_iql_policy_is_the_log_weighted_by_exponentiated_advantages():
    # log odds: log(0.5 / 0.5) + beta (3 - 1)
    agent = fitted(IQL, "action", probe_log("action", half), beta=0.5, tau=0.05)
    probabilities, _ = probabilities_of_high(agent, "action")
    np.testing.assert_allclose(np.log(probabilities / (1.0 - probabilities)), 1.0, atol=0.15)


@pytest.mark.parametrize("probe", ["action", "action-and-observation"])
def test_a_decision_transformer_plays_as_well_as_it_is_asked_to(probe):
    agent = fitted(DecisionTransformer, probe, probe_log(probe, half), target_quantile=1.0)
    _, rows, _ = first_observations(probe)
    best = rows if probe == "action-and-observation" else np.ones_like(rows)
    assert agent.target_return == 3.0
    np.testing.assert_array_equal(shown(agent, probe), best)
    agent.target_quantile = 0.0
    assert agent.target_return == 1.0
    np.testing.assert_array_equal(shown(agent, probe), 1 - best)


def test_a_decision_transformer_plays_the_windows_that_it_was_trained_on(tmp_path):
    env = gymnasium.make_vec("recsim_env/VideoSlate-v0", 8, observation="full", session_length=9)
    LogWriter(env, "random", tmp_path, num_steps=800).write()
    agent = DecisionTransformer(env, context_length=4, num_updates=5, batch_size=8)
    log = dataclasses.replace(agent.read_log(tmp_path), rewards=np.zeros(800, np.float32))  # all returns are 0
    agent.fit(log)
    first = int(np.flatnonzero(log.is_first & (log.last_rows - np.arange(800) >= 6))[0])
    state, likelihoods = agent.initial_state(1), []
    for row in range(first, first + 4):
        observations = log.observations(np.array([row]))
        start = np.array([row == first])
        likelihoods.append(agent.log_probabilities(observations, log.slates[[row]], state, start))
        _, state = agent.predict(observations, state, start)
    with torch.no_grad():
        loss = agent.loss(log, np.array([first]))
    np.testing.assert_allclose(-np.mean(likelihoods), loss, rtol=1e-4)


# Formulas


def test_the_expectile_is_the_minimum_of_its_loss():
    values = torch.tensor([0.0, 10.0])
    for expectile, minimum in ((0.5, 5.0), (0.8, 8.0)):  # 0.2 m = 0.8 (10 - m) for m = 8
        candidates = torch.linspace(0.0, 10.0, 101)
        losses = expectile_loss(values - candidates[:, None], expectile).sum(1)
        np.testing.assert_allclose(candidates[losses.argmin()], minimum, atol=1e-4)


def test_a_slate_is_worth_the_mean_of_its_items_and_empty_slots_nothing():
    q_values, is_shown = torch.tensor([[1.0, 2.0, 6.0]]), torch.tensor([[True, False]])
    assert slate_values(q_values, torch.tensor([[2, 0]]), torch.ones(1, 2, dtype=torch.bool)) == 3.5
    assert slate_values(q_values, torch.tensor([[2, 2]]), is_shown) == 3.0
    ranking = torch.tensor([[3.0, 9.0, 1.0]])
    assert best_slate_values(ranking, q_values, torch.ones(1, 3), 2) == 1.5  # items 1 and 0
    assert best_slate_values(ranking, q_values, torch.tensor([[1.0, 0.0, 1.0]]), 2) == 3.5


def test_empty_slots_have_no_likelihood():
    scores = torch.tensor([[0.0, float(np.log(3.0))]])
    likelihood = slate_log_likelihoods(scores, torch.tensor([[1, 1]]), torch.tensor([[True, False]]))
    np.testing.assert_allclose(likelihood.exp(), 0.75, rtol=1e-5)


def test_rewards_are_estimated_from_the_feedback():
    generator = np.random.default_rng(0)
    rows = np.zeros((500, 1, len(FEEDBACK)), np.float32)
    rows[:, 0, FEEDBACK.index("rating")] = generator.integers(0, 6, 500) / 5.0
    ratings = 5.0 * rows[:, 0, FEEDBACK.index("rating")]
    rewards = np.where(ratings > 0, ratings - 2.0, 0.25)  # unrated items are worth 0.25 on average
    weights = fit_reward_weights(rows, rewards + generator.normal(0.0, 0.01, 500))
    np.testing.assert_allclose(regressors(rows) @ weights, rewards, atol=0.02)


# Logs


def small_env(num_envs=8, env_id="recsim_env/Video-v0", **arguments):
    return gymnasium.make_vec(env_id, num_envs, observation="full", session_length=9, **arguments)


@pytest.mark.parametrize("name", NAMES)
def test_learn_is_learn_from_log_with_the_log_of_the_behaviour_policy(name, tmp_path):
    env = small_env()
    agent = registry.make(name, env, seed=3, behavior="expert", **SMALL).learn(400)
    policy = BehaviorPolicy(env, behavior="expert", num_fitting_steps=500, seed=3).learn(0)
    LogWriter(env, policy, tmp_path, num_steps=400, seed=3).write()
    other = registry.make(name, None, seed=3, **SMALL).learn_from_log(tmp_path)
    assert agent.num_timesteps == other.num_timesteps == 400
    for name_, weight in agent.learned()[0].items():
        np.testing.assert_array_equal(weight, other.learned()[0][name_])


@pytest.mark.parametrize("name", NAMES)
def test_learners_train_on_slates_from_any_kind_of_observation(name, tmp_path):
    env = gymnasium.make_vec("recsim_env/VideoSlate-v0", 8, session_length=9)
    LogWriter(env, "random", tmp_path, num_steps=200).write()
    calls = []
    agent = registry.make(name, None, **SMALL)
    agent.learn_from_log(tmp_path, num_updates=4, callback=lambda each: calls.append(each.num_timesteps))
    assert calls == [50, 100, 150, 200]
    observations, _ = small_env(env_id="recsim_env/VideoSlate-v0").reset(seed=0)
    actions, _ = agent.predict(observations)
    assert actions.shape == (8, 5)
    assert (np.diff(np.sort(actions, 1), axis=1) > 0).all()


def test_a_log_longer_than_the_memory_is_refused_before_it_is_written():
    with pytest.raises(ValueError, match=r"^total_timesteps=400: must be at most max_logged_steps=399$"):
        CQL(small_env(), max_logged_steps=399).learn(400)


def test_an_env_that_resets_in_the_same_step_can_be_learned_in():
    env = small_env(autoreset_mode="SameStep")
    assert CQL(env, **SMALL).learn(100).num_timesteps == 104  # rounded up to a multiple of the lanes


def test_a_second_log_continues_the_training(tmp_path):
    LogWriter(small_env(), "random", tmp_path, num_steps=200).write()
    agent = BehaviorCloning(**SMALL).learn_from_log(tmp_path)
    before = agent.learned()[0]
    agent.learn_from_log(tmp_path, num_updates=0)
    assert all((weight == before[name]).all() for name, weight in agent.learned()[0].items())
    assert agent.num_timesteps == 200
    agent.learn_from_log(tmp_path)
    assert agent.num_timesteps == 400


def test_logs_that_do_not_fit_are_refused_in_one_line(tmp_path):
    LogWriter(small_env(), "random", tmp_path / "log", num_steps=200).write()
    LogWriter(small_env(), "random", tmp_path / "short", num_steps=8).write()
    LogWriter(small_env(env_id="recsim_env/VideoContent-v0"), "random", tmp_path / "points", num_steps=8).write()
    slates = small_env(env_id="recsim_env/VideoSlate-v0")
    for agent, path, message in (
        (CQL(max_logged_steps=199), "log", "has 200 steps, more than max_logged_steps=199"),
        (CQL(slates), "log", "its observations or slates differ from those of the agent's env"),
        (CQL(), "short", "log of 8 steps: too short for CQL"),
        (DecisionTransformer(), "short", "too short"),
        (CQL(), "points", "CQL chooses candidates"),
        (CQL(small_env()), "points", "shows points in content space; CQL chooses candidates"),
        (CQL(), "nothing", "not the folder of a simulated log"),
    ):
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            agent.learn_from_log(tmp_path / path)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"^num_updates=-1: must be a whole number"):
        CQL().learn_from_log(tmp_path / "log", num_updates=-1)
