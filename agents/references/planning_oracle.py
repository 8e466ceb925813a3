"""The planning oracle: with the latent state known, it simulates the rest of the session for each candidate.

Rollout policy improvement (Tesauro and Galperin, "On-line policy improvement using Monte-Carlo search", NIPS 1996)
with common random numbers: future f draws the same numbers for every candidate, which reduces the variance of their
differences. The random numbers of the real session are not used.

Shape legend: N sessions, M candidates, R futures.
"""

import os
from typing import Any

import numpy as np
from numba import njit

from agents.agent import Env, Observations
from agents.references.lookahead import LookaheadOracle, best_by_lookahead, lookahead
from agents.references.value_weights import live_simulator
from recsim_env.config import check_number
from recsim_env.simulation.batch_threads import BatchThreads
from recsim_env.simulation.random_streams import Purpose, combine
from recsim_env.simulation.records import NO_ITEM, as_records, outcome_dtype
from recsim_env.simulation.session import step_session


@njit(cache=True)
def rollout_return(scratch, outcomes, first, items, p, value_weights, slate):
    """Return of the session in `scratch[0]` with candidate `first` now, and by the lookahead policy from then on."""
    session, outcome = scratch[0], outcomes[0]
    slate[0] = first
    total = 0.0
    while True:
        step_session(session, items, slate, outcome, p)
        total += outcome.reward
        if outcome.terminated or outcome.truncated:
            return total
        slate[0] = best_by_lookahead(session, items, p, value_weights)


@njit(cache=True)
def best_improvement(returns, is_option, base):
    """The candidate whose mean return [M, R] exceeds the base's by most, less the standard error of the difference.

    Without that margin, noise would make the planner worse than its base policy.
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
def mark_options(session, items, p, value_weights, scores, is_option, num_options):
    """Mark the `num_options` candidates with the highest scores; returns the best of them."""
    for m in range(len(session.candidates)):
        is_option[m] = False
        is_available = session.candidates[m] != NO_ITEM
        scores[m] = lookahead(session, items[session.candidates[m]], p, value_weights) if is_available else -np.inf
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
        planning_key = combine(combine(sessions[n].noise_key, sessions[n].step), Purpose.PLANNING)
        base = mark_options(sessions[n], items, p, value_weights, scores, is_option, num_options)
        for m in range(num_candidates):
            if not is_option[m]:
                continue
            for f in range(num_futures):
                key = combine(planning_key, f)
                scratch[0] = sessions[n]
                scratch[0].noise_key = combine(key, Purpose.NOISE_KEY)
                scratch[0].world_key = combine(key, Purpose.WORLD_KEY)
                returns[m, f] = rollout_return(scratch, outcomes, m, items, p, value_weights, slate)
        out[n] = best_improvement(returns, is_option, base)


class PlanningOracle(LookaheadOracle):
    """Improves on the lookahead oracle by `num_futures` simulated futures of each option.

    Args:
        env: the env to tune and act in.
        num_futures: futures R of each option, at least 2; few of them leave the lookahead policy unchanged.
        num_options: candidates to simulate, those with the highest lookahead scores. More of them take longer, and the
            maximum over noisy returns is more often wrong.
        num_threads: threads that share the sessions; 0 takes one for each core. It changes no result.
        settings: further arguments of `ModelBasedReference`; the value weights are those of the lookahead policy.
    """

    def __init__(
        self,
        env: Env | str | None = None,
        *,
        num_futures: int = 32,
        num_options: int = 8,
        num_threads: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(env, **settings)
        check_number("num_futures", num_futures, 2, 1_000_000, int)
        check_number("num_options", num_options, 1, 1_000_000, int)
        self.num_futures, self.num_options = num_futures, num_options
        self.num_threads = num_threads or os.cpu_count() or 1

    def act(self, observations: Observations, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        simulator = live_simulator(self, len(episode_start))
        sessions, items, parameters = simulator.compiled_model()
        actions = np.zeros(len(episode_start), np.int64)
        value_weights, plan_sessions = self.value_weights.as_array(), simulator.adapted(_plan)

        def plan(part: slice) -> None:
            scratch, outcomes = as_records(np.zeros(1, sessions.dtype)), as_records(np.zeros(1, outcome_dtype))
            model, sizes = (items, parameters), (self.num_options, self.num_futures)
            plan_sessions(sessions[part], scratch, outcomes, *model, *sizes, value_weights, actions[part])

        with BatchThreads(len(actions), self.num_threads, slices_per_thread=8) as threads:
            threads.run(plan)
        return actions
