"""The rating scale: from an opinion, a real number, to one of the ratings there are, such as 1 to 5."""

import math

from recsim_env.simulation.compilation import compiled
from recsim_env.simulation.normal_distribution import normal_cdf


@compiled
def rating_of(opinion, p):
    """Rating of an opinion: the lowest, or the one whose cut is the last below the opinion."""
    rating = p.rating_levels[0]
    for k in range(p.num_rating_levels - 1):
        if opinion > p.rating_cuts[k]:
            rating = p.rating_levels[k + 1]
    return rating


@compiled
def expected_rating_of(opinion, noise_sd, p):
    """Mean rating of an opinion with Gaussian noise: the lowest + sum_k rise_k Phi((opinion - cut_k) / noise_sd)."""
    inverse = 1.0 / noise_sd
    rating = p.rating_levels[0]
    for k in range(p.num_rating_levels - 1):
        rise = p.rating_levels[k + 1] - p.rating_levels[k]
        rating += rise * normal_cdf((opinion - p.rating_cuts[k]) * inverse)
    return rating


@compiled
def level_of(rating, p):
    """The index of the rating nearest to a number."""
    level = 0
    for k in range(1, p.num_rating_levels):
        if abs(p.rating_levels[k] - rating) < abs(p.rating_levels[level] - rating):
            level = k
    return level


@compiled
def level_probability_of(level, opinion, noise_sd, p):
    """P(rating) of the rating with an index, of an opinion with Gaussian noise; `erfc` is exact for improbable ratings,
    too."""
    above = 1.0
    if level > 0:
        above = 0.5 * math.erfc((p.rating_cuts[level - 1] - opinion) / (noise_sd * math.sqrt(2.0)))
    further_above = 0.0
    if level < p.num_rating_levels - 1:
        further_above = 0.5 * math.erfc((p.rating_cuts[level] - opinion) / (noise_sd * math.sqrt(2.0)))
    return max(above - further_above, 0.0)
