"""The large model as an agent: probabilities, several scenarios, and continued training."""

import numpy as np
import pytest
import torch
from small_large_models import LENGTH, env_of, network_for

from agents.agent import NotFittedError
from agents.large_model.agent import LargeModel
from agents.large_model.config import TrainingConfig
from agents.large_model.env import make_env
from recsim_env.config import MAX_TIMESTEPS

SMALL = {"batch_sessions": 8, "model_overrides": {"width": 16, "num_heads": 2, "num_key_heads": 2}}


@pytest.mark.parametrize("ranking", ["policy", "supervised"])
def test_log_probabilities_are_those_of_sampled_actions(ranking):
    env = env_of("single items", 1)
    agent = LargeModel.from_network(network_for(env), env, ranking=ranking)
    observations, _ = env.reset(seed=3)
    number = observations["candidate_items"].shape[1]
    repeated = {name: np.repeat(part, number, 0) for name, part in observations.items()}
    probabilities = np.exp(agent.log_probabilities(repeated, np.arange(number)))
    assert probabilities.sum() == pytest.approx(1.0)
    many = {name: np.repeat(part, 4_000, 0) for name, part in observations.items()}
    actions, _ = agent.predict(many, deterministic=False)
    shares = np.bincount(actions, minlength=number) / len(actions)
    np.testing.assert_allclose(shares, probabilities, atol=0.03)
    best, _ = agent.predict(observations)
    assert best[0] == probabilities.argmax()


def test_log_probabilities_may_be_asked_for_before_or_after_acting():
    env = env_of("slates", 3)
    agent = LargeModel.from_network(network_for(env), env)
    observations, _ = env.reset(seed=3)
    state = None
    for _ in range(3):
        actions, state = agent.predict(observations, state, deterministic=False)
        after = agent.log_probabilities(observations, actions, state)
        np.testing.assert_array_equal(agent.log_probabilities(observations, actions, state), after)
        observations, *_ = env.step(actions)
        before = agent.log_probabilities(observations, actions, state)
        _, state = agent.predict(observations, state)
        np.testing.assert_array_equal(agent.log_probabilities(observations, actions, state), before)


def test_several_scenarios_are_trained_side_by_side():
    envs = [env_of(name, 4) for name in ("single items", "warm users")]
    agent = LargeModel("micro", envs, **SMALL).learn(4 * LENGTH)
    assert agent.network.schema.domains == ("Video", "Music")
    assert agent.env is envs[0]


def test_sizes_that_envs_cannot_share_evenly_are_rounded_with_a_warning():
    envs = [env_of("single items", num_envs) for num_envs in (4, 3)]
    with pytest.warns(UserWarning, match="rounded to") as found:
        LargeModel("micro", envs, **{**SMALL, "batch_sessions": 5}).learn(1)
    assert [str(each.message) for each in found] == [
        "num_envs=7: rounded to 6, 3 in each of 2 scenarios",
        "batch_sessions=5: rounded to 4, 2 in each of 2 scenarios",
    ]
    assert found[0].filename == __file__


def test_learning_again_continues_the_training():
    agent = LargeModel("micro", env_of("single items", 4), **SMALL).learn(4 * LENGTH)
    network, steps = agent.network, agent.num_timesteps
    before = {name: weight.clone() for name, weight in network.named_parameters()}
    agent.learn(4 * LENGTH)
    assert agent.network is network
    assert agent.num_timesteps >= steps + 4 * LENGTH
    assert any(not torch.equal(weight, before[name]) for name, weight in network.named_parameters())


def test_learning_for_no_steps_makes_a_network_that_later_learns_as_a_new_one():
    env = env_of("single items", 4)
    agent, updates = LargeModel("micro", env, **SMALL, num_validations=2), []
    agent.learn(0, callback=updates.append)
    assert (agent.num_timesteps, updates) == (0, [])
    actions, _ = agent.predict(env.reset(seed=0)[0])
    assert actions.shape == (4,)
    others = LargeModel("micro", env, **SMALL, num_validations=2).learn(4 * LENGTH).network
    agent.learn(4 * LENGTH)
    assert all(torch.equal(weight, others.state_dict()[name]) for name, weight in agent.network.state_dict().items())


def test_learning_for_no_steps_leaves_a_network_as_it_is():
    env = env_of("single items", 4)
    for agent in (LargeModel(env=env), LargeModel("micro", env, **SMALL).learn(1)):
        network, steps = agent.network, agent.num_timesteps
        assert agent.learn(0).network is network
        assert agent.num_timesteps == steps


def test_a_number_of_steps_beyond_the_limit_is_refused_by_its_own_name():
    agent = LargeModel("micro", env_of("single items", 4), **SMALL).learn(1)
    for number in (MAX_TIMESTEPS + 1, MAX_TIMESTEPS, -1):
        with pytest.raises(ValueError, match=r"^total_timesteps="):
            agent.learn(number)
    assert TrainingConfig(num_steps=MAX_TIMESTEPS).num_steps == MAX_TIMESTEPS


@pytest.mark.parametrize(
    "settings",
    [
        {"preset": "tiny"},
        {"model_overrides": {"width": 32}},
        {"has_images": False},
        {"has_audio": True},
        {"lora_rank": 4},
        {"language_model": "llama"},
    ],
)
def test_arguments_of_a_new_network_are_refused_for_one_with_weights(settings, tmp_path):
    env, path = env_of("single items", 4), tmp_path / "agent.safetensors"
    LargeModel.from_network(network_for(env), env).save(path)
    assert LargeModel(weights=path).network.config == LargeModel.load(path).network.config
    (name,) = settings
    for weights in (path, "pretrained"):
        if name != "language_model" or weights == "pretrained":
            expected = (
                f"{name}: must not be given with weights={str(weights)!r}, .* LargeModel\\(preset\\) without weights"
            )
        else:
            expected = "language_model='llama': must not be given, as the network has none"
        with pytest.raises(ValueError, match=expected):
            LargeModel(env=env, weights=weights, **settings)
    with pytest.raises(ValueError, match=f"{name}.*: must not be given"):
        LargeModel.load(path, env, **settings)


def test_an_untrained_agent_and_unknown_settings_are_refused():
    env = make_env("recsim_env/Video-v0", 2)
    with pytest.raises(NotFittedError):
        LargeModel("tiny", env).predict(env.reset(seed=0)[0])
    with pytest.raises(ValueError, match="colour"):
        LargeModel("tiny", env, colour=1)
    with pytest.raises(ValueError, match="preset='huge': must be one of"):
        LargeModel("huge", env)
    with pytest.raises(ValueError, match="ranking='best': must be one of"):
        LargeModel("tiny", env, ranking="best")
