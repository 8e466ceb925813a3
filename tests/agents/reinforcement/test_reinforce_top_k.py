"""REINFORCE with the top-K correction: its weights by hand, its estimator against exact gradients, and learning."""

import math

import gymnasium
import numpy as np
import pytest
import torch

import recsim_env  # noqa: F401  (registers the ids)
from agents.reinforcement.reinforce_top_k import (
    ReinforceTopK,
    behaviour_log_probs,
    draw_slates,
    gradient_weights,
    policy_loss,
    returns_to_go,
)
from agents.rollouts.evaluation import evaluate

TRAIN = {"split": "train", "catalog_seed": 0}
SMALL = {"num_envs": 8, "width": 16, "rollout_length": 4, "batch_size": 16, "num_epochs": 2}
ARMS = torch.tensor([1.0, 0.9, 0.0])
"""What each arm of a bandit pays."""


def taught(num_steps: int = 64, seed: int = 0, env_id: str = "recsim_env/Video-v0", **settings) -> ReinforceTopK:
    agent = ReinforceTopK(**{**SMALL, **settings})
    agent.learn(env_id, TRAIN, num_steps, seed)
    return agent


def logs(*probabilities: float) -> torch.Tensor:
    return torch.tensor(probabilities).log()


def test_the_weight_is_the_capped_ratio_times_the_top_k_multiplier_by_hand():
    policy, logged = logs(0.5, 0.2, 0.9), logs(0.25, 0.4, 0.1)
    np.testing.assert_allclose(
        gradient_weights(policy, logged, slate_size=3, cap=4.0),
        [2.0 * 3 * 0.5**2, 0.5 * 3 * 0.8**2, 4.0 * 3 * 0.1**2],
        rtol=1e-5,
    )


def test_with_one_slot_the_weight_is_the_capped_ratio_alone():
    np.testing.assert_allclose(
        gradient_weights(logs(0.5, 0.2, 0.9, 1.0), logs(0.25, 0.4, 0.1, 1.0), slate_size=1, cap=4.0),
        [2.0, 0.5, 4.0, 1.0],
        rtol=1e-5,
    )


def test_an_item_that_is_sure_to_be_shown_and_a_slot_that_stays_empty_weigh_nothing():
    weights = gradient_weights(torch.tensor([0.0, -1e9]), torch.tensor([0.0, -math.inf]), slate_size=2, cap=3.0)
    assert weights.tolist() == [0.0, 0.0]


def test_the_gradient_of_the_loss_is_the_weighted_advantage_times_that_of_the_log_probability_by_hand():
    scores = torch.tensor([[0.0, math.log(3.0)]], requires_grad=True)  # pi = 1/4, 3/4
    shown = torch.log_softmax(scores, 1)[:, 1:]
    policy_loss(shown, logs(0.5)[None], torch.tensor([2.0]), cap=1.2).backward()
    weight = 1.2  # 3/4 over 1/2, capped
    np.testing.assert_allclose(scores.grad, [[weight * 2.0 * 0.25, -weight * 2.0 * 0.25]], rtol=1e-5)


def objective(scores: torch.Tensor, slate_size: int) -> torch.Tensor:
    """What K independent draws of a policy earn when an arm pays once, however often it is drawn."""
    return ((1.0 - (1.0 - torch.softmax(scores, 0)) ** slate_size) * ARMS).sum()


@pytest.mark.parametrize("slate_size", [1, 2, 5])
def test_the_mean_estimate_under_another_policy_is_the_exact_gradient(slate_size):
    scores = torch.tensor([0.3, -0.2, 0.5], requires_grad=True)
    behaviour = torch.tensor([0.2, 0.5, 0.3])
    (exact,) = torch.autograd.grad(objective(scores, slate_size), scores)
    log_probs = torch.log_softmax(scores, 0)
    # Each arm as one step with one slot per row, in proportion to how often the behaviour policy shows it.
    weights = gradient_weights(log_probs.detach(), behaviour.log(), slate_size, cap=math.inf)
    (estimate,) = torch.autograd.grad((behaviour * weights * ARMS * log_probs).sum(), scores)
    np.testing.assert_allclose(estimate, exact, atol=1e-6)


@pytest.mark.parametrize(("slate_size", "optimum"), [(1, [1.0, 0.0, 0.0]), (2, [1 / 1.9, 0.9 / 1.9, 0.0])])
def test_a_bandit_is_climbed_from_logged_draws_of_older_selves_to_its_known_optimum(slate_size, optimum):
    """For two slots (1 - pi_1) 1 = (1 - pi_2) 0.9 with pi_1 + pi_2 = 1: nothing is gained by moving chance between
    the two, and the third pays nothing."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.SGD([scores], lr=2.0)
    for _ in range(150):
        logged = behaviour_log_probs(scores.detach(), torch.ones(3), exploration=0.2)
        drawn = torch.multinomial(logged.exp(), 2_000, replacement=True, generator=generator)
        baseline = objective(scores.detach(), slate_size) / slate_size
        for _ in range(2):  # the second time off policy
            optimizer.zero_grad()
            log_probs = torch.log_softmax(scores, 0)[drawn]
            weights = gradient_weights(log_probs.detach(), logged[drawn], slate_size, cap=10.0)
            (-(weights * (ARMS[drawn] - (baseline if slate_size == 1 else 0.0)) * log_probs).mean()).backward()
            optimizer.step()
    np.testing.assert_allclose(torch.softmax(scores.detach(), 0), optimum, atol=0.04)


def test_the_behaviour_policy_mixes_the_softmax_with_uniform_draws_of_what_is_there():
    scores = torch.tensor([[0.0, math.log(3.0), -1e9]])
    probabilities = behaviour_log_probs(scores, torch.tensor([[1.0, 1.0, 0.0]]), exploration=0.2).exp()
    np.testing.assert_allclose(probabilities, [[0.8 * 0.25 + 0.1, 0.8 * 0.75 + 0.1, 0.0]], rtol=1e-5)


def test_slates_are_drawn_without_replacement_with_the_probabilities_given():
    probabilities = torch.tensor([0.5, 0.3, 0.2, 0.0])
    generator = torch.Generator().manual_seed(0)
    slates = draw_slates(probabilities.log().expand(40_000, 4), 2, generator)
    first, second = slates.T
    assert (first != second).all()
    np.testing.assert_allclose(torch.bincount(first, minlength=4) / 40_000, probabilities, atol=0.01)
    after_the_first = torch.bincount(second[first == 0], minlength=4) / (first == 0).sum()
    np.testing.assert_allclose(after_the_first, [0.0, 0.6, 0.4, 0.0], atol=0.015)


def test_a_missing_candidate_is_drawn_only_when_there_is_no_other():
    log_probs = behaviour_log_probs(torch.zeros(200, 3), torch.tensor([1.0, 0.0, 1.0]).expand(200, 3), 0.5)
    slates = draw_slates(log_probs, 3, torch.Generator().manual_seed(0))
    assert (slates[:, 2] == 1).all()


def test_returns_to_go_equal_those_computed_by_hand_and_stop_at_the_end_of_a_session():
    rewards = np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])
    is_over = np.array([[False, False], [False, True], [False, False]])
    returns = returns_to_go(rewards, is_over, np.array([10.0, 20.0]), gamma=0.5)
    last = [4 + 0.5 * 10, 4 + 0.5 * 20]
    np.testing.assert_allclose(returns, [[1 + 0.5 * (2 + 0.5 * last[0]), 1 + 0.5 * 2], [2 + 0.5 * last[0], 2], last])


@pytest.fixture(scope="module")
def agent() -> ReinforceTopK:
    return taught(6_400, num_envs=64, width=32, rollout_length=25, batch_size=200, num_epochs=4, gamma=0.5)


def test_at_an_empty_history_it_shows_better_than_average(agent):
    env = gymnasium.make_vec("recsim_env/Video-v0", 512, split="test", catalog_seed=5)
    agent.begin(env)
    observations, _ = env.reset(seed=5)
    expected = env.latent_state()["expected_rewards"]
    shown = expected[np.arange(512), agent.act(observations, np.ones(512, bool))]
    gains = shown - expected.mean(1)
    assert gains.mean() > 4 * gains.std() / math.sqrt(512)


def test_the_same_seed_learns_the_same_weights_and_another_seed_others():
    first, again, other = (taught(seed=seed).network.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_it_comes_back_from_a_file_as_it_was(agent, tmp_path):
    agent.save(tmp_path / "learnt")
    again = ReinforceTopK()
    again.load(tmp_path / "learnt")
    env = gymnasium.make_vec("recsim_env/Video-v0", 8, split="test", catalog_seed=5)
    np.testing.assert_array_equal(evaluate(agent, env, 1).items, evaluate(again, env, 1).items)


def test_slates_hold_different_items_and_one_observation_is_enough_for_a_recommendation():
    agent = taught(env_id="recsim_env/VideoSlate-v0")
    env = gymnasium.make("recsim_env/VideoSlate-v0")
    agent.begin(env)
    observation, _ = env.reset(seed=0)
    for _ in range(3):
        slate = agent.recommend(observation)
        assert slate in env.action_space
        assert len(set(slate.tolist())) == 5
        observation, *_ = env.step(slate)


def test_it_takes_the_steps_it_was_given_and_reports_at_the_start_on_the_way_and_at_the_end():
    reported: list[int] = []
    agent = ReinforceTopK(**SMALL)
    agent.learn("recsim_env/Video-v0", TRAIN, 100, 0, reported.append, 40)
    assert reported == [0, 64, 104]  # roll-outs of 32 user-steps, the last one cut to a step of each of 8 sessions


@pytest.mark.parametrize(
    ("name", "value"),
    [("gamma", 1.5), ("exploration", -0.1), ("cap", 0.5), ("num_epochs", 0), ("learning_rate", 2.0), ("num_envs", 0)],
)
def test_a_wrong_argument_is_refused_by_name_and_value(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}: must be"):
        ReinforceTopK(**{name: value})
