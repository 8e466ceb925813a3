"""Agreement of two rankings of agents, with intervals from a bootstrap over people.

A ranking orders agents by their mean return. People are resampled with replacement, independently in each world, as
worlds have different people; agents and their trainings are not resampled. Within a world, all agents meet the same
resampled people, so differences between agents are paired.

Shape legend: A agents, K trainings of each, U people of a world, D bootstrap draws.
"""

from collections.abc import Mapping

import numpy as np

from benchmarks.analysis.bootstrap import Estimate, estimate

NUM_DRAWS = 2_000


def mean_returns(
    returns: Mapping[str, np.ndarray], seed: int = 0, num_draws: int = NUM_DRAWS
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean return of each agent in each world: measured [A], and in the bootstrap draws [D, A].

    Args:
        returns: by world, [A, K, U] float64: the mean return of the sessions of each person; NaN where a person has
            none. A mean gives each person of a training, and each training of an agent, the same weight.
        seed: seed of the draws.
        num_draws: the number of draws, D.
    """
    generator = np.random.default_rng(seed)
    found = {}
    for world, values in returns.items():
        is_known = ~np.isnan(values)
        known = np.where(is_known, values, 0.0)
        num_people = values.shape[-1]
        picks = generator.multinomial(num_people, np.full(num_people, 1.0 / num_people), size=num_draws)

        def means(weights: np.ndarray, known: np.ndarray = known, is_known: np.ndarray = is_known) -> np.ndarray:
            counts = np.einsum("du,aku->dak", weights, is_known.astype(np.float64))
            return (np.einsum("du,aku->dak", weights, known) / np.maximum(counts, 1.0)).mean(-1)

        found[world] = means(np.ones((1, num_people)))[0], means(picks.astype(np.float64))
    return found


def kendalls_tau(
    one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> tuple[Estimate, np.ndarray]:
    """Kendall's tau-b of two rankings of the same agents, and its [D] draws.

    tau = (pairs in the same order - pairs in the opposite order) / all pairs, corrected for ties: 1 for equal rankings,
    0 on average for unrelated ones, -1 for opposite ones. The draws add noise to that of the measured means and are
    therefore lower on average: the interval is biased downwards.
    """
    draws = _tau(one[1], other[1])
    return estimate(_tau(one[0], other[0]), draws), draws


def tau_without_each(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[A] tau of two rankings [A], leaving out one agent at a time."""
    return np.array([_tau(np.delete(one, n), np.delete(other, n)) for n in range(len(one))])


def decided_pairs(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> tuple[int, int]:
    """Number of pairs of agents whose difference is significant in both rankings, and of those with the same order.

    A difference is significant if its 95% interval does not contain 0.
    """
    signs = [_significant_signs(draws) for _, draws in (one, other)]
    products = np.triu(signs[0] * signs[1], 1)
    return int((products != 0.0).sum()), int((products > 0.0).sum())


def difference(ranking: tuple[np.ndarray, np.ndarray], first: int, second: int) -> Estimate:
    """Mean return of agent `first` minus that of agent `second`, with its paired interval."""
    values, draws = ranking
    return estimate(values[first] - values[second], draws[:, first] - draws[:, second])


def _significant_signs(draws: np.ndarray) -> np.ndarray:
    """[A, A] the sign of each difference that is significant, 0 for the others."""
    low, high = np.quantile(draws[:, :, None] - draws[:, None, :], (0.025, 0.975), axis=0)
    return np.where(low > 0.0, 1.0, np.where(high < 0.0, -1.0, 0.0))


def _tau(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[...] tau-b of rankings [..., A]; 0 where one of them has nothing but ties, for which it is not defined.

    The correlation of the signs of the differences between agents (Kendall, "Rank correlation methods", 1948).
    """
    signs = [np.sign(means[..., :, None] - means[..., None, :]) for means in (one, other)]
    products, *squares = (np.einsum("...ab,...ab->...", a, b) for a, b in (signs, signs[:1] * 2, signs[1:] * 2))
    return products / np.maximum(np.sqrt(squares[0] * squares[1]), 1.0)
