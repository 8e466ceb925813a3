"""Online learning follows a population shift in steps that stay near the deployed policy."""

import copy
import dataclasses

import pytest
import torch
from conftest import CHECKOUT  # noqa: F401  (sets what threads may do)

from agents.large_model.config import TrainingConfig
from agents.large_model.distributed import ProcessGroup
from agents.large_model.online.config import OnlineConfig
from agents.large_model.online.learner import OnlineLearner, Round, learn_online
from agents.large_model.rollout import play
from agents.large_model.training import Training
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.scenarios import VIDEO

MANY_CLICKS = {
    "catalog": {"quality_sd": 0.4, "appeal_sd": 0.8, "appeal_quality_correlation": -0.2, "repeat_after": 0},
    "behaviour": {
        "choice_intercept": 0.5,
        "choice_distrust": 4.3,
        "initial_trust": 1.0,
        "satiation_gain": 0.4,
        "satiation_decay": 0.9,
        "trust_gain": 0.05,
        "trust_loss": 0.1,
    },
    "reward": {"neutral_rating": 0.0},
}
"""People who click so much that some ten thousand steps teach something, and who hardly tire of topics."""
HOME = VIDEO.override(MANY_CLICKS)
ELSEWHERE = dataclasses.replace(HOME, name="Elsewhere")
"""The same rules, other users: clusters, tastes and profiles are drawn for each name."""

HONEST = dataclasses.replace(
    HOME.override({"catalog": {"appeal_quality_correlation": 0.95, "quality_sd": 1.2}}), name="Elsewhere"
)
"""Other users, and items whose appeal is a promise of quality."""


def env_of(scenario, num_envs: int, split: str) -> RecommenderVectorEnv:
    return RecommenderVectorEnv(num_envs, scenario, observation="compact", split=split, catalog_seed=3)


@pytest.fixture(scope="module")
def deployed():
    config = TrainingConfig(
        env_arguments={"split": "train", "overrides": MANY_CLICKS},
        num_steps=100_000,
        supervised_share=0.4,
        distillation_share=0.6,
        num_envs=128,
        num_catalogs=1,
    )
    training = Training(config, ProcessGroup(device=torch.device("cpu")))
    while not training.is_over:
        training.iterate()
    return training.network


def mean_return(model, scenario) -> float:
    env = env_of(scenario, 200, "test")
    content = model.content_of(env)
    generator = torch.Generator().manual_seed(0)
    return float(play(model, env, content, seed=9, generator=generator, selection="greedy").returns.mean())


def test_it_improves_in_a_world_that_it_was_not_trained_for(deployed):
    model, rounds = copy.deepcopy(deployed), []
    before = mean_return(deployed, HONEST)
    learn_online(model, env_of(HONEST, 96, "train"), 45_000, seed=1, callback=rounds.append)
    assert mean_return(model, HONEST) > before + 1.0
    assert not all(each.is_reverted for each in rounds)


def served(deployed, scenario):
    """A copy of the model, the catalogue as it sees it, and sessions that it has played there."""
    model = copy.deepcopy(deployed)
    env = env_of(scenario, 32, "train")
    content = model.content_of(env)
    return model, content, play(model, env, content, seed=0, generator=torch.Generator().manual_seed(0))


def is_unchanged(model, deployed) -> bool:
    before = deployed.state_dict()
    return all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_round_that_moves_the_policy_too_far_is_reverted(deployed):
    model, content, sessions = served(deployed, ELSEWHERE)
    learner = OnlineLearner(model, content, OnlineConfig(learning_rate=0.05, anchor=0.0, max_divergence=0.01))
    found = learner.learn(sessions)
    assert isinstance(found, Round)
    assert found.is_reverted
    assert found.divergence > 0.01
    assert is_unchanged(model, deployed)


def test_rewards_that_are_not_finite_are_refused(deployed):
    model, content, sessions = served(deployed, HOME)
    sessions.rewards[0, 0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        OnlineLearner(model, content).learn(sessions)
    assert is_unchanged(model, deployed)


def test_a_round_that_ends_in_nan_is_reverted(deployed):
    model, content, sessions = served(deployed, HOME)
    learner = OnlineLearner(model, content, OnlineConfig(anchor=0.0))
    learner._optimizer.param_groups[0]["lr"] = 1e30  # beyond the limits of the config
    assert learner.learn(sessions).is_reverted
    assert is_unchanged(model, deployed)


def test_the_anchor_keeps_it_nearer_to_the_deployed_policy(deployed):
    moved = []
    for anchor in (0.0, 10.0):
        model = copy.deepcopy(deployed)
        config = OnlineConfig(anchor=anchor, learning_rate=1e-3, max_divergence=100.0, deploy_every=100)
        rounds: list[Round] = []
        learn_online(model, env_of(ELSEWHERE, 64, "train"), 8_000, seed=2, config=config, callback=rounds.append)
        moved.append(rounds[-1].divergence)
    assert moved[1] < 0.5 * moved[0]


def test_divergence_is_measured_from_the_deployed_policy(deployed):
    model, content, sessions = served(deployed, ELSEWHERE)
    learner = OnlineLearner(model, content)
    assert learner.learn(sessions).divergence > 0.0
    assert is_unchanged(learner.deployed, deployed)
    learner.deploy()
    assert learner.divergence(sessions) == pytest.approx(0.0, abs=1e-6)


def test_steps_of_importance_0_do_not_count_for_the_policy(deployed):
    config, learnt = OnlineConfig(feedback=0.0, value=0.0, entropy=0.0, anchor=0.0), []
    for importance in (None, 0.0):
        model, content, sessions = served(deployed, HOME)
        weights = None if importance is None else torch.full_like(sessions.rewards, importance)
        OnlineLearner(model, content, config).learn(sessions, importance=weights)
        learnt.append(model)
    assert not is_unchanged(learnt[0], deployed)
    weights = learnt[1].state_dict()
    assert all(torch.allclose(weights[name], old, atol=1e-4) for name, old in deployed.state_dict().items())
