"""Logs in memory: sessions, returns, and the observations of a replay."""

import gymnasium
import numpy as np
import pytest

from agents.offline.logged_steps import LoggedSteps
from recsim_env import LogWriter, replay
from recsim_env.logs.simulated.replay import ReplayedStep


def small_log() -> LoggedSteps:
    """Two lanes of four steps: sessions of 3 steps and a part of one, and a part of a session of more than 4 steps."""
    rewards = np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0], [8.0, 80.0]])
    ends = np.array([[False, False], [False, False], [True, False], [False, False]])
    starts = np.array([[True, True], [False, False], [False, False], [True, False]])
    steps = (
        ReplayedStep(
            observations={"user": np.full((2, 1), step / 4, np.float32)},
            actions=np.array([step, step + 1]),
            log_propensities=np.zeros(2),
            rewards=rewards[step],
            next_observations=None,
            terminated=ends[step],
            truncated=np.zeros(2, bool),
            episode_start=starts[step],
            is_logged=np.ones(2, bool),
            events={"item": np.array([7, -1]), "user": np.array([3, 4])},
        )
        for step in range(4)
    )
    return LoggedSteps.of(steps, num_vector_steps=4, num_envs=2, reward_scale=2.0)


def test_the_rows_of_a_lane_are_in_order_and_sessions_do_not_run_into_each_other():
    log = small_log()
    np.testing.assert_array_equal(log.slates[:, 0], [0, 1, 2, 3, 1, 2, 3, 4])
    np.testing.assert_array_equal(log.is_followed, [True, True, False, False, True, True, True, False])
    np.testing.assert_array_equal(log.last_rows, [2, 2, 2, 3, 7, 7, 7, 7])
    np.testing.assert_array_equal(log.is_complete, [True] * 3 + [False] * 5)


def test_returns_to_go_are_the_rewards_of_the_rest_of_the_session():
    np.testing.assert_allclose(small_log().returns_to_go, [3.5, 3.0, 2.0, 4.0, 75.0, 70.0, 60.0, 40.0])


def test_empty_slots_are_not_shown():
    np.testing.assert_array_equal(small_log().is_shown[:, 0], [True] * 4 + [False] * 4)


@pytest.mark.parametrize("env_id", ["recsim_env/Video-v0", "recsim_env/MusicSlate-v0"])
def test_observations_and_actions_are_those_of_the_replay(env_id, tmp_path):
    env = gymnasium.make_vec(env_id, 5, observation="full")
    LogWriter(env, "random", tmp_path, num_steps=200).write()
    steps = list(replay(tmp_path))
    log = LoggedSteps.of(iter(steps), num_vector_steps=40, num_envs=5, reward_scale=1.0)
    for step, lane in ((0, 0), (17, 3), (39, 4)):
        row = lane * 40 + step
        for name, part in log.observations(np.array([row])).items():
            np.testing.assert_allclose(part[0], steps[step].observations[name][lane], atol=6e-4)
            assert part.dtype == np.float32
        np.testing.assert_array_equal(log.slates[row], np.atleast_1d(steps[step].actions[lane]))
        np.testing.assert_allclose(log.rewards[row], steps[step].rewards[lane], rtol=1e-6)
