"""Conventions of Gymnasium: autoreset modes, limits on steps, copies, pickles, forks and context managers."""

import copy
import multiprocessing
import pickle
from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import TimeAwareObservation
from gymnasium.wrappers import vector as wrappers
from gymnasium.wrappers.vector import NormalizeObservation, RecordEpisodeStatistics
from sb3_contrib.common.wrappers import ActionMasker

from recsim_env import UserModel

VIDEO_ID = "recsim_env/Video-v0"


def make_vec(num_envs=6, **arguments):
    return gymnasium.make_vec(VIDEO_ID, num_envs, **arguments)


def play(env, num_steps, seed=3):
    generator, course = np.random.default_rng(seed), []
    for _ in range(num_steps):
        observation, reward, terminated, truncated, _ = env.step(generator.integers(0, 20, env.action_space.shape))
        course.append((observation, reward, terminated, truncated))
    return course


def assert_equal_courses(one, other):
    for first, second in zip(one, other, strict=True):
        for name in first[0]:
            np.testing.assert_array_equal(first[0][name], second[0][name])
        for a, b in zip(first[1:], second[1:], strict=True):
            np.testing.assert_array_equal(a, b)


def test_next_step_autoreset_plays_the_same_sessions_with_a_step_between_them():
    same = make_vec(1, session_length=7, autoreset_mode="SameStep")
    following = make_vec(1, session_length=7)
    same.reset(seed=4)
    following.reset(seed=4)
    for step in range(60):
        observations, rewards, terminated, truncated, infos = same.step([step % 20])
        next_observations, *others, next_infos = following.step([step % 20])
        for expected, value in zip((rewards, terminated, truncated), others, strict=True):
            np.testing.assert_array_equal(value, expected)
        last = infos["final_obs"][0] if "final_obs" in infos else {name: part[0] for name, part in observations.items()}
        for name, part in last.items():
            np.testing.assert_array_equal(next_observations[name][0], part)
        assert next_infos["_reward_click"].tolist() == [True]
        if terminated[0] or truncated[0]:
            first, reward, *is_over, infos = following.step([0])
            assert (reward[0], *(flag[0] for flag in is_over)) == (0.0, False, False)
            assert infos["reward_click"][0] == 0.0
            for name, part in observations.items():
                np.testing.assert_array_equal(first[name], part)


def test_a_live_platform_restarts_in_the_step_after_its_last_one():
    overrides = {"catalog": {"num_items": 300, "arrivals_per_step": 4.0}}
    envs = make_vec(3, session_length=20, live_platform=True, overrides=overrides)
    envs.reset(seed=0)
    clock, num_restarts, was_truncated = envs.simulator.live_platform.clock, 0, np.zeros(3, bool)
    for step in range(400):
        before = int(clock[0])
        _, rewards, _, truncated, _ = envs.step([step % 20] * 3)
        num_restarts += clock[0] < before
        assert not rewards[was_truncated].any()
        assert not truncated[was_truncated].any()
        was_truncated = truncated
    assert num_restarts > 0


def test_without_autoreset_lanes_rest_until_they_are_reset():
    envs = make_vec(4, session_length=5, autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)
    is_over = np.zeros(4, bool)
    for step in range(8):
        _, rewards, terminated, truncated, _ = envs.step([step] * 4)
        assert not rewards[is_over].any()
        assert not (terminated | truncated)[is_over].any()
        is_over |= terminated | truncated
    assert is_over.all()
    envs.reset(options={"reset_mask": np.array([True, False, False, True])})
    _, rewards, *_ = envs.step([0] * 4)
    assert envs.simulator.sessions["is_over"].tolist() == [False, True, True, False]


def test_an_unknown_autoreset_mode_is_refused():
    with pytest.raises(ValueError, match=r"^autoreset_mode='same': must be an AutoresetMode, or one of 'NextStep', "):
        make_vec(autoreset_mode="same")


def test_the_metadata_and_remade_envs_have_the_autoreset_mode():
    envs = make_vec(autoreset_mode="SameStep", max_episode_steps=3)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    again = envs.unwrapped.remake(num_envs=2)
    assert again.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    again.reset(seed=0)
    assert any(again.step([0, 0])[3].all() for _ in range(3))


def test_resetting_some_lanes_gives_the_infos_of_these_lanes():
    envs = make_vec(3, autoreset_mode="Disabled")
    envs.reset(seed=0)
    _, infos = envs.reset(options={"reset_mask": np.array([True, False, True])})
    for term in ("rating", "click", "consumption", "purchase", "retention"):
        assert infos[f"reward_{term}"].tolist() == [0.0] * 3
        assert infos[f"_reward_{term}"].tolist() == [True, False, True]


def test_reset_and_step_have_the_same_info_keys_with_numpy_floats():
    env, envs = gymnasium.make(VIDEO_ID), make_vec(2)
    (_, first), (_, firsts) = env.reset(seed=0), envs.reset(seed=0)
    info, infos = env.step(0)[-1], envs.step([0, 0])[-1]
    assert list(first) == list(info)
    assert list(firsts) == list(infos)
    assert {type(value) for value in (*first.values(), *info.values())} == {np.float64}
    assert set(first.values()) == {0.0}


OF_DICTS = [wrappers.FlattenObservation, partial(wrappers.FilterObservation, filter_keys=["user"])]
OF_VECTORS = [
    wrappers.NormalizeObservation,
    partial(wrappers.RescaleObservation, min_obs=np.float32(0), max_obs=np.float32(2)),
    partial(wrappers.DtypeObservation, dtype=np.float32),
    partial(wrappers.TransformObservation, func=np.abs),
    lambda envs: wrappers.ReshapeObservation(envs, (1, *envs.single_observation_space.shape)),
]
OF_OBSERVATIONS = OF_DICTS + OF_VECTORS
OF_REWARDS = [
    wrappers.RecordEpisodeStatistics,
    wrappers.DictInfoToList,
    wrappers.NormalizeReward,
    partial(wrappers.TransformReward, func=np.tanh),
]
OF_ACTIONS = [
    wrappers.ClipAction,
    partial(wrappers.RescaleAction, min_action=np.float32(0), max_action=np.float32(2)),
]
WRAPPERS = {
    VIDEO_ID: OF_DICTS + OF_REWARDS,
    "recsim_env/VideoFlat-v0": OF_VECTORS,
    "recsim_env/VideoContent-v0": OF_ACTIONS,
}


@pytest.mark.parametrize("autoreset_mode", list(AutoresetMode))
@pytest.mark.parametrize(("env_id", "wrap"), [(env_id, wrap) for env_id, some in WRAPPERS.items() for wrap in some])
def test_vector_wrappers_of_gymnasium_work_in_every_autoreset_mode(env_id, wrap, autoreset_mode):
    envs = gymnasium.make_vec(env_id, 3, session_length=5, autoreset_mode=autoreset_mode)
    if (wrap in OF_OBSERVATIONS and autoreset_mode == AutoresetMode.SAME_STEP) or (
        wrap is wrappers.NormalizeObservation and autoreset_mode == AutoresetMode.DISABLED
    ):
        with pytest.raises((AssertionError, ValueError), match="autoreset_mode"):  # of whatever env
            wrap(envs)
        return
    envs = wrap(envs)
    envs.reset(seed=0)
    for _ in range(12):
        observations, _, terminated, truncated, _ = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(observations)
        if autoreset_mode == AutoresetMode.DISABLED and (terminated | truncated).any():
            envs.reset(options={"reset_mask": terminated | truncated})


def test_an_env_without_wrappers_has_its_methods_at_hand():
    masked = ActionMasker(gymnasium.make(VIDEO_ID), "action_masks")
    masked.reset(seed=0)
    np.testing.assert_array_equal(masked.action_masks(), masked.unwrapped.action_masks())


def test_the_spec_states_the_largest_number_of_steps():
    env, envs = gymnasium.make(VIDEO_ID, session_length=7), make_vec(2, session_length=7, max_episode_steps=5)
    assert (env.spec.max_episode_steps, envs.spec.max_episode_steps) == (7, 5)
    timed = TimeAwareObservation(env, flatten=False, normalize_time=True)
    observation, _ = timed.reset(seed=0)
    assert observation["time"] == 0.0
    assert timed.step(0)[0]["time"] == pytest.approx(1 / 7)


SPECS = [
    {},
    {"overrides": {"reward": {"click": np.float32(0.5)}}, "catalog_seed": np.int64(3), "session_length": 8},
    {"max_episode_steps": 4},
]


@pytest.mark.parametrize("arguments", SPECS)
def test_a_spec_survives_json(arguments):
    env, envs = gymnasium.make(VIDEO_ID, **arguments), make_vec(2, autoreset_mode=AutoresetMode.NEXT_STEP, **arguments)
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    vector_again = gymnasium.make_vec(EnvSpec.from_json(envs.spec.to_json()))
    assert again.spec == gymnasium.make(env.spec).spec
    assert vector_again.spec == envs.spec
    for one, other in ((env, again), (envs, vector_again)):
        one.reset(seed=1)
        other.reset(seed=1)
        assert_equal_courses(play(one, 4), play(other, 4))


@pytest.mark.parametrize("make", [gymnasium.make, gymnasium.make_vec])
def test_a_spec_does_not_cut_longer_sessions_in_silence(make):
    spec = make(VIDEO_ID).spec
    assert make(spec, session_length=8).unwrapped.spec.max_episode_steps == 8
    for spec_or_copy in (spec, EnvSpec.from_json(spec.to_json())):
        for longer in ({"session_length": 80}, {"overrides": {"session": {"session_length": 80}}}):
            with pytest.raises(ValueError, match=r"^session_length=80: must be at most 50, .* make it by its id$"):
                make(spec_or_copy, **longer)


def test_a_time_limit_of_a_spec_holds_for_longer_sessions_too():
    spec = make_vec(2, max_episode_steps=5).spec
    assert gymnasium.make_vec(spec, session_length=80).spec.max_episode_steps == 5


def test_a_spec_with_functions_does_not_become_json():
    env = gymnasium.make(VIDEO_ID, user_model=UserModel())
    with pytest.raises(TypeError, match=r"^Object of type UserModel is not JSON serializable"):
        env.spec.to_json()


@pytest.mark.parametrize("variant", ["", "Slate"])
def test_flat_ids_give_one_vector_in_the_order_of_the_dict(variant):
    flat = gymnasium.make(f"recsim_env/Video{variant}Flat-v0")
    flattened = gymnasium.wrappers.FlattenObservation(gymnasium.make(f"recsim_env/Video{variant}-v0"))
    assert flat.observation_space == flattened.observation_space
    np.testing.assert_array_equal(flat.reset(seed=0)[0], flattened.reset(seed=0)[0])
    envs = make_vec(2)
    observations, _ = envs.reset(seed=0)
    assert list(observations) == list(envs.observation_space) == list(envs.single_observation_space)


def test_wrappers_of_vector_envs_that_refuse_same_step_work():
    envs = RecordEpisodeStatistics(NormalizeObservation(make_vec(observation="flat")))
    envs.reset(seed=0)
    lengths = []
    for _ in range(120):
        observations, *_, infos = envs.step(envs.action_space.sample())
        assert np.isfinite(observations).all()
        if "episode" in infos:
            lengths += infos["episode"]["l"][infos["_episode"]].tolist()
    assert len(lengths) > 6
    assert max(lengths) <= envs.unwrapped.simulator.config.session_length


def test_max_episode_steps_truncates_sessions():
    env = gymnasium.make(VIDEO_ID, max_episode_steps=3)
    envs = make_vec(2, max_episode_steps=3)
    env.reset(seed=0)
    envs.reset(seed=0)
    for step in range(3):
        _, reward, terminated, truncated, _ = env.step(step)
        _, rewards, vector_terminated, vector_truncated, _ = envs.step([step] * 2)
        assert (rewards[0], vector_terminated[0], vector_truncated[0]) == (reward, terminated, truncated)
    assert truncated
    with pytest.raises(ValueError, match=r"^max_episode_steps=0: must be a whole number"):
        make_vec(max_episode_steps=0)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_copy_of_an_env_goes_on_like_the_original_and_apart_from_it(duplicate, num_threads):
    for env in (make_vec(num_threads=num_threads), gymnasium.make(VIDEO_ID, render_mode="rgb_array")):
        env.reset(seed=5)
        num_steps = 6 if env.action_space.shape == () else 50
        play(env, 2)
        twin = duplicate(env)
        course = play(env, num_steps)
        assert_equal_courses(course, play(twin, num_steps))


def test_a_copy_of_a_recorded_session_draws_the_same_picture():
    env = gymnasium.make(VIDEO_ID, render_mode="rgb_array")
    env.reset(seed=5)
    play(env, 2)
    twin = copy.deepcopy(env)
    np.testing.assert_array_equal(env.render(), twin.render())
    play(env, 1)
    play(twin, 1)
    np.testing.assert_array_equal(env.render(), twin.render())


def _rewards_of_next_step(envs, queue):
    queue.put(envs.step(np.zeros(6, np.int64))[1])


def test_a_forked_process_plays_on_with_threads_of_its_own():
    envs = make_vec(num_threads=2)
    envs.reset(seed=0)
    envs.step(np.zeros(6, np.int64))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_rewards_of_next_step, args=(envs, queue))
    process.start()
    rewards = queue.get(timeout=60)
    process.join()
    np.testing.assert_array_equal(rewards, envs.step(np.zeros(6, np.int64))[1])


def test_vector_envs_are_context_managers():
    with make_vec(num_threads=2) as envs:
        envs.reset(seed=0)
    assert not envs.unwrapped.simulator._threads.is_parallel
