"""Shows the candidates as the platform ranks them."""

from typing import Any

import numpy as np

from agents.agent import Agent, Observations
from recsim_env.simulation.observation import CANDIDATE_COLUMNS

_RELEVANCE = CANDIDATE_COLUMNS.index("relevance") - len(CANDIDATE_COLUMNS)


class PlatformRanking(Agent):
    """Shows the candidates with the highest relevance, the predicted answer of this user (`simulation.relevance`).

    In the default `candidate_order` these are the first candidates: a learner that ends at the same return has learnt
    to follow the order.
    """

    def act(self, observations: Observations, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        return self.top_candidates(self.candidates(observations)[:, :, _RELEVANCE], observations["candidate_mask"])
