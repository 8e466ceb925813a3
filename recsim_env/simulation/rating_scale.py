"""The rating scale: from an opinion, a real number, to a rating of 1 to 5."""

import math

from recsim_env.simulation.compilation import compiled
from recsim_env.simulation.normal_distribution import normal_cdf


@compiled
def rating_of(opinion, p):
    """Rating 1..5 of an opinion: 1 + the number of cuts below it."""
    rating = 1.0
    for k in range(4):
        if opinion > p.rating_cuts[k]:
            rating += 1.0
    return rating


@compiled
def expected_rating_of(opinion, noise_sd, p):
    """Mean rating of an opinion with Gaussian noise: 1 + sum_k Phi((opinion - cut_k) / noise_sd)."""
    inverse = 1.0 / noise_sd
    rating = 1.0
    for k in range(4):
        rating += normal_cdf((opinion - p.rating_cuts[k]) * inverse)
    return rating


@compiled
def rating_probability_of(rating, opinion, noise_sd, p):
    """P(rating), 1..5, of an opinion with Gaussian noise; `erfc` is exact for improbable ratings, too."""
    above = 1.0
    if rating > 1.5:
        above = 0.5 * math.erfc((p.rating_cuts[int(rating) - 2] - opinion) / (noise_sd * math.sqrt(2.0)))
    further_above = 0.0
    if rating < 4.5:
        further_above = 0.5 * math.erfc((p.rating_cuts[int(rating) - 1] - opinion) / (noise_sd * math.sqrt(2.0)))
    return max(above - further_above, 0.0)
