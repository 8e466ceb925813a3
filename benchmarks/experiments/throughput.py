"""User-steps per second of each way to use the env, beside CartPole measured in the same run.

Machines are shared and noisy: the ways alternate in short rounds, ratios within a round are compared, and the seconds
are those of the processor, except where threads share a step.
"""

import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from rich.progress import track
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

import recsim_env  # noqa: F401  (registers the ids)
from agents.registry import PPO_SETTINGS
from recsim_env.sb3 import make_sb3_vec_env

_IDS = {"observation": "compact", "history_length": 1}
_UNSORTED = {"candidate_order": "random"}
_STILL = {"arrivals_per_step": 0.0}
WAYS: dict[str, tuple[int, dict[str, Any]]] = {
    "1 lane": (1, {}),
    "64 lanes": (64, {}),
    "1,024 lanes": (1_024, {}),
    "8,192 lanes": (8_192, {}),
    "8,192 lanes, 2 threads": (8_192, {"num_threads": 2}),
    "1,024 lanes, full": (1_024, {"observation": "full"}),
    "1,024 lanes, full, history of 1": (1_024, {"observation": "full", "history_length": 1}),
    "ids only, 20 candidates": (1_024, _IDS),
    "ids only, 100 candidates": (1_024, {**_IDS, "num_candidates": 100}),
    "ids only, 100 candidates, slate 5": (1_024, {**_IDS, "num_candidates": 100, "slate_size": 5}),
    "ids only, 100 candidates, random order": (1_024, {**_IDS, **_UNSORTED, "num_candidates": 100}),
    "ids only, 100 candidates, slate 5, random order": (
        1_024,
        {**_IDS, **_UNSORTED, "num_candidates": 100, "slate_size": 5},
    ),
    "ids only, 100 candidates, 8,192 lanes": (8_192, {**_IDS, "num_candidates": 100}),
    "ids only, 100 candidates, 8,192 lanes, 2 threads": (8_192, {**_IDS, "num_candidates": 100, "num_threads": 2}),
    "ids only, 100 candidates of 1,000 items": (
        1_024,
        {**_IDS, "num_candidates": 100, "overrides": {"catalog": {"num_items": 1_000, **_STILL}}},
    ),
    "ids only, 100 candidates of 1,000,000 items": (
        1_024,
        {**_IDS, "num_candidates": 100, "overrides": {"catalog": {"num_items": 1_000_000, **_STILL}}},
    ),
    "1,024 lanes, full, of 1,000,000 items": (
        1_024,
        {"observation": "full", "history_length": 1, "overrides": {"catalog": {"num_items": 1_000_000, **_STILL}}},
    ),
}
"""Ways to use the vector env: number of lanes, and arguments of `gymnasium.make_vec`."""
TARGETS = {
    "single env": 1.0,
    "1,024 lanes, full": 0.18,
    "ids only, 100 candidates": 0.30,
    "ids only, 100 candidates, slate 5": 0.20,
    "ids only, 100 candidates, random order": 0.30,
    "ids only, 100 candidates, slate 5, random order": 0.20,
}
"""Speed of some ways as a multiple of CartPole's: of the single env, or of the vector env with as many lanes."""
SARDINE_TO_CARTPOLE = 11_700 / 86_700
"""Steps/s of SARDINE's bare single env (11,700) over those of CartPole-v1 through `gymnasium.make` (the middle of
62,600 and 110,800), both measured on one machine: how fast SARDINE would be where CartPole is what it is here."""

_STEPS_A_ROUND = 15
CARTPOLE_SINGLE = "CartPole-v1, single"
CARTPOLE_VECTOR = "CartPole-v1, vector 1,024"


def _single(env: gymnasium.Env) -> Callable[[int], int]:
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(256)]

    def play(num_steps: int) -> int:
        for step in range(num_steps):
            _, _, terminated, truncated, _ = env.step(actions[step % 256])
            if terminated or truncated:
                env.reset()
        return num_steps

    return play


def _vector(env: gymnasium.vector.VectorEnv | VecEnv, single_action_space: gymnasium.Space) -> Callable[[int], int]:
    env.reset(seed=0) if isinstance(env, gymnasium.vector.VectorEnv) else env.reset()
    single_action_space.seed(0)
    lanes = env.num_envs
    actions = [np.array([single_action_space.sample() for _ in range(lanes)]) for _ in range(16)]

    def play(num_steps: int) -> int:
        rounds = max(1, num_steps // lanes)
        for step in range(rounds):
            env.step(actions[step % 16])
        return rounds * lanes

    return play


def _steps_per_second(play: Callable[[int], int], seconds: float, clock: Callable[[], float]) -> float:
    num_steps, started = 0, clock()
    size = 64
    while clock() - started < seconds:
        num_steps += play(size)
        size = min(2 * size, 65_536)
    return num_steps / (clock() - started)


def _clock(name: str) -> Callable[[], float]:
    return time.perf_counter if "threads" in name else time.process_time


def measure(env_id: str, rounds: int, seconds: float) -> dict[str, np.ndarray]:
    """Steps per second of every way in each of `rounds` rounds of `seconds` each, after a warm-up."""
    ways = {CARTPOLE_SINGLE: _single(gymnasium.make("CartPole-v1"))}
    cartpole = gymnasium.make_vec("CartPole-v1", 1_024, vectorization_mode="vector_entry_point")
    ways[CARTPOLE_VECTOR] = _vector(cartpole, cartpole.single_action_space)
    ways["single env"] = _single(gymnasium.make(env_id))
    for name, (lanes, options) in WAYS.items():
        env = gymnasium.make_vec(env_id, lanes, **options)
        ways[name] = _vector(env, env.single_action_space)
    sb3 = make_sb3_vec_env(env_id, 64, seed=0)
    ways["SB3 VecEnv, 64 lanes"] = _vector(sb3, sb3.action_space)
    for play in ways.values():
        play(2_048)
    measured = [
        [_steps_per_second(play, seconds, _clock(name)) for name, play in ways.items()]
        for _ in track(range(rounds), description="throughput")
    ]
    return dict(zip(ways, np.transpose(measured), strict=True))


def profile(env_id: str, name: str, rounds: int) -> dict[str, float]:
    """Nanoseconds of a user-step of one of `WAYS`, median over rounds.

    By part: `step` of the simulator (user, available items, candidates); `observe`, writing the observation; `other`,
    everything else (checks of actions, infos, resets); for comparison `copy`, copying an observation of that size.
    """
    lanes, options = WAYS[name]
    env: Any = gymnasium.make_vec(env_id, lanes, **options)
    env.reset(seed=0)
    env.single_action_space.seed(0)
    actions = np.array([env.single_action_space.sample() for _ in range(lanes)])
    slates, kind = actions.reshape(lanes, -1), options.get("observation", "dict")
    simulator = env.simulator
    arrays = list(simulator.observe(kind).values()) if kind == "compact" else [simulator.observed_vectors(kind)]
    calls: dict[str, Callable[[], Any]] = {
        "whole": lambda: env.step(actions),
        "step": lambda: env.simulator.step(slates),
        "observe": lambda: env.simulator.observe(kind),
        "copy": lambda: [array.copy() for array in arrays],
    }

    def nanoseconds(work: Callable[[], Any]) -> float:
        env.reset(seed=0)
        work()
        started = _clock(name)()
        for _ in range(_STEPS_A_ROUND):
            work()
        return 1e9 * (_clock(name)() - started) / _STEPS_A_ROUND / lanes

    measured = [[nanoseconds(work) for work in calls.values()] for _ in range(rounds)]
    took = {call: float(value) for call, value in zip(calls, np.median(measured, 0), strict=True)}
    return {**took, "other": max(took["whole"] - took["step"] - took["observe"], 0.0)}


class _TimedEnv(VecEnvWrapper):
    """Measures the time spent in the env."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.seconds = 0.0

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        began = time.perf_counter()  # `step_async` of our env only keeps the actions
        result = self.venv.step_wait()
        self.seconds += time.perf_counter() - began
        return result


def ppo_share_in_env(env_id: str, num_steps: int) -> tuple[float, float]:
    """Share of the wall time that SB3's PPO (MultiInputPolicy, 64 lanes) spends in the env, and its steps/s."""
    torch.set_num_threads(1)
    env = _TimedEnv(make_sb3_vec_env(env_id, 64))
    model = PPO("MultiInputPolicy", env, seed=0, device="cpu", **PPO_SETTINGS)
    model.learn(2 * 64 * model.n_steps)
    env.seconds, started = 0.0, time.perf_counter()
    model.learn(num_steps, reset_num_timesteps=False)
    wall = time.perf_counter() - started
    return env.seconds / wall, num_steps / wall
