"""Logs of probe environments, in memory."""

from collections.abc import Callable, Iterator

import numpy as np
from probe_environments import ProbeVectorEnv

from agents.offline.logged_steps import LoggedSteps
from recsim_env.logs.simulated.replay import ReplayedStep

Probability = Callable[[np.ndarray], np.ndarray]
"""From signals [N] to the probability [N] of showing the candidate with content 1, not the one with content -1."""


def probe_log(
    probe: str, probability: Probability, num_steps: int = 200, num_envs: int = 64, **arguments
) -> LoggedSteps:
    """`num_steps` steps of all lanes, with one of two candidates shown by its probability."""
    env = ProbeVectorEnv(num_envs, probe=probe, **arguments)
    steps = _steps(env, probability, num_steps)
    return LoggedSteps.of(steps, num_vector_steps=num_steps, num_envs=num_envs, reward_scale=1.0)


def _steps(env: ProbeVectorEnv, probability: Probability, num_steps: int) -> Iterator[ReplayedStep]:
    observations, _ = env.reset(seed=0)
    generator, is_first = np.random.default_rng(1), np.ones(env.num_envs, np.bool_)
    for _ in range(num_steps):
        contents = observations["candidates"].reshape(env.num_envs, 2, -1)[:, :, 0]
        probabilities = probability(observations["user"][:, 0])
        is_high = generator.random(env.num_envs) < probabilities
        actions = np.where(is_high, contents.argmax(1), contents.argmin(1))
        following, rewards, terminated, truncated, _ = env.step(actions)
        yield ReplayedStep(
            observations=observations,
            actions=actions,
            log_propensities=np.log(np.where(is_high, probabilities, 1.0 - probabilities)),
            rewards=rewards,
            next_observations=following,
            terminated=terminated,
            truncated=truncated,
            episode_start=is_first,
            is_logged=np.ones(env.num_envs, np.bool_),
            events={"item": actions, "user": np.arange(env.num_envs)},
        )
        observations, is_first = following, terminated | truncated
