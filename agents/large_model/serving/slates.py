"""The slate that a person is shown: the best items, or with a small probability random ones, with its propensity.

Shape legend: M candidates, S slots of a slate.
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
    """Logarithm of the probability of showing this slate."""


def epsilon_greedy(scores: np.ndarray, num_slots: int, epsilon: float, seed: int, session: str, step: int) -> Slate:
    """The slate for candidates with scores [M], of which ties are decided by the order; a random slate with probability
    `epsilon`. All slots are filled if there are enough candidates. The draws are a function of the seed, the session
    and the step."""
    num_slots = min(num_slots, len(scores))
    high = np.flatnonzero(scores >= np.partition(scores, -num_slots)[-num_slots])  # without sorting all of them
    best = high[np.argsort(-scores[high], kind="stable")[:num_slots]]
    generator = np.random.default_rng([seed, zlib.crc32(session.encode()), step])
    random, is_available = RandomSlates((len(best),), generator), np.ones((1, len(scores)), np.bool_)
    places = random.draw(is_available)[0] if generator.random() < epsilon else best
    of_random = random.log_probabilities(places[None], is_available)
    log_propensities = epsilon_greedy_log_probabilities(np.array_equal(places, best), of_random, epsilon)
    return Slate(places, float(log_propensities[0]))
