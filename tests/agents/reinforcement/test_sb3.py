"""Stable-Baselines3's algorithms behind the protocol, with our policies and with its own."""

import functools
import importlib
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import recsim_env  # noqa: F401
from agents.agent import Learner
from agents.reinforcement.content_policies import ItemCritic, Shelf, StateAndAim
from agents.reinforcement.sb3 import ALGORITHMS, SB3Learner
from agents.rollouts.evaluation import evaluate
from agents.rules.random_agent import RandomAgent
from recsim_env.envs.sb3.policies import CandidatePolicy
from recsim_env.simulation.observation import CANDIDATE_COLUMNS

TRAIN = {"split": "train", "catalog_seed": 0}
OFF_POLICY = {"learning_starts": 40, "batch_size": 16, "train_freq": 2, "gradient_steps": 1}
SMALL = {
    "PPO": {"n_steps": 16, "batch_size": 32, "n_epochs": 1},
    "A2C": {},
    "DQN": OFF_POLICY,
    "SAC": OFF_POLICY,
    "TD3": {**OFF_POLICY, "action_noise": 0.1},
    "DDPG": {**OFF_POLICY, "action_noise": 0.1},
}
"""Settings with which each algorithm makes some gradient steps within 96 steps of four sessions."""


@functools.cache
def trained(algorithm: str, policy: str = "candidate", seed: int = 0) -> SB3Learner:
    agent = SB3Learner(algorithm, policy, num_envs=4, **SMALL[algorithm])
    agent.learn(f"recsim_env/Video{agent.env_variant}-v0", TRAIN, 96, seed)
    return agent


def unseen(agent: SB3Learner, num_envs: int):
    """Sessions that training never saw."""
    env_id = f"recsim_env/Video{agent.env_variant}-v0"
    return gymnasium.make_vec(env_id, num_envs, observation=agent.observation, split="test", catalog_seed=1)


def weights(agent: SB3Learner) -> dict[str, torch.Tensor]:
    return agent._model.policy.state_dict()


def test_learning_leaves_no_folder_behind(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    SB3Learner("PPO", num_envs=4, **SMALL["PPO"]).learn("recsim_env/Video-v0", TRAIN, 64, 0)
    assert list(tmp_path.glob("SB3*")) == []


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_learns_acts_saves_loads_and_recommends(algorithm, tmp_path: Path):
    agent = trained(algorithm)
    assert agent._model._n_updates > 0
    env = unseen(agent, 16)
    agent.begin(env)
    observations, _ = env.reset(seed=0)
    is_first = np.ones(16, bool)
    actions = agent.act(observations, is_first)
    assert actions in env.action_space
    agent.save(tmp_path / "agent.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["agent.zip"]
    other = SB3Learner(algorithm)
    other.load(tmp_path / "agent.zip")
    np.testing.assert_array_equal(actions, other.act(observations, is_first))
    single = gymnasium.make(f"recsim_env/Video{agent.env_variant}-v0", split="test", catalog_seed=1)
    other.begin(single)
    recommended = other.recommend({name: part[3] for name, part in observations.items()})
    np.testing.assert_allclose(recommended, actions[3], atol=1e-5)
    assert recommended in single.action_space


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_same_seed_gives_the_same_weights_whatever_is_played_in_between(algorithm):
    def play(num_taken: int) -> None:
        evaluate(played[0], env, seed=num_taken)

    played = [SB3Learner(algorithm, num_envs=4, **SMALL[algorithm])]
    env = unseen(played[0], 3)
    played[0].learn(f"recsim_env/Video{played[0].env_variant}-v0", TRAIN, 96, 0, play, 32)
    once, again = weights(played[0]), weights(trained(algorithm))
    assert all(torch.equal(once[name], again[name]) for name in once)


def test_another_seed_gives_other_weights():
    once, other = weights(trained("A2C")), weights(trained("A2C", seed=1))
    assert not any(torch.equal(once[name], other[name]) for name in once if once[name].ndim > 1)


@pytest.mark.parametrize(
    ("algorithm", "policy"), [("PPO", "MultiInputPolicy"), ("SAC", "MlpPolicy"), ("TD3", "MultiInputPolicy")]
)
def test_the_policies_of_the_library_can_be_chosen(algorithm, policy):
    agent = trained(algorithm, policy)
    env = unseen(agent, 8)
    agent.begin(env)
    observations, _ = env.reset(seed=0)
    assert agent.act(observations, np.ones(8, bool)) in env.action_space
    assert not any("scorer" in name for name in weights(agent))


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        ("PPO", {"n_steps": 16, "batch_size": 128, "n_epochs": 4, "learning_rate": 2e-3}),
        ("DQN", {"train_freq": 1, "gradient_steps": 2, "learning_rate": 3e-3, "target_update_interval": 256}),
        ("SAC", {"gradient_steps": 1, "batch_size": 64, "learning_rate": 5e-3, "ent_coef": 1e-3}),
    ],
)
def test_learners_with_our_policies_beat_random(algorithm, settings):
    agent = SB3Learner(algorithm, gamma=0.8, policy_kwargs={"width": 16}, **settings)
    agent.learn(f"recsim_env/Video{agent.env_variant}-v0", TRAIN, 4_096, seed=0)
    learnt = evaluate(agent, unseen(agent, 400), seed=9).returns
    at_random = evaluate(RandomAgent(), unseen(SB3Learner("PPO"), 400), seed=9).returns
    difference = learnt - at_random
    assert difference.mean() > 3.0 * difference.std() / 20.0


def test_reports_come_at_the_start_regularly_and_at_the_end():
    steps: list[int] = []
    SB3Learner("A2C", num_envs=8).learn("recsim_env/Video-v0", TRAIN, 400, 0, steps.append, 100)
    assert steps == [0, 104, 200, 304, 400]


def test_nothing_is_bootstrapped_beyond_a_truncated_session():
    agent = SB3Learner("SAC", num_envs=2, learning_starts=1_000)
    agent.learn("recsim_env/VideoContent-v0", {**TRAIN, "session_length": 5}, 24, seed=0)  # nobody leaves so soon
    buffer = agent._model.replay_buffer
    np.testing.assert_array_equal(buffer.dones, np.tile(np.arange(12) % 5 == 4, (2, 1)).T)
    assert buffer.timeouts.sum() == 0.0  # which would undo `dones`


@pytest.mark.parametrize("algorithm", ["PPO", "DQN", "SAC", "TD3"])
def test_our_policies_follow_candidates_that_change_places(algorithm):
    agent = trained(algorithm)
    env = unseen(agent, 64)
    observations, _ = env.reset(seed=0)
    order = np.random.default_rng(0).permutation(20)
    shuffled = dict(observations)
    shuffled["candidates"] = observations["candidates"].reshape(64, 20, -1)[:, order].reshape(64, -1)
    shuffled["candidate_mask"] = observations["candidate_mask"][:, order]
    is_first = np.ones(64, bool)
    actions, others = agent.act(observations, is_first), agent.act(shuffled, is_first)
    if algorithm in ("PPO", "DQN"):
        np.testing.assert_array_equal(actions, order[others])
    else:
        np.testing.assert_allclose(actions, others, atol=1e-5)


def test_a_candidate_wise_policy_never_shows_a_missing_candidate():
    agent = trained("PPO")
    observations, _ = unseen(agent, 64).reset(seed=0)
    mask = np.zeros((64, 20), np.float32)
    mask[np.arange(64), np.arange(64) % 20] = 1.0
    observations["candidate_mask"] = mask
    np.testing.assert_array_equal(agent.act(observations, np.ones(64, bool)), np.arange(64) % 20)


def tensors(env, seed: int = 0) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(part) for name, part in env.reset(seed=seed)[0].items()}


@pytest.mark.parametrize("scenario", ["Video", "Ratings"])
def test_a_point_leads_to_the_item_that_the_env_shows(scenario):
    env = gymnasium.make_vec(f"recsim_env/{scenario}Content-v0", 256)
    observations = tensors(env)
    shelf = Shelf(observations)
    num_features = env.single_action_space.shape[0]
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (256, num_features)).astype(np.float32)
    at_items = shelf.contents[torch.arange(256), torch.arange(256) % 20].numpy()  # where distances are 0
    for asked in (points, at_items):
        shown = torch.as_tensor(env.unwrapped._adapter.slates(asked)[:, 0])
        assert torch.equal(shelf.nearest(torch.as_tensor(asked), 1)[:, 0], shown)
        items = observations["candidates"].unflatten(1, (20, -1))[torch.arange(256), shown]
        torch.testing.assert_close(shelf.item_at(torch.as_tensor(asked), 0.25), items)
    if scenario == "Ratings":  # films of the same genres: all but the first are out of reach
        assert 0.9 < shelf.is_there.float().mean() < 1.0


def tiny_shelf(contents: list[float], masks: list[float]) -> Shelf:
    """One content feature; each candidate's age is its index."""
    rows = [[content, float(m)] + [0.0] * (len(CANDIDATE_COLUMNS) - 1) for m, content in enumerate(contents)]
    return Shelf({"candidates": torch.tensor(rows).flatten().unsqueeze(0), "candidate_mask": torch.tensor([masks])})


def test_the_gradient_of_what_a_point_leads_to_is_that_of_the_smooth_mean():
    # Two items at 0 and 1: the second's weight is s = sigmoid((2a - 1) / (2 r^2)), and ds/da = s (1 - s) / r^2.
    shelf, point = tiny_shelf([0.0, 1.0], [1.0, 1.0]), torch.tensor([[0.25]], requires_grad=True)
    item = shelf.item_at(point, reach=0.5)
    assert item[0, 0].item() == pytest.approx(0.0)  # the nearest item itself
    item[0, 0].backward()
    weight = 1.0 / (1.0 + np.exp(1.0))
    assert point.grad.item() == pytest.approx(weight * (1.0 - weight) / 0.25)


def test_missing_and_repeated_candidates_are_not_led_to():
    shelf = tiny_shelf([0.1, 0.5, 0.5, 0.9, 0.1], [0.0, 1.0, 1.0, 1.0, 1.0])
    assert shelf.is_there.tolist() == [[False, True, False, True, True]]  # the last one's double is missing
    assert shelf.nearest(torch.tensor([[0.1]]), 3).tolist() == [[4, 1, 3]]


def test_the_critic_values_a_point_as_the_candidate_that_it_leads_to():
    env = gymnasium.make_vec("recsim_env/VideoContent-v0", 8)
    observations = tensors(env)
    critic = ItemCritic(env.single_observation_space, env.single_action_space, num_estimates=2, width=16, reach=0.25)
    values, contents = critic.of_candidates(observations), Shelf(observations).contents
    for m in (0, 7, 19):
        estimates = critic(observations, contents[:, m])
        torch.testing.assert_close(torch.cat(estimates, 1).amin(1), values[:, m])
        torch.testing.assert_close(critic.q1_forward(observations, contents[:, m]), estimates[0])
    assert values.std() > 0.0


def test_the_actor_is_told_where_the_candidates_lie_that_suit():
    env = gymnasium.make_vec("recsim_env/VideoContent-v0", 8)
    observations = tensors(env)
    extractor = StateAndAim(env.single_observation_space, width=16)
    state, scores = extractor.scorer(observations)
    expected = sum(torch.softmax(scores, 1)[:, m, None] * Shelf(observations).contents[:, m] for m in range(20))
    torch.testing.assert_close(extractor(observations), torch.cat([state, expected], 1))


def test_wrong_use_of_a_learner_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^algorithm='PP0': must be one of PPO, A2C, DQN, SAC, TD3, DDPG$"):
        SB3Learner("PP0")
    with pytest.raises(ValueError, match=r"^policy='Cnn': must be one of"):
        SB3Learner("PPO", "Cnn")
    with pytest.raises(RuntimeError, match="not learnt anything yet"):
        SB3Learner("PPO").act({}, np.ones(1, bool))
    with pytest.raises(RuntimeError, match="not learnt anything yet"):
        SB3Learner("SAC").save(Path("nowhere"))
    with pytest.raises(ValueError, match="needs Discrete, one item a step"):
        SB3Learner("PPO").learn("recsim_env/Video-v0", {"slate_size": 3}, 64, seed=0)
    with pytest.raises(ValueError, match="needs a Box of 10 content features, one point a step"):
        SB3Learner("SAC").learn("recsim_env/VideoContent-v0", {"slate_size": 3}, 64, seed=0)
    with pytest.raises(ValueError, match='needs observation="dict"'):
        CandidatePolicy(spaces.Box(-1.0, 1.0, (7,)), spaces.Discrete(3), lambda _: 1e-3)
    assert issubclass(SB3Learner, Learner)


def test_sb3_contrib_is_asked_for_only_when_one_of_its_learners_is_made(monkeypatch):
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "agents.reinforcement.sb3_contrib", raising=False)
    module = importlib.import_module("agents.reinforcement.sb3_contrib")
    with pytest.raises(ImportError, match=r"^SB3ContribLearner needs sb3-contrib: pip install 'sb3-contrib>=2\.7'$"):
        module.SB3ContribLearner("TRPO")
