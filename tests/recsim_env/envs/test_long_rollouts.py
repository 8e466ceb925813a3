"""Up to a million random steps of every id stay in their bounds."""

import gymnasium
import numpy as np
import pytest
from trajectories import random_actions

from recsim_env.config import CatalogConfig, Scenario
from recsim_env.envs.spaces_and_actions import REWARD_INFO_KEYS
from recsim_env.simulation.records import NO_ITEM

NUM_ENVS = 1_024


def is_inside(space: gymnasium.Space, observations) -> bool:
    """`observations in space`, without the checks of single elements that take most of the time."""
    if isinstance(space, gymnasium.spaces.Dict):
        return observations.keys() == space.spaces.keys() and all(
            is_inside(space[name], values) for name, values in observations.items()
        )
    is_alike = observations.dtype == space.dtype and observations.shape == space.shape
    return bool(is_alike and (space.low <= observations).all() and (observations <= space.high).all())  # no NaN


def assert_state_is_sane(env) -> None:
    latent, behaviour = env.latent_state(), env.simulator.world.scenario.behaviour
    for name, values in latent.items():
        assert np.isfinite(values).all(), name
    assert np.abs(latent["interests"]).max() <= max(behaviour.interest_limit, np.abs(started_interests(env)).max())
    assert latent["satiation"].min() >= 0.0
    assert 0.0 <= latent["trust"].min() <= latent["trust"].max() <= 1.0
    assert latent["patience"].min() > 0.0  # who has none left has left, and somebody else has come
    assert latent["budget"].min() >= 0.0
    assert 0 <= latent["mood"].min() <= latent["mood"].max() < env.simulator.world.sizes.num_moods
    assert latent["follows"].max() <= 1


def started_interests(env) -> np.ndarray:
    return env.simulator.world.users.interests


def play(env, num_steps: int, seed: int = 0) -> int:
    """Random steps, everything checked; returns the number of sessions that ended."""
    observations, _ = env.reset(seed=seed)
    actions = random_actions(env.action_space, np.random.default_rng(seed), 16)
    num_ends = 0
    for step in range(num_steps):
        assert is_inside(env.observation_space, observations), step
        observations, rewards, terminated, truncated, infos = env.step(actions[step % 16])
        assert np.isfinite(rewards).all()
        assert not (terminated & truncated).any()
        assert all(np.isfinite(infos[name]).all() for name in REWARD_INFO_KEYS)
        num_ends += int(terminated.sum() + truncated.sum())
        if step % 200 == 0:
            assert_state_is_sane(env)
            assert observations in env.observation_space
    return num_ends


def assert_steps_stay_in_bounds(env_id: str, kind: str, num_steps: int, **options) -> None:
    options = {"observation": kind, "num_threads": 2, "autoreset_mode": "SameStep", **options}
    env = gymnasium.make_vec(env_id, NUM_ENVS, **options)
    num_ends = play(env, num_steps)
    assert num_ends > num_steps * NUM_ENVS / env.simulator.config.session_length / 2
    env.close()


@pytest.mark.parametrize("name", ["EcommerceSlate", "SocialContent", "MusicCatalog", "Video", "Ratings"])
def test_random_steps_stay_in_bounds_a_million_of_them(name):
    assert_steps_stay_in_bounds(f"recsim_env/{name}-v0", "flat", 1_000)


@pytest.mark.parametrize("kind", ["dict", "full"])
def test_random_steps_of_every_id_stay_in_bounds(env_id, kind):
    assert_steps_stay_in_bounds(env_id, kind, 60)


@pytest.mark.parametrize("is_live", [False, True])
def test_random_steps_of_compact_form_stay_in_bounds(some_env_id, is_live):
    assert_steps_stay_in_bounds(some_env_id, "compact", 60, live_platform=is_live)


def test_random_steps_of_a_live_platform_stay_in_bounds(some_env_id):
    assert_steps_stay_in_bounds(some_env_id, "flat", 100, live_platform=True)


def test_an_observation_out_of_bounds_is_detected():
    env = gymnasium.make_vec("recsim_env/Video-v0", 2)
    observations, _ = env.reset(seed=0)
    assert is_inside(env.observation_space, observations)
    for wrong in (1.5, -1.5, np.nan, np.inf):
        spoiled = {name: values.copy() for name, values in observations.items()}
        spoiled["candidates"][1, 7] = wrong
        assert not is_inside(env.observation_space, spoiled)


def test_candidates_and_mask_agree_where_few_items_are_available():
    catalog = CatalogConfig(num_items=100, num_topics=8, arrivals_per_step=0.5, item_lifetime=30)
    scenario = Scenario(name="Short", source="synthetic", catalog=catalog)
    env = gymnasium.make_vec("recsim_env/Video-v0", 64, scenario=scenario, observation="compact")
    observations, _ = env.reset(seed=0)
    num_missing = []
    for actions in random_actions(env.action_space, np.random.default_rng(0), 100):
        is_missing = observations["candidate_items"] == NO_ITEM
        num_missing.append(is_missing.sum(1))
        mask = env.simulator.observe("full")["candidate_mask"]
        assert ((mask == 0.0) == is_missing).all()
        assert (env.action_masks() == ~is_missing).all()
        observations, *_ = env.step(actions)
    assert 0 < np.mean(num_missing) < 20
