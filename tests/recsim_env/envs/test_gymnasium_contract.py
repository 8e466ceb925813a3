"""The checkers of Gymnasium and Stable-Baselines3 accept every id and kind of observation."""

import gymnasium
import numpy as np
import pytest
from conftest import SCENARIO_NAMES, VARIANTS
from gymnasium.utils.env_checker import check_env as check_for_gymnasium
from stable_baselines3.common.env_checker import check_env as check_for_sb3

import recsim_env  # noqa: F401  (registers the ids)
from recsim_env.simulation.observation import OBSERVATION_KINDS

pytestmark = pytest.mark.filterwarnings("error")


def make(env_id: str, observation_kind: str = "dict", **options) -> gymnasium.Env:
    return gymnasium.make(env_id, observation=observation_kind, render_mode="ansi", **options).unwrapped


KIND_OF = {
    f"recsim_env/{name}{variant}-v0": OBSERVATION_KINDS[(n + k) % len(OBSERVATION_KINDS)]
    for n, name in enumerate(SCENARIO_NAMES)
    for k, variant in enumerate(VARIANTS)
}
"""A kind of observation for each id, so that each scenario and each variant is checked with all of them."""


def test_gymnasium_accepts_every_env_without_a_warning(env_id):
    check_for_gymnasium(make(env_id, KIND_OF[env_id]), skip_render_check=True)  # pictures have tests of their own


def test_stable_baselines3_accepts_every_env_without_a_warning(env_id):
    check_for_sb3(make(env_id, KIND_OF[env_id]), warn=True, skip_render_check=False)


def test_the_checkers_accept_warm_users_live_platforms_and_other_options(observation_kind):
    overrides = {"population": {"warm_share": 0.5}, "catalog": {"repeat_share": 0.2, "new_item_share": 0.2}}
    for options in ({"overrides": overrides}, {"live_platform": True}, {"split": "test", "catalog_seed": 3}):
        check_for_gymnasium(make("recsim_env/VideoSlate-v0", observation_kind, **options), skip_render_check=True)
        check_for_sb3(make("recsim_env/VideoSlate-v0", observation_kind, **options), warn=True)


def test_warnings_of_gymnasium_are_errors_in_these_tests():
    with pytest.raises(UserWarning, match="something is odd"):
        gymnasium.logger.warn("something is odd")


@pytest.mark.parametrize("check", [check_for_gymnasium, check_for_sb3])
def test_the_checkers_detect_an_observation_outside_its_space(check):
    env = make("recsim_env/Video-v0", "flat")
    env.observation_space = gymnasium.spaces.Box(2.0, 3.0, env.observation_space.shape, np.float32)
    with pytest.raises((AssertionError, UserWarning)):
        check(env)


def test_the_wrapped_env_passes_the_passive_checker_through_whole_sessions(env_id):
    env = gymnasium.make(env_id, disable_env_checker=False)
    env.reset(seed=3)
    env.action_space.seed(3)
    num_ends = 0
    for _ in range(300):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            num_ends += 1
            env.reset()
    assert num_ends >= 3


def test_every_id_makes_a_single_and_a_native_vector_env(env_id):
    env, envs = gymnasium.make(env_id), gymnasium.make_vec(env_id, num_envs=2)
    assert type(env.unwrapped).__name__ == "RecommenderEnv"
    assert type(envs).__name__ == "RecommenderVectorEnv"
    assert envs.single_observation_space == env.observation_space
    assert envs.single_action_space == env.action_space
    assert envs.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.NEXT_STEP


def test_a_session_is_seen_whole_by_the_statistics_wrappers_of_gymnasium():
    env = gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.make("recsim_env/Video-v0"))
    env.reset(seed=0)
    total, length, is_over = 0.0, 0, False
    while not is_over:
        _, reward, terminated, truncated, info = env.step(0)
        total, length, is_over = total + reward, length + 1, terminated or truncated
    assert info["episode"]["l"] == length
    assert info["episode"]["r"] == pytest.approx(total)
