"""PQN: its returns by hand, what it sees of a click, and learning in a real scenario."""

import gymnasium
import numpy as np
import pytest
import torch

import recsim_env  # noqa: F401  (registers the ids)
from agents.agent import NotFittedError
from agents.reinforcement.pqn import PQN, Steps, lambda_returns
from agents.rollouts.feedback import clicked_slots
from recsim_env.envs.vector import last_observations
from recsim_env.simulation.observation import FEEDBACK

TRAIN = {"split": "train", "catalog_seed": 0}
SMALL = {"num_envs": 8, "width": 16, "rollout_length": 4, "batch_size": 16, "num_epochs": 1}


def taught(num_steps: int = 64, seed: int = 0, report=None, **settings) -> PQN:
    agent = PQN(**{**SMALL, **settings})
    agent.learn("recsim_env/Video-v0", TRAIN, num_steps, seed, report, 32)
    return agent


def weights(agent: PQN) -> dict[str, torch.Tensor]:
    return agent.network.state_dict()


def feedback(shown: float = 0.0, slot: int = 0, click: float = 0.0) -> list[float]:
    """A row of the history, after one content feature of 7."""
    return [7.0, shown, slot / 10, click] + [0.0] * (len(FEEDBACK) - 3)


def test_lambda_returns_equal_those_computed_by_hand():
    rewards, next_values = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[10.0], [20.0], [40.0]])
    is_over = torch.zeros(3, 1, dtype=torch.bool)
    returns = lambda_returns(rewards, is_over, next_values, gamma=0.5, trace=0.25)
    last = 4 + 0.5 * 40
    middle = 2 + 0.5 * (0.75 * 20 + 0.25 * last)
    np.testing.assert_allclose(returns[:, 0], [1 + 0.5 * (0.75 * 10 + 0.25 * middle), middle, last])


def test_a_trace_of_zero_bootstraps_from_the_next_value_and_of_one_from_the_last():
    rewards, next_values = torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0]])
    is_over = torch.zeros(2, 1, dtype=torch.bool)
    at_once = lambda_returns(rewards, is_over, next_values, gamma=0.5, trace=0.0)
    at_the_end = lambda_returns(rewards, is_over, next_values, gamma=0.5, trace=1.0)
    np.testing.assert_allclose(at_once[:, 0], [1 + 0.5 * 10, 2 + 0.5 * 20])
    np.testing.assert_allclose(at_the_end[:, 0], [1 + 0.5 * 2 + 0.25 * 20, 2 + 0.5 * 20])


def test_nothing_flows_over_the_end_of_a_session():
    rewards, next_values = torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0]])
    is_over = torch.tensor([[True], [False]])
    returns = lambda_returns(rewards, is_over, next_values, gamma=0.5, trace=0.65)
    np.testing.assert_allclose(returns[:, 0], [1.0, 2 + 0.5 * 20])


def test_the_clicked_slot_is_read_from_the_rows_of_the_last_slate_alone():
    of_slate = [feedback(1.0, 2), feedback(1.0, 1, click=1.0), feedback(1.0, 0)]
    unclicked_before_clicked = [feedback(1.0, 2), feedback(1.0, 1), feedback(1.0, 0), *of_slate]
    histories = np.array([of_slate + of_slate, unclicked_before_clicked, [feedback()] * 6], np.float32)
    assert clicked_slots(histories, np.array([3, 3, 3]), 3).tolist() == [1, -1, -1]
    assert clicked_slots(histories, np.array([1, 3, 3]), 3).tolist() == [-1, -1, -1]  # the click was a step before


@pytest.mark.parametrize("slate_size", [1, 5])
def test_the_candidate_in_the_clicked_slot_is_the_one_whose_click_the_history_holds(slate_size):
    env = gymnasium.make_vec("recsim_env/Video-v0", 64, slate_size=slate_size, session_length=6)
    layout = env.simulator.layout
    num_features, click = layout.num_content_features, FEEDBACK.index("click") - len(FEEDBACK)
    before, _ = env.reset(seed=0)
    random, num_ends, lanes = np.random.default_rng(0), 0, np.arange(64)
    for _ in range(8):
        slates = random.permuted(np.tile(np.arange(20), (64, 1)), axis=1)[:, :slate_size]
        after, _, terminated, truncated, infos = env.step(slates[:, 0] if slate_size == 1 else slates)
        histories = last_observations(after, infos, "history").reshape(64, *layout.history_shape)
        slots = clicked_slots(histories, np.full(64, slate_size), slate_size)
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


def test_the_loss_is_the_squared_error_of_the_shown_candidates_mean_reward_a_step():
    agent = taught(gamma=0.9)
    observations = agent.tensors(gymnasium.make_vec("recsim_env/Video-v0", 2).reset(seed=0)[0])
    slates, targets = torch.tensor([[3], [5]]), torch.tensor([10.0, 20.0])
    with torch.no_grad():
        loss = agent.loss(
            Steps(observations=observations, slates=slates, clicked=torch.zeros(2, dtype=torch.int64), targets=targets)
        )
        outputs = agent.network(observations)
        np.testing.assert_allclose(agent.q_values(observations), outputs / 0.1, rtol=1e-5)
    errors = np.array([outputs[0, 3] - 0.1 * 10.0, outputs[1, 5] - 0.1 * 20.0])
    np.testing.assert_allclose(loss, (errors**2).mean(), rtol=1e-4)


def test_epsilon_falls_from_one_to_its_final_value():
    agent = PQN(final_epsilon=0.1, exploration_fraction=0.5)
    assert [agent.epsilon(share) for share in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([1.0, 0.55, 0.1, 0.1])
    assert PQN(final_epsilon=0.1, exploration_fraction=0.0).epsilon(0.0) == 0.1


def test_the_same_seed_gives_the_same_weights_whatever_reports_do():
    env = gymnasium.make_vec("recsim_env/Video-v0", 3, **TRAIN)

    def play(num_taken: int) -> None:
        agent.begin(env)
        agent.act(env.reset(seed=1)[0], np.ones(3, np.bool_))
        torch.rand(3)

    agent = PQN(**SMALL)
    agent.learn("recsim_env/Video-v0", TRAIN, 64, 0, play, 32)
    same, other = taught(), taught(seed=1)
    assert all(torch.equal(weight, weights(same)[name]) for name, weight in weights(agent).items())
    assert not all(torch.equal(weight, weights(other)[name]) for name, weight in weights(agent).items())


def test_it_takes_the_steps_it_was_given_and_reports_them():
    taken: list[int] = []
    taught(num_steps=72, report=taken.append)
    assert taken == [0, 32, 72]


def test_a_file_brings_back_what_was_learnt(tmp_path):
    agent, env = taught(), gymnasium.make_vec("recsim_env/Video-v0", 4)
    agent.save(tmp_path / "pqn")
    again = PQN()
    again.load(tmp_path / "pqn")
    observations = env.reset(seed=0)[0]
    for each in (agent, again):
        each.begin(env)
    first = np.ones(4, np.bool_)
    np.testing.assert_array_equal(agent.act(observations, first), again.act(observations, first))


def test_it_refuses_slates_in_one_line():
    with pytest.raises(ValueError, match=r"^slate_size=5: PQN values single items, must be 1 \(SlateQ plays slates\)$"):
        PQN(**SMALL).learn("recsim_env/VideoSlate-v0", TRAIN, 64, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("gamma", 1.0), ("trace", -0.1), ("num_envs", 0), ("rollout_length", 1.5), ("final_epsilon", 2.0)],
)
def test_a_setting_out_of_its_range_is_refused_by_name_and_value(name, value):
    with pytest.raises(ValueError, match=f"^{name}={value}: must be a"):
        PQN(**{name: value})


def test_it_says_that_it_has_learnt_nothing_yet(tmp_path):
    with pytest.raises(NotFittedError):
        PQN().save(tmp_path / "pqn")
