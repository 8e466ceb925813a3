"""REINFORCE with the top-K correction: its weights by hand, its estimator against exact gradients, and learning."""

import itertools
import math

import gymnasium
import numpy as np
import pytest
import torch

import recsim_env  # noqa: F401  (registers the ids)
from agents.agent import NotFittedError
from agents.networks.plackett_luce import draw_slates
from agents.reinforcement.reinforce_top_k import (
    ReinforceTopK,
    behaviour_log_probs,
    gradient_weights,
    policy_loss,
)
from agents.rollouts.evaluation import evaluate

SMALL = {"width": 16, "rollout_length": 4, "batch_size": 16, "num_epochs": 2}
REWARDS = torch.tensor([1.0, 0.9, 0.0])
"""Reward of each arm of a bandit."""


def trained(
    total_timesteps: int = 64, seed: int = 0, env_id: str = "recsim_env/Video-v0", num_envs: int = 8, **settings
) -> ReinforceTopK:
    env = gymnasium.make_vec(env_id, num_envs, split="train", catalog_seed=0, observation="full")
    return ReinforceTopK(env, seed=seed, **{**SMALL, **settings}).learn(total_timesteps)


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


def test_items_that_are_certain_and_empty_slots_have_weight_0():
    weights = gradient_weights(torch.tensor([0.0, -1e9]), torch.tensor([0.0, -math.inf]), slate_size=2, cap=3.0)
    assert weights.tolist() == [0.0, 0.0]


def test_the_gradient_of_the_loss_equals_the_one_computed_by_hand():
    scores = torch.tensor([[0.0, math.log(3.0)]], requires_grad=True)  # pi = 1/4, 3/4
    shown = torch.log_softmax(scores, 1)[:, 1:]
    policy_loss(shown, logs(0.5)[None], torch.tensor([2.0]), cap=1.2).backward()
    weight = 1.2  # 3/4 over 1/2, capped
    np.testing.assert_allclose(scores.grad, [[weight * 2.0 * 0.25, -weight * 2.0 * 0.25]], rtol=1e-5)


def objective(scores: torch.Tensor, slate_size: int) -> torch.Tensor:
    """Expected reward of K independent draws if an arm pays once, however often it is drawn."""
    return ((1.0 - (1.0 - torch.softmax(scores, 0)) ** slate_size) * REWARDS).sum()


@pytest.mark.parametrize("slate_size", [1, 2, 5])
def test_the_mean_estimate_under_another_policy_is_the_exact_gradient(slate_size):
    scores = torch.tensor([0.3, -0.2, 0.5], requires_grad=True)
    behaviour = torch.tensor([0.2, 0.5, 0.3])
    (exact,) = torch.autograd.grad(objective(scores, slate_size), scores)
    log_probs = torch.log_softmax(scores, 0)
    # Each arm as one step with one slot per row, in proportion to how often the behaviour policy shows it.
    weights = gradient_weights(log_probs.detach(), behaviour.log(), slate_size, cap=math.inf)
    (estimate,) = torch.autograd.grad((behaviour * weights * REWARDS * log_probs).sum(), scores)
    np.testing.assert_allclose(estimate, exact, atol=1e-6)


@pytest.mark.parametrize(("slate_size", "optimum"), [(1, [1.0, 0.0, 0.0]), (2, [1 / 1.9, 0.9 / 1.9, 0.0])])
def test_a_bandit_converges_off_policy_to_its_known_optimum(slate_size, optimum):
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
            (-(weights * (REWARDS[drawn] - (baseline if slate_size == 1 else 0.0)) * log_probs).mean()).backward()
            optimizer.step()
    np.testing.assert_allclose(torch.softmax(scores.detach(), 0), optimum, atol=0.04)


def test_the_behaviour_policy_mixes_the_softmax_with_uniform_draws():
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


def test_a_missing_candidate_is_drawn_last():
    log_probs = behaviour_log_probs(torch.zeros(200, 3), torch.tensor([1.0, 0.0, 1.0]).expand(200, 3), 0.5)
    slates = draw_slates(log_probs, 3, torch.Generator().manual_seed(0))
    assert (slates[:, 2] == 1).all()


@pytest.fixture(scope="module")
def agent() -> ReinforceTopK:
    return trained(6_400, num_envs=64, width=32, rollout_length=25, batch_size=200, num_epochs=4, gamma=0.5)


def test_at_an_empty_history_it_shows_better_than_average(agent):
    env = gymnasium.make_vec("recsim_env/Video-v0", 512, split="test", catalog_seed=5, observation="full")
    agent.set_env(env)
    observations, _ = env.reset(seed=5)
    expected = env.latent_state()["expected_rewards"]
    shown = expected[np.arange(512), agent.predict(observations)[0]]
    gains = shown - expected.mean(1)
    assert gains.mean() > 4 * gains.std() / math.sqrt(512)


def test_the_weights_depend_on_the_seed_alone():
    first, again, other = (trained(seed=seed).network.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_a_file_holds_the_same_policy(agent, tmp_path):
    agent.save(tmp_path / "reinforce")
    env = gymnasium.make_vec("recsim_env/Video-v0", 8, split="test", catalog_seed=5, observation="full")
    again = ReinforceTopK.load(tmp_path / "reinforce")
    np.testing.assert_array_equal(evaluate(agent, env, 1).items, evaluate(again, env, 1).items)


@pytest.mark.parametrize("deterministic", [True, False])
def test_slates_have_distinct_items(deterministic):
    agent = trained(env_id="recsim_env/VideoSlate-v0")
    env = gymnasium.make("recsim_env/VideoSlate-v0", observation="full")
    observation, _ = env.reset(seed=0)
    state = None
    for _ in range(3):
        slate, state = agent.predict(observation, state, deterministic=deterministic)
        assert slate in env.action_space
        assert len(set(slate.tolist())) == 5
        observation, *_ = env.step(slate)


def test_log_probabilities_are_those_of_the_sampled_slates():
    env = gymnasium.make_vec("recsim_env/Video-v0", 1, slate_size=2, observation="full")
    agent = ReinforceTopK(env, **SMALL).learn(64)
    observations, _ = env.reset(seed=0)
    pairs = np.array(list(itertools.permutations(range(20), 2)))
    repeated = {name: part.repeat(len(pairs), 0) for name, part in observations.items()}
    probabilities = np.exp(agent.log_probabilities(repeated, pairs))
    assert probabilities.sum() == pytest.approx(1.0)
    sampled, _ = agent.predict(
        {name: part.repeat(20_000, 0) for name, part in observations.items()}, deterministic=False
    )
    top_items = np.bincount(sampled[:, 0], minlength=20) / 20_000
    np.testing.assert_allclose(top_items, probabilities.reshape(20, 19).sum(1), atol=0.01)


def test_it_trains_for_the_given_steps():
    steps: list[int] = []
    env = gymnasium.make_vec("recsim_env/Video-v0", 8, observation="full")
    ReinforceTopK(env, **SMALL).learn(100, lambda agent: steps.append(agent.num_timesteps))
    assert steps == [32, 64, 96, 104]  # rollouts of 4 steps in 8 sessions; the last one has a single step


def test_an_untrained_agent_does_not_act():
    env = gymnasium.make_vec("recsim_env/Video-v0", 2, observation="full")
    for deterministic in (True, False):
        with pytest.raises(NotFittedError):
            ReinforceTopK(env).predict(env.reset(seed=0)[0], deterministic=deterministic)


@pytest.mark.parametrize(
    ("name", "value"),
    [("gamma", 1.5), ("exploration", -0.1), ("cap", 0.5), ("num_epochs", 0), ("learning_rate", 2.0)],
)
def test_a_wrong_argument_is_refused_by_name_and_value(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}: must be"):
        ReinforceTopK(**{name: value})
