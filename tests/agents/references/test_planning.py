"""Planners and priors: what knows more does better, and never worse by luck."""

import dataclasses
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from trajectories import same

import recsim_env  # noqa: F401
from agents.bandits.empirical_bayes import EmpiricalBayesLinUCB, fit_prior
from agents.bandits.linucb import LinearPrior, LinUCB
from agents.references.lookahead import HistoryBlindPolicy, LookaheadOracle
from agents.references.myopic_oracle import MyopicOracle
from agents.references.planning_oracle import PlanningOracle, surest_improvement
from agents.references.value_weights import ValueWeights
from agents.rollouts.evaluation import evaluate
from recsim_env.scenarios import VIDEO, scenario_named
from recsim_env.world.world import build_world


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
    returns = [evaluate(agent, env, seed=0).returns for agent in (MyopicOracle(), LookaheadOracle())]
    np.testing.assert_array_equal(*returns)


def test_history_blind_player_ranks_alike_for_everyone():
    env = make(32, observation="compact")
    agent = HistoryBlindPolicy(
        population=build_world(VIDEO, 0, "train"), value_weights=ValueWeights(trust=1.0, patience=1.0)
    )
    agent.begin(env, 0)
    observations, _ = env.reset(seed=0, options={"world_seed": 4})
    offer = {name: np.repeat(observations[name][:1], 32, axis=0) for name in ("candidate_items", "time")}
    actions = agent.act({**observations, **offer}, np.ones(32, bool))
    assert len(set(actions.tolist())) == 1


def test_history_blind_player_draws_by_its_scores_if_it_has_a_temperature():
    env, people = make(4_000, observation="compact"), build_world(VIDEO, 0, "train")
    observations, _ = env.reset(seed=0)
    offer = {name: np.repeat(observations[name][:1], 4_000, axis=0) for name in ("candidate_items", "time")}
    shares = []
    for temperature in (0.0, 0.5):
        agent = HistoryBlindPolicy(population=people, temperature=temperature)
        agent.begin(env, 0)
        actions = agent.act({**observations, **offer}, np.ones(4_000, bool))
        shares.append(np.bincount(actions, minlength=20) / 4_000)
    assert shares[0].max() == 1.0
    assert 0.1 < shares[1].max() < 0.95
    assert shares[1].argmax() == shares[0].argmax()


@pytest.mark.parametrize(
    ("name", "relevant"),
    [
        ("Video", {"trust", "patience"}),
        ("Ecommerce", {"trust", "patience", "budget"}),
        ("Social", {"trust", "patience", "following"}),
    ],
)
def test_care_is_for_what_has_consequences_in_a_scenario_and_changes_what_is_shown(name, relevant):
    env = gymnasium.make_vec(f"recsim_env/{name}-v0", 200)
    assert set(ValueWeights.relevant_in(scenario_named(name))) == relevant
    observations, _ = env.reset(seed=0)
    for _ in range(10):  # until people follow somebody, or do not trust any more
        observations, *_ = env.step(np.arange(200) % 20)
    first = np.ones(200, bool)
    for field in dataclasses.fields(ValueWeights):
        plain, caring = LookaheadOracle(), LookaheadOracle(value_weights=ValueWeights(**{field.name: 4.0}))
        for agent in (plain, caring):
            agent.begin(env)
        overrides = plain.act(observations, first) != caring.act(observations, first)
        assert overrides.any() == (field.name in relevant), field.name


def test_an_improvement_counts_only_beyond_its_standard_error():
    base = [1.0, 2.0, 3.0, 4.0]
    sure, lucky = [2.0, 3.0, 4.0, 5.1], [-9.0, 2.0, 3.0, 30.0]
    is_there = np.ones(3, bool)
    returns = np.array([base, sure, lucky])
    assert lucky[3] + lucky[0] - 5.0 > 4.1  # the lucky one's mean is higher
    assert surest_improvement(returns, is_there, 0) == 1
    assert surest_improvement(returns, np.array([True, False, True]), 0) == 0
    assert surest_improvement(returns[:1], is_there, 0) == 0


def test_planning_beats_the_myopic_policy_it_begins_with():
    env = make(80, session_length=25, split="test")
    planned = evaluate(PlanningOracle(num_futures=12), env, seed=2).returns
    gain = planned - evaluate(MyopicOracle(), env, seed=2).returns
    assert gain.mean() > 3.0 * gain.std() / np.sqrt(80)


@pytest.mark.parametrize("name", ["Video", "Ecommerce", "Social"])
def test_plans_do_not_depend_on_threads(name):
    env = gymnasium.make_vec(f"recsim_env/{name}-v0", 12, session_length=12)
    planned = [evaluate(PlanningOracle(num_futures=6, num_threads=n), env, seed=2).returns for n in (1, 2, 3)]
    np.testing.assert_array_equal(planned[0], planned[1])
    np.testing.assert_array_equal(planned[0], planned[2])


def test_planning_leaves_the_sessions_that_it_looks_ahead_from_as_they_are():
    env, agent = make(6), PlanningOracle(num_futures=4)
    agent.begin(env)
    observations, _ = env.reset(seed=0)
    before = env.unwrapped.simulator.state()
    agent.act(observations, np.ones(6, bool))
    assert same(before, env.unwrapped.simulator.state())


def test_planners_refuse_slates_and_too_few_futures():
    with pytest.raises(ValueError, match="num_futures=1: must be at least 2"):
        PlanningOracle(num_futures=1)
    with pytest.raises(ValueError, match="slate_size=3: PlanningOracle shows one item a step"):
        PlanningOracle().begin(make(2, slate_size=3))
