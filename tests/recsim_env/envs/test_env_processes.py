"""Envs in other processes: sent there in the middle of a session, made there, and stepped by the libraries' workers."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import cloudpickle
import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import SubprocVecEnv
from trajectories import same

from recsim_env import UserModel, make_sb3_vec_env

VIDEO_ID = "recsim_env/Video-v0"


def course_of(env, num_steps):
    """Observations, rewards and ends of some steps."""
    shape = env.action_space.shape
    return [env.step(np.full(shape, step % 20) if shape else step % 20)[:4] for step in range(num_steps)]


def course_of_pickled(content: bytes, num_steps: int):
    return course_of(pickle.loads(content), num_steps)


@pytest.fixture(scope="module")
def spawned():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


ENVS = {
    "single": lambda: gymnasium.make(VIDEO_ID),
    "recorded": lambda: gymnasium.make(VIDEO_ID, render_mode="rgb_array"),
    "vector": lambda: gymnasium.make_vec(VIDEO_ID, 6),
    "threads": lambda: gymnasium.make_vec(VIDEO_ID, 6, num_threads=2, autoreset_mode="NextStep"),
    "live": lambda: gymnasium.make_vec(VIDEO_ID, 6, live_platform=True),
    "compact": lambda: gymnasium.make_vec(VIDEO_ID, 6, observation="compact"),
}


@pytest.mark.parametrize("name", ENVS)
def test_an_env_sent_to_a_spawned_process_goes_on_there(name, spawned):
    env = ENVS[name]()
    env.reset(seed=5)
    course_of(env, 3)
    num_steps = 5 if name in ("single", "recorded") else 60
    there = spawned.submit(course_of_pickled, pickle.dumps(env), num_steps).result(timeout=300)
    assert same(there, course_of(env, num_steps))


def test_custom_users_go_on_in_a_copy_and_by_cloudpickle_in_another_process(spawned):
    user_model = UserModel(has_left=lambda session, p: session.num_consumed >= 4)
    env = gymnasium.make_vec(VIDEO_ID, 6, user_model=user_model, num_threads=2)
    env.reset(seed=5)
    course_of(env, 3)
    assert same(course_of(copy.deepcopy(env), 40), course_of(copy.deepcopy(env), 40))
    there = spawned.submit(course_of_pickled, cloudpickle.dumps(env), 40).result(timeout=300)
    assert same(there, course_of(env, 40))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: cloudpickle.loads(cloudpickle.dumps(env))])
@pytest.mark.parametrize("name", ["threads", "live", "compact"])
def test_copies_with_threads_or_a_live_platform_go_on_apart(name, duplicate):
    env = ENVS[name]()
    env.reset(seed=5)
    course_of(env, 3)
    first, second = duplicate(env), duplicate(env)
    course = course_of(first, 30)
    first.close()
    assert same(course_of(second, 30), course)
    assert same(course_of(env, 30), course)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_gymnasiums_workers_step_the_lanes_of_the_native_vector_env(context):
    workers = gymnasium.make_vec(
        VIDEO_ID, 2, vectorization_mode="async", vector_kwargs={"context": context}, session_length=7
    )
    native = gymnasium.make_vec(VIDEO_ID, 2, session_length=7, autoreset_mode=AutoresetMode.NEXT_STEP)
    try:
        assert same(workers.reset(seed=3)[0], native.reset(seed=3)[0])
        assert same(course_of(workers, 30), course_of(native, 30))
    finally:
        workers.close()


def test_workers_of_stable_baselines3_step_the_lanes_of_the_native_env():
    importing_id = f"recsim_env:{VIDEO_ID}"  # the workers import nothing by themselves
    workers = SubprocVecEnv([lambda: gymnasium.make(importing_id, session_length=7)] * 2, start_method="forkserver")
    native = make_sb3_vec_env(VIDEO_ID, 2, session_length=7)
    try:
        for envs in (workers, native):
            envs.seed(3)
        assert same(workers.reset(), native.reset())
        for step in range(30):
            one, other = (envs.step(np.full(2, step % 20)) for envs in (workers, native))
            assert same(one[0], other[0])
            np.testing.assert_allclose(one[1], other[1])
            assert one[2].tolist() == other[2].tolist()
    finally:
        workers.close()
