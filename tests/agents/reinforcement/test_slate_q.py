"""SlateQ: decomposition and targets by hand; the probe environments test what it learns."""

import gymnasium
import numpy as np
import pytest
import torch

import recsim_env  # noqa: F401  (registers the ids)
from agents.reinforcement.slate_q import SlateQ

SMALL = {"width": 16, "rollout_length": 4, "batch_size": 16}
GAMMA = 0.9


def training_env(env_id: str = "recsim_env/VideoSlate-v0", num_envs: int = 8, **arguments):
    return gymnasium.make_vec(
        env_id,
        num_envs,
        vectorization_mode="vector_entry_point",
        split="train",
        catalog_seed=0,
        **arguments,
        observation="full",
    )


def trained(env_id: str = "recsim_env/VideoSlate-v0", **settings) -> SlateQ:
    return SlateQ(training_env(env_id), **{**SMALL, "gamma": GAMMA, **settings}).learn(64)


def observations_of(env_id: str, num_envs: int, seed: int = 0) -> dict[str, torch.Tensor]:
    observations, _ = gymnasium.make_vec(env_id, num_envs, observation="full").reset(seed=seed)
    return {name: torch.as_tensor(part) for name, part in observations.items()}


def test_the_value_of_a_slate_is_the_mean_over_what_the_user_chooses():
    agent, observations = trained(), observations_of("recsim_env/VideoSlate-v0", 4)
    slate = torch.tensor([[0, 3, 7, 11, 19]]).repeat(4, 1)
    with torch.no_grad():
        utilities, item_values, none_values = (part.double().numpy() for part in agent.network(observations))
        values = agent.choice_values(observations).of(slate)
    weights = np.exp(utilities[:, slate[0]])
    total = 1.0 + weights.sum(1)
    ratings = ((weights * item_values[:, slate[0]]).sum(1) + none_values) / total
    np.testing.assert_allclose(values, ratings / (1.0 - GAMMA) / 5, rtol=1e-5)


def test_the_loss_is_the_squared_error_plus_the_surprise_of_the_choice():
    agent, observations = trained(), observations_of("recsim_env/VideoSlate-v0", 2)
    slates = torch.tensor([[0, 3, 7, 11, 19], [1, 2, 3, 4, 5]])
    outcomes = {"slates": slates, "clicked": torch.tensor([2, -1]), "targets": torch.tensor([6.0, 2.0])}
    with torch.no_grad():
        loss = agent.loss({**observations, **outcomes})
        utilities, item_values, none_values = agent.network(observations)
    errors = [item_values[0, 7] - 5 * (1 - GAMMA) * 6.0, none_values[1] - 5 * (1 - GAMMA) * 2.0]
    total = 1.0 + utilities.gather(1, slates).exp().sum(1)
    surprise = [torch.log(total[0]) - utilities[0, 7], torch.log(total[1])]
    np.testing.assert_allclose(loss, np.square(errors).mean() + np.mean(surprise), rtol=1e-4)


def test_targets_bootstrap_from_the_best_slate_of_the_next_state():
    """RecSim's published code uses the current state (its issue 26)."""
    agent = trained(lambda_=0.0, final_epsilon=0.0)
    env = training_env(num_envs=8)
    before, _ = env.reset(seed=3)
    steps, after = agent.roll_out(env, before, 1, 1.0, torch.Generator().manual_seed(0))
    env.reset(seed=3)
    observations, rewards, terminated, truncated, _ = env.step(steps["slates"].numpy())
    assert not (terminated | truncated).any()
    np.testing.assert_array_equal(observations["history"], after["history"])
    with torch.no_grad():
        next_values = agent.rank(agent.tensors(after))[1].numpy()
        values = agent.rank(agent.tensors(before))[1].numpy()
    np.testing.assert_allclose(steps["targets"], rewards + GAMMA * next_values, rtol=1e-5)
    assert np.abs(values - next_values).min() > 1e-3  # the current state would give other targets


def test_training_steps_contain_the_clicked_slot():
    agent = trained(lambda_=0.0)
    env = training_env(num_envs=64)
    before, _ = env.reset(seed=3)
    steps, _ = agent.roll_out(env, before, 1, 0.0, torch.Generator().manual_seed(0))
    env.reset(seed=3)
    infos = env.step(steps["slates"].numpy())[4]
    np.testing.assert_array_equal(steps["clicked"].numpy() >= 0, infos["reward_click"] > 0)
    assert set(steps["clicked"].tolist()) == {-1, 0, 1, 2, 3, 4}
    assert steps["slates"].sort(1).values.diff(dim=1).min() > 0  # random slates contain no item twice


@pytest.mark.parametrize("optimizer", ["top-k", "greedy", "lp"])
@pytest.mark.parametrize("scenario", ["News", "NewsSlate"])
def test_each_optimizer_trains_and_acts_for_each_slate_size(scenario, optimizer):
    agent = trained(f"recsim_env/{scenario}-v0", optimizer=optimizer)
    env = gymnasium.make_vec(f"recsim_env/{scenario}-v0", 4, observation="full")
    observations, _ = env.reset(seed=0)
    agent.set_env(env)
    actions, _ = agent.predict(observations)
    assert actions in env.action_space
    if scenario == "NewsSlate":
        assert (np.diff(np.sort(actions, 1), axis=1) > 0).all()
    with torch.no_grad():
        ranked, _ = agent.rank(agent.tensors(observations))
    np.testing.assert_array_equal(actions.reshape(4, -1)[:, 0], ranked.argmax(1))


def test_the_same_seed_gives_the_same_weights():
    first, second = trained().network.state_dict(), trained().network.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_file_holds_the_same_policy(tmp_path):
    agent, env = trained(), gymnasium.make_vec("recsim_env/VideoSlate-v0", 4, observation="full")
    agent.save(tmp_path / "slate-q")
    observations = env.reset(seed=0)[0]
    actions = SlateQ.load(tmp_path / "slate-q").predict(observations)[0]
    np.testing.assert_array_equal(agent.predict(observations)[0], actions)


def test_an_unknown_optimizer_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"^SlateQ\.optimizer='best': must be one of top-k, greedy, lp$"):
        SlateQ(optimizer="best")


def test_a_history_shorter_than_a_slate_is_refused():
    with pytest.raises(ValueError, match=r"^history_length=4: must be at least slate_size=5"):
        SlateQ(training_env(history_length=4))
