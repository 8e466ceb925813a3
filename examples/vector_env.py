"""Play 1,000 sessions of Video at once: the candidate with the best observed mean rating, and a random one."""

import gymnasium
import numpy as np

from recsim_env import CANDIDATE_COLUMNS

NUM_ENVS = 1_000
MEAN_RATING = CANDIDATE_COLUMNS.index("mean_rating") - len(CANDIDATE_COLUMNS)

envs = gymnasium.make_vec("recsim_env/Video-v0", num_envs=NUM_ENVS, reward_scale=1.0)
for name in ("random", "best rated"):
    observations, _ = envs.reset(seed=0)
    returns, is_running = np.zeros(NUM_ENVS), np.ones(NUM_ENVS, bool)
    while is_running.any():
        candidates = observations["candidates"].reshape(NUM_ENVS, 20, -1)
        best_rated = candidates[:, :, MEAN_RATING].argmax(1)
        actions = envs.action_space.sample() if name == "random" else best_rated
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        returns += rewards * is_running
        is_running &= ~(terminated | truncated)
    print(f"{name}: {returns.mean():.1f}")
