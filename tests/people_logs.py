"""Small logs in which people have several sessions each."""

import gymnasium
import numpy as np

from agents.private.people import People
from agents.private.private_reward_model import PrivateRewardModel
from recsim_env import LogWriter


def people_env(num_envs=8, **arguments):
    options = {"observation": "full", "session_length": 6, "overrides": {"population": {"num_users": 40}}, **arguments}
    return gymnasium.make_vec("recsim_env/Video-v0", num_envs, vectorization_mode="vector_entry_point", **options)


def write_people(path, num_steps=480, seed=0, **arguments):
    LogWriter(people_env(**arguments), "random", path, num_steps=num_steps, seed=seed, rows_per_shard=160).write()
    return path


def read_people(path, **arguments):
    """The log in `path`, which is written first, and its people."""
    log = PrivateRewardModel().read_log(write_people(path, **arguments))
    return log, People.of(log)


def without(log, people):
    """The log as if these people had never been in it."""
    return log.rows(np.flatnonzero(~np.isin(log.users, list(people))))
