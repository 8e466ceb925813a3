"""Latent state is neither named nor recoverable from observations; one privileged call returns it."""

from statistics import NormalDist

import gymnasium
import numpy as np
import pytest
from by_hand import affinity_of, logistic, purchase_chance_of, state_of, utility_of
from tiny_world import make_simulator, show, start
from trajectories import random_actions, same

from recsim_env.config import RewardConfig
from recsim_env.envs.spaces_and_actions import REWARD_INFO_KEYS
from recsim_env.sb3 import make_sb3_vec_env
from recsim_env.simulation.records import NO_ITEM

LATENT_OF_USERS = (
    "interests",
    "satiation",
    "trust",
    "patience",
    "budget",
    "mood",
    "rating_bias",
    "rating_scale",
    "receptiveness",
    "satisfaction",
    "habit",
)
LATENT_OF_ITEMS = ("candidate_quality", "candidate_appeal", "candidate_factors")
LATENT_WORDS = (
    *("interest", "satiation", "trust", "patience", "bias", "scale", "receptiv", "quality", "appeal", "factor"),
    *("budget", "mood", "follows", "recent_items", "creator", "price"),
    *(
        "topic",
        "affinity",
        "utility",
        "latent",
        "expected",
        "seed",
        "start",
        "release",
        "retire",
        "cluster",
        "satisfaction",
        "habit",
    ),
)
NUM_SESSIONS = 5_000


def names_in(handed_out) -> set[str]:
    """Every key of the dictionaries in an answer of an env."""
    if isinstance(handed_out, dict):
        return set(handed_out) | {name for part in handed_out.values() for name in names_in(part)}
    if isinstance(handed_out, np.ndarray) and handed_out.dtype == object:
        handed_out = list(handed_out)
    if isinstance(handed_out, list | tuple):
        return {name for part in handed_out for name in names_in(part)}
    return set()


def test_no_key_of_an_observation_or_info_names_anything_latent(some_env_id, observation_kind):
    env = gymnasium.make(some_env_id, observation=observation_kind)
    envs = gymnasium.make_vec(some_env_id, 8, observation=observation_kind, autoreset_mode="SameStep")
    sb3_envs = make_sb3_vec_env(some_env_id, 8, seed=0, observation=observation_kind)
    names = names_in((env.reset(seed=0), envs.reset(seed=0), sb3_envs.reset()))
    for actions in random_actions(envs.action_space, np.random.default_rng(0), 60):
        names |= names_in((envs.step(actions), sb3_envs.step(actions)))
    names |= names_in(env.step(env.action_space.sample()))
    assert {"reward_rating", "final_info", "terminal_observation"} <= names
    assert not [name for name in names if any(word in name for word in LATENT_WORDS)]


def test_terms_of_the_reward_are_all_that_info_holds(env_id):
    env = gymnasium.make(env_id)
    for info in (env.reset(seed=0)[1], env.step(env.action_space.sample())[-1]):
        assert set(info) == set(REWARD_INFO_KEYS)
        assert all(type(value) is np.float64 for value in info.values())


def held_out_r2(seen: np.ndarray, latent: np.ndarray) -> np.ndarray:
    """Share of the variance of each column of `latent` that ridge regression on `seen` explains in the other half."""
    seen = seen[:, seen.std(0) > 1e-6]
    seen, latent = (seen - seen.mean(0)) / seen.std(0), latent - latent.mean(0)
    half = len(seen) // 2
    gram = seen[:half].T @ seen[:half] + np.eye(seen.shape[1])
    weights = np.linalg.solve(gram, seen[:half].T @ latent[:half])
    errors = ((latent[half:] - seen[half:] @ weights) ** 2).mean(0)
    return 1.0 - errors / np.maximum(latent[half:].var(0), 1e-12)


def largest_correlation(seen: np.ndarray, latent: np.ndarray) -> float:
    """Between any column of `seen` and any of `latent`."""
    seen, latent = ((x - x.mean(0)) / np.maximum(x.std(0), 1e-9) for x in (seen, latent))
    return float(np.abs(seen.T @ latent).max() / len(seen))


def after_steps(scenario_name: str, num_steps: int, kind: str = "full"):
    """Observations of many sessions as vectors, and their latent states, after some random steps."""
    envs = gymnasium.make_vec(f"recsim_env/{scenario_name}-v0", NUM_SESSIONS, observation=kind, num_threads=2)
    envs.reset(seed=0)
    for actions in random_actions(envs.action_space, np.random.default_rng(0), num_steps):
        envs.step(actions)
    observations = envs.simulator.observed_vectors(kind)
    layout, latent = envs.simulator.layout.of_kind(kind), envs.latent_state()
    envs.close()
    return observations.astype(np.float64), latent, layout


@pytest.mark.parametrize(("num_steps", "kind"), [(0, "full"), (8, "full"), (8, "dict")])
def test_nothing_latent_is_recovered_from_whole_observations(scenario_name, num_steps, kind):
    observations, latent, layout = after_steps(scenario_name, num_steps, kind)
    for name in LATENT_OF_USERS:
        truth = latent[name].reshape(NUM_SESSIONS, -1)
        if truth.std() < 1e-9:
            assert num_steps == 0 or name not in ("satiation", "trust")  # constant: there is nothing to learn yet
            continue
        assert held_out_r2(observations, truth).max() < 0.95, name
        assert largest_correlation(observations, truth) < 0.98, name
    parts = layout.parts(observations)
    is_there = parts["candidate_mask"].ravel()[:60_000] == 1.0
    rows = parts["candidates"].reshape(-1, layout.candidates_shape[1])[:60_000][is_there]
    for name in LATENT_OF_ITEMS:
        truth = latent[name].reshape(NUM_SESSIONS * layout.num_candidates, -1)[:60_000][is_there]
        if truth.std() > 1e-9:
            assert held_out_r2(rows, truth).max() < 0.95, name
            assert largest_correlation(rows, truth) < 0.98, name


def test_an_observation_that_leaks_latent_state_is_detected():
    observations, latent, _ = after_steps("Video", 8)
    rng = np.random.default_rng(0)
    for name in LATENT_OF_USERS:
        truth = latent[name].reshape(NUM_SESSIONS, -1)
        if truth.std() < 1e-9:
            assert name in ("budget", "mood", "habit")  # which a visit to Video has not
            continue
        spoiled = observations.copy()
        spoiled[:, :1] = truth[:, :1] + 0.05 * truth[:, :1].std() * rng.standard_normal((NUM_SESSIONS, 1))
        assert held_out_r2(spoiled, truth)[0] > 0.95
        assert largest_correlation(spoiled, truth) > 0.98


def test_tastes_and_quality_are_partly_observable():
    observations, latent, layout = after_steps("Video", 0)
    assert held_out_r2(observations, latent["interests"]).max() > 0.3
    rows = layout.parts(observations)["candidates"].reshape(-1, layout.candidates_shape[1])
    assert held_out_r2(rows[:40_000], latent["candidate_quality"].reshape(-1, 1)[:40_000]) > 0.3


# The one privileged call


def test_latent_state_hands_out_copies_of_what_the_session_holds(env_id):
    env = gymnasium.make(env_id).unwrapped
    env.reset(seed=2)
    env.step(env.action_space.sample())
    latent = env.latent_state()
    for name in LATENT_OF_USERS:
        np.testing.assert_array_equal(latent[name], env.simulator.sessions[name][0])
    assert set(latent) == {
        *LATENT_OF_USERS,
        *LATENT_OF_ITEMS,
        *("user", "follows", "candidate_items", "expected_rewards"),
    }
    items = env.simulator.world.item_records[latent["candidate_items"]]
    for name in ("quality", "appeal", "factors"):
        np.testing.assert_array_equal(latent[f"candidate_{name}"], items[name])
    before = env.simulator.state()
    for values in latent.values():
        if values.ndim:
            values.fill(0)
    assert same(before, env.simulator.state())


def test_latent_state_of_a_vector_env_has_a_row_for_each_lane(scenario_name):
    env = gymnasium.make(f"recsim_env/{scenario_name}-v0").unwrapped
    envs = gymnasium.make_vec(f"recsim_env/{scenario_name}-v0", 3)
    env.reset(seed=7)
    envs.reset(seed=5)
    rows = {name: values[2] for name, values in envs.latent_state().items()}
    assert same(
        {name: np.asarray(value) for name, value in rows.items()},
        {name: np.asarray(value) for name, value in env.latent_state().items()},
    )


def test_expected_rewards_are_those_computed_by_hand(scenario_name):
    weights = {"rating": 0.9, "click": 0.3, "consumption": 0.7, "purchase": 2.0, "retention": 0.0}
    envs = gymnasium.make_vec(f"recsim_env/{scenario_name}-v0", 6, overrides={"reward": weights})
    envs.reset(seed=1)
    for actions in random_actions(envs.action_space, np.random.default_rng(0), 12):
        envs.step(actions)
    world, latent = envs.simulator.world, envs.latent_state()
    b, normal, neutral = world.scenario.behaviour, NormalDist(), world.scenario.reward.neutral_rating
    for n, session in enumerate(envs.simulator.sessions):
        state, scale = state_of(session), latent["rating_scale"][n]
        now = int(session["start_step"] + session["step"])
        for m, item in enumerate(world.item_records[latent["candidate_items"][n]]):
            affinity = affinity_of(state, item, b, world.moods)
            opinion = b.rating_affinity * affinity + b.rating_quality * item["quality"]
            opinion = latent["rating_bias"][n] + scale * opinion
            rating = 1 + sum(normal.cdf((opinion - cut) / (scale * b.rating_noise)) for cut in b.rating_cuts)
            logit = b.consumption_affinity * affinity + b.consumption_quality * item["quality"]
            bought = purchase_chance_of(state, item, affinity, b) if b.is_shop else 1.0
            worth = weights["rating"] * (rating - neutral) + (weights["purchase"] if b.is_shop else 0.0)
            worth = bought * worth + weights["click"]
            worth += weights["consumption"] * logistic(b.consumption_intercept + logit)
            expected = logistic(utility_of(state, item, now, affinity, b)) * worth
            assert latent["expected_rewards"][n, m] == pytest.approx(expected, abs=1e-8)


def test_expected_rewards_are_the_mean_of_simulated_rewards():
    simulator = make_simulator(
        num_sessions=100_000,
        interests=(0.8, -0.5, 0.3),
        quality=(0.5, -0.5, 1.0),
        appeal=(0.2, 1.0, -0.8),
        rating_bias=0.2,
        rating_scale=1.3,
        choice_distrust=2.0,
        reward=RewardConfig(rating=1.0, click=0.5, consumption=2.0),
        consumption_noise=0.0,  # the mean of a logistic is the logistic of the mean only without noise
    )
    for item in range(3):
        start(simulator)
        simulator.sessions["trust"], simulator.sessions["satiation"] = 0.7, (0.4, 0.2)
        latent = simulator.latent_state()
        expected = latent["expected_rewards"][latent["candidate_items"] == item]
        assert np.ptp(expected) == 0.0
        rewards = show(simulator, item)["reward"]
        error = rewards.std() / np.sqrt(len(rewards))
        assert abs(rewards.mean() - expected[0]) < 4 * error


def test_entries_of_missing_candidates_are_zero():
    simulator = make_simulator(
        quality=(1.0, 1.0), appeal=(1.0, 1.0), factors=np.ones((2, 3)), topics=np.full((2, 2), 0.5)
    )
    latent = simulator.latent_state()
    assert latent["candidate_items"][0, 2] == NO_ITEM
    for name in (*LATENT_OF_ITEMS, "expected_rewards"):
        assert (latent[name][0, :2] != 0.0).all()
        assert (latent[name][0, 2] == 0.0).all()
