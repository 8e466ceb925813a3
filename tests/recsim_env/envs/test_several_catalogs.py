"""A vector env over several catalogues is each of them, lane by lane."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import agents
from recsim_env.envs.several_catalogs import SeveralCatalogs
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.sb3.vec_env import RecommenderSB3VecEnv

MASKS = ("_final_obs", "_final_info")


def small_env(num_envs: int = 1, **arguments) -> RecommenderVectorEnv:
    arguments = {"session_length": 5, "observation": "full", **arguments}
    return RecommenderVectorEnv(num_envs, "Video", split="train", **arguments)


@pytest.mark.parametrize("observation", ["full", "flat"])
def test_each_part_of_the_lanes_is_the_env_of_its_catalogue(observation):
    joined = SeveralCatalogs(small_env(catalog_seed=3, observation=observation), 5, 2)
    own = {"autoreset_mode": AutoresetMode.SAME_STEP, "observation": observation}
    first, second = small_env(3, catalog_seed=3, **own), small_env(2, catalog_seed=4, **own)
    starts = joined.reset(seed=7)[0], first.reset(seed=7)[0], second.reset(seed=10)[0]
    actions, num_ends = np.array([0, 1, 2, 3, 4]), 0
    for step in range(12):
        if step:
            results = joined.step(actions), first.step(actions[:3]), second.step(actions[3:])
            starts = tuple(each[0] for each in results)
            for column in range(1, 4):
                both = np.concatenate([results[1][column], results[2][column]])
                np.testing.assert_array_equal(results[0][column], both)
            infos = results[0][4]
            for lane in np.flatnonzero(results[0][2] | results[0][3]):
                part, place = (results[1], lane) if lane < 3 else (results[2], lane - 3)
                final, expected = infos["final_obs"][lane], part[4]["final_obs"][place]
                for name in final if isinstance(final, dict) else [slice(None)]:
                    np.testing.assert_array_equal(final[name], expected[name])
                assert infos["final_info"]["reward_rating"][lane] == part[4]["final_info"]["reward_rating"][place]
                num_ends += 1
            if "_final_obs" in infos:
                for mask in MASKS:
                    np.testing.assert_array_equal(infos[mask], results[0][2] | results[0][3])
        for name in starts[0] if isinstance(starts[0], dict) else [slice(None)]:
            np.testing.assert_array_equal(starts[0][name], np.concatenate([starts[1][name], starts[2][name]]))
    assert num_ends >= 5


def test_stable_baselines3_takes_it():
    env = RecommenderSB3VecEnv(SeveralCatalogs(small_env(), 4, 4))
    env.seed(0)
    env.reset()
    for _ in range(6):
        _, _, dones, infos = env.step(np.zeros(4, np.int64))
        assert all(("terminal_observation" in info) == done for info, done in zip(infos, dones, strict=True))


@pytest.mark.parametrize("name", ["pqn", "distilled-scorer", "ppo"])
def test_learners_are_trained_in_several_catalogues(name):
    settings = {"n_steps": 8, "n_epochs": 1} if name == "ppo" else {"num_epochs": 1}
    results = []
    for num_catalogs in (1, 4):
        agent = agents.make(name, small_env(8), num_catalogs=num_catalogs, **settings).learn(128)
        assert agent.num_timesteps >= 128
        results.append(agent.learned()[0])
    assert any(not np.array_equal(weight, results[1][key]) for key, weight in results[0].items())


def test_more_catalogues_than_sessions_are_refused():
    with pytest.raises(ValueError, match="num_catalogs=3: must be"):
        SeveralCatalogs(small_env(), 2, 3)
    with pytest.raises(ValueError, match="num_catalogs=3: must be"):
        agents.make("pqn", small_env(2), num_catalogs=3).learn(128)
