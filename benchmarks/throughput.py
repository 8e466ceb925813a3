"""User-steps per second of each way to use the env, beside CartPole measured in the same run.

Machines are shared and noisy, so ways take turns in short rounds, and what counts is the ratio within a round.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import numpy as np
import torch
from rich.progress import track
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

import recsim_env  # noqa: F401  (registers the ids)
from benchmarks.suites import PPO_SETTINGS
from recsim_env.sb3_vec_env import make_sb3_vec_env

NUM_LANES = (1, 64, 1_024, 8_192)
SARDINE_TO_CARTPOLE = 11_700 / 86_700
"""Steps/s of SARDINE's bare single env (11,700) over those of CartPole-v1 through `gymnasium.make` (the middle of
62,600 and 110,800), both measured on one machine: how fast SARDINE would be where CartPole is what it is here."""

_CARTPOLE_SINGLE = "CartPole-v1, single"


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """One way to step, and its steps per second in each round."""

    name: str
    steps_per_second: list[float]

    @property
    def median(self) -> float:
        return float(np.median(self.steps_per_second))


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


def _steps_per_second(play: Callable[[int], int], seconds: float) -> float:
    num_steps, started = 0, time.perf_counter()
    size = 64
    while time.perf_counter() - started < seconds:
        num_steps += play(size)
        size = min(2 * size, 65_536)
    return num_steps / (time.perf_counter() - started)


def measure(env_id: str, rounds: int, seconds: float) -> list[Throughput]:
    """Steps per second of every way, in `rounds` rounds of `seconds` each, after one round that does not count."""
    ways = {_CARTPOLE_SINGLE: _single(gymnasium.make("CartPole-v1"))}
    cartpole = gymnasium.make_vec("CartPole-v1", 1_024, vectorization_mode="vector_entry_point")
    ways["CartPole-v1, vector 1,024"] = _vector(cartpole, cartpole.single_action_space)
    ways[f"{env_id}, single"] = _single(gymnasium.make(env_id))
    for lanes in NUM_LANES:
        env = gymnasium.make_vec(env_id, lanes)
        ways[f"{env_id}, vector {lanes:,}"] = _vector(env, env.single_action_space)
    compact = gymnasium.make_vec(env_id, 1_024, observation="compact")
    ways[f"{env_id}, vector 1,024, compact"] = _vector(compact, compact.single_action_space)
    sb3 = make_sb3_vec_env(env_id, 64, seed=0)
    ways[f"{env_id}, SB3 VecEnv 64"] = _vector(sb3, sb3.action_space)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for play in ways.values():
        play(2_048)
    for _ in track(range(rounds), description="throughput"):
        for name, play in ways.items():
            found[name].append(_steps_per_second(play, seconds))
    return [Throughput(name=name, steps_per_second=values) for name, values in found.items()]


def ratios(throughputs: list[Throughput], to: str = _CARTPOLE_SINGLE) -> dict[str, float]:
    """Median over rounds of each way's speed over that of the way `to` in the same round."""
    base = next(each.steps_per_second for each in throughputs if each.name == to)
    return {each.name: float(np.median(np.divide(each.steps_per_second, base))) for each in throughputs}


class _Stopwatch(VecEnvWrapper):
    """Adds up the time spent inside the env."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.seconds = 0.0

    def reset(self):
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        self._began = time.perf_counter()
        self.venv.step_async(actions)

    def step_wait(self):
        result = self.venv.step_wait()
        self.seconds += time.perf_counter() - self._began
        return result


def ppo_share_in_env(env_id: str, num_steps: int) -> tuple[float, float]:
    """Share of the wall time that SB3's PPO (MultiInputPolicy, 64 lanes) spends in the env, and its steps/s."""
    torch.set_num_threads(1)
    env = _Stopwatch(make_sb3_vec_env(env_id, 64))
    model = PPO("MultiInputPolicy", env, seed=0, device="cpu", **PPO_SETTINGS)
    model.learn(2 * 64 * model.n_steps)
    env.seconds, started = 0.0, time.perf_counter()
    model.learn(num_steps, reset_num_timesteps=False)
    wall = time.perf_counter() - started
    return env.seconds / wall, num_steps / wall
