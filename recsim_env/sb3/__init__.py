"""Stable-Baselines3: the native vector env as a `VecEnv`, and policies that score all candidates with one network."""

from recsim_env.sb3.policies import CandidatePolicy, CandidateQPolicy
from recsim_env.sb3.vec_env import RecommenderSB3VecEnv, make_sb3_vec_env

__all__ = ["CandidatePolicy", "CandidateQPolicy", "RecommenderSB3VecEnv", "make_sb3_vec_env"]
