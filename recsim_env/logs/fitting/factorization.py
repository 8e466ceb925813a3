"""Biased matrix factorisation of ratings, by alternating ridge regressions.

Shape legend: N ratings, U users, I items, D factors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recsim_env.logs.fitting.grouped_ridge import Design, pair_products, ridge_by_group, rows_by_group

FACTOR_RIDGES = (8.0, 15.0, 30.0, 60.0, 120.0)
"""Candidate ridges of the factors."""

_NUM_SWEEPS, _NUM_ROUNDS = 12, 20
_MIN_TRIAL_RATINGS, _MAX_TRIAL_RATINGS = 50, 500_000
"""Below the minimum no ridge is selected; above the maximum a subset of users is used to select it."""


OnPass = Callable[[int], None]
"""Callback with the number of ratings that regressions have processed since its last call."""


def ignore_pass(num_ratings: int) -> None:
    """An `OnPass` that does nothing."""


def num_passes(num_ratings: int) -> int:
    """Number of ratings that `chosen_ridges` and `fit_factors` process, as counted by `OnPass`."""
    num_trials = int(0.9 * min(num_ratings, _MAX_TRIAL_RATINGS))
    return 2 * _NUM_SWEEPS * (len(FACTOR_RIDGES) * num_trials + num_ratings)


class Ratings(NamedTuple):
    """Ratings of U users and I items; users and items without ratings are allowed."""

    users: np.ndarray
    """[N] int64 in 0..U-1."""
    items: np.ndarray
    """[N] int64 in 0..I-1."""
    values: np.ndarray
    """[N] float64."""
    num_users: int
    num_items: int

    def part(self, rows: np.ndarray) -> "Ratings":
        """The ratings at the given indices, or where a mask is True."""
        return self._replace(users=self.users[rows], items=self.items[rows], values=self.values[rows])


class Ridges(NamedTuple):
    """Ridge = variance of the noise / variance of the effect."""

    users: float
    """Of user biases."""
    items: float
    """Of item biases."""
    factors: float
    """Of factors; infinite for biases only."""


@dataclass(frozen=True, kw_only=True)
class Factorization:
    """prediction = mean + user_bias[u] + item_bias[i] + user_factors[u] . item_factors[i], on the rating scale."""

    mean: float
    user_bias: np.ndarray
    """[U] float64."""
    item_bias: np.ndarray
    """[I] float64."""
    user_factors: np.ndarray
    """[U, D] float64; D may be 0."""
    item_factors: np.ndarray
    """[I, D] float64."""

    def predict(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[N] float64 predicted ratings of pairs (user index, item index)."""
        predicted = self.mean + self.user_bias[users] + self.item_bias[items]
        if self.item_factors.shape[1]:
            predicted += pair_products(users, items, self.user_factors, self.item_factors)
        return predicted


def fit_biases(
    ratings: Ratings, ridges: tuple[float, float], num_sweeps: int = 20, start: Factorization | None = None
) -> Factorization:
    """Mean and shrunken biases only (D = 0), by alternating ridge regressions in closed form.

    `ridges` are those of user and item biases; users and items without ratings get bias 0. `start` has the initial
    biases, 0 by default.
    """
    users, items, values, num_users, num_items = ratings
    count_of_user = np.bincount(users, minlength=num_users) + ridges[0]
    count_of_item = np.bincount(items, minlength=num_items) + ridges[1]
    mean = float(np.mean(values))
    centred = values - mean
    user_bias = np.zeros(num_users) if start is None else start.user_bias
    item_bias = np.zeros(num_items)
    for _ in range(num_sweeps):
        item_bias = np.bincount(items, centred - user_bias[users], num_items) / count_of_item
        user_bias = np.bincount(users, centred - item_bias[items], num_users) / count_of_user
    return Factorization(
        mean=mean,
        user_bias=user_bias,
        item_bias=item_bias,
        user_factors=np.zeros((num_users, 0)),
        item_factors=np.zeros((num_items, 0)),
    )


class VarianceComponents(NamedTuple):
    """Standard deviations in ratings = mean + user effect + item effect + residual, and the predicted effects."""

    user_sd: float
    item_sd: float
    residual_sd: float
    biases: Factorization

    @property
    def ridges(self) -> tuple[float, float]:
        """Of user and item biases."""
        return (self.residual_sd / self.user_sd) ** 2, (self.residual_sd / self.item_sd) ** 2


def variance_components(ratings: Ratings, num_rounds: int = _NUM_ROUNDS) -> VarianceComponents:
    """Crossed random effects by expectation-maximisation, with users and items independent given the data.

    Each round, with ridges v_e/v_u and v_e/v_i: effects b by ridge regression; v <- mean of b^2 plus mean of
    v_e/(n + ridge); v_e <- squared residuals / (N - degrees of freedom of the effects), which are sum n/(n + ridge).
    Users and items without ratings are ignored.
    """
    users, items, values, num_users, num_items = ratings
    user_counts, item_counts = np.bincount(users, minlength=num_users), np.bincount(items, minlength=num_items)
    are_users, are_items = user_counts > 0, item_counts > 0
    total = max(float(np.var(values)), 1e-9)
    user_variance, item_variance, residual_variance = 0.15 * total, 0.25 * total, 0.6 * total
    biases = None
    for _ in range(num_rounds):
        ridges = residual_variance / user_variance, residual_variance / item_variance
        biases = fit_biases(ratings, ridges, num_sweeps=3, start=biases)
        user_share = (user_counts / (user_counts + ridges[0]))[are_users]
        item_share = (item_counts / (item_counts + ridges[1]))[are_items]
        residuals = values - biases.predict(users, items)
        # An effect's posterior variance is v_e / (n + ridge) = v (1 - share).
        user_squares, item_squares = biases.user_bias[are_users] ** 2, biases.item_bias[are_items] ** 2
        user_variance = max(float(user_squares.mean() + user_variance * (1 - user_share).mean()), 1e-9)
        item_variance = max(float(item_squares.mean() + item_variance * (1 - item_share).mean()), 1e-9)
        freedom = max(len(values) - user_share.sum() - item_share.sum(), 1.0)
        residual_variance = max(float(residuals @ residuals) / freedom, 1e-9)
    assert biases is not None
    return VarianceComponents(np.sqrt(user_variance), np.sqrt(item_variance), np.sqrt(residual_variance), biases)


def fit_factors(
    ratings: Ratings, num_factors: int, ridges: Ridges, generator: np.random.Generator, on_pass: OnPass = ignore_pass
) -> Factorization:
    """Biases and `num_factors` factors by regularised alternating least squares; only biases if the ridge of the
    factors is infinite.

    `generator` draws the initial factors from N(0, 0.1^2).
    """
    users, items, values, num_users, num_items = ratings
    biases = fit_biases(ratings, ridges[:2])
    if np.isinf(ridges.factors):
        return biases
    centred = values - biases.mean
    by_user, by_item, ones = rows_by_group(users, num_users), rows_by_group(items, num_items), np.ones(len(values))
    user_ridge = np.r_[ridges.users, np.full(num_factors, ridges.factors)]
    item_ridge = np.r_[ridges.items, np.full(num_factors, ridges.factors)]
    item_bias, item_factors = biases.item_bias, generator.normal(0.0, 0.1, (num_items, num_factors))
    for _ in range(_NUM_SWEEPS):
        user_side = ridge_by_group(by_user, Design(ones, items, item_factors), centred - item_bias[items], user_ridge)
        user_bias, user_factors = user_side[:, 0], user_side[:, 1:]
        item_side = ridge_by_group(by_item, Design(ones, users, user_factors), centred - user_bias[users], item_ridge)
        item_bias, item_factors = item_side[:, 0], item_side[:, 1:]
        on_pass(2 * len(values))
    return Factorization(
        mean=biases.mean,
        user_bias=user_bias,
        item_bias=item_bias,
        user_factors=user_factors,
        item_factors=item_factors,
    )


def chosen_ridges(
    ratings: Ratings, num_factors: int, generator: np.random.Generator, on_pass: OnPass = ignore_pass
) -> Ridges:
    """Select the ridges: of biases by variance components, of factors by the error on a random tenth of the ratings.

    The ridge of the factors is infinite unless they beat biases alone by more than a standard error.
    """
    if len(ratings.values) > _MAX_TRIAL_RATINGS:
        # Whole users, since factors are learnt from all ratings of a user.
        order = generator.permutation(ratings.num_users)
        counts = np.bincount(ratings.users, minlength=ratings.num_users)[order]
        is_kept = np.zeros(ratings.num_users, bool)
        is_kept[order[np.cumsum(counts) <= _MAX_TRIAL_RATINGS]] = True
        ratings = ratings.part(is_kept[ratings.users])
    if len(ratings.values) < _MIN_TRIAL_RATINGS:
        return Ridges(5.0, 3.0, np.inf)
    train, validation = split_tenth(ratings, generator)
    biases = Ridges(*variance_components(train).ridges, np.inf)
    seed = generator.integers(2**63)

    def squares(ridges: Ridges) -> np.ndarray:
        fitted = fit_factors(train, num_factors, ridges, np.random.default_rng(seed), on_pass)
        return (fitted.predict(validation.users, validation.items) - validation.values) ** 2

    of_biases = squares(biases)
    errors = {ridge: squares(biases._replace(factors=ridge)) for ridge in FACTOR_RIDGES}
    best = min(errors, key=lambda ridge: errors[ridge].mean())
    gain = of_biases - errors[best]
    return biases._replace(factors=best) if gain.mean() > gain.std() / np.sqrt(len(gain)) else biases


def split_tenth(ratings: Ratings, generator: np.random.Generator) -> tuple[Ratings, Ratings]:
    """All but a random tenth of the ratings, and that tenth (at least one rating)."""
    num_ratings = len(ratings.values)
    is_held_out = np.zeros(num_ratings, bool)
    is_held_out[generator.permutation(num_ratings)[: max(1, round(0.1 * num_ratings))]] = True
    return ratings.part(~is_held_out), ratings.part(is_held_out)


def held_out_errors(train: Ratings, test: Ratings, fitted: Factorization, ridges: Ridges) -> dict[str, float]:
    """Root mean squared errors on `test` of `global_mean`, `biases` and `factorisation`, fitted to `train`."""
    predictions = {
        "global_mean": np.full(len(test.values), np.mean(train.values)),
        "biases": fit_biases(train, ridges[:2]).predict(test.users, test.items),
        "factorisation": fitted.predict(test.users, test.items),
    }
    return {name: float(np.sqrt(np.mean((predicted - test.values) ** 2))) for name, predicted in predictions.items()}
