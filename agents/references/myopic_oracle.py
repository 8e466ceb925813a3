"""Reads the latent state and shows what is best for this step: an upper reference, not an agent one could deploy."""

import numpy as np

from agents.agent import Agent, Env, Observations


class MyopicOracle(Agent):
    """Privileged: ranks by the true mean reward of showing a candidate alone. It does not plan.

    For slates the ranking is greedy: it ignores that items on one slate compete for the click.
    """

    def begin(self, env: Env, seed: int = 0) -> None:
        super().begin(env, seed)
        self._env = env.unwrapped

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        return self.best(self._env.latent_state()["expected_rewards"], observations["candidate_mask"])
