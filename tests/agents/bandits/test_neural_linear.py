"""Neural-linear: a network that predicts ratings, and a posterior for each session on its last layer."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import recsim_env  # noqa: F401
from agents.agent import NotFittedError
from agents.bandits.empirical_bayes import EmpiricalBayes
from agents.bandits.neural_linear import NeuralLinear, RewardNetwork
from agents.callbacks import EveryNSteps
from agents.rollouts.evaluation import evaluate
from agents.rules.random_agent import RandomAgent

MUSIC, VIDEO = "recsim_env/Music-v0", "recsim_env/Video-v0"
TRAIN = {"split": "train", "catalog_seed": 0}
SMALL = {"width": 16, "last_width": 4}


def make(num_envs: int, env_id: str = MUSIC, **arguments):
    return gymnasium.make_vec(env_id, num_envs, **{"observation": "full", **arguments})


@pytest.fixture(scope="module")
def trained() -> NeuralLinear:
    return NeuralLinear(make(128, **TRAIN), num_epochs=10).learn(6_400)


def test_last_layer_and_head_are_the_networks_prediction():
    network = RewardNetwork(user=2, item=3, width=4, last_width=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.5)
        users, items = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 0.0, -1.0]])
        hidden = 0.5 * 5.0 + 0.5  # of each of the four units: the inputs sum to 5
        second = 4 * 0.5 * hidden + 0.5
        last = 4 * 0.5 * second + 0.5
        np.testing.assert_allclose(network.last_layer(users, items), [[last, last]])
        np.testing.assert_allclose(network(users, items), [2 * 0.5 * last + 0.5])


def test_features_are_the_last_layer_beside_the_networks_input(trained):
    env = make(5)
    observations, _ = env.reset(seed=0)
    trained.set_env(env)
    users, items = observations["user"], trained.candidates(observations)
    x = trained.features(users, items)
    known = EmpiricalBayes.features(trained, users, items)
    assert x.shape == (5, 20, trained.num_features) == (5, 20, trained.last_width + known.shape[2])
    np.testing.assert_array_equal(x[:, :, trained.last_width :], known)
    with torch.no_grad():
        last = trained.network.last_layer(torch.as_tensor(users[2:3]), torch.as_tensor(known[2, 7:8]).float())
    np.testing.assert_allclose(x[2, 7, : trained.last_width], last[0], atol=1e-5)


def test_the_network_predicts_ratings_better_than_their_mean(trained):
    env = make(400, split="test", catalog_seed=1)
    random = RandomAgent(env)
    trained.set_env(env)
    observations, _ = env.reset(seed=0)
    predictions, rewards = [], []
    for _ in range(6):
        actions, _ = random.predict(observations)
        inputs = EmpiricalBayes.features(trained, observations["user"], trained.candidates(observations))
        shown = torch.as_tensor(inputs[np.arange(400), actions]).float()
        with torch.no_grad():
            predictions.append(trained.network(torch.as_tensor(observations["user"]), shown).numpy())
        observations, reward, *_ = env.step(actions)
        rewards.append(reward)
    assert np.corrcoef(np.concatenate(predictions), np.concatenate(rewards))[0, 1] > 0.15


def test_it_learns_to_recommend_music(trained):
    env = make(200, split="test", catalog_seed=1)
    gain = evaluate(trained, env, seed=5).returns - evaluate(RandomAgent(), env, seed=5).returns
    assert gain.mean() > 5.0 * gain.std() / np.sqrt(200)


def test_with_a_scale_of_0_it_is_greedy_and_independent_of_the_seed(trained):
    env = make(32, split="test", catalog_seed=1)
    items = [evaluate(trained, env, seed=5, agent_seed=seed).items for seed in (1, 2)]
    assert (items[0] != items[1]).any()
    trained.scale = 0.0
    items = [evaluate(trained, env, seed=5, agent_seed=seed).items for seed in (1, 2)]
    trained.scale = 0.25
    np.testing.assert_array_equal(*items)


@pytest.mark.parametrize("variant", ["", "Slate"])
def test_a_single_observation_is_judged_by_its_history(variant, trained):
    trained.scale, num_changed = 0.0, 0
    env = gymnasium.make(
        f"recsim_env/Music{variant}-v0", overrides={"population": {"warm_share": 1.0}}, observation="full"
    )
    trained.set_env(env)
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        action, _ = trained.predict(observation)
        assert env.action_space.contains(action)
        assert len(set(np.atleast_1d(action).tolist())) == np.size(action)
        cold = {**observation, "history": np.zeros_like(observation["history"])}
        num_changed += np.any(trained.predict(cold)[0] != action)
    trained.scale = 0.25
    assert num_changed > 2


def test_it_learns_on_slates():
    agent = NeuralLinear(make(64, "recsim_env/MusicSlate-v0", **TRAIN), **SMALL).learn(640)
    evaluation = evaluate(agent, make(8, "recsim_env/MusicSlate-v0"), seed=0)
    assert all(len(set(row)) == 5 for row in evaluation.items[0].tolist())


def test_training_is_reproducible_with_and_without_evaluations():
    elsewhere, steps = make(8, VIDEO, split="test"), []
    before = torch.random.get_rng_state()

    def evaluate_elsewhere(agent) -> None:
        steps.append(agent.num_timesteps)
        evaluate(agent, elsewhere, seed=0)

    quiet, evaluated, other = (NeuralLinear(make(64, VIDEO, **TRAIN), **SMALL, seed=seed) for seed in (3, 3, 4))
    quiet.learn(1_280)
    evaluated.learn(1_280, EveryNSteps(320, evaluate_elsewhere))
    other.learn(1_280)
    assert steps == [0, 320, 640, 960, 1_280]
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, weight in quiet.network.state_dict().items():
        assert torch.equal(weight, evaluated.network.state_dict()[name])
        assert not torch.equal(weight, other.network.state_dict()[name])
    np.testing.assert_array_equal(quiet.prior.covariance, evaluated.prior.covariance)


def test_with_a_random_share_of_1_it_never_acts_in_training(monkeypatch):
    num_acts = []
    monkeypatch.setattr(NeuralLinear, "act", lambda *_, **__: num_acts.append(1) or np.zeros(64, np.int64))
    NeuralLinear(make(64, **TRAIN), random_share=1.0, **SMALL).learn(640)
    assert not num_acts
    NeuralLinear(make(64, **TRAIN), random_share=0.5, **SMALL).learn(640)
    assert len(num_acts) == 5


def test_wrong_use_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(ValueError, match=r"random_share=1.5: must be a number in \[0.0, 1.0\]"):
        NeuralLinear(random_share=1.5)
    with pytest.raises(ValueError, match="num_rounds=0: must be a whole number in"):
        NeuralLinear(num_rounds=0)
    env = make(2)
    with pytest.raises(NotFittedError):
        NeuralLinear(env).predict(env.reset(seed=0)[0])
    with pytest.raises(NotFittedError):
        NeuralLinear(env).save(tmp_path / "agent")
