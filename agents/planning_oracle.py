"""Reads the latent state and looks ahead: for each candidate it plays out many futures and takes the best mean.

Rollout policy improvement (Tesauro and Galperin, "On-line policy improvement using Monte-Carlo search", NIPS 1996)
with common random numbers: future f draws the same numbers for every candidate, so that what differs between two
candidates is what they do, not luck. What the real session will draw stays unknown to it.

Shape legend: N sessions, M candidates.
"""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from agents.agent import Agent, Observations
from recsim_env.random_streams import Purpose, combine
from recsim_env.user_model import (
    NO_ITEM,
    choice_utility,
    effective_affinity,
    expected_stars,
    logistic,
    mean_opinion,
    outcome_dtype,
    step_session,
)
from recsim_env.vector_env import RecommenderVectorEnv


@njit(cache=True)
def foresight(session, item, p, care_for_trust, care_for_patience):
    """Score of an item for a policy that minds what a click does to the person.

    click probability x (stars + care_for_trust (stars - promised stars) + care_for_patience (stars - 3))
    """
    affinity = effective_affinity(session, item)
    noise_sd = session.rating_scale * p.rating_noise
    stars = expected_stars(mean_opinion(session, affinity, p.rating_quality * item.quality, p), noise_sd, p)
    worth = stars + care_for_patience * (stars - 3.0)
    if care_for_trust != 0.0:
        promise = mean_opinion(session, affinity, p.expectation_appeal * item.appeal, p)
        worth += care_for_trust * (stars - expected_stars(promise, noise_sd, p))
    return logistic(choice_utility(session, item, affinity, p)) * worth


@njit(cache=True)
def best_by_foresight(session, items, p, care_for_trust, care_for_patience):
    """Index of the candidate with the highest score."""
    best, best_score = 0, -np.inf
    for m in range(len(session.candidates)):
        if session.candidates[m] != NO_ITEM:
            score = foresight(session, items[session.candidates[m]], p, care_for_trust, care_for_patience)
            if score > best_score:
                best, best_score = m, score
    return best


@njit(cache=True)
def play_out(future, items, p, care_for_trust, care_for_patience, slate, outcome):
    """Return of a session from here to its end under the foresight policy; `future` is used up."""
    total = 0.0
    is_over = False
    while not is_over:
        slate[0] = best_by_foresight(future, items, p, care_for_trust, care_for_patience)
        step_session(future, items, slate, outcome, p)
        total += outcome.reward
        is_over = outcome.terminated or outcome.truncated
    return total


@njit(cache=True, nogil=True)
def _values(sessions, scratch, outcomes, items, parameters, num_futures, care_for_trust, care_for_patience, out):
    """Fill `out` [N, M] with the mean return of showing each candidate now and following foresight from then on."""
    slate = np.zeros(1, np.int64)
    p, future, outcome = parameters[0], scratch[0], outcomes[0]
    for n in range(len(sessions)):
        session = sessions[n]
        imagined = combine(combine(session.noise_key, session.step), Purpose.IMAGINATION)
        for m in range(len(session.candidates)):
            out[n, m] = -np.inf
            if session.candidates[m] == NO_ITEM:
                continue
            total = 0.0
            for f in range(num_futures):
                scratch[0] = session
                key = combine(imagined, f)
                future.noise_key = combine(key, Purpose.NOISE_KEY)
                slate[0] = m
                # The items that will be on offer are as unknown as the answers, but only from the next step on.
                future.world_key = combine(key, Purpose.WORLD_KEY)
                step_session(future, items, slate, outcome, p)
                total += outcome.reward
                if not (outcome.terminated or outcome.truncated):
                    total += play_out(future, items, p, care_for_trust, care_for_patience, slate, outcome)
            out[n, m] = total / num_futures


@njit(cache=True, nogil=True)
def _foresight_actions(sessions, items, parameters, care_for_trust, care_for_patience, out):
    for n in range(len(sessions)):
        out[n] = best_by_foresight(sessions[n], items, parameters[0], care_for_trust, care_for_patience)


class ForesightOracle(Agent):
    """Privileged: the policy that `PlanningOracle` follows in the futures it plays out; with no care, the myopic one.

    Args:
        care_for_trust: what a star above what was promised is worth, in stars.
        care_for_patience: what a star above 3 is worth, in stars.
    """

    def __init__(self, care_for_trust: float = 0.0, care_for_patience: float = 1.0) -> None:
        self.care_for_trust, self.care_for_patience = care_for_trust, care_for_patience

    def begin(self, env: RecommenderVectorEnv, seed: int = 0) -> None:
        super().begin(env, seed)
        if self.slate_size != 1:
            raise ValueError(f"slate_size={self.slate_size}: this oracle looks ahead for one item a step")
        self._simulator = env.simulator

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        actions = np.zeros(self.num_sessions, np.int64)
        model = self._simulator.compiled_model()
        _foresight_actions(*model, self.care_for_trust, self.care_for_patience, actions)
        return actions


class PlanningOracle(ForesightOracle):
    """Privileged: plays out `num_futures` futures for each candidate and shows the one with the best mean return."""

    def __init__(
        self, care_for_trust: float = 0.0, care_for_patience: float = 1.0, num_futures: int = 32, num_threads: int = 0
    ) -> None:
        super().__init__(care_for_trust, care_for_patience)
        self.num_futures = num_futures
        self.num_threads = num_threads or os.cpu_count() or 1

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        sessions, items, parameters = self._simulator.compiled_model()
        values = np.zeros((self.num_sessions, self.layout.num_candidates))
        bounds = np.linspace(0, self.num_sessions, 4 * self.num_threads + 1).astype(int).tolist()

        def look_ahead(part: slice) -> None:
            scratch, outcomes = sessions[:1].copy(), np.zeros(1, outcome_dtype)
            care = self.care_for_trust, self.care_for_patience
            _values(sessions[part], scratch, outcomes, items, parameters, self.num_futures, *care, values[part])

        with ThreadPoolExecutor(self.num_threads) as pool:
            list(pool.map(look_ahead, [slice(*pair) for pair in itertools.pairwise(bounds)]))
        return values.argmax(1)
