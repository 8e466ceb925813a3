"""From an opinion, a real number, to a rating of 1 to 5 stars, and what rating to expect of a noisy opinion."""

import math

import numpy as np
from numba import njit

_LIMIT, _PER_UNIT = 8, 64
_POINTS = np.arange(-_LIMIT * _PER_UNIT, _LIMIT * _PER_UNIT + 1) / _PER_UNIT
_CDF = np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in _POINTS])
_DENSITY = np.exp(-0.5 * _POINTS**2) / math.sqrt(2.0 * math.pi)


@njit(cache=True)
def normal_cdf(x):
    """Phi(x), to 1e-9: Taylor's third order around the nearest of 64 points a unit (`erfc` takes longer)."""
    if x <= -_LIMIT:
        return 0.0
    if x >= _LIMIT:
        return 1.0
    place = int((x + _LIMIT) * _PER_UNIT + 0.5)
    at = _POINTS[place]
    d = x - at
    return _CDF[place] + _DENSITY[place] * d * (1.0 - d * (0.5 * at - d * (at * at - 1.0) / 6.0))


@njit(cache=True)
def rating_of(opinion, p):
    """Rating 1..5 of an opinion: 1 + the number of cuts below it."""
    rating = 1.0
    for k in range(4):
        if opinion > p.rating_cuts[k]:
            rating += 1.0
    return rating


@njit(cache=True)
def expected_rating_of(opinion, noise_sd, p):
    """Mean rating of an opinion with Gaussian noise: 1 + sum_k Phi((opinion - cut_k) / noise_sd)."""
    inverse = 1.0 / noise_sd
    rating = 1.0
    for k in range(4):
        rating += normal_cdf((opinion - p.rating_cuts[k]) * inverse)
    return rating
