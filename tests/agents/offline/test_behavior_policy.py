"""Behaviour policies: exploration, propensities, and the two halves of the mixture."""

import gymnasium
import numpy as np
import pytest

from agents.bandits.empirical_bayes import EmpiricalBayesLinUCB
from agents.offline.behavior_policy import BehaviorPolicy
from agents.rules.popularity import PopularityAgent
from recsim_env import LogWriter, read_events


def make_env(num_envs=64, env_id="recsim_env/Video-v0", **arguments):
    return gymnasium.make_vec(env_id, num_envs, observation="full", split="train", **arguments)


def fitted(env, behavior):
    return BehaviorPolicy(env, behavior=behavior, num_fitting_steps=2_000).learn(0)


@pytest.mark.parametrize(("behavior", "epsilon"), [("random", 1.0), ("mixed", 0.3), ("expert", 0.1)])
@pytest.mark.parametrize(("env_id", "num_slates"), [("Video", 20), ("VideoSlate", 20 * 19 * 18 * 17 * 16)])
def test_propensities_are_exact(behavior, epsilon, env_id, num_slates, tmp_path):
    env = make_env(env_id=f"recsim_env/{env_id}-v0")
    LogWriter(env, fitted(env, behavior), tmp_path, num_steps=3_000).write()
    propensities = np.exp(read_events(tmp_path)["log_propensity"].to_numpy())
    explored, greedy = epsilon / num_slates, 1.0 - epsilon + epsilon / num_slates
    is_greedy = propensities > 0.5 if epsilon < 1.0 else np.zeros(len(propensities), bool)
    np.testing.assert_allclose(propensities[~is_greedy], explored, rtol=1e-6)
    np.testing.assert_allclose(propensities[is_greedy], greedy, rtol=1e-6)
    if epsilon < 1.0:
        np.testing.assert_allclose(is_greedy.mean(), greedy, atol=0.03)


def test_the_mixture_follows_popularity_in_every_other_lane():
    env = make_env()
    policy, popularity = fitted(env, "mixed"), PopularityAgent(env)
    expert = fitted(env, "expert")
    observations, _ = env.reset(seed=0)
    popular = popularity.predict(observations)[0]
    linear = EmpiricalBayesLinUCB.act(
        expert, observations, EmpiricalBayesLinUCB.initial_state(expert, 64), np.ones(64, bool), True
    )
    shares = np.mean([policy.predict(observations)[0] == [popular, linear] for _ in range(200)], axis=0)
    assert (shares[0, ::2] > 0.6).all()
    assert (shares[1, 1::2] > 0.6).all()
    differs = popular != linear
    assert differs[::2].any()
    assert differs[1::2].any()
    assert (shares[1, ::2][differs[::2]] < 0.1).all()
    assert (shares[0, 1::2][differs[1::2]] < 0.1).all()


def test_the_bandit_learns_from_the_items_that_were_shown():
    env = make_env(4)
    policy = fitted(env, "expert")
    observations, _ = env.reset(seed=0)
    for _ in range(30):
        actions, state = policy.predict(observations, None)
        candidates = policy.candidates(observations)
        x, shown = policy.features(observations["user"], candidates), candidates[np.arange(4), actions]
        found = state["bandit"].shown(0, shown[:, : policy.layout.num_content_features])
        np.testing.assert_array_equal(found, x[np.arange(4), actions])


def test_an_unknown_behaviour_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^BehaviorPolicy.behavior='good': must be one of random, mixed, expert$"):
        BehaviorPolicy(make_env(2), behavior="good")
