"""Play 1,000 sessions of Video at once: the most relevant candidate, which is the first, and a random one."""

import gymnasium
import numpy as np

import recsim_env  # noqa: F401  (registers the ids)

NUM_ENVS = 1_000

envs = gymnasium.make_vec("recsim_env/Video-v0", num_envs=NUM_ENVS)
for name in ("random", "most relevant"):
    envs.reset(seed=0)
    returns, is_running = np.zeros(NUM_ENVS), np.ones(NUM_ENVS, bool)
    while is_running.any():
        actions = envs.action_space.sample() if name == "random" else np.zeros(NUM_ENVS, np.int64)
        _, rewards, terminated, truncated, _ = envs.step(actions)
        returns += rewards * is_running
        is_running &= ~(terminated | truncated)
    print(f"{name}: {returns.mean():.1f}")
