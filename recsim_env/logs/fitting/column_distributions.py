"""Joint distributions of table columns: `GaussianCopula`, and `LinearGaussian` conditional on other columns.

Shape legend: R rows, C columns, G categories, X observed columns, L latent columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recsim_env.logs.fitting.normal_distribution import normal_cdf, normal_density, normal_quantile

INDICATOR, GENRE, NUMBER = "indicator", "genre", "number"
"""Kinds of columns: 0 or 1; 0 or 1 with at least one 1 among the genres of a row; any number."""

_LEVELS = normal_cdf(np.linspace(-3.5, 3.5, 33))
_LEVELS[[0, -1]] = 0.0, 1.0
_NUM_PARAMETERS = {INDICATOR: 1, GENRE: 1, NUMBER: len(_LEVELS)}
_RIDGE = 20.0
"""With 20 rows, the mean of a category or the coefficient of an indicator is shrunken by half."""
_CALIBRATION_ROWS, _CALIBRATION_ROUNDS = 20_000, 6


def set_arrays(instance: Any, **shapes: tuple[int, ...]) -> None:
    """Convert fields of a frozen dataclass to float64 arrays.

    Raises:
        ValueError: a field has another shape or contains a number that is not finite.
    """
    for name, shape in shapes.items():
        array = np.asarray(getattr(instance, name), float)
        if array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"{name}: must be finite numbers of shape {list(shape)}, got shape {list(array.shape)}")
        object.__setattr__(instance, name, array)


def _draw_normal(covariance: np.ndarray, num_rows: int, generator: np.random.Generator) -> np.ndarray:
    """[num_rows, C] float64 from N(0, covariance)."""
    strengths, directions = np.linalg.eigh(covariance)
    root = directions * np.sqrt(np.maximum(strengths, 0.0))
    return generator.standard_normal((num_rows, len(covariance))) @ root.T


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearGaussian:
    """latent = intercept + observed @ coefficients + N(0, covariance)."""

    names: Sequence[str]
    """Names of L latent columns."""
    intercept: np.ndarray
    """[L] float64."""
    coefficients: np.ndarray
    """[X, L] float64."""
    covariance: np.ndarray
    """[L, L] float64, positive semi-definite."""

    def __post_init__(self) -> None:
        size, num_observed = len(self.names), len(self.coefficients)
        set_arrays(self, intercept=(size,), coefficients=(num_observed, size), covariance=(size, size))

    @classmethod
    def fit(cls, names: Sequence[str], observed: np.ndarray, latent: np.ndarray) -> "LinearGaussian":
        """Ridge regression of [R, L] `latent` on [R, X] `observed`; its residuals give the covariance."""
        centred = observed - observed.mean(0)
        gram = centred.T @ centred + _RIDGE * np.eye(observed.shape[1])
        coefficients = np.linalg.solve(gram, centred.T @ latent)
        residuals = latent - latent.mean(0) - centred @ coefficients
        return cls(
            names=names,
            intercept=latent.mean(0) - observed.mean(0) @ coefficients,
            coefficients=coefficients,
            covariance=residuals.T @ residuals / len(residuals),
        )

    def draw(self, observed: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """[R, L] float64 latent columns for [R, X] observed ones."""
        deviations = _draw_normal(self.covariance, len(observed), generator)
        return self.intercept + observed @ self.coefficients + deviations


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianCopula:
    """A Gaussian copula within categories, for columns of different kinds.

    A row has a category (such as an occupation). Given the category, latent scores y ~ N(mean of the category,
    covariance), and each column is a function of its score: an indicator is 1 above its threshold, a number is the
    quantile at Phi(y).
    """

    names: Sequence[str]
    kinds: Sequence[str]
    parameters: Sequence[Sequence[float]]
    """For each column: (probability of a score above the threshold,), or 33 quantiles, denser in the tails."""
    category_names: Sequence[str]
    """Names of G categories; a single one named "" if there are none."""
    category_shares: np.ndarray
    """[G] float64, summing to 1."""
    category_means: np.ndarray
    """[G, C] float64 latent scores."""
    covariance: np.ndarray
    """[C, C] float64 of the latent scores within a category."""

    def __post_init__(self) -> None:
        size, num_categories = len(self.names), len(self.category_names)
        set_arrays(
            self,
            category_shares=(num_categories,),
            category_means=(num_categories, size),
            covariance=(size, size),
        )
        lengths = [len(each) for each in self.parameters]
        if len(self.kinds) != size or lengths != [_NUM_PARAMETERS.get(kind) for kind in self.kinds]:
            raise ValueError("names, kinds and parameters of the columns are inconsistent")
        if not all(np.isfinite(each).all() for each in self.parameters):
            raise ValueError("parameters: must be finite")
        if (self.category_shares < 0).any() or abs(self.category_shares.sum() - 1.0) > 1e-3:
            raise ValueError("category_shares: must not be negative and must sum to 1")

    @classmethod
    def fit(
        cls,
        names: Sequence[str],
        values: np.ndarray,
        genres: Sequence[str] = (),
        categories: np.ndarray | None = None,
        category_names: Sequence[str] = ("",),
    ) -> "GaussianCopula":
        """Estimate the distribution of [R, C] `values`; columns of zeros and ones are indicators, others numbers.

        `genres` are the names of indicators of which each row has at least one; `categories` [R] are integers in
        0..G-1, by default all 0.
        """
        if categories is None:
            categories = np.zeros(len(values), int)
        is_number = ~is_indicator(values)
        kinds = [
            NUMBER if number else GENRE if name in genres else INDICATOR
            for name, number in zip(names, is_number, strict=True)
        ]
        counts = np.bincount(categories, minlength=len(category_names))
        scores = values.copy()
        for column in np.flatnonzero(is_number):
            scores[:, column] = _normal_scores(values[:, column])
        overall = scores.mean(0)
        sums = np.zeros((len(counts), len(names)))
        np.add.at(sums, categories, scores)
        weights = counts / (counts + _RIDGE) if len(counts) > 1 else np.zeros(1)
        means = overall + weights[:, None] * (sums / np.maximum(counts, 1)[:, None] - overall)
        deviations = scores - means[categories]
        # A category's share of an indicator is a shift of the score relative to a fixed threshold.
        shift = normal_quantile(_inside(means)) - normal_quantile(_inside(overall))
        spread = np.where(is_number, deviations.std(0), 1.0)
        columns = cls(
            names=names,
            kinds=kinds,
            parameters=[
                np.quantile(column, _LEVELS).tolist() if number else [float(column.mean())]
                for number, column in zip(is_number, values.T, strict=True)
            ],
            category_names=category_names,
            category_shares=counts / counts.sum(),
            category_means=np.where(is_number, means, shift),
            covariance=_latent_correlation(deviations, values, is_number) * np.outer(spread, spread),
        )
        # Each row gets at least one genre; calibrate the thresholds so that genres still have their shares.
        for _ in range(_CALIBRATION_ROUNDS if genres else 0):
            drawn, _ = columns.draw(_CALIBRATION_ROWS, np.random.default_rng(0))
            factors = values.mean(0) / np.maximum(drawn.mean(0), 1e-6)
            parameters = [
                [min(each[0] * float(factor), 1.0)] if kind == GENRE else each
                for each, factor, kind in zip(columns.parameters, factors, kinds, strict=True)
            ]
            columns = replace(columns, parameters=parameters)
        return columns

    def draw(self, num_rows: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows: values [R, C] float64 and categories [R] int64."""
        shares = self.category_shares / self.category_shares.sum()
        categories = np.searchsorted(np.cumsum(shares)[:-1], generator.random(num_rows), side="right")
        scores = self.category_means[categories] + _draw_normal(self.covariance, num_rows, generator)
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


def is_indicator(values: np.ndarray) -> np.ndarray:
    """[C] bool: whether all [R, C] values of a column are 0 or 1."""
    return ((values == 0.0) | (values == 1.0)).all(0)


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
