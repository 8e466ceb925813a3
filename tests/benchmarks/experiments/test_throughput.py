"""Throughput of each kind of vector env is measured beside CartPole."""

import inspect

from benchmarks.experiments import first_step, throughput
from recsim_env.envs.single import RecommenderEnv
from recsim_env.scenarios import VIDEO


def test_throughput_measures_every_way_beside_cartpole(monkeypatch):
    ways = {name: throughput.WAYS[name] for name in ("1 lane", "1,024 lanes", "8,192 lanes, 2 threads")}
    monkeypatch.setattr(throughput, "WAYS", ways)
    found = throughput.measure("recsim_env/Video-v0", rounds=1, seconds=0.01)
    assert list(found) == [
        "CartPole-v1, single",
        "CartPole-v1, vector 1,024",
        "single env",
        *ways,
        "SB3 VecEnv, 64 lanes",
    ]
    assert all(len(speeds) == 1 and speeds[0] > 0.0 for speeds in found.values())
    profile = throughput.profile("recsim_env/Video-v0", "1,024 lanes", rounds=1)
    assert min(profile["step"], profile["observe"], profile["copy"]) > 0.0 <= profile["other"]
    share, steps_per_second = throughput.ppo_share_in_env("recsim_env/Video-v0", 4_096)
    assert 0.0 < share < 1.0
    assert steps_per_second > 0.0


def test_the_ways_that_are_measured_are_ways_to_make_a_vector_env():
    for lanes, options in throughput.WAYS.values():
        assert lanes >= 1
        assert set(options) <= set(inspect.signature(RecommenderEnv.__init__).parameters)
        VIDEO.override(options.get("overrides", {}))


def test_targets_are_set_for_ways_that_are_measured():
    assert set(throughput.TARGETS) <= {"single env", *throughput.WAYS}


def test_the_first_step_is_measured_beside_a_bare_function_of_numba(monkeypatch):
    monkeypatch.setattr(first_step, "PROGRAMS", {"Numba function": first_step.PROGRAMS["Numba function"]})
    seconds = first_step.measure("recsim_env/Video-v0", rounds=1)["Numba function"]
    assert len(seconds) == 1
    assert seconds[0] > 0.0
