"""Shows candidates at random: score 0 on the benchmark's scale."""

from typing import Any

import numpy as np

from agents.agent import Agent, Env, Observations, Starts, State, unwrapped
from recsim_env.logs.simulated.logging_policy import RandomSlates


class RandomAgent(Agent):
    """Uniform over the available candidates, whether `deterministic` or not.

    It reads `"dict"` observations as well as `"full"` ones, so that it acts in the plain ids as they are.
    """

    state_class = np.random.Generator

    def __post_init__(self, env: Env | str | None) -> None:
        self.observation = type(self).observation
        super().__post_init__(env)

    def set_env(self, env: Env | str) -> None:
        has_dict = not isinstance(env, str) and unwrapped(env).observation_kind == "dict"
        self.observation = "dict" if has_dict else type(self).observation
        super().set_env(env)

    def restore(self, tensors: dict[str, np.ndarray], learned: dict[str, Any]) -> None:
        if self._layout is not None and not self._layout.is_full:
            self.observation = "dict"

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
        """[N] float64: as those of `RandomSlates`, which acts in the same way."""
        return RandomSlates.log_probabilities(actions, observations["candidate_mask"] > 0)
