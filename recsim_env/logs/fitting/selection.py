"""Selection bias: users choose what they rate, so ratings in a log are higher than those of items shown at random.

A user who chooses item i with probability proportional to exp(a_i + s opinion_i), opinions with noise N(0, 1), rates it
with noise N(s, 1): exponential tilting shifts a normal distribution. The strength s, here the selection, can be
estimated only from ratings of items shown at random; without them it is an assumption.

Shape legend: R ratings under random exposure.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recsim_env.logs.fitting.fitted_world import MAX_SELECTION, FittedWorld
from recsim_env.logs.fitting.normal_distribution import normal_cdf
from recsim_env.logs.reading.ratings_log import RatingsLog, positions_of

DEFAULT_SELECTION = 0.5
"""Assumed without ratings under random exposure: between the estimates for two public logs with them, 0.4 and 0.9."""

SELECTION_RANGE = (0.0, 1.0)
"""Plausible strengths without ratings under random exposure."""

_NUM_BISECTIONS = 40


class RandomPairs(NamedTuple):
    """User-item pairs of a world, and their ratings under random exposure."""

    users: np.ndarray
    """[R] int64."""
    items: np.ndarray
    """[R] int64."""
    ratings: np.ndarray
    """[R] float64."""


def random_pairs(world: FittedWorld, random_exposure: RatingsLog) -> RandomPairs:
    """The pairs of `random_exposure` whose user and item are in the world.

    Raises:
        ValueError: there are none, or the rating scales differ.
    """
    source = random_exposure.source
    if not np.array_equal(random_exposure.rating_levels, world.rating_levels):
        raise ValueError(f"{source}: its rating scale differs from that of the log")
    users = positions_of(random_exposure.user_ids, world.user_ids)[random_exposure.users]
    items = positions_of(random_exposure.item_ids, world.item_ids)[random_exposure.items]
    is_known = (users >= 0) & (items >= 0)
    if not is_known.any():
        raise ValueError(f"{source}: no row has a user and an item of the log; ids must be the same")
    return RandomPairs(users[is_known], items[is_known], random_exposure.ratings[is_known])


def expected_ratings(world: FittedWorld, users: np.ndarray, items: np.ndarray, shift: float = 0.0) -> np.ndarray:
    """[R] float64: expected ratings of pairs whose noise has mean `shift`."""
    scale, opinion = world.rating_scale[users], world.opinion(users, items, shift)
    ratings = np.full(len(users), world.rating_levels[0])
    for cut, rise in zip(world.rating_cuts, np.diff(world.rating_levels), strict=True):
        ratings += rise * normal_cdf((opinion - cut) / scale)
    return ratings


def estimated_selection(world: FittedWorld, random_exposure: RatingsLog) -> float:
    """The strength at which the expected mean rating under random exposure equals that of the sample.

    `world` is a fit whose `selection` is 0, so that its opinions are those of chosen items.
    """
    pairs = random_pairs(world, random_exposure)
    target = pairs.ratings.mean()
    low, high = 0.0, MAX_SELECTION
    for _ in range(_NUM_BISECTIONS):  # the mean falls with the strength
        middle = (low + high) / 2
        if expected_ratings(world, pairs.users, pairs.items, -middle).mean() > target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def mean_rating_by_selection(world: FittedWorld, selections: Sequence[float], num_pairs: int = 100_000) -> list[float]:
    """The mean rating of random user-item pairs, had the world been fitted with each strength of the selection."""
    generator = np.random.default_rng(0)
    users = generator.integers(len(world.user_ids), size=num_pairs)
    items = generator.integers(len(world.item_ids), size=num_pairs)
    return [float(expected_ratings(world, users, items, world.selection - each).mean()) for each in selections]


def selection_summary(world: FittedWorld, log: RatingsLog) -> str:
    """Mean ratings in the log and under random exposure, and their sensitivity to an assumed selection; two lines."""
    low, high = SELECTION_RANGE
    under_random, *at_ends = mean_rating_by_selection(world, (world.selection, low, high))
    origin = world.fit_facts["selection"]
    sensitivity = (
        f"; from {low:g} to {high:g}, the mean under random exposure falls from {at_ends[0]:.2f} to {at_ends[1]:.2f}"
        if origin == "assumed"
        else ""
    )
    return (
        f"mean rating: {log.ratings.mean():.2f} in the log, {under_random:.2f} under random exposure\n"
        f"selection: {world.selection:.2f}, {origin}{sensitivity}"
    )
