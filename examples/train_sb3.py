"""Train PPO of Stable-Baselines3 in Video and compare it with random and popularity on new users and new items."""

from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

import agents
from recsim_env import make_sb3_vec_env

env = make_sb3_vec_env("recsim_env/Video-v0", 8, split="train")
model = PPO("MultiInputPolicy", env, seed=0)
model.learn(65_536, progress_bar=True)

test = {"split": "test", "catalog_seed": 1}
plain, full = (make_sb3_vec_env("recsim_env/Video-v0", 100, observation=kind, **test) for kind in ("dict", "full"))
baselines = [(agents.make(name, full), full) for name in ("random", "popularity", "platform-ranking")]
for agent, env in (*baselines, (model, plain)):
    env.seed(0)  # the same users for each agent
    print(f"{type(agent).__name__}: {evaluate_policy(agent, env, n_eval_episodes=500, warn=False)[0]:.1f}")
