"""The Bayes-filter player: its belief moves as the person does, and knowing more of the person pays."""

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401
from agents.references.bayes_filter import BayesFilter, ProfilePrior, _log_probability_of_stars, take_in
from agents.references.lookahead import HistoryBlindPolicy, LookaheadOracle
from agents.references.value_weights import ValueWeights
from agents.rollouts.evaluation import evaluate
from recsim_env.scenarios import MUSIC, VIDEO
from recsim_env.world.world import build_world

CARE = ValueWeights(trust=4.0, patience=2.0)
STATE = ("interests", "satiation", "trust", "patience", "budget", "mood", "seen_mood", "follows", "recent_items")


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


@pytest.mark.parametrize("name", ["Ecommerce", "Social", "Music", "Video", "News"])
def test_a_particle_that_is_the_person_stays_the_person(name):
    env = gymnasium.make_vec(f"recsim_env/{name}-v0", 40, split="test", catalog_seed=1)
    env.reset(seed=0)
    sessions, items, parameters = env.unwrapped.simulator.compiled_model()
    particles = sessions.copy()
    generator, is_same_person = np.random.default_rng(0), np.ones(40, bool)
    num_rated = num_submitted = 0
    for _ in range(6):
        _, _, terminated, _, infos = env.step(generator.integers(0, 20, 40))
        is_same_person &= ~terminated
        for n in np.flatnonzero(is_same_person):
            row = (sessions[n]["num_shown"] - 1) % sessions[n]["history_items"].size
            item = items[sessions[n]["history_items"][row]]
            answer = sessions[n]["history_feedback"][row, 1:].astype(np.float64)
            answer[1] = infos["reward_consumption"][n]
            likelihood = take_in(particles[n], item, answer, parameters[0])
            assert np.isfinite(likelihood)
            num_rated, num_submitted = num_rated + (infos["reward_rating"][n] > 0), num_submitted + (answer[2] > 0)
    # A rating that was not submitted is guessed with the particle's own noise, which here is the person's.
    assert num_rated > num_submitted > 20
    assert is_same_person.sum() > 20
    for name in STATE:
        expected, found = sessions[name][is_same_person], particles[name][is_same_person]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("name", ["Ecommerce", "Social", "Music"])
def test_the_filter_finds_out_about_warm_people_from_their_logged_history(name):
    overrides = {"population": {"warm_share": 1.0, "warm_steps": 20}}
    options = {"split": "test", "catalog_seed": 1, "observation": "compact", "overrides": overrides}
    env = gymnasium.make_vec(f"recsim_env/{name}-v0", 60, **options)
    people = build_world(env.unwrapped.simulator.world.scenario, 0, "train")
    player = BayesFilter(population=people, num_particles=256, num_threads=1)
    player.begin(env, 0)
    observations, _ = env.reset(seed=0)
    player.act(observations, np.ones(60, bool))
    sessions = env.unwrapped.simulator.sessions
    believed = np.einsum("nb,nbd->nd", player._weights, player._particles["interests"])
    before = people.users.interests.mean(0)
    tenure = sessions["tenure"]
    errors, blind = (((guess - sessions["interests"]) ** 2).mean(1) for guess in (believed, before))
    assert errors.mean() < 0.8 * blind.mean()
    known = [errors[is_long].mean() / blind[is_long].mean() for is_long in (tenure > 12, tenure < 5)]
    assert known[0] < known[1]
    for column in (
        "recent_items",
        "follows",
    ):  # certain from 20 rows, but for ratings not submitted
        agreement = (player._particles[column] == sessions[column][:, None]).mean()
        assert agreement > 0.9, column
    np.testing.assert_allclose(player._weights.sum(1), 1.0)


def test_a_logged_history_tells_the_same_of_people_however_patient_they_are():
    """Nobody leaves while it is logged."""
    beliefs = []
    for patience in (0.5, 1e3):
        overrides = {"population": {"warm_share": 1.0, "warm_steps": 20, "patience_mean": patience}}
        env = make(40, observation="compact", overrides=overrides)
        people = build_world(env.unwrapped.simulator.world.scenario, 0, "train")
        player = BayesFilter(population=people, value_weights=CARE, num_particles=64, num_threads=1)
        player.begin(env, 0)
        player.act(env.reset(seed=0)[0], np.ones(40, bool))
        beliefs.append(np.einsum("nb,nbd->nd", player._weights, player._particles["interests"]))
    np.testing.assert_array_equal(*beliefs)


def test_profiles_tell_something_of_who_is_visiting(population):
    test = build_world(VIDEO, 1, "test")
    drawn = ProfilePrior(population).draw(test.users.profiles[:200], 64, np.random.default_rng(0))
    guessed = population.users.interests[drawn].mean(1)
    truth = test.users.interests[:200]
    explained = 1.0 - ((truth - guessed) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum()
    assert 0.2 < explained < 0.95


def test_what_can_be_found_out_in_a_session_is_worth_finding_out(population):
    env, compact = make(150), make(150, observation="compact")
    blind = evaluate(
        HistoryBlindPolicy(population=population, value_weights=ValueWeights(trust=2.0)), compact, seed=0
    ).returns
    player = BayesFilter(population=population, value_weights=CARE, num_particles=192, num_threads=1)
    filtered = evaluate(player, compact, seed=0).returns
    oracle = evaluate(LookaheadOracle(value_weights=CARE), env, seed=0).returns
    for better, worse in ((filtered, blind), (oracle, blind)):
        gain = better - worse
        assert gain.mean() > 3.0 * gain.std() / np.sqrt(150)
    assert filtered.mean() < oracle.mean() + 2.0 * (oracle - filtered).std() / np.sqrt(150)
    by_profile = BayesFilter(
        population=population, value_weights=CARE, num_particles=192, num_threads=1, reads_history=False
    )
    guessed = evaluate(by_profile, compact, seed=0).returns
    for better, worse in ((filtered, guessed), (guessed, blind)):  # a profile tells something, answers tell more
        gain = better - worse
        assert gain.mean() > 3.0 * gain.std() / np.sqrt(150)


def test_a_player_that_goes_by_the_profile_alone_takes_no_notice_of_answers(population):
    env = make(12, observation="compact", overrides={"population": {"warm_share": 1.0}})
    observations, _ = env.reset(seed=0)
    silenced = {**observations, "history_feedback": np.zeros_like(observations["history_feedback"])}
    settings = {"population": population, "value_weights": CARE, "num_particles": 64, "num_threads": 1}
    shown = {}
    for reads in (False, True):
        for name, seen in (("told", observations), ("silenced", silenced)):
            player = BayesFilter(**settings, reads_history=reads)
            player.begin(env, seed=0)
            shown[reads, name] = player.act(seen, np.ones(12, bool))
    np.testing.assert_array_equal(shown[False, "told"], shown[False, "silenced"])
    assert (shown[True, "told"] != shown[True, "silenced"]).any()


@pytest.mark.parametrize("scenario", [VIDEO, MUSIC], ids=["Video", "Music"])
def test_the_belief_does_not_depend_on_threads(scenario):
    people = build_world(scenario, 0, "train")
    options = {"split": "test", "catalog_seed": 1, "observation": "compact", "session_length": 15}
    compact = gymnasium.make_vec(f"recsim_env/{scenario.name}-v0", 20, **options)
    returns = [
        evaluate(
            BayesFilter(population=people, value_weights=CARE, num_particles=64, num_threads=num_threads),
            compact,
            seed=3,
        ).returns
        for num_threads in (1, 2)
    ]
    np.testing.assert_array_equal(*returns)
