"""The slate that a person is shown, with its propensity: of an agent's policy, or with a small probability random.

Shape legend: M candidates, S slots of a slate.
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from recsim_env.logs.simulated.logging_policy import RandomSlates, epsilon_greedy_log_probabilities


class Slate(NamedTuple):
    """The items to show."""

    places: np.ndarray
    """[S] int64: places among the candidates, top slot first."""
    log_propensity: float
    """Logarithm of the probability of showing this slate, whichever agent is drawn."""
    agent: int = 0
    """The agent that was drawn."""


class SlatePolicy(Protocol):
    """A distribution of ordered slates of distinct candidates."""

    @property
    def num_candidates(self) -> int:
        """M."""
        ...

    def draw(self, num_slots: int, generator: np.random.Generator) -> np.ndarray:
        """[S] int64: places, top slot first; `num_slots` is at most M."""
        ...

    def probability(self, places: np.ndarray) -> float:
        """The probability of drawing this slate."""
        ...


class BestSlate:
    """The candidates with the highest scores [M], the best first; ties are decided by the order."""

    def __init__(self, scores: np.ndarray) -> None:
        self._scores = scores

    @property
    def num_candidates(self) -> int:
        return len(self._scores)

    def draw(self, num_slots: int, generator: np.random.Generator) -> np.ndarray:
        return _best(self._scores, num_slots)

    def probability(self, places: np.ndarray) -> float:
        return float(np.array_equal(places, _best(self._scores, len(places))))


class PlackettLuce:
    """Each slot is a draw of the softmax of the logits [M] of the candidates that are left.

    Plackett (1975) and Luce (1959); drawn at once as the highest sums of logits and Gumbel noise (Kool, van Hoof and
    Welling, "Stochastic beams and where to find them", ICML 2019).
    """

    def __init__(self, logits: np.ndarray) -> None:
        self._logits = logits.astype(np.float64)

    @property
    def num_candidates(self) -> int:
        return len(self._logits)

    def draw(self, num_slots: int, generator: np.random.Generator) -> np.ndarray:
        return _best(self._logits + generator.gumbel(size=len(self._logits)), num_slots)

    def probability(self, places: np.ndarray) -> float:
        """The product over slots of exp(logit) / sum of exp(logits) of the candidates that are not in a slot above."""
        shown = self._logits[places]
        others = np.delete(self._logits, places)
        of_others = np.logaddexp.reduce(others) if len(others) else -np.inf
        # From the last slot up, so that nothing is subtracted, which would lose the digits of small sums.
        left = np.logaddexp.accumulate([of_others, *shown[::-1]])[:0:-1]
        return float(np.exp((shown - left).sum()))


def draw_slate(
    policies: Sequence[SlatePolicy], num_slots: int, exploration: float, seed: int, session: str, step: int
) -> Slate:
    """The slate of one of the policies, drawn uniformly; or with probability `exploration` any slate, drawn uniformly.

    All slots are filled if there are enough candidates. The draws are a function of the seed, the session and the step.
    """
    num_candidates = policies[0].num_candidates
    num_slots = min(num_slots, num_candidates)
    generator = np.random.default_rng([seed, zlib.crc32(session.encode()), step])
    random, is_available = RandomSlates((num_slots,), generator), np.ones((1, num_candidates), np.bool_)
    explores, agent = generator.random() < exploration, int(generator.integers(len(policies)))
    places = random.draw(is_available)[0] if explores else policies[agent].draw(num_slots, generator)
    of_random = random.log_probabilities(places[None], is_available)
    of_policies = np.mean([policy.probability(places) for policy in policies])
    log_propensities = epsilon_greedy_log_probabilities(of_policies, of_random, exploration)
    return Slate(places, float(log_propensities[0]), agent)


def _best(scores: np.ndarray, number: int) -> np.ndarray:
    """[number] places of the highest scores [M], the best first."""
    high = np.flatnonzero(scores >= np.partition(scores, -number)[-number])  # without sorting all of them
    return high[np.argsort(-scores[high], kind="stable")[:number]]
