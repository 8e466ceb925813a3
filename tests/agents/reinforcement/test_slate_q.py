"""SlateQ: its decomposition and its targets by hand. What it learns is tested with the probes."""

import gymnasium
import numpy as np
import pytest
import torch

import recsim_env  # noqa: F401  (registers the ids)
from agents.reinforcement.pqn import Steps
from agents.reinforcement.slate_q import SlateQ

TRAIN = {"split": "train", "catalog_seed": 0}
SMALL = {"num_envs": 8, "width": 16, "rollout_length": 4, "batch_size": 16}
GAMMA = 0.9


def taught(env_id: str = "recsim_env/VideoSlate-v0", num_steps: int = 64, **settings) -> SlateQ:
    agent = SlateQ(**{**SMALL, "gamma": GAMMA, **settings})
    agent.learn(env_id, TRAIN, num_steps, 0)
    return agent


def observations_of(env_id: str, num_envs: int, seed: int = 0) -> dict[str, torch.Tensor]:
    observations, _ = gymnasium.make_vec(env_id, num_envs).reset(seed=seed)
    return {name: torch.as_tensor(part) for name, part in observations.items()}


def test_a_slate_is_worth_its_items_and_none_weighted_by_their_chances():
    agent, observations = taught(), observations_of("recsim_env/VideoSlate-v0", 4)
    slate = torch.tensor([[0, 3, 7, 11, 19]]).repeat(4, 1)
    with torch.no_grad():
        utilities, item_values, none_values = (part.double().numpy() for part in agent.network(observations))
        found = agent.choice_values(observations, 5).of(slate)
    weights = np.exp(utilities[:, slate[0]])
    total = 1.0 + weights.sum(1)
    stars = ((weights * item_values[:, slate[0]]).sum(1) + none_values) / total
    np.testing.assert_allclose(found, stars / (1.0 - GAMMA) / 5, rtol=1e-5)


def test_the_loss_draws_what_was_chosen_to_its_target_and_the_utilities_to_the_choice():
    agent, observations = taught(), observations_of("recsim_env/VideoSlate-v0", 2)
    slates = torch.tensor([[0, 3, 7, 11, 19], [1, 2, 3, 4, 5]])
    steps = Steps(
        observations=observations, slates=slates, clicked=torch.tensor([2, -1]), targets=torch.tensor([6.0, 2.0])
    )
    with torch.no_grad():
        loss = agent.loss(steps)
        utilities, item_values, none_values = agent.network(observations)
    errors = [item_values[0, 7] - 5 * (1 - GAMMA) * 6.0, none_values[1] - 5 * (1 - GAMMA) * 2.0]
    total = 1.0 + utilities.gather(1, slates).exp().sum(1)
    surprise = [torch.log(total[0]) - utilities[0, 7], torch.log(total[1])]
    np.testing.assert_allclose(loss, np.square(errors).mean() + np.mean(surprise), rtol=1e-4)


def test_targets_bootstrap_from_the_best_slate_of_the_next_state():
    """RecSim's published code takes that of the current state (its issue 26)."""
    agent = taught(trace=0.0, num_envs=8)
    env = gymnasium.make_vec("recsim_env/VideoSlate-v0", 8, vectorization_mode="vector_entry_point", **TRAIN)
    before, _ = env.reset(seed=3)
    steps, after = agent._roll_out(env, before, 1, 0.0, torch.Generator().manual_seed(0))
    env.reset(seed=3)
    observations, rewards, terminated, truncated, _ = env.step(steps.slates.numpy())
    assert not (terminated | truncated).any()
    np.testing.assert_array_equal(observations["history"], after["history"])
    with torch.no_grad():
        next_values = agent.rank(agent.tensors(after), 5)[1].numpy()
        values = agent.rank(agent.tensors(before), 5)[1].numpy()
    np.testing.assert_allclose(steps.targets, rewards + GAMMA * next_values, rtol=1e-5)
    assert np.abs(values - next_values).min() > 1e-3  # so that the current state's would not do


def test_the_steps_it_learns_from_say_which_slot_was_clicked():
    agent = taught(trace=0.0)
    env = gymnasium.make_vec("recsim_env/VideoSlate-v0", 64, vectorization_mode="vector_entry_point", **TRAIN)
    before, _ = env.reset(seed=3)
    steps, _ = agent._roll_out(env, before, 1, 1.0, torch.Generator().manual_seed(0))
    env.reset(seed=3)
    infos = env.step(steps.slates.numpy())[4]
    np.testing.assert_array_equal(steps.clicked.numpy() >= 0, infos["reward_click"] > 0)
    assert set(steps.clicked.tolist()) == {-1, 0, 1, 2, 3, 4}
    assert steps.slates.sort(1).values.diff(dim=1).min() > 0  # random slates repeat nothing


@pytest.mark.parametrize("optimizer", ["top-k", "greedy", "lp"])
@pytest.mark.parametrize("scenario", ["News", "NewsSlate"])
def test_it_learns_and_acts_with_each_optimiser_and_size_of_slate(scenario, optimizer):
    agent = taught(f"recsim_env/{scenario}-v0", optimizer=optimizer)
    env = gymnasium.make_vec(f"recsim_env/{scenario}-v0", 4)
    observations, _ = env.reset(seed=0)
    agent.begin(env)
    actions = agent.act(observations, np.ones(4, np.bool_))
    assert actions in env.action_space
    if scenario == "NewsSlate":
        assert (np.diff(np.sort(actions, 1), axis=1) > 0).all()
    with torch.no_grad():
        ranked, _ = agent.rank(agent.tensors(observations), env.simulator.config.slate_size)
    np.testing.assert_array_equal(actions.reshape(4, -1)[:, 0], ranked.argmax(1))


def test_the_same_seed_gives_the_same_weights():
    first, second = taught().network.state_dict(), taught().network.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_file_brings_back_what_was_learnt(tmp_path):
    agent, env = taught(), gymnasium.make_vec("recsim_env/VideoSlate-v0", 4)
    agent.save(tmp_path / "slate-q")
    again = SlateQ(gamma=GAMMA)
    again.load(tmp_path / "slate-q")
    observations = env.reset(seed=0)[0]
    for each in (agent, again):
        each.begin(env)
    first = np.ones(4, np.bool_)
    np.testing.assert_array_equal(agent.act(observations, first), again.act(observations, first))


def test_an_unknown_optimiser_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"^optimizer='best': must be one of top-k, greedy, lp$"):
        SlateQ(optimizer="best")


def test_a_history_that_cannot_show_a_whole_slate_is_refused():
    with pytest.raises(ValueError, match=r"^history_length=3: must be at least slate_size=5"):
        SlateQ(**SMALL).learn("recsim_env/VideoSlate-v0", {**TRAIN, "history_length": 3}, 64, 0)
