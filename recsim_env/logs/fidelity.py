"""How like a real ratings log a simulated one is: statistics of a log, and their comparison.

Shape legend: N ratings, U users, I items, K topics.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsim_env.logs.factorization import fit_biases, held_out_errors

TOLERANCES = {
    "rating histogram (JS, bits)": 0.0023,
    "user bias, sd": 0.050,
    "item bias, sd": 0.078,
    "residual, sd": 0.041,
    "user means (W1)": 0.055,
    "user sds (W1)": 0.027,
    "item popularity, Gini": 0.017,
    "ratings per user (KS)": 0.088,
    "residual spectrum, excess of top 10": 0.020,
    "genre cosine in a user, excess": 0.007,
    "log popularity x item bias, correlation": 0.123,
    "RMSE of biases - of factors": 0.008,
}
"""Largest difference, by statistic, that is still noise: 95% of the differences between two random halves of
the users of MovieLens-100K are smaller. With the definitions below, over 40 pairs of halves: .0018, .043,
.054, .039, .054, .026, .016, .074, .026, .008, .088, .0095."""

_GAIN = "RMSE of biases - of factors"
_REFERENCE_NUM_USERS, _REFERENCE_NUM_RATINGS = 943, 100_000
_BLOCK = 1000
_NUM_FACTORS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class LogStatistics:
    """What `log_statistics` measures. NaN where a log is too small for it."""

    rating_shares: np.ndarray
    """[5] float64: share of each rating."""
    mean_rating: float
    user_bias_sd: float
    """Standard deviation between users, in stars, free of sampling noise; the next two likewise."""
    item_bias_sd: float
    residual_sd: float
    user_means: np.ndarray
    """[U] float64: mean rating of each user."""
    user_sds: np.ndarray
    """Standard deviation (n - 1) of the ratings of each user who gave two or more."""
    popularity_gini: float
    ratings_per_user: np.ndarray
    """[U] int64."""
    spectrum_excess: float
    """Share of the ten largest principal components in the residuals, less that in shuffled residuals."""
    genre_excess: float
    """Mean cosine of the genres of two items of one user, less that of two ratings drawn at random."""
    popularity_bias_correlation: float
    factorisation_gain: float
    """Held-out RMSE of biases alone less that with 16 factors: how much taste there is to be learnt."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One statistic of a real and a simulated log; for a distribution `real` and `simulated` are its mean."""

    statistic: str
    real: float
    simulated: float
    difference: float
    tolerance: float

    @property
    def is_close(self) -> bool:
        """Whether the difference is within the tolerance; a difference that is NaN is not."""
        return abs(self.difference) <= self.tolerance


def log_statistics(
    users: np.ndarray,
    items: np.ndarray,
    ratings: np.ndarray,
    item_topics: np.ndarray | None = None,
    seed: int = 0,
) -> LogStatistics:
    """Measure a log.

    Args:
        users: [N] integers that name users, in any range; those who do not occur do not count.
        items: [N] integers that name items, likewise.
        ratings: [N] integers in 1..5.
        item_topics: [I, K] float64, indexed by `items`; without it `genre_excess` is NaN.
        seed: keys the shuffling of residuals and the hold-out, so that two logs of the same pairs share them.

    Raises:
        ValueError: the arrays differ in length, are empty, or a rating is outside 1..5.
    """
    if not len(users) == len(items) == len(ratings) > 0:
        lengths = f"{len(users)} users, {len(items)} items, {len(ratings)} ratings"
        raise ValueError(f"{lengths}: must be as many of each, and some")
    if ratings.min() < 1 or ratings.max() > 5:
        raise ValueError(f"ratings from {ratings.min()} to {ratings.max()}: must be in 1..5")
    topics = None if item_topics is None else item_topics[items]
    users, items = np.unique(users, return_inverse=True)[1], np.unique(items, return_inverse=True)[1]
    num_users, num_items = int(users.max()) + 1, int(items.max()) + 1
    user_counts, item_counts = np.bincount(users), np.bincount(items)
    means = np.bincount(users, ratings) / user_counts
    squares = np.bincount(users, (ratings - means[users]) ** 2)
    several = user_counts > 1
    components = variance_components(users, items, ratings)
    generator = np.random.default_rng(seed)
    gain = np.nan
    num_factors = min(_NUM_FACTORS, num_users - 1, num_items - 1)
    if num_factors > 0 and len(ratings) > 1:
        errors = held_out_errors(users, items, ratings, num_users, num_items, num_factors, generator)
        gain = errors["biases"] - errors["factorisation"]
    return LogStatistics(
        rating_shares=np.bincount(ratings, minlength=6)[1:] / len(ratings),
        mean_rating=float(ratings.mean()),
        user_bias_sd=components.user_sd,
        item_bias_sd=components.item_sd,
        residual_sd=components.residual_sd,
        user_means=means,
        user_sds=np.sqrt(squares[several] / (user_counts[several] - 1)),
        popularity_gini=gini(item_counts),
        ratings_per_user=user_counts,
        spectrum_excess=_spectrum_excess(users, items, components.residuals, generator),
        genre_excess=np.nan if topics is None else _genre_excess(users, topics),
        popularity_bias_correlation=_correlation(np.log(item_counts), components.item_bias),
        factorisation_gain=gain,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class VarianceComponents:
    """rating = mean + user effect + item effect + residual, with random effects."""

    user_sd: float
    item_sd: float
    residual_sd: float
    item_bias: np.ndarray
    """[I] float64: predicted item effects, shrunken."""
    residuals: np.ndarray
    """[N] float64."""


def variance_components(
    users: np.ndarray, items: np.ndarray, ratings: np.ndarray, num_rounds: int = 60
) -> VarianceComponents:
    """Crossed random effects by expectation-maximisation, users and items independent given the data.

    In a round, with ridges v_e/v_u and v_e/v_i: effects b by ridge regression; v <- mean of b^2 plus mean of
    v_e/(n + ridge); v_e <- squared residuals over N less the effects' degrees of freedom, sum n/(n + ridge).
    """
    user_counts, item_counts = np.bincount(users), np.bincount(items)
    total = max(float(np.var(ratings)), 1e-9)
    user_variance, item_variance, residual_variance = 0.15 * total, 0.25 * total, 0.6 * total
    biases = None
    for _ in range(num_rounds):
        ridges = residual_variance / user_variance, residual_variance / item_variance
        biases = fit_biases(users, items, ratings, len(user_counts), len(item_counts), ridges, 3, biases)
        user_share = user_counts / (user_counts + ridges[0])
        item_share = item_counts / (item_counts + ridges[1])
        residuals = ratings - biases.predict(users, items)
        # An effect's posterior variance is v_e / (n + ridge) = v (1 - share).
        user_variance = max(_mean_square(biases.user_bias) + user_variance * (1 - user_share).mean(), 1e-9)
        item_variance = max(_mean_square(biases.item_bias) + item_variance * (1 - item_share).mean(), 1e-9)
        freedom = max(len(ratings) - user_share.sum() - item_share.sum(), 1.0)
        residual_variance = max(float(residuals @ residuals) / freedom, 1e-9)
    assert biases is not None
    return VarianceComponents(
        user_sd=float(np.sqrt(user_variance)),
        item_sd=float(np.sqrt(item_variance)),
        residual_sd=float(np.sqrt(residual_variance)),
        item_bias=biases.item_bias,
        residuals=residuals,
    )


def compare(real: LogStatistics, simulated: LogStatistics) -> list[Comparison]:
    """Compare statistic by statistic; those that are NaN in the real log are left out.

    The tolerances are `TOLERANCES`, widened by sqrt(943 / U) for a real log of fewer than 943 users, as the
    noise of a mean over users grows; the last, a mean over ratings held out, by sqrt(100000 / N).
    """
    by_users = max(1.0, float(np.sqrt(_REFERENCE_NUM_USERS / len(real.user_means))))
    by_ratings = max(1.0, float(np.sqrt(_REFERENCE_NUM_RATINGS / real.ratings_per_user.sum())))
    shares = real.rating_shares, simulated.rating_shares
    distances = {
        "rating histogram (JS, bits)": jensen_shannon(*shares),
        "user means (W1)": wasserstein(real.user_means, simulated.user_means),
        "user sds (W1)": wasserstein(real.user_sds, simulated.user_sds),
        "ratings per user (KS)": kolmogorov_smirnov(real.ratings_per_user, simulated.ratings_per_user),
    }
    comparisons = []
    for statistic, tolerance in TOLERANCES.items():
        values = _summary(real, statistic), _summary(simulated, statistic)
        widening = by_ratings if statistic == _GAIN else by_users
        if np.isnan(values[0]):
            continue
        comparisons.append(
            Comparison(
                statistic=statistic,
                real=values[0],
                simulated=values[1],
                difference=distances.get(statistic, values[1] - values[0]),
                tolerance=tolerance * widening,
            )
        )
    return comparisons


def table(comparisons: Sequence[Comparison]) -> str:
    """The comparisons as lines of text: statistic, real, simulated, difference, tolerance, verdict."""
    lines = [f"{'statistic':<40}{'real':>10}{'simulated':>11}{'difference':>12}{'tolerance':>11}"]
    for each in comparisons:
        lines.append(
            f"{each.statistic:<40}{each.real:>10.4f}{each.simulated:>11.4f}{each.difference:>12.4f}"
            f"{each.tolerance:>11.4f}  {'ok' if each.is_close else 'NOT OK'}"
        )
    return "\n".join(lines)


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence of two distributions over the same values, in bits, 0..1."""
    middle = (p + q) / 2

    def divergence(shares: np.ndarray) -> float:
        some = shares > 0
        return float(np.sum(shares[some] * np.log2(shares[some] / middle[some])))

    # Rounding may leave a negative zero's worth.
    return max(0.0, (divergence(p) + divergence(q)) / 2)


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """Wasserstein-1 distance of two samples: the area between their distribution functions.

    NaN where a sample is empty.
    """
    if not len(a) or not len(b):
        return float("nan")
    values, of_a, of_b = _distribution_functions(a, b)
    return float(np.sum(np.abs(of_a - of_b)[:-1] * np.diff(values)))


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference between the distribution functions of two samples, 0..1."""
    _, of_a, of_b = _distribution_functions(a, b)
    return float(np.max(np.abs(of_a - of_b)))


def gini(counts: np.ndarray) -> float:
    """Gini coefficient of non-negative counts: 0 when all are equal, near 1 when one has everything."""
    ordered = np.sort(counts)
    ranks = 2.0 * np.arange(1, len(ordered) + 1) - len(ordered) - 1
    return float(ranks @ ordered / (len(ordered) * ordered.sum()))


def _distribution_functions(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = np.sort(np.concatenate([a, b]))
    shares = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (a, b)]
    return values, shares[0], shares[1]


def _summary(log: LogStatistics, statistic: str) -> float:
    return {
        "rating histogram (JS, bits)": log.mean_rating,
        "user bias, sd": log.user_bias_sd,
        "item bias, sd": log.item_bias_sd,
        "residual, sd": log.residual_sd,
        "user means (W1)": float(log.user_means.mean()),
        "user sds (W1)": float(log.user_sds.mean()) if len(log.user_sds) else np.nan,
        "item popularity, Gini": log.popularity_gini,
        "ratings per user (KS)": float(log.ratings_per_user.mean()),
        "residual spectrum, excess of top 10": log.spectrum_excess,
        "genre cosine in a user, excess": log.genre_excess,
        "log popularity x item bias, correlation": log.popularity_bias_correlation,
        "RMSE of biases - of factors": log.factorisation_gain,
    }[statistic]


def _mean_square(values: np.ndarray) -> float:
    return float(values @ values) / len(values)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if np.std(a) < 1e-9 or np.std(b) < 1e-9:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _spectrum_excess(
    users: np.ndarray, items: np.ndarray, residuals: np.ndarray, generator: np.random.Generator
) -> float:
    """Among the 1,000 most active users and most popular items, so that its cost has a bound."""
    active, popular = (np.argsort(-np.bincount(ids), kind="stable")[:_BLOCK] for ids in (users, items))
    if min(len(active), len(popular)) <= 20:
        return float("nan")  # ten components would be half of everything
    row, column = np.full(users.max() + 1, -1), np.full(items.max() + 1, -1)
    row[active], column[popular] = np.arange(len(active)), np.arange(len(popular))
    inside = (row[users] >= 0) & (column[items] >= 0)
    place, values = (row[users[inside]], column[items[inside]]), residuals[inside]

    def share_of_ten(values: np.ndarray) -> float:
        matrix = np.zeros((len(active), len(popular)))
        matrix[place] = values
        if len(active) > len(popular):
            matrix = matrix.T
        variances = np.linalg.eigvalsh(matrix @ matrix.T)
        total = float(variances.sum())
        return float(variances[-10:].sum()) / total if total > 0 else 0.0

    return share_of_ten(values) - share_of_ten(generator.permutation(values))


def _genre_excess(users: np.ndarray, topics: np.ndarray) -> float:
    """`topics` [N, K] of each rating's item. A sum of unit vectors has as its square all their cosines."""
    directions = topics / np.linalg.norm(topics, axis=1, keepdims=True)
    counts = np.bincount(users)
    sums = np.stack([np.bincount(users, column) for column in directions.T], axis=1)
    several = counts > 1
    if not several.any():
        return float("nan")
    pairs = counts[several] * (counts[several] - 1.0)
    within = ((sums[several] ** 2).sum(1) - counts[several]) / pairs
    overall = directions.mean(0)
    return float(within.mean() - overall @ overall)
