"""Neural-linear: a network that predicts stars, and a posterior for each visitor on top of its last layer."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import recsim_env  # noqa: F401
from agents.agent import NotFittedError
from agents.bandits.empirical_bayes import EmpiricalBayes, EmpiricalBayesThompson
from agents.bandits.neural_linear import NeuralLinear, StarsNetwork
from agents.rollouts.evaluation import evaluate
from agents.rules.random_agent import RandomAgent

MUSIC = "recsim_env/Music-v0"
TRAIN = {"split": "train", "catalog_seed": 0}
SMALL = {"num_envs": 64, "width": 16, "last_width": 4}


def make(num_envs: int, **options):
    return gymnasium.make_vec(MUSIC, num_envs, **options)


@pytest.fixture(scope="module")
def learnt() -> NeuralLinear:
    agent = NeuralLinear(num_envs=128, num_epochs=10)
    agent.learn(MUSIC, TRAIN, 6_400, seed=0)
    return agent


def test_last_layer_and_head_are_the_networks_prediction():
    network = StarsNetwork(user=2, item=3, width=4, last_width=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.5)
        users, items = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 0.0, -1.0]])
        hidden = 0.5 * 5.0 + 0.5  # of each of the four units: the inputs sum to 5
        second = 4 * 0.5 * hidden + 0.5
        last = 4 * 0.5 * second + 0.5
        np.testing.assert_allclose(network.last_layer(users, items), [[last, last]])
        np.testing.assert_allclose(network(users, items), [2 * 0.5 * last + 0.5])


def test_stars_are_linear_in_the_last_layer_beside_what_the_network_reads(learnt):
    env = make(5)
    observations, _ = env.reset(seed=0)
    learnt.begin(env)
    users, items = observations["user"], learnt.candidates(observations)
    x = learnt.features(users, items)
    assert x.shape == (5, 20, learnt.num_features) == (5, 20, learnt.last_width + items.shape[2] + 3)
    known = EmpiricalBayes.features(learnt, users, items)
    np.testing.assert_array_equal(x[:, :, learnt.last_width :], known)
    with torch.no_grad():
        last = learnt.network.last_layer(torch.as_tensor(users[2:3]), torch.as_tensor(known[2, 7:8]).float())
    np.testing.assert_allclose(x[2, 7, : learnt.last_width], last[0], atol=1e-5)


def test_the_network_predicts_stars_better_than_their_mean_does(learnt):
    env, player = make(400, split="test", catalog_seed=1), RandomAgent()
    player.begin(env, 0)
    learnt.begin(env)
    observations, _ = env.reset(seed=0)
    predicted, rewards = [], []
    for _ in range(6):
        actions = player.act(observations, np.ones(400, bool))
        known = EmpiricalBayes.features(learnt, observations["user"], learnt.candidates(observations))
        shown = torch.as_tensor(known[np.arange(400), actions]).float()
        with torch.no_grad():
            predicted.append(learnt.network(torch.as_tensor(observations["user"]), shown).numpy())
        observations, reward, *_ = env.step(actions)
        rewards.append(reward)
    assert np.corrcoef(np.concatenate(predicted), np.concatenate(rewards))[0, 1] > 0.15


def test_it_learns_to_recommend_music(learnt):
    env = make(200, split="test", catalog_seed=1)
    gain = evaluate(learnt, env, seed=5).returns - evaluate(RandomAgent(), env, seed=5).returns
    assert gain.mean() > 5.0 * gain.std() / np.sqrt(200)


def test_a_posterior_without_draws_is_greedy_and_needs_no_seed(learnt):
    env = make(32, split="test", catalog_seed=1)
    items = [evaluate(learnt, env, seed=5, agent_seed=seed).items for seed in (1, 2)]
    assert (items[0] != items[1]).any()
    learnt.scale = 0.0
    items = [evaluate(learnt, env, seed=5, agent_seed=seed).items for seed in (1, 2)]
    learnt.scale = 0.25
    np.testing.assert_array_equal(*items)


def test_saved_and_loaded_it_acts_the_same(learnt, tmp_path: Path):
    learnt.save(tmp_path / "agent")
    other = NeuralLinear(last_width=3)
    other.load(tmp_path / "agent")
    env = make(16)
    np.testing.assert_array_equal(*(evaluate(agent, env, seed=5).items for agent in (learnt, other)))
    with pytest.raises(ValueError, match="was written by 'NeuralLinear', must be 'EmpiricalBayesThompson'"):
        EmpiricalBayesThompson().load(tmp_path / "agent")


@pytest.mark.parametrize("variant", ["", "Slate"])
def test_recommends_for_one_observation_by_the_history_in_it(variant, learnt):
    learnt.scale, changed = 0.0, 0
    env = gymnasium.make(f"recsim_env/Music{variant}-v0", overrides={"population": {"warm_share": 1.0}})
    learnt.begin(env)
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        action = learnt.recommend(observation)
        assert env.action_space.contains(action)
        assert len(set(np.atleast_1d(action).tolist())) == np.size(action)
        forgotten = {**observation, "history": np.zeros_like(observation["history"])}
        changed += np.any(learnt.recommend(forgotten) != action)
    learnt.scale = 0.25
    assert changed > 2


def test_it_learns_on_slates():
    agent = NeuralLinear(**SMALL)
    agent.learn("recsim_env/MusicSlate-v0", TRAIN, 640, seed=0)
    env = gymnasium.make_vec("recsim_env/MusicSlate-v0", 8)
    evaluation = evaluate(agent, env, seed=0)
    assert all(len(set(row)) == 5 for row in evaluation.items[0].tolist())


def test_learning_is_repeatable_and_what_reports_do_does_not_matter():
    elsewhere, steps = gymnasium.make_vec("recsim_env/Video-v0", 8, split="test"), []
    before = torch.random.get_rng_state()

    def report(num_steps: int) -> None:
        steps.append(num_steps)
        evaluate(reporting, elsewhere, seed=0)

    quiet, reporting, other = (NeuralLinear(**SMALL) for _ in range(3))
    quiet.learn("recsim_env/Video-v0", TRAIN, 1_280, seed=3)
    reporting.learn("recsim_env/Video-v0", TRAIN, 1_280, 3, report, 320)
    other.learn("recsim_env/Video-v0", TRAIN, 1_280, seed=4)
    assert steps == [0, 320, 640, 960, 1_280]
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, weight in quiet.network.state_dict().items():
        assert torch.equal(weight, reporting.network.state_dict()[name])
        assert not torch.equal(weight, other.network.state_dict()[name])
    np.testing.assert_array_equal(quiet.prior.covariance, reporting.prior.covariance)


def test_with_a_random_share_of_one_it_never_acts_while_it_learns(monkeypatch):
    num_acts = []
    monkeypatch.setattr(NeuralLinear, "act", lambda *_: num_acts.append(1) or np.zeros(64, np.int64))
    NeuralLinear(random_share=1.0, **SMALL).learn(MUSIC, TRAIN, 640, seed=0)
    assert not num_acts
    NeuralLinear(random_share=0.5, **SMALL).learn(MUSIC, TRAIN, 640, seed=0)
    assert len(num_acts) == 5


def test_wrong_use_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(ValueError, match=r"random_share=1.5: must be a number in \[0.0, 1.0\]"):
        NeuralLinear(random_share=1.5)
    with pytest.raises(ValueError, match="num_rounds=0: must be a whole number in"):
        NeuralLinear(num_rounds=0)
    with pytest.raises(NotFittedError):
        NeuralLinear().act({}, np.ones(1, bool))
    with pytest.raises(NotFittedError):
        NeuralLinear().save(tmp_path / "agent")
