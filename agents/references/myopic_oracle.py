"""The myopic oracle: maximises the reward of the current step, with the latent state known."""

from typing import Any

import numpy as np

from agents.agent import Agent, Observations
from agents.references.value_weights import live_simulator


class MyopicOracle(Agent):
    """Ranks by the true expected reward of showing a candidate alone; it does not plan.

    For slates the ranking is greedy: it ignores that the items of a slate compete for the click.
    """

    is_privileged = True

    def act(self, observations: Observations, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        expected_rewards = live_simulator(self, len(episode_start)).latent_state()["expected_rewards"]
        return self.top_candidates(expected_rewards, observations["candidate_mask"])
