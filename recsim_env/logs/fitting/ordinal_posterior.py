"""One draw from the posterior of the ordinal rating model, by Gibbs sampling.

A draw, not an estimate: posterior means are shrunken, so ratings simulated from them vary too little; a draw has the
variance of the population by construction, even for items with few ratings. The sampler:

    opinion z = bias_u + scale_u (interests_u . factors_i + quality_i + eps),  level = #{cuts < z}
    z      | all else: truncated normal (Albert and Chib, 1993)
    user   | all else: linear regression of z / scale_u - quality_i on (1 / scale_u, factors_i)
    item   | all else: linear regression of (z - bias_u) / scale_u on (1, interests_u); prior mean linear in
             the item's covariates (Macau: Simm et al., 2017), so that items with few ratings resemble similar items
    scale  | all else: on a grid of log scale
    cuts, prior variances: moment estimates, with a few pseudo-observations to keep them finite in small logs

Shape legend: N ratings, U users, I items, D factors, X covariates of an item (the first is 1), L rating levels, R =
L - 1 cuts.
"""

import math
from typing import NamedTuple

import numpy as np

from recsim_env.logs.fitting.factorization import Factorization, OnPass, Ratings, ignore_pass
from recsim_env.logs.fitting.grouped_ridge import Design, pair_products, ridge_by_group, rows_by_group
from recsim_env.logs.fitting.normal_distribution import normal_cdf, normal_density, normal_quantile

_NUM_SWEEPS = 40  # started from the factorisation; variances have converged by then
_NUM_SWEEPS_MANY, _MANY_RATINGS = 20, 2_000_000  # more ratings converge sooner
_MAX_OPINIONS, _MAX_SWEEP_OPINIONS = 200_000, 20_000  # used to match the cuts, at the end and in a sweep
_PASSES_PER_SWEEP = 6  # two regressions, and draws of opinions that take as long as four
_LOG_SCALES = np.linspace(-1.25, 1.25, 51)

_PSEUDO_OBSERVATIONS = 4.0
_PRIOR_BIAS_VARIANCE, _PRIOR_QUALITY_VARIANCE = 0.25, 0.40
_PRIOR_LOG_SCALE_VARIANCE, _PRIOR_INTERACTION_VARIANCE = 0.07, 0.30


def num_posterior_passes(num_ratings: int) -> int:
    """Number of ratings that `draw_ordinal_model` processes, as counted by `factorization.OnPass`."""
    return _PASSES_PER_SWEEP * _num_sweeps(num_ratings) * num_ratings


def _num_sweeps(num_ratings: int) -> int:
    return _NUM_SWEEPS if num_ratings <= _MANY_RATINGS else _NUM_SWEEPS_MANY


class OrdinalModel(NamedTuple):
    """Parameters of the rating model; see the module docstring."""

    bias: np.ndarray
    """[U] float64."""
    scale: np.ndarray
    """[U] float64, geometric mean 1."""
    interests: np.ndarray
    """[U, D] float64."""
    quality: np.ndarray
    """[I] float64."""
    factors: np.ndarray
    """[I, D] float64."""
    cuts: np.ndarray
    """[R] float64, ascending."""

    def opinions(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[N] float64 expected opinions of pairs."""
        affinity = pair_products(users, items, self.interests, self.factors)
        return self.bias[users] + self.scale[users] * (affinity + self.quality[items])


def matching_cuts(
    mean: np.ndarray, scale: np.ndarray, shares: np.ndarray, start: np.ndarray, most: int = _MAX_OPINIONS
) -> np.ndarray:
    """[R] float64, ascending: cuts at which opinions N(mean, scale^2), [N] each, have the `shares` [L] of the levels.

    `shares` are positive and sum to 1; `start` [R] has the initial values of Newton's method. With more than `most`
    opinions, every n-th is used.
    """
    every = 1 + len(mean) // (most + 1)
    mean, scale = mean[::every], scale[::every]
    above, cuts = 1.0 - np.cumsum(shares)[:-1], start.copy()
    for k in range(len(cuts)):
        for _ in range(100):
            standardised = (mean - cuts[k]) / scale
            error = float(normal_cdf(standardised).mean()) - above[k]
            if abs(error) < 1e-6:
                break
            slope = float((normal_density(standardised) / scale).mean())
            cuts[k] += np.clip(error / max(slope, 1e-6), -0.5, 0.5)
    # They ascend because the shares are positive, up to rounding errors.
    for k in range(1, len(cuts)):
        cuts[k] = max(cuts[k], cuts[k - 1] + 1e-6)
    return cuts


def _shrunken_variance(squares: np.ndarray, prior: float) -> np.ndarray:
    """Mean along the first axis, including `_PSEUDO_OBSERVATIONS` of the prior value."""
    return (squares.sum(0) + _PSEUDO_OBSERVATIONS * prior) / (len(squares) + _PSEUDO_OBSERVATIONS)


def _canonical(interests: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same dot products, with uncorrelated interests of mean square 1 and factors in descending order of size."""
    user_basis, user_part = np.linalg.qr(interests)
    item_basis, item_part = np.linalg.qr(factors)
    left, strengths, right = np.linalg.svd(user_part @ item_part.T)
    root = math.sqrt(len(interests))
    interests, factors = user_basis @ left * root, item_basis @ right.T * (strengths / root)
    # The sign of a singular vector is arbitrary; fixed here so that it does not depend on the LAPACK version.
    signs = np.where((factors**3).sum(0) < 0.0, -1.0, 1.0)
    return interests * signs, factors * signs


def centred(model: OrdinalModel, num_item_ratings: np.ndarray) -> OrdinalModel:
    """The same ratings with interests and bias of mean 0 over users, and factors and quality of mean 0 over ratings."""
    exposure = num_item_ratings / num_item_ratings.sum()
    mean_interest, mean_factor = model.interests.mean(0), exposure @ model.factors
    interests, factors = model.interests - mean_interest, model.factors - mean_factor
    quality = model.quality + factors @ mean_interest
    mean_quality = float(exposure @ quality)
    bias = model.bias + model.scale * (model.interests @ mean_factor + mean_quality)
    mean_bias = float(bias.mean())
    interests, factors = _canonical(interests, factors)
    return model._replace(
        bias=bias - mean_bias,
        interests=interests,
        quality=quality - mean_quality,
        factors=factors,
        cuts=model.cuts - mean_bias,
    )


def _truncated_opinions(
    mean: np.ndarray, scale: np.ndarray, cuts: np.ndarray, levels: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    edges = np.r_[-np.inf, cuts, np.inf]
    low = normal_cdf((edges[levels] - mean) / scale)
    high = normal_cdf((edges[levels + 1] - mean) / scale)
    return mean + scale * normal_quantile(low + (high - low) * generator.random(len(mean)))


def _draw_log_scales(
    distance: np.ndarray,
    value: np.ndarray,
    users: np.ndarray,
    num_users: int,
    variance: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """[U] draws of log scale s; log p = -n s - |distance / e^s - value|^2 / 2 - s^2 / (2 variance) + ..."""
    counts = np.bincount(users, minlength=num_users)[:, None]
    squares = np.bincount(users, distance**2, num_users)[:, None]
    products = np.bincount(users, distance * value, num_users)[:, None]
    inverse = np.exp(-_LOG_SCALES)
    log_density = (
        -counts * _LOG_SCALES - 0.5 * squares * inverse**2 + products * inverse - 0.5 * _LOG_SCALES**2 / variance
    )
    index = np.argmax(log_density + generator.gumbel(size=log_density.shape), axis=1)
    width = _LOG_SCALES[1] - _LOG_SCALES[0]
    return _LOG_SCALES[index] + width * (generator.random(num_users) - 0.5)


def draw_ordinal_model(
    ratings: Ratings,
    levels: np.ndarray,
    num_levels: int,
    start: Factorization,
    covariates: np.ndarray,
    generator: np.random.Generator,
    on_pass: OnPass = ignore_pass,
) -> OrdinalModel:
    """Draw from the posterior given ratings; every user and every item has at least one.

    `levels` [N] int64 in 0..num_levels-1 are the indices of the ratings. `start` is a factorisation with
    1 <= D < min(U, I). The prior mean of quality and factors is linear in `covariates` [I, X] float64, whose column 0
    is 1.
    """
    users, items, values, num_users, num_items = ratings
    num_factors = start.user_factors.shape[1]
    by_user, by_item, ones = rows_by_group(users, num_users), rows_by_group(items, num_items), np.ones(len(users))
    shares = np.bincount(levels, minlength=num_levels) + 0.5  # half a rating for each level keeps the cuts finite
    shares = shares / shares.sum()
    predicted = start.predict(users, items)
    noise_sd = max(float(np.std(values - predicted)), 0.1)
    bias, quality = start.user_bias / noise_sd, start.item_bias / noise_sd
    interests, factors = _canonical(start.user_factors, start.item_factors / noise_sd)
    scale = np.ones(num_users)
    cuts = np.quantile(predicted / noise_sd, np.cumsum(shares)[:-1]) - predicted.mean() / noise_sd

    prior_factor_variance = _PRIOR_INTERACTION_VARIANCE / num_factors
    bias_variance, scale_variance = _PRIOR_BIAS_VARIANCE, _PRIOR_LOG_SCALE_VARIANCE
    quality_variance = _PRIOR_QUALITY_VARIANCE
    interest_variance = np.ones(num_factors)
    factor_variance = _shrunken_variance(factors**2, prior_factor_variance)
    expected = np.zeros((num_items, num_factors + 1))
    regression = np.linalg.solve(
        covariates.T @ covariates + _PSEUDO_OBSERVATIONS * np.eye(covariates.shape[1]),
        covariates.T,
    )

    for _ in range(_num_sweeps(len(users))):
        value = pair_products(users, items, interests, factors) + quality[items]
        mean, spread = bias[users] + scale[users] * value, scale[users]
        cuts = matching_cuts(mean, spread, shares, cuts, _MAX_SWEEP_OPINIONS)
        opinion = _truncated_opinions(mean, spread, cuts, levels, generator)

        log_scale = _draw_log_scales(opinion - bias[users], value, users, num_users, scale_variance, generator)
        # Ratings are invariant to a common scale of opinions and cuts: keep the mean log scale at 0.
        unit = math.exp(float(log_scale.mean()))
        scale = np.exp(log_scale) / unit
        opinion, cuts = opinion / unit, cuts / unit
        scale_variance = float(_shrunken_variance(np.log(scale) ** 2, _PRIOR_LOG_SCALE_VARIANCE))

        standardised = opinion / scale[users]
        design = Design(1.0 / scale[users], items, factors)
        precision = 1.0 / np.r_[bias_variance, interest_variance]
        user_side = ridge_by_group(by_user, design, standardised - quality[items], precision, generator=generator)
        bias, interests = user_side[:, 0], user_side[:, 1:]
        mean_bias = float(bias.mean())
        bias, opinion, cuts = bias - mean_bias, opinion - mean_bias, cuts - mean_bias
        bias_variance = float(_shrunken_variance(bias**2, _PRIOR_BIAS_VARIANCE))
        # Redundant with the variance of the factors, but it lets the sampler mix within tens of sweeps.
        interest_variance = _shrunken_variance(interests**2, 1.0)

        standardised = (opinion - bias[users]) / scale[users]
        design = Design(ones, users, interests)
        precision = 1.0 / np.r_[quality_variance, factor_variance]
        item_side = ridge_by_group(by_item, design, standardised, precision, expected, generator)
        quality, factors = item_side[:, 0], item_side[:, 1:]
        expected = covariates @ (regression @ item_side)
        unexplained = (item_side - expected) ** 2
        quality_variance = float(_shrunken_variance(unexplained[:, 0], _PRIOR_QUALITY_VARIANCE))
        factor_variance = _shrunken_variance(unexplained[:, 1:], prior_factor_variance)
        on_pass(_PASSES_PER_SWEEP * len(users))

    model = centred(
        OrdinalModel(bias, scale, interests, quality, factors, cuts), np.bincount(items, minlength=num_items)
    )
    return model._replace(cuts=matching_cuts(model.opinions(users, items), model.scale[users], shares, model.cuts))
