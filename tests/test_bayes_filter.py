"""The Bayes-filter player: its belief moves as the person does, and knowing more of the person pays."""

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401
from agents.bayes_filter import BayesFilterPlayer, ProfilePrior, _log_probability_of_stars, take_in
from agents.evaluation import evaluate
from agents.foresight import ForesightOracle, HistoryBlindPlayer, people_of
from recsim_env.scenarios import VIDEO
from recsim_env.world import build_world


@pytest.fixture(scope="module")
def population():
    return build_world(VIDEO, 0, "train")


def make(num_envs: int, **options):
    return gymnasium.make_vec("recsim_env/Video-v0", num_envs, split="test", catalog_seed=1, **options)


def test_probabilities_of_the_five_ratings_sum_to_one():
    _, _, parameters = make(1).unwrapped.simulator.compiled_model()
    for opinion in (-3.0, 0.1, 2.5):
        logs = [_log_probability_of_stars(opinion, 0.8, float(rating), parameters[0]) for rating in range(1, 6)]
        assert np.exp(logs).sum() == pytest.approx(1.0)


def test_a_particle_that_is_the_person_stays_the_person():
    env = make(40)
    env.reset(seed=0)
    simulator = env.unwrapped.simulator
    sessions, items, parameters = simulator.compiled_model()
    particles = sessions.copy()
    generator = np.random.default_rng(0)
    num_rated = 0
    for _ in range(4):  # nobody has left by then
        _, _, terminated, _, infos = env.step(generator.integers(0, 20, 40))
        assert not terminated.any()
        for n in range(40):
            row = (sessions[n]["num_shown"] - 1) % sessions[n]["history_items"].size
            item = items[sessions[n]["history_items"][row]]
            click = float(sessions[n]["history_feedback"][row, 1])
            draws = np.uint64(0)
            # The rating as it was given, whether submitted or not: what is left to guess is tested elsewhere.
            answer = click, float(infos["consumption"][n]), float(infos["rating"][n])
            likelihood = take_in(particles[n], item, *answer, draws, parameters[0])
            assert np.isfinite(likelihood)
            num_rated += click > 0
    assert num_rated > 20
    for name in ("interests", "satiation", "trust", "patience"):
        np.testing.assert_allclose(particles[name], sessions[name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_profiles_tell_something_of_who_is_visiting(population):
    test = build_world(VIDEO, 1, "test")
    drawn = ProfilePrior(population).draw(test.users.profiles[:200], 64, np.random.default_rng(0))
    guessed = people_of(population, make(1).unwrapped.simulator.sessions)["interests"][drawn].mean(1)
    truth = test.users.interests[:200]
    explained = 1.0 - ((truth - guessed) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum()
    assert 0.2 < explained < 0.95


def test_what_can_be_found_out_in_a_session_is_worth_finding_out(population):
    env, compact = make(150), make(150, observation="compact")
    blind = evaluate(HistoryBlindPlayer(population, 2.0, 0.0), compact, seed=0).returns
    player = BayesFilterPlayer(population, 4.0, 2.0, num_particles=192, num_threads=1)
    filtered = evaluate(player, compact, seed=0).returns
    oracle = evaluate(ForesightOracle(4.0, 2.0), env, seed=0).returns
    for better, worse in ((filtered, blind), (oracle, blind)):
        gain = better - worse
        assert gain.mean() > 3.0 * gain.std() / np.sqrt(150)
    assert filtered.mean() < oracle.mean() + 2.0 * (oracle - filtered).std() / np.sqrt(150)


def test_the_belief_does_not_depend_on_threads(population):
    compact = make(20, observation="compact", session_length=15)
    returns = [
        evaluate(BayesFilterPlayer(population, 2.0, 1.0, 64, num_threads), compact, seed=3).returns
        for num_threads in (1, 2)
    ]
    np.testing.assert_array_equal(*returns)
