"""Shows candidates at random: the zero of every score."""

import numpy as np

from agents.agent import Agent, Observations
from recsim_env.envs.vector import RecommenderVectorEnv


class RandomAgent(Agent):
    """Uniform over the candidates that are there."""

    def begin(self, env: RecommenderVectorEnv, seed: int = 0) -> None:
        super().begin(env, seed)
        self._generator = np.random.default_rng(seed)

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        mask = observations["candidate_mask"]
        return self.best(self._generator.random(mask.shape), mask)
