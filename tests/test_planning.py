"""Planners and priors: what knows more does better, and never worse by luck."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401
from agents.empirical_bayes import EmpiricalBayesLinUCB, fit_prior
from agents.evaluation import evaluate
from agents.foresight import ForesightOracle, HistoryBlindPlayer
from agents.linucb import LinearPrior, LinUCB
from agents.myopic_oracle import MyopicOracle
from agents.planning_oracle import PlanningOracle, surest_improvement
from recsim_env.scenarios import VIDEO
from recsim_env.world import build_world


def make(num_envs: int, **options):
    return gymnasium.make_vec("recsim_env/Video-v0", num_envs, **options)


def test_fitted_prior_is_the_one_that_visitors_were_drawn_from():
    generator = np.random.default_rng(0)
    mean, root = np.array([1.0, -2.0, 0.5]), np.array([[1.0, 0.0, 0.0], [0.6, 0.5, 0.0], [0.0, 0.3, 0.2]])
    contents = generator.standard_normal((3_000, 8, 3))
    thetas = mean + generator.standard_normal((3_000, 3)) @ root.T
    stars = np.einsum("ntd,nd->nt", contents, thetas) + 0.7 * generator.standard_normal((3_000, 8))
    grams = np.einsum("ntd,nte->nde", contents, contents)
    targets = np.einsum("ntd,nt->nd", contents, stars)
    prior = fit_prior(grams, targets, (stars**2).sum(1), np.full(3_000, 8.0))
    np.testing.assert_allclose(prior.mean, mean, atol=0.06)
    np.testing.assert_allclose(prior.covariance, root @ root.T, atol=0.08)
    assert prior.noise_variance == pytest.approx(0.49, abs=0.02)


def test_isotropic_prior_changes_nothing():
    env, plain, with_prior = make(8), LinUCB(alpha=0.8, ridge=2.0), LinUCB(alpha=0.8)
    size = env.unwrapped.simulator.layout.num_content_features + 1
    with_prior.prior = LinearPrior.isotropic(size, 2.0)
    returns = [evaluate(agent, env, seed=3).returns for agent in (plain, with_prior)]
    np.testing.assert_array_equal(*returns)


def test_knowing_people_in_general_helps_with_each_of_them(tmp_path: Path):
    agent = EmpiricalBayesLinUCB()
    agent.learn("recsim_env/Video-v0", {"split": "train"}, 40_000, seed=0)
    env = make(400, split="test", catalog_seed=1)
    gain = evaluate(agent, env, seed=5).returns - evaluate(LinUCB(), env, seed=5).returns
    assert gain.mean() > 3.0 * gain.std() / 20.0
    agent.save(tmp_path / "prior.npz")
    other = EmpiricalBayesLinUCB()
    other.load(tmp_path / "prior.npz")
    np.testing.assert_array_equal(evaluate(other, env, seed=5).returns, evaluate(agent, env, seed=5).returns)


def test_without_care_foresight_is_myopic():
    env = make(64)
    returns = [evaluate(agent, env, seed=0).returns for agent in (MyopicOracle(), ForesightOracle())]
    np.testing.assert_array_equal(*returns)


def test_history_blind_player_ranks_alike_for_everyone():
    env = make(32, observation="compact")
    agent = HistoryBlindPlayer(build_world(VIDEO, 0, "train"), 1.0, 1.0)
    agent.begin(env, 0)
    observations, _ = env.reset(seed=0, options={"world_seed": 4})
    offer = {name: np.repeat(values[:1], 32, axis=0) for name, values in observations.items()}
    actions = agent.act({**observations, "candidate_items": offer["candidate_items"]}, np.ones(32, bool))
    assert len(set(actions.tolist())) == 1


def test_an_improvement_counts_only_beyond_its_standard_error():
    base = [1.0, 2.0, 3.0, 4.0]
    sure, lucky = [2.0, 3.0, 4.0, 5.1], [-9.0, 2.0, 3.0, 30.0]
    is_there = np.ones(3, bool)
    returns = np.array([base, sure, lucky])
    assert lucky[3] + lucky[0] - 5.0 > 4.1  # the lucky one's mean is higher
    assert surest_improvement(returns, is_there, 0) == 1
    assert surest_improvement(returns, np.array([True, False, True]), 0) == 0
    assert surest_improvement(returns[:1], is_there, 0) == 0


def test_planning_beats_the_myopic_policy_it_begins_with_whatever_the_number_of_threads():
    options = {"num_candidates": 6, "session_length": 20, "split": "test"}
    env = make(150, **options)
    planned = [evaluate(PlanningOracle(num_futures=24, num_threads=n), env, seed=2).returns for n in (1, 2)]
    np.testing.assert_array_equal(*planned)
    gain = planned[0] - evaluate(MyopicOracle(), env, seed=2).returns
    assert gain.mean() > 3.0 * gain.std() / np.sqrt(150)


def test_planners_refuse_slates_and_too_few_futures():
    with pytest.raises(ValueError, match="num_futures=1: must be at least 2"):
        PlanningOracle(num_futures=1)
    with pytest.raises(ValueError, match="slate_size=3: PlanningOracle shows one item a step"):
        PlanningOracle().begin(make(2, slate_size=3))
