"""Shows candidates at random: score 0 on the benchmark's scale."""

import numpy as np

from agents.agent import Agent, Observations, Starts, State


class RandomAgent(Agent):
    """Uniform over the available candidates, whether `deterministic` or not."""

    state_class = np.random.Generator

    def initial_state(self, num_sessions: int) -> np.random.Generator:
        return self.new_generator()

    def act(
        self, observations: Observations, state: np.random.Generator, episode_start: np.ndarray, deterministic: bool
    ) -> np.ndarray:
        mask = observations["candidate_mask"]
        return self.top_candidates(state.random(mask.shape), mask)

    def log_probabilities(
        self, observations: Observations, actions: np.ndarray, state: State = None, episode_start: Starts = None
    ) -> np.ndarray:
        """[N] float64: one over the number of ordered slates that the available candidates make.

        Where there are fewer candidates than slots, the places of the missing ones are not random.
        """
        num_left = (observations["candidate_mask"] > 0).sum(1)[:, None] - np.arange(self.slate_size)
        return -np.log(np.maximum(num_left, 1)).sum(1)
