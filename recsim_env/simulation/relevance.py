"""The platform's ranking: how this user is predicted to answer each candidate, and the order of the candidates.

The *answer* to an impression is the square of the submitted rating / 5, so 0 to 5, and 0 without a rating: squares, as
disappointed users leave. The predicted answer to item i is the mean answer of all users, plus the deviation of this
user's answers to items of the same categories, shrunk towards 0:

    relevance_i = mu_i + sum_k w_ik A_k / (sum_k w_ik N_k + prior)

with w_ik the weights of the item's two categories, N_k the number of impressions of category k, and A_k the sum of
(answer - mu) over them. The prior is an empirical-Bayes estimate for the population: the variance of an
answer / the variance of users' mean deviations in a category (`world.item_statistics.population_response`). Everything
else is computed from what a platform observes.

Shape legend: I items, M candidates, K categories, A refreshes of item statistics.
"""

import math

import numpy as np

from recsim_env.config import CANDIDATE_ORDERS
from recsim_env.simulation.compilation import compiled
from recsim_env.simulation.records import NO_ITEM, NUM_REFRESHES

MAX_AGE = 2 ** (NUM_REFRESHES - 2)
"""Largest observed age in steps; statistics of older items are not refreshed any more."""

REFRESH_AT = np.array([age.bit_length() for age in range(MAX_AGE + 1)], np.int64)
"""Index of the last refresh of an item's statistics, for each age: 0 at release, then 1 + floor(log2(age))."""

_PRIOR_IMPRESSIONS, _PRIOR_CLICKS = 20.0, 50.0
"""Impressions and clicks with the catalogue's means that are added to those of each item."""

_RELEVANCE, _POPULARITY, _CATEGORY, _RANDOM = (
    CANDIDATE_ORDERS.index(order) for order in ("relevance", "popularity", "category", "random")
)
_GAPS = (1_750, 701, 301, 132, 57, 23, 10, 4, 1)  # of Shell's sort (Ciura, 2001)


def set_categories(records: np.ndarray, observed_topics: np.ndarray) -> None:
    """Write the two largest of [I, K] non-negative topics, and the share of the first, into records of kind `ITEM`."""
    categories = np.argsort(-observed_topics, axis=1, kind="stable")[:, :2]
    weights = np.take_along_axis(observed_topics, categories, 1).astype(np.float64)
    total = weights.sum(1)
    records["categories"] = categories
    records["category_weight"] = np.divide(weights[:, 0], total, out=np.ones(len(records)), where=total > 0.0)


def set_mean_answers(records: np.ndarray, item_statistics: np.ndarray, rating_variance: float) -> None:
    """Write the mean answers to each item at each refresh into records of kind `ITEM`.

    Args:
        records: [I], modified.
        item_statistics: [A, I, 4], see `world.item_statistics.background_statistics`.
        rating_variance: of the ratings of an item.
    """
    log_impressions, click_rate, mean_rating, num_ratings = np.moveaxis(item_statistics.astype(np.float64), 2, 0)
    impressions = 2.0 ** (32.0 * log_impressions) - 1.0
    clicks = click_rate * impressions
    rating_rate = (num_ratings + _PRIOR_CLICKS * num_ratings[-1].sum() / max(clicks[-1].sum(), 1.0)) / (
        clicks + _PRIOR_CLICKS
    )
    answers = clicks * rating_rate * (answer_of(5.0 * mean_rating) + answer_of(rating_variance**0.5))
    mean = answers[-1].sum() / max(impressions[-1].sum(), 1.0)
    records["mean_answers"] = ((answers + _PRIOR_IMPRESSIONS * mean) / (impressions + _PRIOR_IMPRESSIONS)).T


@compiled
def answer_of(rating):
    """The answer, 0..5, for a rating 1..5, or 0 without one."""
    return rating * rating / 5.0


@compiled
def mean_answer(session, item):
    """Mean answer of all users to the item, 0..5, as known at its age."""
    age = session.start_step + session.step - item.release_step
    return np.float64(item.mean_answers[REFRESH_AT[min(age, MAX_AGE)]])


@compiled
def evidence(session, item):
    """Number of this user's impressions of the item's categories."""
    weight, counts = item.category_weight, session.category_counts
    return weight * counts[item.categories[0]] + (1.0 - weight) * counts[item.categories[1]]


@compiled
def affinity_with(session, item, count, p):
    """Deviation of this user's answers in the item's categories, shrunk; `count` is the `evidence`."""
    weight, deviations = item.category_weight, session.category_deviations
    total = weight * deviations[item.categories[0]] + (1.0 - weight) * deviations[item.categories[1]]
    return total / (count + p.prior_answers)


@compiled
def add_deviation(session, item, deviation):
    """Add the deviation of this user's answer to an impression of the item from the mean answer to it."""
    weight, first, second = item.category_weight, item.categories[0], item.categories[1]
    session.category_deviations[first] += weight * deviation
    session.category_deviations[second] += (1.0 - weight) * deviation
    session.category_counts[first] += weight
    session.category_counts[second] += 1.0 - weight


@compiled
def arrange_candidates(session, items, p):
    """Sort the candidates in `candidate_order`, best first; missing ones come last."""
    if p.candidate_order == _RANDOM:
        return
    candidates, keys = session.candidates, session.sort_keys
    num_candidates = len(candidates)
    for m in range(num_candidates):
        keys[m] = -math.inf
        if candidates[m] != NO_ITEM:
            item = items[candidates[m]]
            keys[m] = mean_answer(session, item)
            if p.candidate_order != _POPULARITY:
                keys[m] += affinity_with(session, item, evidence(session, item), p)
            if p.candidate_order == _CATEGORY:
                keys[m] -= 100.0 * item.categories[0]
    for gap in _GAPS:
        for end in range(gap, num_candidates):
            key, candidate, at = keys[end], candidates[end], end
            while at >= gap and keys[at - gap] < key:
                keys[at], candidates[at] = keys[at - gap], candidates[at - gap]
                at -= gap
            keys[at], candidates[at] = key, candidate
