"""Stable-Baselines3 and sb3-contrib: every algorithm, with candidate-wise policies and with the library's own."""

import copy
import functools
import itertools
import sys
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium import spaces

import recsim_env  # noqa: F401  (registers the ids)
from agents import registry
from agents.agent import NotFittedError
from agents.callbacks import EveryNSteps
from agents.reinforcement.content_policies import AvailableItems, ItemCritic, StateAndAim
from agents.reinforcement.sb3 import ALGORITHMS, CONTRIB_ALGORITHMS, SB3Learner, SB3Model
from agents.rollouts.evaluation import evaluate
from agents.rules.random_agent import RandomAgent
from recsim_env.sb3 import make_sb3_vec_env
from recsim_env.sb3.policies import CandidatePolicy
from recsim_env.simulation.observation import CANDIDATE_COLUMNS

ON_POLICY = {"n_steps": 16, "batch_size": 32}
OFF_POLICY = {"learning_starts": 40, "batch_size": 16, "train_freq": 2, "gradient_steps": 1}
SMALL = {
    "PPO": {**ON_POLICY, "n_epochs": 1},
    "A2C": {},
    "DQN": OFF_POLICY,
    "SAC": OFF_POLICY,
    "TD3": {**OFF_POLICY, "action_noise": 0.1},
    "DDPG": {**OFF_POLICY, "action_noise": 0.1},
    "TRPO": {**ON_POLICY, "target_kl": 0.05},
    "RecurrentPPO": {**ON_POLICY, "n_epochs": 1},
    "MaskablePPO": {**ON_POLICY, "n_epochs": 1},
    "QRDQN": {**OFF_POLICY, "policy_kwargs": {"n_quantiles": 5}},
}
"""Settings with which each algorithm makes some gradient steps within 128 steps of four sessions."""
CANDIDATE_ALGORITHMS = [name for name in ALGORITHMS if name not in ("SAC", "TD3", "DDPG")]
MANY_CLICKS = {
    "behaviour": {"choice_intercept": 2.0, "choice_distrust": 2.0, "initial_trust": 1.0},
    "reward": {"neutral_rating": 0.0},
}
"""So many that a few thousand steps teach something."""
STOCHASTIC = [name for name in CANDIDATE_ALGORITHMS if "DQN" not in name]


def env_for(algorithm: str, num_envs: int, policy: str = "candidate", **arguments):
    if algorithm in CONTRIB_ALGORITHMS:
        pytest.importorskip("sb3_contrib")
    observation, variant = SB3Learner.env_requirements(algorithm=algorithm, policy=policy)
    return gymnasium.make_vec(f"recsim_env/Video{variant}-v0", num_envs, observation=observation, **arguments)


def new_agent(algorithm: str, policy: str = "candidate", seed: int = 0, num_envs: int = 4, **settings) -> SB3Learner:
    env = env_for(algorithm, num_envs, policy, split="train", catalog_seed=0)
    return SB3Learner(env, algorithm=algorithm, policy=policy, seed=seed, **{**SMALL[algorithm], **settings})


@functools.cache
def trained(algorithm: str, policy: str = "candidate", seed: int = 0) -> SB3Learner:
    return new_agent(algorithm, policy, seed).learn(128)


def unseen(algorithm: str, num_envs: int, policy: str = "candidate", **arguments):
    """Sessions of users and items that are not in training."""
    return env_for(algorithm, num_envs, policy, split="test", catalog_seed=1, **arguments)


def weights(agent: SB3Learner) -> dict[str, torch.Tensor]:
    return agent.model.policy.state_dict()


def test_training_leaves_no_folder_behind(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    new_agent("PPO").learn(64)
    assert list(tmp_path.glob("SB3*")) == []


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_trains_and_its_file_holds_the_same_policy(algorithm, tmp_path: Path):
    env = unseen(algorithm, 16)
    agent = trained(algorithm)
    assert agent.model._n_updates > 0
    observations, _ = env.reset(seed=0)
    actions, _ = agent.predict(observations)
    assert actions in env.action_space
    agent.save(tmp_path / "agent")
    other = SB3Learner.load(tmp_path / "agent")
    np.testing.assert_array_equal(actions, other.predict(observations)[0])
    single, _ = other.predict({name: part[3] for name, part in observations.items()})
    np.testing.assert_allclose(single, actions[3], atol=1e-5)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_evaluation_during_training_does_not_change_the_weights(algorithm):
    env = unseen(algorithm, 3)
    callback = EveryNSteps(32, lambda agent: evaluate(agent, env, seed=agent.num_timesteps))
    evaluated, other = weights(new_agent(algorithm).learn(128, callback)), weights(trained(algorithm))
    assert all(torch.equal(evaluated[name], other[name]) for name in other)


def test_another_seed_gives_other_weights():
    once, other = weights(trained("A2C")), weights(trained("A2C", seed=1))
    assert not any(torch.equal(once[name], other[name]) for name in once if once[name].ndim > 1)


def test_a_second_training_continues_with_the_policy():
    agent = new_agent("A2C", learning_rate=0.0).learn(64)
    before = {name: weight.clone() for name, weight in weights(agent).items()}
    agent.learn(64)
    assert agent.num_timesteps == 160  # rollouts of 5 steps, as A2C makes them
    assert all(torch.equal(weight, weights(agent)[name]) for name, weight in before.items())


def test_a_callback_ends_the_training():
    agent = new_agent("A2C", num_envs=8)
    agent.learn(4_000, lambda agent: agent.num_timesteps < 100)
    assert agent.num_timesteps == 104


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "DQN", "MaskablePPO", "RecurrentPPO"])
def test_the_best_policy_by_validation_is_kept(algorithm, monkeypatch):
    returns, validated, sessions = [1.0, 3.0, 2.0, 0.0], [], set()

    def scripted(agent, env, seed):
        assert (env.num_envs, env.simulator.catalog_seed) == (500, 1_000)
        sessions.add(seed)
        validated.append({name: weight.clone() for name, weight in weights(agent).items()})
        return SimpleNamespace(returns=np.array([returns[len(validated) - 1]]))

    monkeypatch.setattr("agents.reinforcement.sb3.evaluate", scripted)
    kept = weights(new_agent(algorithm, num_validations=4).learn(256))
    assert len(validated) == 4
    assert len(sessions) == 1
    assert all(torch.equal(weight, validated[1][name]) for name, weight in kept.items())
    for one, other in itertools.pairwise(validated):  # always after an update, the last one included
        assert any(not torch.equal(one[name], other[name]) for name in one)


def test_validation_does_not_change_the_training():
    policies = []
    for num_validations in (0, 3):
        agent = new_agent("A2C", num_validations=num_validations)
        agent.learn(96, lambda agent: policies.append(copy.deepcopy(weights(agent))))
    half = len(policies) // 2
    for plain, validated in zip(policies[:half], policies[half:], strict=True):
        assert all(torch.equal(weight, validated[name]) for name, weight in plain.items())


def test_the_settings_stay_as_given():
    assert trained("QRDQN").settings["policy_kwargs"] == {"n_quantiles": 5}  # which sb3-contrib modifies


@pytest.mark.parametrize(
    ("algorithm", "policy"),
    [
        ("PPO", "MultiInputPolicy"),
        ("PPO", "MlpPolicy"),
        ("SAC", "MultiInputPolicy"),
        ("RecurrentPPO", "MultiInputPolicy"),
        ("RecurrentPPO", "MlpPolicy"),
    ],
)
def test_the_policies_of_the_library_can_be_chosen(algorithm, policy):
    env = unseen(algorithm, 8, policy)
    agent = trained(algorithm, policy)
    assert agent.predict(env.reset(seed=0)[0])[0] in env.action_space
    assert not any("scorer" in name for name in weights(agent))


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        ("PPO", {"n_steps": 16, "batch_size": 128, "n_epochs": 4, "learning_rate": 2e-3}),
        ("DQN", {"train_freq": 1, "gradient_steps": 2, "learning_rate": 3e-3, "target_update_interval": 256}),
        ("SAC", {"gradient_steps": 1, "batch_size": 64, "learning_rate": 5e-3, "ent_coef": 1e-3}),
    ],
)
def test_candidate_wise_policies_beat_random(algorithm, settings):
    env = env_for(algorithm, 64, split="train", catalog_seed=0, overrides=MANY_CLICKS)
    agent = SB3Learner(env, algorithm=algorithm, gamma=0.8, policy_kwargs={"width": 16}, **settings).learn(4_096)
    returns = evaluate(agent, unseen(algorithm, 400, overrides=MANY_CLICKS), seed=9).returns
    difference = returns - evaluate(RandomAgent(), unseen("PPO", 400, overrides=MANY_CLICKS), seed=9).returns
    assert difference.mean() > 3.0 * difference.std() / 20.0


def test_a_fixed_horizon_treats_truncation_like_termination():
    env = env_for("SAC", 2, split="train", session_length=5)  # too short for any user to leave
    buffer = SB3Learner(env, algorithm="SAC", learning_starts=1_000).learn(24).model.replay_buffer
    np.testing.assert_array_equal(buffer.dones, np.tile(np.arange(12) % 5 == 4, (2, 1)).T)
    assert buffer.timeouts.sum() == 0.0  # which would undo `dones`


@pytest.mark.parametrize("algorithm", [*CANDIDATE_ALGORITHMS, "SAC", "TD3"])
def test_candidate_wise_policies_do_not_depend_on_the_order_of_candidates(algorithm):
    env = unseen(algorithm, 64)
    agent = trained(algorithm)
    observations, _ = env.reset(seed=0)
    order = np.random.default_rng(0).permutation(20)
    observations["candidate_mask"][:, 5:] = 0.0
    shuffled = dict(observations)
    shuffled["candidates"] = observations["candidates"].reshape(64, 20, -1)[:, order].reshape(64, -1)
    shuffled["candidate_mask"] = observations["candidate_mask"][:, order]
    actions, others = agent.predict(observations)[0], agent.predict(shuffled)[0]
    if algorithm in CANDIDATE_ALGORITHMS:
        np.testing.assert_array_equal(actions, order[others])
        assert set(actions.tolist()) <= set(range(5))
        assert len(set(actions.tolist())) > 1
    else:
        np.testing.assert_allclose(actions, others, atol=1e-5)


@pytest.mark.parametrize("policy", ["candidate", "MlpPolicy"])
@pytest.mark.parametrize("algorithm", STOCHASTIC)
def test_log_probabilities_are_those_of_the_sampled_actions(algorithm, policy):
    env = unseen(algorithm, 1, policy)
    agent = trained(algorithm, policy)
    observations, _ = env.reset(seed=0)
    is_dict = isinstance(observations, dict)
    batch = {name: part.repeat(2_000, 0) for name, part in observations.items()} if is_dict else None
    actions, _ = agent.predict(batch if is_dict else observations.repeat(2_000, 0), deterministic=False)
    shares = np.bincount(actions, minlength=20) / 2_000
    every = {name: part.repeat(20, 0) for name, part in observations.items()} if is_dict else observations.repeat(20, 0)
    probabilities = np.exp(agent.log_probabilities(every, np.arange(20)))
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(shares, probabilities, atol=5.0 * np.sqrt(probabilities.max() / 2_000))


@pytest.mark.parametrize("algorithm", ["DQN", "SAC", "QRDQN"])
def test_log_probabilities_without_closed_form_are_refused(algorithm):
    observations, _ = unseen(algorithm, 2).reset(seed=0)
    agent = trained(algorithm)
    with pytest.raises(NotImplementedError, match="has no action probabilities in closed form"):
        agent.log_probabilities(observations, agent.predict(observations)[0])


def test_the_recurrent_policy_keeps_its_state_within_a_session_only():
    env = unseen("RecurrentPPO", 4)
    agent = trained("RecurrentPPO")
    observations, _ = env.reset(seed=0)
    _, state = agent.predict(observations)
    first = [part.copy() for part in state["lstm"]]
    _, state = agent.predict(observations, state, np.array([True, False, True, False]))
    for part, before in zip(state["lstm"], first, strict=True):
        np.testing.assert_array_equal(part[:, [0, 2]], before[:, [0, 2]])
        assert (part[:, [1, 3]] != before[:, [1, 3]]).any(2).all()
    _, state = agent.predict(observations)
    for part, before in zip(state["lstm"], first, strict=True):
        np.testing.assert_array_equal(part, before)


def test_the_state_of_the_recurrent_policy_changes_its_probabilities():
    env = unseen("RecurrentPPO", 4)
    agent = trained("RecurrentPPO")
    observations, _ = env.reset(seed=0)
    _, state = agent.predict(observations)
    start, actions = np.ones(4, bool), np.arange(4)
    without, restarted, later = (
        agent.log_probabilities(observations, actions, *arguments) for arguments in ((), (state, start), (state,))
    )
    np.testing.assert_array_equal(without, restarted)
    assert (np.abs(later - without) > 1e-6).all()


@pytest.mark.parametrize("policy", ["MultiInputPolicy", "MlpPolicy"])
def test_masks_keep_maskable_ppo_from_showing_missing_candidates(policy):
    env = unseen("MaskablePPO", 64, policy)
    agent = trained("MaskablePPO", policy)
    observations, _ = env.reset(seed=0)
    mask = np.zeros((64, 20), np.float32)
    mask[np.arange(64), np.arange(64) % 20] = 1.0
    if policy == "MlpPolicy":
        observations[:, agent.layout.slices["candidate_mask"]] = mask
    else:
        observations["candidate_mask"] = mask
    np.testing.assert_array_equal(agent.predict(observations)[0], np.arange(64) % 20)


def test_maskable_ppo_shows_slates_with_a_policy_of_the_library(tmp_path: Path):
    pytest.importorskip("sb3_contrib")
    env = gymnasium.make_vec("recsim_env/VideoSlate-v0", 4)
    agent = SB3Learner(env, algorithm="MaskablePPO", policy="MultiInputPolicy", **SMALL["MaskablePPO"]).learn(64)
    observations, _ = env.reset(seed=0)
    actions, _ = agent.predict(observations)
    assert actions in env.action_space
    agent.save(tmp_path / "agent")
    np.testing.assert_array_equal(SB3Learner.load(tmp_path / "agent").predict(observations)[0], actions)


def test_qr_dqn_ranks_candidates_by_the_mean_of_their_quantiles():
    env = unseen("QRDQN", 16)
    policy = trained("QRDQN").model.policy
    observations = {name: torch.as_tensor(part) for name, part in env.reset(seed=0)[0].items()}
    with torch.no_grad():
        quantiles = policy.quantile_net(observations)
        assert quantiles.shape == (16, 5, 20)
        assert (quantiles.std(1) > 0.0).all()
        assert torch.equal(policy(observations), quantiles.mean(1).argmax(1))
        assert (quantiles - quantiles[:, :, :1]).std(1)[:, 1:].min() > 0.0  # the spread differs between candidates


def tensors(env, seed: int = 0) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(part) for name, part in env.reset(seed=seed)[0].items()}


@pytest.mark.parametrize("scenario", ["Video", "Ratings"])
def test_a_point_selects_the_item_that_the_env_shows(scenario):
    env = gymnasium.make_vec(f"recsim_env/{scenario}Content-v0", 256)
    observations = tensors(env)
    available = AvailableItems(observations)
    num_features = env.single_action_space.shape[0]
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (256, num_features)).astype(np.float32)
    at_items = available.contents[torch.arange(256), torch.arange(256) % 20].numpy()  # where distances are 0
    for batch in (points, at_items):
        shown = torch.as_tensor(env.unwrapped._slates(batch)[:, 0])
        assert torch.equal(available.nearest(torch.as_tensor(batch), 1)[:, 0], shown)
        items = observations["candidates"].unflatten(1, (20, -1))[torch.arange(256), shown]
        torch.testing.assert_close(available.item_at(torch.as_tensor(batch), 0.25), items)
    if scenario == "Ratings":  # of films with the same genres, only the first can be selected
        assert 0.9 < available.is_available.float().mean() < 1.0


def items_at(contents: list[float], masks: list[float]) -> AvailableItems:
    """One content feature; each candidate's age is its index."""
    rows = [[content, float(m)] + [0.0] * (len(CANDIDATE_COLUMNS) - 1) for m, content in enumerate(contents)]
    return AvailableItems(
        {"candidates": torch.tensor(rows).flatten().unsqueeze(0), "candidate_mask": torch.tensor([masks])}
    )


def test_the_gradient_of_the_selected_item_is_that_of_the_smooth_mean():
    # Two items at 0 and 1: the second's weight is s = sigmoid((2a - 1) / (2 r^2)), and ds/da = s (1 - s) / r^2.
    available, point = items_at([0.0, 1.0], [1.0, 1.0]), torch.tensor([[0.25]], requires_grad=True)
    item = available.item_at(point, reach=0.5)
    assert item[0, 0].item() == pytest.approx(0.0)  # the nearest item itself
    item[0, 0].backward()
    weight = 1.0 / (1.0 + np.exp(1.0))
    assert point.grad.item() == pytest.approx(weight * (1.0 - weight) / 0.25)


def test_no_point_selects_a_missing_or_repeated_candidate():
    available = items_at([0.1, 0.5, 0.5, 0.9, 0.1], [0.0, 1.0, 1.0, 1.0, 1.0])
    assert available.is_available.tolist() == [[False, True, False, True, True]]  # the equal of the last is missing
    assert available.nearest(torch.tensor([[0.1]]), 3).tolist() == [[4, 1, 3]]


def test_the_critic_values_a_point_as_the_candidate_that_it_selects():
    env = gymnasium.make_vec("recsim_env/VideoContent-v0", 8)
    observations = tensors(env)
    critic = ItemCritic(env.single_observation_space, env.single_action_space, num_estimates=2, width=16, reach=0.25)
    values, contents = critic.of_candidates(observations), AvailableItems(observations).contents
    for m in (0, 7, 19):
        estimates = critic(observations, contents[:, m])
        torch.testing.assert_close(torch.cat(estimates, 1).amin(1), values[:, m])
        torch.testing.assert_close(critic.q1_forward(observations, contents[:, m]), estimates[0])
    assert values.std() > 0.0


def test_the_actor_reads_the_mean_content_weighted_by_scores():
    env = gymnasium.make_vec("recsim_env/VideoContent-v0", 8)
    observations = tensors(env)
    extractor = StateAndAim(env.single_observation_space, width=16)
    state, scores = extractor.scorer(observations)
    contents = AvailableItems(observations).contents
    expected = sum(torch.softmax(scores, 1)[:, m, None] * contents[:, m] for m in range(20))
    torch.testing.assert_close(extractor(observations), torch.cat([state, expected], 1))


def test_wrong_use_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^algorithm='PP0': must be one of PPO, A2C, DQN, SAC, TD3, DDPG, TRPO"):
        SB3Learner(algorithm="PP0")
    with pytest.raises(ValueError, match=r"^num_validations=-1: must be a whole number in"):
        SB3Learner(algorithm="PPO", num_validations=-1)
    with pytest.raises(ValueError, match=r"^policy='Cnn': must be one of"):
        SB3Learner(algorithm="PPO", policy="Cnn")
    with pytest.raises(ValueError, match=r"^policy='MlpPolicy': reads no content, which SAC chooses; use MultiInput"):
        SB3Learner(algorithm="SAC", policy="MlpPolicy")
    with pytest.raises(NotFittedError):
        new_agent("PPO").predict(unseen("PPO", 2).reset(seed=0)[0])
    with pytest.raises(NotFittedError):
        SB3Learner(algorithm="SAC").save(Path("nowhere"))
    with pytest.raises(ValueError, match="need Discrete, one item a step"):
        SB3Learner(gymnasium.make_vec("recsim_env/VideoSlate-v0", 4, observation="full"), algorithm="PPO")
    with pytest.raises(ValueError, match="need Discrete, one item a step"):
        SB3Learner(gymnasium.make_vec("recsim_env/VideoSlate-v0", 4), algorithm="DQN", policy="MultiInputPolicy")
    with pytest.raises(
        ValueError, match=r"^env: SB3Learner chooses points in content space; make the env with action="
    ):
        SB3Learner(gymnasium.make_vec("recsim_env/Video-v0", 4, observation="full"), algorithm="SAC")
    with pytest.raises(
        TypeError, match=r"^SB3Learner\('PPO'\): argument 'learning_rte': unknown; did you mean 'learning_rate'"
    ):
        SB3Learner(algorithm="PPO", learning_rte=1)
    with pytest.raises(ValueError, match=r"must be a Box of 10 content features"):
        SB3Learner(gymnasium.make_vec("recsim_env/VideoContent-v0", 4, slate_size=3), algorithm="SAC")
    with pytest.raises(ValueError, match='need observation="full"'):
        CandidatePolicy(spaces.Box(-1.0, 1.0, (7,)), spaces.Discrete(3), lambda _: 1e-3)


def test_sb3_contrib_is_needed_only_by_its_own_algorithms(monkeypatch):
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)  # as if it were not installed
    new_agent("A2C").learn(32)
    env = gymnasium.make_vec("recsim_env/Video-v0", 4)
    with pytest.raises(ImportError, match=r"^algorithm 'TRPO': needs sb3-contrib: pip install 'sb3-contrib>=2\.7'$"):
        SB3Learner(env, algorithm="TRPO", policy="MultiInputPolicy")


@pytest.mark.parametrize(
    ("algorithm", "observation", "variant", "policy"),
    [
        ("PPO", "flat", "", "MlpPolicy"),
        ("PPO", "dict", "", "MultiInputPolicy"),
        ("SAC", "full", "Content", "MultiInputPolicy"),
    ],
)
def test_a_zip_of_the_library_acts_as_its_model(algorithm, observation, variant, policy, tmp_path: Path):
    env = make_sb3_vec_env(f"recsim_env/Video{variant}-v0", 4, observation=observation)
    settings = {"buffer_size": 64} if algorithm == "SAC" else {}
    model = getattr(stable_baselines3, algorithm)(policy, env, **settings)
    model.save(tmp_path / "model.zip")
    agent = SB3Model.from_zip(tmp_path / "model.zip", env)
    assert (agent.observation, agent.env_variant) == (observation, variant)
    observations = env.reset()
    np.testing.assert_array_equal(agent.predict(observations)[0], model.predict(observations, deterministic=True)[0])
    assert evaluate(agent, env.vector_env, seed=0).returns.shape == (4,)


def test_a_zip_that_holds_no_model_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(ValueError, match=r"absent.zip: cannot be read \(No such file"):
        SB3Model.from_zip(tmp_path / "absent.zip")
    (tmp_path / "text.zip").write_text("no model")
    with pytest.raises(ValueError, match=r"^[^\n]*text.zip: not a model of Stable-Baselines3 or sb3-contrib [^\n]*$"):
        SB3Model.from_zip(tmp_path / "text.zip")


def test_an_algorithm_of_the_library_is_made_by_its_name():
    agent = registry.make("sb3:A2C", gymnasium.make_vec("recsim_env/Video-v0", 4)).learn(32)
    assert type(agent.model) is stable_baselines3.A2C
    with pytest.raises(ValueError, match=r"^agent 'sb3:B2C': unknown; did you mean 'sb3:A2C'"):
        registry.make("sb3:B2C", gymnasium.make_vec("recsim_env/Video-v0", 4))
