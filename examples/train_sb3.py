"""Train PPO of Stable-Baselines3 in Video and compare it with random and popularity on new users and new items."""

from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

import agents
from recsim_env import CandidatePolicy, make_sb3_vec_env

env = make_sb3_vec_env("recsim_env/Video-v0", 32, split="train")
model = PPO(CandidatePolicy, env, n_steps=64, batch_size=128, learning_rate=1e-3, gamma=0.9, gae_lambda=0.8, seed=0)
model.learn(16_384, progress_bar=True)

test = make_sb3_vec_env("recsim_env/Video-v0", 100, split="test", catalog_seed=1)
for agent in (agents.make("random", test), agents.make("popularity", test), model):
    test.seed(0)  # the same users for each agent
    print(f"{type(agent).__name__}: {evaluate_policy(agent, test, n_eval_episodes=500, warn=False)[0]:.1f}")
