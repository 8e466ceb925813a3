"""Reads the latent state and looks ahead: for each candidate it plays out many futures.

Rollout policy improvement (Tesauro and Galperin, "On-line policy improvement using Monte-Carlo search", NIPS 1996)
with common random numbers: future f draws the same numbers for every candidate, so that what differs between two
candidates is what they do, not luck. What the real session will draw stays unknown to it.

Shape legend: N sessions, M candidates, R futures.
"""

import os
from typing import Any

import numpy as np
from numba import njit

from agents.agent import Observations
from agents.references.lookahead import LookaheadOracle, best_by_foresight, lookahead
from recsim_env.simulation.batch_threads import BatchThreads
from recsim_env.simulation.random_streams import Purpose, combine
from recsim_env.simulation.records import NO_ITEM, as_records, outcome_dtype
from recsim_env.simulation.session import step_session


@njit(cache=True)
def play_out(scratch, outcomes, first, items, p, value_weights, slate):
    """Return of the session in `scratch[0]` if candidate `first` is shown now, and foresight chooses from then on."""
    session, outcome = scratch[0], outcomes[0]
    slate[0] = first
    total = 0.0
    while True:
        step_session(session, items, slate, outcome, p)
        total += outcome.reward
        if outcome.terminated or outcome.truncated:
            return total
        slate[0] = best_by_foresight(session, items, p, value_weights)


@njit(cache=True)
def surest_improvement(returns, is_option, base):
    """The candidate whose returns [M, R] beat the base's by most, the standard error of the difference taken off.

    A candidate that looks better by luck alone would make the planner worse than the policy it begins with.
    """
    num_futures = returns.shape[1]
    best, best_gain = base, 0.0
    for m in range(len(returns)):
        if m == base or not is_option[m]:
            continue
        mean, squares = 0.0, 0.0
        for f in range(num_futures):
            difference = returns[m, f] - returns[base, f]
            mean += difference / num_futures
            squares += difference * difference / num_futures
        error = np.sqrt(max(squares - mean * mean, 0.0) / (num_futures - 1))
        if mean - error > best_gain:
            best, best_gain = m, mean - error
    return best


@njit(cache=True)
def most_promising(session, items, p, value_weights, scores, is_option, num_options):
    """Mark the `num_options` candidates with the highest scores; returns the best of them."""
    for m in range(len(session.candidates)):
        is_option[m] = False
        is_there = session.candidates[m] != NO_ITEM
        scores[m] = lookahead(session, items[session.candidates[m]], p, value_weights) if is_there else -np.inf
    best = np.argmax(scores)
    for _ in range(num_options):
        m = np.argmax(scores)
        if scores[m] == -np.inf:
            break
        is_option[m] = True
        scores[m] = -np.inf
    return best


@njit(cache=True, nogil=True)
def _plan(sessions, scratch, outcomes, items, parameters, num_options, num_futures, value_weights, out):
    slate = np.zeros(1, np.int64)
    p = parameters[0]
    num_candidates = len(sessions[0].candidates)
    returns, scores = np.zeros((num_candidates, num_futures)), np.zeros(num_candidates)
    is_option = np.zeros(num_candidates, np.bool_)
    for n in range(len(sessions)):
        imagined = combine(combine(sessions[n].noise_key, sessions[n].step), Purpose.PLANNING)
        base = most_promising(sessions[n], items, p, value_weights, scores, is_option, num_options)
        for m in range(num_candidates):
            if not is_option[m]:
                continue
            for f in range(num_futures):
                key = combine(imagined, f)
                scratch[0] = sessions[n]
                scratch[0].noise_key = combine(key, Purpose.NOISE_KEY)
                scratch[0].world_key = combine(key, Purpose.WORLD_KEY)
                returns[m, f] = play_out(scratch, outcomes, m, items, p, value_weights, slate)
        out[n] = surest_improvement(returns, is_option, base)


class PlanningOracle(LookaheadOracle):
    """Privileged: begins with the foresight policy, and departs from it where `num_futures` futures say so.

    Args:
        num_futures: futures R for each candidate, at least 2; with a few it can do no better than it began.
        num_options: candidates that are played out: those that foresight finds best. With more of them it takes
            longer, and the luckiest of many futures deceives it more often.
        num_threads: threads that share the sessions; 0 takes one for each core. It changes no number.
        others: as for `ModelBasedReference`; the care is that of the policy that it begins with.
    """

    def __init__(self, *, num_futures: int = 32, num_options: int = 8, num_threads: int = 0, **others: Any) -> None:
        super().__init__(**others)
        if num_futures < 2:
            raise ValueError(f"num_futures={num_futures}: must be at least 2")
        if num_options < 1:
            raise ValueError(f"num_options={num_options}: must be at least 1")
        self.num_futures, self.num_options = num_futures, num_options
        self.num_threads = num_threads or os.cpu_count() or 1

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        sessions, items, parameters = self._simulator.compiled_model()
        actions = np.zeros(self.num_sessions, np.int64)
        value_weights = self.value_weights.weights()

        plan_sessions = self._simulator.adapted(_plan)

        def plan(part: slice) -> None:
            scratch, outcomes = as_records(np.zeros(1, sessions.dtype)), as_records(np.zeros(1, outcome_dtype))
            model, sizes = (items, parameters), (self.num_options, self.num_futures)
            plan_sessions(sessions[part], scratch, outcomes, *model, *sizes, value_weights, actions[part])

        with BatchThreads(self.num_sessions, self.num_threads, slices_per_thread=8) as threads:
            threads.run(plan)
        return actions
