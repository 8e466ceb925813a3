"""Behaviour policies, which collect the logs that offline learners are trained from.

Shape legend: N sessions side by side, S slots of a slate.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.agent import Observations, Starts, State, first_steps
from agents.bandits.empirical_bayes import EmpiricalBayesLinUCB
from agents.bandits.linear_bandits import PosteriorState
from agents.rules.popularity import popularity_scores
from recsim_env.config import choice, count
from recsim_env.logs.simulated.logging_policy import RandomSlates, epsilon_greedy_log_probabilities

EPSILONS = {"random": 1.0, "mixed": 0.3, "expert": 0.1}
"""Probability of a random slate, by behaviour policy."""

_PRIOR_IMPRESSIONS = 20.0
"""For popularity, as in `PopularityAgent`."""


@dataclass(kw_only=True, eq=False, repr=False)
class BehaviorPolicy(EmpiricalBayesLinUCB):
    """Collects logs: random slates, EB-LinUCB with some exploration, or a mixture of a weak and a strong policy.

    `random` shows random slates. `expert` shows 10% random slates and otherwise follows EB-LinUCB. `mixed` shows 30%
    random slates and otherwise follows popularity in every other lane and EB-LinUCB in the lanes between. None reads
    the latent state. EB-LinUCB is fitted to random play that is not part of the log; within a session it learns from
    all slates, including random ones.

    It explores even if `deterministic` is True, so that learners are compared with the policy that wrote their log.
    """

    uses_budget = False
    state_class = dict

    behavior: str = choice("mixed", *EPSILONS)
    num_fitting_steps: int = count(50_000, 0, 10**9)
    """User-steps of random play that EB-LinUCB is fitted to; they are not part of the log."""

    @property
    def epsilon(self) -> float:
        """Probability of a random slate."""
        return EPSILONS[self.behavior]

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        """Fit EB-LinUCB if it is used; `total_timesteps` is ignored."""
        super().train(0 if self.behavior == "random" else self.num_fitting_steps, lambda num_taken: True)
        update(0)
        update(total_timesteps)

    def initial_state(self, num_sessions: int) -> dict[str, Any]:  # type: ignore[override]
        bandit = super().initial_state(num_sessions)
        return {"bandit": bandit, "generator": bandit.generator}

    def act(self, observations: Observations, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        generator, mask = state["generator"], observations["candidate_mask"]
        random = RandomSlates(() if self.slate_size == 1 else (self.slate_size,), generator).draw(mask > 0)
        if self.behavior == "random":
            return random
        greedy, bandit = self._greedy(observations, state["bandit"], episode_start)
        explores = generator.random(len(mask)) < self.epsilon
        actions = np.where(explores.reshape(-1, *(1,) * (random.ndim - 1)), random, greedy)
        bandit.slates = actions.reshape(len(mask), -1)
        state["bandit"] = bandit
        return actions

    def _greedy(
        self, observations: Observations, bandit: PosteriorState, episode_start: np.ndarray
    ) -> tuple[np.ndarray, PosteriorState]:
        """Actions without exploration, and the updated posteriors; `bandit` is not modified."""
        bandit = dataclasses.replace(bandit, inverse=bandit.inverse.copy(), targets=bandit.targets.copy())
        actions = super().act(observations, bandit, episode_start, True)
        if self.behavior == "mixed":
            mask = observations["candidate_mask"]
            scores = popularity_scores(
                self.candidates(observations),
                mask,
                layout=self.layout,
                prior_impressions=_PRIOR_IMPRESSIONS,
            )
            actions[::2] = self.top_candidates(scores, mask)[::2]
        return actions, bandit

    def log_probabilities(
        self, observations: Observations, actions: np.ndarray, state: State = None, episode_start: Starts = None
    ) -> np.ndarray:
        """[N] float64: log of (1 - epsilon) [the slate is the greedy one] + epsilon / (number of ordered slates)."""
        mask, num_sessions = observations["candidate_mask"], len(actions)
        slates = np.asarray(actions).reshape(num_sessions, -1)
        of_random = RandomSlates(slates.shape[1:], np.random.default_rng()).log_probabilities(slates, mask > 0)
        if self.behavior == "random":
            return of_random
        is_first = first_steps(state, episode_start, num_sessions)
        before = self.initial_state(num_sessions) if state is None else state
        greedy, _ = self._greedy(observations, before["bandit"], is_first)
        is_greedy = (slates == greedy.reshape(num_sessions, -1)).all(1)
        return epsilon_greedy_log_probabilities(is_greedy, of_random, self.epsilon)
