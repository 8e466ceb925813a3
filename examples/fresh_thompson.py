"""An agent of one file for the leaderboard: Thompson sampling on the platform's predictions, in favour of new items.

python -m benchmarks submit examples/fresh_thompson.py:FreshThompson --name fresh-thompson --author "Example Lab" \
    --licence MIT --out runs/fresh-thompson.zip
"""

from dataclasses import dataclass

import numpy as np

from agents.agent import Agent
from recsim_env import CANDIDATE_COLUMNS
from recsim_env.config import number

AGE, RELEVANCE, EVIDENCE = (
    CANDIDATE_COLUMNS.index(name) - len(CANDIDATE_COLUMNS) for name in ("age", "relevance", "evidence")
)


@dataclass(kw_only=True, eq=False, repr=False)
class FreshThompson(Agent):
    """Thompson sampling: draws each candidate's answer around the platform's prediction, wider the less is known about
    this user, and prefers items that were released lately.

    Thompson, "On the likelihood that one unknown probability exceeds another", Biometrika 25, 1933.
    """

    deviation: float = number(0.05, 0.0, 1.0)
    """Standard deviation of a draw of which nothing is known."""
    freshness: float = number(0.1, 0.0, 1.0)
    """Weight of the age, which is log2(1 + steps) / 16."""

    def initial_state(self, num_sessions):
        return self.new_generator()

    def act(self, observations, state, episode_start, deterministic):
        candidates = self.candidates(observations)
        unknown = np.sqrt(np.clip(1.0 - candidates[:, :, EVIDENCE], 0.0, 1.0))
        draws = candidates[:, :, RELEVANCE] + self.deviation * unknown * state.normal(size=unknown.shape)
        return self.top_candidates(draws - self.freshness * candidates[:, :, AGE], observations["candidate_mask"])
