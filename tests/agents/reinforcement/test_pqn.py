"""PQN: lambda-returns by hand, clicks in the history, and training."""

import gymnasium
import numpy as np
import pytest
import torch

import recsim_env  # noqa: F401  (registers the ids)
from agents.agent import NotFittedError
from agents.callbacks import EveryNSteps
from agents.networks.lambda_returns import lambda_returns
from agents.reinforcement.pqn import PQN
from agents.rollouts.feedback import clicked_slots
from recsim_env.envs.vector import last_observations
from recsim_env.simulation.observation import FEEDBACK

SMALL = {"width": 16, "rollout_length": 4, "batch_size": 16, "num_epochs": 1}


def trained(total_timesteps: int = 64, seed: int = 0, callback=None, **settings) -> PQN:
    env = gymnasium.make_vec("recsim_env/Video-v0", 8, split="train", catalog_seed=0, observation="full")
    return PQN(env, seed=seed, **{**SMALL, **settings}).learn(total_timesteps, callback)


def weights(agent: PQN) -> dict[str, torch.Tensor]:
    return agent.network.state_dict()


def feedback(shown: float = 0.0, slot: int = 0, click: float = 0.0) -> list[float]:
    """A row of the history, after one content feature of 7."""
    return [7.0, shown, slot / 10, click] + [0.0] * (len(FEEDBACK) - 3)


def test_lambda_returns_equal_those_computed_by_hand():
    rewards, next_values = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[10.0], [20.0], [40.0]])
    is_over = torch.zeros(3, 1, dtype=torch.bool)
    returns = lambda_returns(rewards, is_over, next_values, gamma=0.5, lambda_=0.25)
    last = 4 + 0.5 * 40
    middle = 2 + 0.5 * (0.75 * 20 + 0.25 * last)
    np.testing.assert_allclose(returns[:, 0], [1 + 0.5 * (0.75 * 10 + 0.25 * middle), middle, last])


def test_lambda_0_bootstraps_after_each_step_and_lambda_1_at_the_end():
    rewards, next_values = torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0]])
    is_over = torch.zeros(2, 1, dtype=torch.bool)
    at_once = lambda_returns(rewards, is_over, next_values, gamma=0.5, lambda_=0.0)
    at_the_end = lambda_returns(rewards, is_over, next_values, gamma=0.5, lambda_=1.0)
    np.testing.assert_allclose(at_once[:, 0], [1 + 0.5 * 10, 2 + 0.5 * 20])
    np.testing.assert_allclose(at_the_end[:, 0], [1 + 0.5 * 2 + 0.25 * 20, 2 + 0.5 * 20])


def test_lambda_returns_stop_at_the_end_of_a_session():
    rewards, next_values = torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0]])
    is_over = torch.tensor([[True], [False]])
    returns = lambda_returns(rewards, is_over, next_values, gamma=0.5, lambda_=0.65)
    np.testing.assert_allclose(returns[:, 0], [1.0, 2 + 0.5 * 20])


def test_the_clicked_slot_is_that_of_the_last_slate():
    of_slate = [feedback(1.0, 2), feedback(1.0, 1, click=1.0), feedback(1.0, 0)]
    unclicked_before_clicked = [feedback(1.0, 2), feedback(1.0, 1), feedback(1.0, 0), *of_slate]
    histories = np.array([of_slate + of_slate, unclicked_before_clicked, [feedback()] * 6], np.float32)
    assert clicked_slots(histories, 3).tolist() == [1, -1, -1]


@pytest.mark.parametrize("slate_size", [1, 5])
def test_the_candidate_in_the_clicked_slot_is_the_one_that_was_clicked(slate_size):
    env = gymnasium.make_vec(
        "recsim_env/Video-v0",
        64,
        slate_size=slate_size,
        session_length=6,
        overrides={"behaviour": {"choose_again_probability": 0.0}},  # at most one click a slate
        observation="full",
    )
    layout = env.simulator.layout
    num_features, click = layout.num_content_features, FEEDBACK.index("click") - len(FEEDBACK)
    before, _ = env.reset(seed=0)
    random, num_ends, lanes = np.random.default_rng(0), 0, np.arange(64)
    for _ in range(8):
        slates = random.permuted(np.tile(np.arange(20), (64, 1)), axis=1)[:, :slate_size]
        after, _, terminated, truncated, infos = env.step(slates[:, 0] if slate_size == 1 else slates)
        histories = last_observations(after, infos, "history").reshape(64, *layout.history_shape)
        slots = clicked_slots(histories, slate_size)
        clicks = (
            infos["reward_click"] + infos["final_info"]["reward_click"]
            if "final_info" in infos
            else infos["reward_click"]
        )
        np.testing.assert_array_equal(slots >= 0, clicks > 0)
        contents = before["candidates"].reshape(64, *layout.candidates_shape)[
            lanes, slates[lanes, slots], :num_features
        ]
        last = histories[:, :slate_size]
        clicked_contents = (last[:, :, :num_features] * (last[:, :, click, None] > 0)).sum(1)
        np.testing.assert_array_equal(contents[slots >= 0], clicked_contents[slots >= 0])
        num_ends += (terminated | truncated).sum()
        before = after
    assert num_ends >= 64


def test_the_loss_is_the_squared_error_of_the_shown_candidate():
    agent = trained(gamma=0.9)
    observations = agent.tensors(gymnasium.make_vec("recsim_env/Video-v0", 2, observation="full").reset(seed=0)[0])
    slates, targets = torch.tensor([[3], [5]]), torch.tensor([10.0, 20.0])
    with torch.no_grad():
        loss = agent.loss({**observations, "slates": slates, "targets": targets})
        outputs = agent.network(observations)
        np.testing.assert_allclose(agent.q_values(observations), outputs / 0.1, rtol=1e-5)
    errors = np.array([outputs[0, 3] - 0.1 * 10.0, outputs[1, 5] - 0.1 * 20.0])
    np.testing.assert_allclose(loss, (errors**2).mean(), rtol=1e-4)


def test_epsilon_is_annealed_from_1_to_its_final_value():
    agent = PQN(final_epsilon=0.1, exploration_fraction=0.5)
    assert [agent.epsilon(share) for share in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([1.0, 0.55, 0.1, 0.1])
    assert PQN(final_epsilon=0.1, exploration_fraction=0.0).epsilon(0.0) == 0.1


def test_the_same_seed_gives_the_same_weights_whatever_a_callback_does():
    env = gymnasium.make_vec("recsim_env/Video-v0", 3, observation="full")

    def play(agent: PQN) -> None:
        agent.predict(env.reset(seed=1)[0])
        torch.rand(3)

    agent, same, other = trained(callback=EveryNSteps(32, play)), trained(), trained(seed=1)
    assert all(torch.equal(weight, weights(same)[name]) for name, weight in weights(agent).items())
    assert not all(torch.equal(weight, weights(other)[name]) for name, weight in weights(agent).items())


def test_it_trains_for_the_given_steps_and_a_second_training_continues():
    steps: list[int] = []
    agent = trained(72, callback=lambda agent: steps.append(agent.num_timesteps), learning_rate=0.0)
    before = {name: weight.clone() for name, weight in weights(agent).items()}
    agent.learn(32, lambda agent: steps.append(agent.num_timesteps))
    assert steps == [32, 64, 72, 104]
    assert all(torch.equal(weight, weights(agent)[name]) for name, weight in before.items())


def test_a_file_holds_the_same_policy(tmp_path):
    agent, env = trained(), gymnasium.make_vec("recsim_env/Video-v0", 4, observation="full")
    agent.save(tmp_path / "pqn")
    observations = env.reset(seed=0)[0]
    actions = PQN.load(tmp_path / "pqn").predict(observations)[0]
    np.testing.assert_array_equal(agent.predict(observations)[0], actions)


def test_slates_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^slate_size=5: PQN values single items, must be 1 \(SlateQ plays slates\)$"):
        PQN(gymnasium.make_vec("recsim_env/VideoSlate-v0", 8, observation="full"))


@pytest.mark.parametrize(
    ("name", "value"), [("gamma", 1.0), ("lambda_", -0.1), ("rollout_length", 1.5), ("final_epsilon", 2.0)]
)
def test_a_setting_out_of_its_range_is_refused_by_name_and_value(name, value):
    with pytest.raises(ValueError, match=rf"^PQN\.{name}={value}: must be a"):
        PQN(**{name: value})


def test_an_untrained_agent_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError):
        PQN().save(tmp_path / "pqn")
