"""The Bayes filter: its belief follows the user's latent state, and more knowledge of the user raises returns."""

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401
from agents.references.bayes_filter import BayesFilter, ProfilePrior, log_rating_probability, update_particle
from agents.references.lookahead import HistoryBlindPolicy, LookaheadOracle
from agents.references.value_weights import ValueWeights
from agents.rollouts.evaluation import evaluate
from recsim_env.scenarios import MUSIC, VIDEO
from recsim_env.world.world import build_world

WEIGHTS = ValueWeights(trust=4.0, patience=2.0)
STATE = ("interests", "satiation", "trust", "patience", "budget", "mood", "seen_mood", "follows", "recent_items")


@pytest.fixture(scope="module")
def population():
    return build_world(VIDEO, 0, "train")


def make(num_envs: int, **options):
    return gymnasium.make_vec(
        "recsim_env/Video-v0", num_envs, split="test", catalog_seed=1, **{"observation": "full", **options}
    )


def bayes_filter(population, env=None, **settings) -> BayesFilter:
    agent = BayesFilter(env, **{"value_weights": WEIGHTS, "num_particles": 64, "num_threads": 1, **settings})
    agent.population = population
    return agent


def population_of(env):
    return build_world(env.unwrapped.simulator.world.scenario, 0, "train")


def test_probabilities_of_the_five_ratings_sum_to_one():
    parameters = make(1).unwrapped.simulator.parameters
    for opinion in (-3.0, 0.1, 2.5):
        logs = [log_rating_probability(opinion, 0.8, float(rating), parameters[0]) for rating in range(1, 6)]
        assert np.exp(logs).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["Ecommerce", "Social", "Music", "Video", "News"])
def test_a_particle_that_equals_the_user_stays_equal(name):
    # Many clicks and purchases.
    behaviour = {"initial_trust": 0.9, "choice_intercept": 1.0, "purchase_intercept": 1.0}
    arguments = {"split": "test", "catalog_seed": 1, "observation": "full", "overrides": {"behaviour": behaviour}}
    env = gymnasium.make_vec(f"recsim_env/{name}-v0", 40, **arguments)
    env.reset(seed=0)
    simulator = env.unwrapped.simulator
    sessions, items, parameters = simulator.sessions, simulator.world.item_records, simulator.parameters
    particles = sessions.copy()
    generator, is_same_user = np.random.default_rng(0), np.ones(40, bool)
    num_rated = num_submitted = 0
    for _ in range(6):
        _, _, terminated, _, infos = env.step(generator.integers(0, 20, 40))
        is_same_user &= ~terminated
        for n in np.flatnonzero(is_same_user):
            row = (sessions[n]["num_shown"] - 1) % sessions[n]["history_items"].size
            item = items[sessions[n]["history_items"][row]]
            feedback = sessions[n]["history_feedback"][row, 1:].astype(np.float64)
            feedback[1] = infos["reward_consumption"][n]
            likelihood = update_particle(particles[n], item, feedback, parameters[0])
            assert np.isfinite(likelihood)
            num_rated, num_submitted = num_rated + (infos["reward_rating"][n] > 0), num_submitted + (feedback[2] > 0)
    # A rating that was not submitted is drawn with the particle's own noise, which here is the user's.
    assert num_rated > num_submitted > 20
    assert is_same_user.sum() > 20
    for name in STATE:
        expected, particle = sessions[name][is_same_user], particles[name][is_same_user]
        np.testing.assert_allclose(particle, expected, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("name", ["Ecommerce", "Social", "Music"])
def test_the_filter_infers_the_state_of_warm_users_from_their_logged_history(name):
    overrides = {"population": {"warm_share": 1.0, "warm_steps": 20}}
    arguments = {"split": "test", "catalog_seed": 1, "observation": "compact", "overrides": overrides}
    env = gymnasium.make_vec(f"recsim_env/{name}-v0", 60, **arguments)
    population = population_of(env)
    agent = bayes_filter(population, env, num_particles=256)
    observations, _ = env.reset(seed=0)
    _, belief = agent.predict(observations)
    sessions = env.unwrapped.simulator.sessions
    estimates = np.einsum("nb,nbd->nd", belief.weights, belief.particles["interests"])
    prior_mean = population.users.interests.mean(0)
    errors, prior_errors = (((each - sessions["interests"]) ** 2).mean(1) for each in (estimates, prior_mean))
    assert errors.mean() < 0.8 * prior_errors.mean()
    tenure = sessions["tenure"]
    long, short = (errors[each].mean() / prior_errors[each].mean() for each in (tenure > 12, tenure < 5))
    assert long < short
    for column in ("recent_items", "follows"):  # certain from 20 rows, but for ratings not submitted
        agreement = (belief.particles[column] == sessions[column][:, None]).mean()
        assert agreement > 0.9, column
    np.testing.assert_allclose(belief.weights.sum(1), 1.0)


def test_a_logged_history_is_no_evidence_of_patience():
    """No user leaves while it is logged."""
    estimates = []
    for patience in (0.5, 1e3):
        overrides = {"population": {"warm_share": 1.0, "warm_steps": 20, "patience_mean": patience}}
        env = make(40, observation="compact", overrides=overrides)
        _, belief = bayes_filter(population_of(env), env).predict(env.reset(seed=0)[0])
        estimates.append(np.einsum("nb,nbd->nd", belief.weights, belief.particles["interests"]))
    np.testing.assert_array_equal(*estimates)


def test_profiles_explain_a_part_of_the_interests(population):
    test = build_world(VIDEO, 1, "test")
    users = ProfilePrior(population).sample(test.users.profiles[:200], 64, np.random.default_rng(0))
    estimates, truth = population.users.interests[users].mean(1), test.users.interests[:200]
    explained = 1.0 - ((truth - estimates) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum()
    assert 0.2 < explained < 0.95


def test_returns_rise_with_knowledge_of_the_user(population):
    """Without history < from the profile < from profile and history < with the latent state."""
    env = make(200, observation="compact", overrides={"behaviour": {"initial_trust": 1.0}})  # for many clicks
    history_blind = HistoryBlindPolicy(value_weights=ValueWeights(trust=2.0))
    history_blind.population = population
    by_profile, by_history = (
        bayes_filter(population, num_particles=128, reads_history=reads_history) for reads_history in (False, True)
    )
    ladder = history_blind, by_profile, by_history, LookaheadOracle(value_weights=WEIGHTS)
    returns = [evaluate(agent, env, seed=0).returns for agent in ladder]
    for worse, better in ((0, 1), (1, 2), (0, 3)):
        gain = returns[better] - returns[worse]
        assert gain.mean() > 3.0 * gain.std() / np.sqrt(200), (worse, better)
    assert returns[2].mean() < returns[3].mean() + 2.0 * (returns[3] - returns[2]).std() / np.sqrt(200)


def test_without_history_the_filter_ignores_feedback(population):
    env = make(12, observation="compact", overrides={"population": {"warm_share": 1.0}})
    observations, _ = env.reset(seed=0)
    silent = {**observations, "history_feedback": np.zeros_like(observations["history_feedback"])}
    for reads_history in (False, True):
        actions = [
            bayes_filter(population, env, reads_history=reads_history).predict(each)[0]
            for each in (observations, silent)
        ]
        assert (actions[0] != actions[1]).any() == reads_history


@pytest.mark.parametrize("scenario", [VIDEO, MUSIC], ids=["Video", "Music"])
def test_the_belief_does_not_depend_on_threads(scenario):
    population = build_world(scenario, 0, "train")
    arguments = {"split": "test", "catalog_seed": 1, "observation": "compact", "session_length": 15}
    env = gymnasium.make_vec(f"recsim_env/{scenario.name}-v0", 20, **arguments)
    returns = [evaluate(bayes_filter(population, num_threads=n), env, seed=3).returns for n in (1, 2)]
    np.testing.assert_array_equal(*returns)
