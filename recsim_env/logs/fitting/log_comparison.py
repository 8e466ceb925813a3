"""Comparison of a simulated ratings log with a real one: statistics of a log, their distances and tolerances.

Shape legend: N ratings, U users, I items, K topics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsim_env.logs.fitting.factorization import (
    Ratings,
    Ridges,
    fit_factors,
    held_out_errors,
    split_tenth,
    variance_components,
)

_REFERENCE_NUM_USERS, _REFERENCE_NUM_RATINGS = 943, 100_000
_BLOCK = 1000
_NUM_FACTORS = 16
_NUM_ROUNDS = 60  # of expectation-maximisation
_RIDGES = Ridges(5.0, 3.0, 15.0)  # the same for both logs, so that only the logs differ

LogStatistics = dict[str, Any]
"""A number or an array for each name in `COMPARED`, and the mean rating; NaN if the log is too small."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One statistic of a real and a simulated log; for a distribution, `real` and `simulated` are means."""

    statistic: str
    real: float
    simulated: float
    difference: float
    tolerance: float

    @property
    def is_close(self) -> bool:
        """Whether the difference is within the tolerance; False for NaN."""
        return abs(self.difference) <= self.tolerance


def log_statistics(
    users: np.ndarray,
    items: np.ndarray,
    ratings: np.ndarray,
    levels: np.ndarray,
    item_topics: np.ndarray | None = None,
    seed: int = 0,
) -> LogStatistics:
    """Statistics of a log: [N] integer ids of users and items, in any range, and ratings, each one of `levels` [L].

    `item_topics` [I, K] float64 is indexed by `items`; without it the genre statistic is NaN. `seed` determines the
    hold-out and the shuffled residuals, which are the same for two logs of the same pairs.

    Raises:
        ValueError: the arrays differ in length or are empty, or a rating is not one of the levels.
    """
    if not len(users) == len(items) == len(ratings) > 0:
        lengths = f"{len(users)} users, {len(items)} items, {len(ratings)} ratings"
        raise ValueError(f"{lengths}: must be arrays of the same length, at least 1")
    if not np.isin(ratings, levels).all():
        raise ValueError(f"ratings from {ratings.min()} to {ratings.max()}: must be among {levels.tolist()}")
    topics = None if item_topics is None else item_topics[items]
    users, items = np.unique(users, return_inverse=True)[1], np.unique(items, return_inverse=True)[1]
    log = Ratings(users, items, np.asarray(ratings, float), int(users.max()) + 1, int(items.max()) + 1)
    user_counts, item_counts = np.bincount(users), np.bincount(items)
    means = np.bincount(users, ratings) / user_counts
    squares = np.bincount(users, (ratings - means[users]) ** 2)
    has_several = user_counts > 1
    user_sd, item_sd, residual_sd, biases = variance_components(log, _NUM_ROUNDS)
    generator = np.random.default_rng(seed)
    gain = np.nan
    num_factors = min(_NUM_FACTORS, log.num_users - 1, log.num_items - 1)
    if num_factors > 0 and len(ratings) > 1:
        train, test = split_tenth(log, generator)
        errors = held_out_errors(train, test, fit_factors(train, num_factors, _RIDGES, generator), _RIDGES)
        gain = errors["biases"] - errors["factorisation"]
    residuals = ratings - biases.predict(users, items)
    return {
        "rating histogram (JS, bits)": shares_of(ratings, levels),
        "mean rating": float(np.mean(ratings)),
        "user bias, sd": user_sd,
        "item bias, sd": item_sd,
        "residual, sd": residual_sd,
        "user means (W1)": means,
        "user sds (W1)": np.sqrt(squares[has_several] / (user_counts[has_several] - 1)),
        "item popularity, Gini": gini(item_counts),
        "ratings per user (KS)": user_counts,
        "residual spectrum, excess of top 10": _spectrum_excess(users, items, residuals, generator),
        "genre cosine in a user, excess": np.nan if topics is None else _genre_excess(users, topics),
        "log popularity x item bias, correlation": _correlation(np.log(item_counts), biases.item_bias),
        "RMSE of biases - of factors": gain,
    }


def shares_of(ratings: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """[L] float64: the share of each of the `levels` among the ratings."""
    return np.bincount(np.searchsorted(levels, ratings), minlength=len(levels)) / len(ratings)


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence of two distributions over the same values, in bits, 0..1."""
    middle = (p + q) / 2

    def divergence(shares: np.ndarray) -> float:
        some = shares > 0
        return float(np.sum(shares[some] * np.log2(shares[some] / middle[some])))

    # Rounding may give a tiny negative number.
    return max(0.0, (divergence(p) + divergence(q)) / 2)


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """Wasserstein-1 distance of two samples: the area between their distribution functions; NaN for an empty sample."""
    if not len(a) or not len(b):
        return float("nan")
    values, of_a, of_b = _distribution_functions(a, b)
    return float(np.sum(np.abs(of_a - of_b)[:-1] * np.diff(values)))


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference between the distribution functions of two samples, 0..1."""
    _, of_a, of_b = _distribution_functions(a, b)
    return float(np.max(np.abs(of_a - of_b)))


def gini(counts: np.ndarray) -> float:
    """Gini coefficient of non-negative counts: 0 if all are equal, 1 - 1/n if all but one are 0."""
    ordered = np.sort(counts)
    ranks = 2.0 * np.arange(1, len(ordered) + 1) - len(ordered) - 1
    return float(ranks @ ordered / (len(ordered) * ordered.sum()))


def _difference(a: float, b: float) -> float:
    return b - a


COMPARED: dict[str, tuple[float, Callable[[Any, Any], float]]] = {
    "rating histogram (JS, bits)": (0.0023, jensen_shannon),
    "user bias, sd": (0.050, _difference),  # corrected for sampling noise, like the next two
    "item bias, sd": (0.078, _difference),
    "residual, sd": (0.041, _difference),
    "user means (W1)": (0.055, wasserstein),
    "user sds (W1)": (0.027, wasserstein),  # users with at least two ratings
    "item popularity, Gini": (0.017, _difference),
    "ratings per user (KS)": (0.088, kolmogorov_smirnov),
    # Variance share of the ten largest principal components of the residuals, minus that of shuffled residuals.
    "residual spectrum, excess of top 10": (0.020, _difference),
    # Mean cosine similarity of the genres of two items of the same user, minus that of two random ratings.
    "genre cosine in a user, excess": (0.007, _difference),
    "log popularity x item bias, correlation": (0.123, _difference),
    # Held-out error of biases minus that of 16 factors: the gain from personalisation.
    "RMSE of biases - of factors": (0.008, _difference),
}
"""Tolerance and distance of each statistic.

Tolerances are 95% quantiles of the difference between two random halves of the users of MovieLens-100K, as first
measured. Measured with the present definitions, over 40 pairs of halves, the quantiles are 0.0018, 0.043, 0.054, 0.039,
0.054, 0.026, 0.016, 0.074, 0.026, 0.008, 0.088, 0.0095.
"""


def compare_logs(real: LogStatistics, simulated: LogStatistics) -> list[Comparison]:
    """Compare the statistics of two logs; those that are NaN in the real log are skipped.

    Tolerances are those of `COMPARED`, multiplied by sqrt(943 / U) for a real log of fewer than 943 users, like the
    noise of a mean over users; that of the last one, a mean over held-out ratings, by sqrt(100000 / N) for a log of
    fewer than 100,000 ratings.
    """
    num_ratings = real["ratings per user (KS)"]
    by_users = max(1.0, float(np.sqrt(_REFERENCE_NUM_USERS / len(num_ratings))))
    by_ratings = max(1.0, float(np.sqrt(_REFERENCE_NUM_RATINGS / num_ratings.sum())))
    comparisons = []
    for statistic, (tolerance, distance) in COMPARED.items():
        values = real[statistic], simulated[statistic]
        # A histogram is represented by the mean rating, a distribution by its mean.
        means = (
            [each["mean rating"] for each in (real, simulated)]
            if distance is jensen_shannon
            else [_mean(each) for each in values]
        )
        if not np.isnan(means[0]):
            widening = by_ratings if statistic == "RMSE of biases - of factors" else by_users
            comparisons.append(
                Comparison(
                    statistic=statistic,
                    real=means[0],
                    simulated=means[1],
                    difference=distance(*values),
                    tolerance=tolerance * widening,
                )
            )
    return comparisons


def random_exposure_comparisons(real: np.ndarray, simulated: np.ndarray, levels: np.ndarray) -> list[Comparison]:
    """Compare [R] real and simulated ratings of the same pairs under random exposure: mean and histogram."""
    means = float(real.mean()), float(simulated.mean())
    distances = {
        "mean rating, random exposure": (means[1] - means[0], 0.10),
        "histogram, random exposure (JS, bits)": (
            jensen_shannon(shares_of(real, levels), shares_of(simulated, levels)),
            0.02,
        ),
    }
    return [
        Comparison(statistic=name, real=means[0], simulated=means[1], difference=difference, tolerance=tolerance)
        for name, (difference, tolerance) in distances.items()
    ]


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """The comparisons as a plain-text table."""
    lines = [f"{'statistic':<40}{'real':>10}{'simulated':>11}{'difference':>12}{'tolerance':>11}"]
    for each in comparisons:
        lines.append(
            f"{each.statistic:<40}{each.real:>10.4f}{each.simulated:>11.4f}{each.difference:>12.4f}"
            f"{each.tolerance:>11.4f}  {'ok' if each.is_close else 'NOT OK'}"
        )
    return "\n".join(lines)


def _distribution_functions(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = np.sort(np.concatenate([a, b]))
    shares = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (a, b)]
    return values, shares[0], shares[1]


def _mean(values: float | np.ndarray) -> float:
    return float(np.mean(values)) if np.size(values) else float("nan")


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if np.std(a) < 1e-9 or np.std(b) < 1e-9:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _spectrum_excess(
    users: np.ndarray, items: np.ndarray, residuals: np.ndarray, generator: np.random.Generator
) -> float:
    """Computed on the 1,000 most active users and most popular items, to bound the cost."""
    active, popular = (np.argsort(-np.bincount(ids), kind="stable")[:_BLOCK] for ids in (users, items))
    if min(len(active), len(popular)) <= 20:
        return float("nan")  # too few for ten components
    row, column = np.full(users.max() + 1, -1), np.full(items.max() + 1, -1)
    row[active], column[popular] = np.arange(len(active)), np.arange(len(popular))
    inside = (row[users] >= 0) & (column[items] >= 0)
    cells, values = (row[users[inside]], column[items[inside]]), residuals[inside]

    def share_of_ten(values: np.ndarray) -> float:
        matrix = np.zeros((len(active), len(popular)))
        matrix[cells] = values
        if len(active) > len(popular):
            matrix = matrix.T
        variances = np.linalg.eigvalsh(matrix @ matrix.T)
        total = float(variances.sum())
        return float(variances[-10:].sum()) / total if total > 0 else 0.0

    return share_of_ten(values) - share_of_ten(generator.permutation(values))


def _genre_excess(users: np.ndarray, topics: np.ndarray) -> float:
    """`topics` [N, K]: those of each rated item. The squared norm of a sum of unit vectors is the sum of cosines."""
    directions = topics / np.linalg.norm(topics, axis=1, keepdims=True)
    counts = np.bincount(users)
    sums = np.stack([np.bincount(users, column) for column in directions.T], axis=1)
    has_several = counts > 1
    if not has_several.any():
        return float("nan")
    pairs = counts[has_several] * (counts[has_several] - 1.0)
    within = ((sums[has_several] ** 2).sum(1) - counts[has_several]) / pairs
    overall = directions.mean(0)
    return float(within.mean() - overall @ overall)
