"""The SB3 adapter equals SB3's own vector env of single envs, also for learners."""

import gymnasium
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from conftest import SCENARIO_NAMES
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor
from trajectories import lane_of, random_actions, same

from recsim_env.sb3 import make_sb3_vec_env

VIDEO_ID = "recsim_env/Video-v0"


def make_dummy(env_id: str, num_envs: int, **options) -> DummyVecEnv:
    """SB3's own vector env, of single envs."""
    return DummyVecEnv([lambda: gymnasium.make(env_id, **options)] * num_envs)


def test_adapter_equals_dummy_vec_env_of_single_envs(some_env_id, observation_kind):
    native, dummy = (
        make(some_env_id, 4, observation=observation_kind, session_length=20) for make in (make_sb3_vec_env, make_dummy)
    )
    assert native.observation_space == dummy.observation_space
    assert native.action_space == dummy.action_space
    assert native.seed(70) == dummy.seed(70)
    assert same(native.reset(), dict_of(dummy.reset()))
    assert native.reset_infos == dummy.reset_infos
    causes, total = set(), np.zeros(4)
    for actions in random_actions(gymnasium.vector.utils.batch_space(native.action_space, 4), rng(), 80):
        observations, rewards, dones, infos = native.step(actions)
        expected = dummy.step(actions)
        assert same((observations, rewards, dones), (dict_of(expected[0]), *expected[1:3]))
        total += rewards
        for lane, (info, other) in enumerate(zip(infos, expected[3], strict=True)):
            if dones[lane]:  # as `Monitor` does, but in ratings
                assert info.pop("episode")["r"] == pytest.approx(total[lane], rel=1e-6)
                total[lane] = 0.0
            assert same(info, other)
            if "terminal_observation" in info:
                causes.add("truncated" if info["TimeLimit.truncated"] else "terminated")
    assert causes >= ({"truncated", "terminated"} if "Video" in some_env_id else {"truncated"})
    assert same(native.reset(), dict_of(dummy.reset()))  # no seed: the next episodes


def dict_of(observations):
    """SB3 hands out an `OrderedDict` in one place and a dict in another."""
    return dict(observations) if isinstance(observations, dict) else observations


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_seed_is_used_once_and_seeds_lanes_counting_up():
    env = make_sb3_vec_env(VIDEO_ID, 3, seed=20)
    first = env.reset()
    single, _ = gymnasium.make(VIDEO_ID).reset(seed=22)
    assert same(lane_of(first, 2), single)
    assert not same(env.reset(), first)
    env.seed(20)
    assert same(env.reset(), first)


def test_options_reach_the_next_reset_once():
    env, vector = make_sb3_vec_env(VIDEO_ID, 3), gymnasium.make_vec(VIDEO_ID, 3)
    env.seed(1)
    env.set_options({"user_seed": 9})
    assert same(env.reset(), vector.reset(seed=1, options={"user_seed": 9})[0])
    env.seed(1)
    assert same(env.reset(), vector.reset(seed=1)[0])
    env.set_options([{"user_seed": 1}, {"user_seed": 2}, {}])
    with pytest.raises(ValueError, match=r"^set_options: "):
        env.reset()


def test_vec_monitor_sees_whole_sessions():
    env = VecMonitor(make_sb3_vec_env(VIDEO_ID, 8, seed=0))
    env.reset()
    totals, lengths, num_ends = np.zeros(8), np.zeros(8, int), 0
    for actions in random_actions(gymnasium.vector.utils.batch_space(env.action_space, 8), rng(), 120):
        _, rewards, dones, infos = env.step(actions)
        totals, lengths = totals + rewards, lengths + 1
        for lane in np.flatnonzero(dones):
            assert infos[lane]["episode"]["r"] == pytest.approx(totals[lane], abs=1e-4)
            assert infos[lane]["episode"]["l"] == lengths[lane]
            totals[lane], lengths[lane], num_ends = 0.0, 0, num_ends + 1
    assert num_ends > 20


def test_terminal_observation_is_the_last_of_the_session_that_ended():
    env, single = make_sb3_vec_env(VIDEO_ID, 1, seed=0, session_length=3), gymnasium.make(VIDEO_ID, session_length=3)
    env.reset()
    single.reset(seed=0)
    for _ in range(3):
        _, _, dones, infos = env.step(np.array([0]))
        last, _, terminated, truncated, _ = single.step(0)
    assert dones[0]
    assert same(infos[0]["terminal_observation"], last)
    assert infos[0]["TimeLimit.truncated"] == (truncated and not terminated)


def test_attributes_and_methods_are_distributed_to_lanes():
    env, dummy = make_sb3_vec_env("recsim_env/VideoSlate-v0", 3, seed=0), make_dummy("recsim_env/VideoSlate-v0", 3)
    env.reset()
    dummy.seed(0)
    dummy.reset()
    for name in ("observation_space", "action_space", "render_mode"):
        assert env.get_attr(name) == dummy.get_attr(name)
        assert env.get_attr(name, 1) == dummy.get_attr(name, [1])
    assert same(env.env_method("action_masks"), dummy.env_method("action_masks"))
    assert same(env.env_method("action_masks", indices=[2, 0]), dummy.env_method("action_masks", indices=[2, 0]))
    for one, other in zip(env.env_method("latent_state"), dummy.env_method("latent_state"), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in other)
    assert env.has_attr("action_masks")
    assert not env.has_attr("no_such_thing")
    assert env.env_is_wrapped(gymnasium.Wrapper) == [False] * 3
    env.set_attr("render_mode", "ansi")
    assert env.get_attr("render_mode") == ["ansi"] * 3
    with pytest.raises(ValueError, match=r"^set_attr"):
        env.set_attr("render_mode", None, indices=0)


def ppo_parameters(env) -> dict[str, torch.Tensor]:
    model = sb3.PPO("MultiInputPolicy", env, n_steps=16, batch_size=32, n_epochs=2, seed=3, device="cpu")
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    after = model.learn(128).policy.state_dict()
    assert any(not torch.equal(after[name], value) for name, value in before.items())
    return after


@pytest.mark.parametrize("variant", ["", "Slate", "Content"])
def test_ppo_learns_bit_equal_parameters_through_both_adapters(variant):
    env_id = f"recsim_env/Video{variant}-v0"
    native = ppo_parameters(make_sb3_vec_env(env_id, 4, session_length=10))
    dummy = ppo_parameters(make_dummy(env_id, 4, session_length=10))
    assert native.keys() == dummy.keys()
    for name, value in native.items():
        assert value.numpy().tobytes() == dummy[name].numpy().tobytes(), name


OFF_POLICY = {"learning_starts": 64, "buffer_size": 300, "batch_size": 32}
ALGORITHMS = [
    (sb3.PPO, "", "dict", {"n_steps": 16, "batch_size": 32}),
    (sb3.PPO, "", "compact", {"n_steps": 16, "batch_size": 32}),
    (sb3.PPO, "Slate", "dict", {"n_steps": 16, "batch_size": 32}),
    (sb3.A2C, "", "dict", {}),
    (sb3.A2C, "Slate", "flat", {}),
    (sb3.DQN, "", "dict", OFF_POLICY),
    (sb3.DQN, "", "flat", OFF_POLICY),
    *((algorithm, "Content", "flat", OFF_POLICY) for algorithm in (sb3.SAC, sb3.TD3, sb3.DDPG)),
    *((algorithm, "Catalog", "dict", OFF_POLICY) for algorithm in (sb3.SAC, sb3.TD3, sb3.DDPG)),
    (sb3.PPO, "Catalog", "flat", {"n_steps": 16, "batch_size": 32}),
    (sb3.A2C, "Content", "dict", {}),
]
TRAININGS = [
    pytest.param(*each, SCENARIO_NAMES[(n + shift) % len(SCENARIO_NAMES)])
    for n, each in enumerate(ALGORITHMS)
    for shift in (0, 3)
]
"""Each algorithm in two scenarios, and each scenario with several algorithms."""


@pytest.mark.parametrize(("algorithm", "variant", "kind", "options", "name"), TRAININGS)
def test_every_kind_of_algorithm_has_an_id_that_fits_it(algorithm, variant, kind, options, name):
    env = VecMonitor(make_sb3_vec_env(f"recsim_env/{name}{variant}-v0", 4, observation=kind, session_length=20))
    policy = "MlpPolicy" if kind == "flat" else "MultiInputPolicy"
    model = algorithm(policy, env, seed=0, device="cpu", policy_kwargs={"net_arch": [16]}, **options)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(240)
    assert model.num_timesteps >= 240
    after = model.policy.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    assert any(not torch.equal(after[name], value) for name, value in before.items())
    mean, _ = evaluate_policy(model, env, n_eval_episodes=4)
    assert -1.0 * 20 <= mean <= 5.0 * 20  # a rating of 1 costs


def test_an_algorithm_learns_from_a_live_platform_with_warm_users():
    options = {"live_platform": True, "overrides": {"population": {"warm_share": 0.5}}}
    env = VecMonitor(make_sb3_vec_env(VIDEO_ID, 4, **options))
    model = sb3.PPO("MultiInputPolicy", env, n_steps=16, batch_size=32, seed=0, device="cpu").learn(128)
    assert all(torch.isfinite(value).all() for value in model.policy.state_dict().values())


def test_only_ids_of_this_package_are_made():
    with pytest.raises(ValueError, match=r"^env_id='CartPole-v1': must be an id of this package, such as 'recsim_env/"):
        make_sb3_vec_env("CartPole-v1", 2)


def test_attributes_that_do_not_exist_are_not_set():
    with pytest.raises(AttributeError, match=r"^set_attr\('reward_scale'\): the vector env has no such attribute"):
        make_sb3_vec_env("recsim_env/Video-v0", 2).set_attr("reward_scale", 1.0)
