"""The planning oracle: with the latent state known, it simulates the rest of the session for each candidate.

Rollout policy improvement (Tesauro and Galperin, "On-line policy improvement using Monte-Carlo search", NIPS 1996)
with common random numbers: future f draws the same numbers for every candidate, which reduces the variance of their
differences. The random numbers of the real session are not used.

Shape legend: N sessions, M candidates, K options, R futures.
"""

import os
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from agents.agent import Observations
from agents.references.lookahead import LookaheadOracle, best_by_lookahead, lookahead
from agents.references.value_weights import live_simulator
from recsim_env.config import count
from recsim_env.simulation.batch_threads import BatchThreads
from recsim_env.simulation.compilation import compiled, kernel
from recsim_env.simulation.random_streams import Purpose, combine
from recsim_env.simulation.record_types import as_bytes
from recsim_env.simulation.records import ITEM, NO_ITEM, OUTCOME, PARAMETERS, SESSION
from recsim_env.simulation.session import step_session


@compiled
def rollout_return(scratch, outcomes, first, items, p, value_weights, slate):
    """Return of the session in `scratch[0]` with candidate `first` now, and by the lookahead policy from then on."""
    session, outcome = scratch[0], outcomes[0]
    slate[0] = first
    total = 0.0
    while not session.is_over:
        step_session(session, items, slate, outcome, p)
        total += outcome.reward
        slate[0] = best_by_lookahead(session, items, p, value_weights)
    return total


@partial(compiled, allocates=True)
def best_improvement(returns):
    """The option whose mean return [K, R] exceeds that of option 0 by most, less the standard error of the difference.

    Without that margin, noise would make the planner worse than its base policy.
    """
    best, best_gain = 0, 0.0
    for k in range(1, len(returns)):
        differences = returns[k] - returns[0]
        gain = differences.mean() - differences.std() / np.sqrt(len(differences) - 1)
        if gain > best_gain:
            best, best_gain = k, gain
    return best


@partial(compiled, allocates=True)
def best_options(session, items, p, value_weights, num_options):
    """[K] indices of the candidates with the highest lookahead scores, the highest first."""
    scores = np.full(len(session.candidates), -np.inf)
    for m in range(len(scores)):
        if session.candidates[m] != NO_ITEM:
            scores[m] = lookahead(session, items[session.candidates[m]], p, value_weights)
    num_available = (scores > -np.inf).sum()
    return np.argsort(-scores, kind="mergesort")[: min(num_options, num_available)]


@kernel
def _plan(sessions, items, parameters, layout, scratch, outcomes, num_options, num_futures, value_weights, out):
    sessions, items, p = SESSION(sessions, layout), ITEM(items, layout), PARAMETERS(parameters, layout)[0]
    scratch, outcomes = SESSION(scratch, layout), OUTCOME(outcomes, layout)
    slate = np.zeros(1, np.int64)
    for n in range(len(sessions)):
        planning_key = combine(combine(sessions[n].noise_key, sessions[n].step), Purpose.PLANNING)
        options = best_options(sessions[n], items, p, value_weights, num_options)
        returns = np.zeros((len(options), num_futures))
        for k in range(len(options)):
            for f in range(num_futures):
                key = combine(planning_key, f)
                scratch[0] = sessions[n]
                scratch[0].noise_key = combine(key, Purpose.NOISE_KEY)
                scratch[0].world_key = combine(key, Purpose.WORLD_KEY)
                returns[k, f] = rollout_return(scratch, outcomes, options[k], items, p, value_weights, slate)
        out[n] = options[best_improvement(returns)]


@dataclass(kw_only=True, eq=False, repr=False)
class PlanningOracle(LookaheadOracle):
    """Improves on the lookahead oracle by `num_futures` simulated futures of each option."""

    num_futures: int = count(32, 2, 1_000_000)
    """Futures R of each option; few of them leave the lookahead policy unchanged."""
    num_options: int = count(8, 1, 1_000_000)
    """Candidates K to simulate, those with the highest lookahead scores. More of them take longer, and the maximum over
    noisy returns is more often wrong."""
    num_threads: int = count(0, 0, 4_096)
    """Threads that share the sessions; 0 takes one for each core. It changes no result."""

    def act(self, observations: Observations, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        simulator = live_simulator(self, len(episode_start))
        sessions, *model = simulator.compiled_model()
        actions = np.zeros(len(episode_start), np.int64)
        value_weights, plan_sessions = self.value_weights.as_array(), simulator.adapted(_plan)

        def plan(part: slice) -> None:
            buffers = np.zeros_like(sessions[:1]), as_bytes(np.zeros(1, OUTCOME.head))
            sizes = self.num_options, self.num_futures
            plan_sessions(sessions[part], *model, *buffers, *sizes, value_weights, actions[part])

        with BatchThreads(len(actions), self.num_threads or os.cpu_count() or 1, slices_per_thread=8) as threads:
            threads.run(plan)
        return actions
