"""The slate that a person is shown: the best items, or with a small probability random ones, with its propensity.

Shape legend: A agents, M candidates, S slots of a slate.
"""

import zlib
from typing import NamedTuple

import numpy as np

from recsim_env.logs.simulated.logging_policy import RandomSlates, epsilon_greedy_log_probabilities


class Slate(NamedTuple):
    """The items to show."""

    places: np.ndarray
    """[S] int64: places among the candidates, top slot first."""
    log_propensity: float
    """Logarithm of the probability of showing this slate, by whichever agent."""
    agent: int = 0
    """The agent that was drawn."""


def epsilon_greedy(scores: np.ndarray, num_slots: int, epsilon: float, seed: int, session: str, step: int) -> Slate:
    """The slate for candidates with scores [M], of which ties are decided by the order; a random slate with probability
    `epsilon`. With scores [A, M] of A agents, one of them is drawn, each with the same probability. All slots are
    filled if there are enough candidates. The draws are a function of the seed, the session and the step."""
    scores = np.atleast_2d(scores)
    best = np.stack([_best(row, min(num_slots, len(row))) for row in scores])
    generator = np.random.default_rng([seed, zlib.crc32(session.encode()), step])
    random, is_available = RandomSlates((best.shape[1],), generator), np.ones((1, scores.shape[1]), np.bool_)
    explores, agent = generator.random() < epsilon, int(generator.integers(len(best)))
    places = random.draw(is_available)[0] if explores else best[agent]
    of_random = random.log_probabilities(places[None], is_available)
    share_of_agents = (best == places).all(1).mean()  # whose best slate it is
    log_propensities = epsilon_greedy_log_probabilities(share_of_agents, of_random, epsilon)
    return Slate(places, float(log_propensities[0]), agent)


def _best(scores: np.ndarray, number: int) -> np.ndarray:
    """[number] places of the highest scores [M], the best first."""
    high = np.flatnonzero(scores >= np.partition(scores, -number)[-number])  # without sorting all of them
    return high[np.argsort(-scores[high], kind="stable")[:number]]
