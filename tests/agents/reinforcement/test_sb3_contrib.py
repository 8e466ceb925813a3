"""sb3-contrib's algorithms behind the protocol; skipped where it is not installed."""

import functools
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import recsim_env  # noqa: F401
from agents.reinforcement.sb3_contrib import SB3ContribLearner
from agents.rollouts.evaluation import evaluate

pytest.importorskip("sb3_contrib")

TRAIN = {"split": "train", "catalog_seed": 0}
ON_POLICY = {"n_steps": 16, "batch_size": 32}
SMALL = {
    "TRPO": {**ON_POLICY, "target_kl": 0.05},
    "RecurrentPPO": {**ON_POLICY, "n_epochs": 1},
    "MaskablePPO": {**ON_POLICY, "n_epochs": 1},
    "QRDQN": {"learning_starts": 40, "batch_size": 16, "policy_kwargs": {"n_quantiles": 5}},
}


@functools.cache
def trained(algorithm: str, policy: str = "candidate") -> SB3ContribLearner:
    agent = SB3ContribLearner(algorithm, policy, num_envs=4, **SMALL[algorithm])
    agent.learn("recsim_env/Video-v0", TRAIN, 128, seed=0)
    return agent


def unseen(num_envs: int, observation: str = "dict"):
    """Sessions that training never saw."""
    return gymnasium.make_vec("recsim_env/Video-v0", num_envs, observation=observation, split="test", catalog_seed=1)


def weights(agent: SB3ContribLearner) -> dict[str, torch.Tensor]:
    return agent._model.policy.state_dict()


@pytest.mark.parametrize("algorithm", SMALL)
def test_every_algorithm_learns_acts_saves_loads_and_recommends(algorithm, tmp_path: Path):
    agent = trained(algorithm)
    env = unseen(16)
    agent.begin(env)
    observations, _ = env.reset(seed=0)
    is_first = np.ones(16, bool)
    actions = agent.act(observations, is_first)
    assert actions in env.action_space
    agent.save(tmp_path / "agent.zip")
    other = SB3ContribLearner(algorithm)
    other.load(tmp_path / "agent.zip")
    other.begin(env)
    np.testing.assert_array_equal(actions, other.act(observations, is_first))
    other.begin(gymnasium.make("recsim_env/Video-v0", split="test", catalog_seed=1))
    assert other.recommend({name: part[3] for name, part in observations.items()}) == actions[3]


@pytest.mark.parametrize("algorithm", SMALL)
def test_the_same_seed_gives_the_same_weights_whatever_is_played_in_between(algorithm):
    def play(num_taken: int) -> None:
        evaluate(played, env, seed=num_taken)

    played, env = SB3ContribLearner(algorithm, num_envs=4, **SMALL[algorithm]), unseen(3)
    played.learn("recsim_env/Video-v0", TRAIN, 128, 0, play, 64)
    once, again = weights(played), weights(trained(algorithm))
    assert all(torch.equal(once[name], again[name]) for name in once)


@pytest.mark.parametrize("algorithm", SMALL)
def test_our_policies_follow_candidates_that_change_places_and_leave_out_missing_ones(algorithm):
    agent = trained(algorithm)
    env = unseen(64)
    agent.begin(env)
    observations, _ = env.reset(seed=0)
    order = np.random.default_rng(0).permutation(20)
    observations["candidate_mask"][:, 5:] = 0.0
    shuffled = dict(observations)
    shuffled["candidates"] = observations["candidates"].reshape(64, 20, -1)[:, order].reshape(64, -1)
    shuffled["candidate_mask"] = observations["candidate_mask"][:, order]
    is_first = np.ones(64, bool)
    actions = agent.act(observations, is_first)
    np.testing.assert_array_equal(actions, order[agent.act(shuffled, is_first)])
    assert (actions < 5).all()
    assert len(set(actions.tolist())) > 1


def test_the_recurrent_policy_remembers_a_session_and_forgets_it_when_the_next_begins():
    agent, env = trained("RecurrentPPO"), unseen(4)
    observations, _ = env.reset(seed=0)
    agent.begin(env)
    agent.act(observations, np.ones(4, bool))
    fresh = [part.copy() for part in agent._memory]
    agent.act(observations, np.array([True, False, True, False]))
    for part, first in zip(agent._memory, fresh, strict=True):
        np.testing.assert_array_equal(part[:, [0, 2]], first[:, [0, 2]])
        assert (part[:, [1, 3]] != first[:, [1, 3]]).any(2).all()
    agent.begin(env)
    agent.act(observations, np.zeros(4, bool))
    for part, first in zip(agent._memory, fresh, strict=True):
        np.testing.assert_array_equal(part, first)


def test_what_the_recurrent_policy_remembers_changes_its_scores():
    policy = trained("RecurrentPPO")._model.policy
    observations = {name: torch.as_tensor(part) for name, part in unseen(4).reset(seed=0)[0].items()}
    empty, full = (torch.full((1, 4, 64), value) for value in (0.0, 0.5))
    with torch.no_grad():
        one, other = (
            policy.get_distribution(observations, (state, state), torch.zeros(4))[0].distribution.probs
            for state in (empty, full)
        )
    assert ((one - other).abs().amax(1) > 1e-6).all()


@pytest.mark.parametrize("policy", ["MultiInputPolicy", "MlpPolicy"])
def test_masks_keep_the_librarys_own_policy_from_showing_missing_candidates(policy):
    agent = trained("MaskablePPO", policy)
    env = unseen(64, agent.observation)
    agent.begin(env)
    observations, _ = env.reset(seed=0)
    mask = np.zeros((64, 20), np.float32)
    mask[np.arange(64), np.arange(64) % 20] = 1.0
    if policy == "MlpPolicy":
        observations[:, agent.layout.slices["candidate_mask"]] = mask
    else:
        observations["candidate_mask"] = mask
    np.testing.assert_array_equal(agent.act(observations, np.ones(64, bool)), np.arange(64) % 20)


def test_maskable_ppo_fills_slates_with_a_policy_of_its_own():
    agent = SB3ContribLearner("MaskablePPO", "MultiInputPolicy", num_envs=4, **SMALL["MaskablePPO"])
    agent.learn("recsim_env/VideoSlate-v0", TRAIN, 64, seed=0)
    env = gymnasium.make_vec("recsim_env/VideoSlate-v0", 8, split="test", catalog_seed=1)
    agent.begin(env)
    observations, _ = env.reset(seed=0)
    assert agent.act(observations, np.ones(8, bool)) in env.action_space


@pytest.mark.parametrize("policy", ["MultiInputPolicy", "MlpPolicy"])
def test_the_recurrent_policy_of_the_library_can_be_chosen(policy):
    agent = trained("RecurrentPPO", policy)
    env = unseen(8, agent.observation)
    agent.begin(env)
    observations, _ = env.reset(seed=0)
    assert agent.act(observations, np.ones(8, bool)) in env.action_space


def test_quantiles_of_a_candidate_average_to_what_it_is_ranked_by():
    policy = trained("QRDQN")._model.policy
    observations = {name: torch.as_tensor(part) for name, part in unseen(16).reset(seed=0)[0].items()}
    with torch.no_grad():
        quantiles = policy.quantile_net(observations)
        assert quantiles.shape == (16, 5, 20)
        assert (quantiles.std(1) > 0.0).all()
        assert torch.equal(policy(observations), quantiles.mean(1).argmax(1))
        assert (quantiles - quantiles[:, :, :1]).std(1)[:, 1:].min() > 0.0  # each candidate has a spread of its own


def test_learning_leaves_the_settings_as_they_were_given():
    assert trained("QRDQN").settings["policy_kwargs"] == {"n_quantiles": 5}  # into which sb3-contrib writes


def test_an_unknown_algorithm_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^algorithm='PPO': must be one of TRPO, RecurrentPPO, MaskablePPO, QRDQN$"):
        SB3ContribLearner("PPO")
