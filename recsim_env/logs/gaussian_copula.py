"""A joint distribution of columns of different kinds: a Gaussian copula within categories.

A row has a category (such as an occupation). Given the category, latent scores y ~ N(mean of the category,
covariance), and each column is a function of its score: an indicator is 1 above its threshold, a number is the
quantile at Phi(y).

Shape legend: R rows, C columns, G categories.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recsim_env.logs.normal_distribution import normal_cdf, normal_density, normal_quantile

INDICATOR, GENRE, NUMBER = "indicator", "genre", "number"
"""Kinds of columns: 0 or 1; 0 or 1 with at least one 1 among the genres of a row; any number."""

_LEVELS = normal_cdf(np.linspace(-3.5, 3.5, 33))
_LEVELS[[0, -1]] = 0.0, 1.0
_CATEGORY_RIDGE = 20.0
"""The mean of a category with 20 rows is shrunken half-way to the mean of all rows."""
_CALIBRATION_ROWS, _CALIBRATION_ROUNDS = 20_000, 6


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianCopula:
    """The distribution, with `fit` and `draw`."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    parameters: tuple[tuple[float, ...], ...]
    """For each column: (probability of a score above the threshold,), or 33 quantiles, denser in the tails."""
    category_names: tuple[str, ...]
    """Of G categories; a single one named "" without categories."""
    category_shares: np.ndarray
    """[G] float64, summing to 1."""
    category_means: np.ndarray
    """[G, C] float64 latent scores."""
    covariance: np.ndarray
    """[C, C] float64 of the latent scores within a category."""

    def __post_init__(self) -> None:
        num_columns, num_categories = len(self.names), len(self.category_names)
        lengths = {INDICATOR: 1, GENRE: 1, NUMBER: len(_LEVELS)}
        is_consistent = (
            len(self.kinds) == len(self.parameters) == num_columns
            and all(len(each) == lengths.get(kind) for kind, each in zip(self.kinds, self.parameters, strict=True))
            and self.category_shares.shape == (num_categories,)
            and self.category_means.shape == (num_categories, num_columns)
            and self.covariance.shape == (num_columns, num_columns)
        )
        if not is_consistent:
            raise ValueError("columns, categories, means and covariance have inconsistent shapes")
        arrays = [self.category_shares, self.category_means, self.covariance]
        if not all(np.isfinite(each).all() for each in (*map(np.asarray, self.parameters), *arrays)):
            raise ValueError("numbers must be finite")
        if (self.category_shares < 0).any() or abs(self.category_shares.sum() - 1.0) > 1e-3:
            raise ValueError("the shares of the categories must not be negative and must sum to 1")

    @classmethod
    def fit(
        cls,
        names: Sequence[str],
        kinds: Sequence[str],
        values: np.ndarray,
        categories: np.ndarray,
        category_names: Sequence[str],
    ) -> "GaussianCopula":
        """Estimate the distribution of rows.

        Args:
            names: C names.
            kinds: C kinds.
            values: [R, C] float64.
            categories: [R] integers in 0..G-1.
            category_names: G names.
        """
        counts = np.bincount(categories, minlength=len(category_names))
        is_number = np.array([kind == NUMBER for kind in kinds], bool)
        scores = values.copy()
        for column in np.flatnonzero(is_number):
            scores[:, column] = _normal_scores(values[:, column])
        overall = scores.mean(0)
        sums = np.zeros((len(counts), len(names)))
        np.add.at(sums, categories, scores)
        weights = counts / (counts + _CATEGORY_RIDGE) if len(counts) > 1 else np.zeros(1)
        means = overall + weights[:, None] * (sums / np.maximum(counts, 1)[:, None] - overall)
        deviations = scores - means[categories]
        # A category's share of an indicator is a shift of the score relative to a fixed threshold.
        shift = normal_quantile(_inside(means)) - normal_quantile(_inside(overall))
        spread = np.where(is_number, deviations.std(0), 1.0)
        columns = cls(
            names=tuple(names),
            kinds=tuple(kinds),
            parameters=tuple(
                tuple(np.quantile(column, _LEVELS).tolist()) if kind == NUMBER else (float(column.mean()),)
                for kind, column in zip(kinds, values.T, strict=True)
            ),
            category_names=tuple(category_names),
            category_shares=counts / counts.sum(),
            category_means=np.where(is_number, means, shift),
            covariance=_latent_correlation(deviations, values, is_number) * np.outer(spread, spread),
        )
        return columns._calibrated(values.mean(0))

    def draw(self, num_rows: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows.

        Returns:
            values [R, C] float64 and categories [R] int64.
        """
        shares = self.category_shares / self.category_shares.sum()
        categories = np.searchsorted(np.cumsum(shares)[:-1], generator.random(num_rows), side="right")
        strengths, directions = np.linalg.eigh(self.covariance)
        root = directions * np.sqrt(np.maximum(strengths, 0.0))
        deviations = generator.standard_normal((num_rows, len(self.names))) @ root.T
        scores = self.category_means[categories] + deviations
        values, excess = np.empty_like(scores), np.empty_like(scores)
        for column, (kind, parameters) in enumerate(zip(self.kinds, self.parameters, strict=True)):
            if kind == NUMBER:
                values[:, column] = np.interp(normal_cdf(scores[:, column]), _LEVELS, parameters)
            else:
                threshold = normal_quantile(1.0 - _inside(np.array(parameters[0])))
                excess[:, column] = scores[:, column] - threshold
                values[:, column] = (excess[:, column] > 0.0) & (parameters[0] > 0.0)
        genres = np.flatnonzero([kind == GENRE for kind in self.kinds])
        if len(genres):
            without = np.flatnonzero(values[:, genres].sum(1) == 0)
            nearest = excess[np.ix_(without, genres)].argmax(1)
            values[without, genres[nearest]] = 1.0
        return values, categories

    def _calibrated(self, shares: np.ndarray) -> "GaussianCopula":
        """The same with thresholds at which genres keep their `shares` although each row gets at least one."""
        columns, genres = self, [kind == GENRE for kind in self.kinds]
        for _ in range(_CALIBRATION_ROUNDS if any(genres) else 0):
            drawn = columns.draw(_CALIBRATION_ROWS, np.random.default_rng(0))[0].mean(0)
            factors = np.where(genres, shares / np.maximum(drawn, 1e-6), 1.0)
            columns = replace(
                columns,
                parameters=tuple(
                    (min(each[0] * float(factor), 1.0),) if is_genre else each
                    for each, factor, is_genre in zip(columns.parameters, factors, genres, strict=True)
                ),
            )
        return columns


def _normal_scores(column: np.ndarray) -> np.ndarray:
    """Normal quantiles of the mid-ranks, standardised; zeros for a constant column."""
    ordered = np.sort(column)
    twice_rank = np.searchsorted(ordered, column, "left") + np.searchsorted(ordered, column, "right")
    scores = normal_quantile(twice_rank / (2.0 * len(column)))
    spread = scores.std()
    return (scores - scores.mean()) / spread if spread > 1e-9 else np.zeros(len(column))


def _inside(shares: np.ndarray) -> np.ndarray:
    return np.clip(shares, 1e-4, 1.0 - 1e-4)


def _latent_correlation(deviations: np.ndarray, values: np.ndarray, is_number: np.ndarray) -> np.ndarray:
    """[C, C] correlation of the latent scores.

    For an indicator with share p and threshold t, and a number: the biserial correlation, which is the correlation
    divided by phi(t) / sqrt(p (1 - p)). For two indicators: the tetrachoric correlation.
    """
    spread = deviations.std(0)
    normalised = deviations / np.where(spread > 1e-9, spread, 1.0)
    shares = _inside(values.mean(0))
    biserial = normal_density(normal_quantile(shares)) / np.sqrt(shares * (1.0 - shares))
    loss = np.where(is_number, 1.0, biserial)
    correlation = normalised.T @ normalised / len(normalised) / np.outer(loss, loss)
    indicators = np.flatnonzero(~is_number)
    for a in indicators:
        for b in indicators[indicators > a]:
            correlation[a, b] = correlation[b, a] = _tetrachoric(values[:, a] > 0, values[:, b] > 0)
    correlation = np.clip(correlation, -0.95, 0.95)
    np.fill_diagonal(correlation, 1.0)
    # Pairwise estimates need not be positive semi-definite: clip negative eigenvalues.
    strengths, directions = np.linalg.eigh(correlation)
    correlation = (directions * np.maximum(strengths, 1e-6)) @ directions.T
    root = np.sqrt(np.diag(correlation))
    return correlation / np.outer(root, root)


def _tetrachoric(a: np.ndarray, b: np.ndarray) -> float:
    """Tetrachoric correlation of two indicators, in the approximation of Bonett and Price (2005)."""
    both, only_a, only_b, neither = (float(np.sum(each)) + 0.5 for each in (a & b, a & ~b, ~a & b, ~a & ~b))
    total = both + only_a + only_b + neither
    share_a, share_b = (both + only_a) / total, (both + only_b) / total
    smallest = min(share_a, share_b, 1.0 - share_a, 1.0 - share_b)
    exponent = (1.0 - abs(share_a - share_b) / 5.0 - (0.5 - smallest) ** 2) / 2.0
    odds_ratio = both * neither / (only_a * only_b)
    return float(np.cos(np.pi / (1.0 + odds_ratio**exponent)))
