"""The platform's ranking: the predicted answer of this user to each candidate, and the order of the candidates.

The *answer* y to an impression is the square of the submitted rating / 5, so 0 to 5, and 0 without a rating. Ratings
are squared because disappointed users leave. The prediction is a probabilistic matrix factorisation (Salakhutdinov and
Mnih, NIPS 2007),

    y = mu_i + phi_i . theta + noise,    theta ~ N(0, I),    noise ~ N(0, answer_variance)

with the mean answer mu_i and the factors phi_i of item i, estimated from background users' answers
(`world.answer_factors`), and the tastes theta of this user. Their posterior N(m, P) is updated after each impression
(recursive least squares); in a slate, those above a click and the click itself. mu is the answer to an item shown
alone: in slates, where at most one item is clicked, deviations are lower. Everything is computed from what a platform
observes.

Shape legend: M candidates, A refreshes of item statistics, D tastes.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recsim_env.config import CANDIDATE_ORDERS
from recsim_env.simulation.compilation import compiled
from recsim_env.simulation.records import NO_ITEM, NUM_REFRESHES, NUM_TASTES, REFRESHES_PER_ESTIMATE

MAX_AGE = 2 ** (NUM_REFRESHES - 2)
"""Largest observed age in steps; statistics of older items are not refreshed any more."""

REFRESH_AT = np.array([age.bit_length() for age in range(MAX_AGE + 1)], np.int64)
"""Index of the last refresh of an item's statistics, for each age: 0 at release, then 1 + floor(log2(age))."""

_RELEVANCE, _POPULARITY, _CATEGORY, _RANDOM = (
    CANDIDATE_ORDERS.index(order) for order in ("relevance", "popularity", "category", "random")
)
_MISSING = np.int64(2**31 - 1)  # distance of missing candidates
_FARTHEST = float(_MISSING - 1)  # largest distance of a relevance from the highest one


def answers_of(ratings):
    """The answer, 0..5, for a rating of up to 5, or 0 without one; of a number or of an array."""
    return ratings * ratings / 5.0


answer_of = compiled(answers_of)


@compiled
def refresh_of(session, item):
    """Index of the last refresh of the item's statistics."""
    return REFRESH_AT[min(session.start_step + session.step - item.release_step, MAX_AGE)]


@compiled
def mean_answer(item, refresh):
    """mu: mean answer of all users to the item, 0..5, as known at that refresh."""
    return np.float64(item.mean_answers[refresh])


@compiled
def factor_of(item, refresh, d):
    """phi_d: factor of the item for taste d, as known at that refresh."""
    return np.float64(item.answer_factors[refresh // REFRESHES_PER_ESTIMATE, d])


@compiled
def predicted_deviation(session, item, refresh):
    """phi . m: predicted deviation of this user's answer from the mean answer."""
    deviation = 0.0
    for d in range(NUM_TASTES):
        deviation += session.tastes[d] * factor_of(item, refresh, d)
    return deviation


@compiled
def evidence(session, item, refresh):
    """Share of the variance of phi . theta that this user's answers explain: 1 - phi' P phi / phi' phi."""
    prior, posterior = 0.0, 0.0
    for d in range(NUM_TASTES):
        factor, product = factor_of(item, refresh, d), 0.0
        for e in range(NUM_TASTES):
            product += session.taste_covariance[d, e] * factor_of(item, refresh, e)
        prior += factor * factor
        posterior += factor * product
    return 1.0 - posterior / prior if prior > 0.0 else 0.0


@compiled
def reset_tastes(session):
    """Prior for a new user: m = 0, P = I."""
    for d in range(NUM_TASTES):
        session.tastes[d] = 0.0
        for e in range(NUM_TASTES):
            session.taste_covariance[d, e] = 1.0 if d == e else 0.0


@compiled
def learn_from_answer(session, item, answer, p):
    """Update m and P by this user's answer to an impression of the item."""
    gain, refresh = session.taste_gain, refresh_of(session, item)
    error, variance = answer - mean_answer(item, refresh), p.answer_variance
    for d in range(NUM_TASTES):
        gain[d] = 0.0
        for e in range(NUM_TASTES):
            gain[d] += session.taste_covariance[d, e] * factor_of(item, refresh, e)
        factor = factor_of(item, refresh, d)
        error -= factor * session.tastes[d]
        variance += factor * gain[d]
    for d in range(NUM_TASTES):
        session.tastes[d] += gain[d] * error / variance
        for e in range(NUM_TASTES):
            session.taste_covariance[d, e] -= gain[d] * gain[e] / variance


@compiled
def arrange_candidates(session, items, p):
    """Sort the candidates in `candidate_order`, best first; missing ones come last."""
    if p.candidate_order == _RANDOM:
        return
    candidates, relevances = session.candidates, session.relevances
    lowest, highest = math.inf, -math.inf
    for m in range(len(candidates)):
        if candidates[m] != NO_ITEM:
            item = items[candidates[m]]
            refresh = refresh_of(session, item)
            relevance = mean_answer(item, refresh)
            if p.candidate_order != _POPULARITY:
                relevance += predicted_deviation(session, item, refresh)
            if p.candidate_order == _CATEGORY:
                relevance -= 100.0 * item.category
            relevances[m] = relevance
            lowest, highest = min(lowest, relevance), max(highest, relevance)
    _sort_candidates(session, lowest, highest)


@compiled
def _sort_candidates(session, lowest, highest):
    """Sort the candidates by `session.relevances`, all in [lowest, highest], in descending order.

    A bucket sort of integers, in linear time: 31 bits of the distance from the highest relevance, then the item's id,
    which decides equal distances. Missing candidates get the largest distance.
    """
    candidates, relevances, num_candidates = session.candidates, session.relevances, len(session.candidates)
    keys, sorted_keys, ends = session.sort_keys, session.sorted_keys, session.bucket_ends
    scale = _FARTHEST / (highest - lowest) if highest > lowest else 0.0
    for bucket in range(num_candidates):
        ends[bucket] = 0
    for m in range(num_candidates):
        distance = np.int64((highest - relevances[m]) * scale) if candidates[m] != NO_ITEM else _MISSING
        keys[m] = (distance << 32) | np.int64(np.uint32(candidates[m]))
        ends[_bucket_of(keys[m], num_candidates)] += 1
    start = 0
    for bucket in range(num_candidates):
        size = ends[bucket]
        ends[bucket] = start
        start += size
    for m in range(num_candidates):
        bucket = _bucket_of(keys[m], num_candidates)
        sorted_keys[ends[bucket]] = keys[m]
        ends[bucket] += 1
    for end in range(1, num_candidates):  # an insertion sort, which moves keys within buckets only
        key, at = sorted_keys[end], end
        while at > 0 and sorted_keys[at - 1] > key:
            sorted_keys[at] = sorted_keys[at - 1]
            at -= 1
        sorted_keys[at] = key
    for m in range(num_candidates):
        candidates[m] = np.int32(np.uint32(sorted_keys[m]))


@compiled
def _bucket_of(key, num_buckets):
    return ((key >> 32) * num_buckets) >> 31


def relevance_after(
    records: np.ndarray,
    answer_variance: float,
    shown: Sequence[int] | np.ndarray,
    ratings: Sequence[float] | np.ndarray,
    times: Sequence[int] | np.ndarray,
    candidates: Sequence[int] | np.ndarray,
    now: int,
) -> np.ndarray:
    """[M, 3] float32: `observation.RELEVANCE_COLUMNS` of candidates [M] for a user with a known history.

    The posterior of the tastes is that of all answers at once, which equals updates by one answer after the other.

    Args:
        records: [I] records of kind `ITEM`.
        answer_variance: `World.answer_variance`, above 0.
        shown: [R] items shown one at a time, the oldest first.
        ratings: [R] submitted ratings, 0 without one.
        times: [R] the platform's times at which they were shown.
        candidates: [M] items.
        now: the platform's present time.
    """
    mean, factors = _estimates(records, shown, np.asarray(times, np.int64))
    precision = np.eye(NUM_TASTES) + factors.T @ factors / answer_variance
    covariance = np.linalg.inv(precision)
    tastes = covariance @ (factors.T @ (answers_of(np.asarray(ratings, np.float64)) - mean)) / answer_variance
    mean, factors = _estimates(records, candidates, np.int64(now))
    deviation = factors @ tastes
    prior, posterior = (factors**2).sum(1), ((factors @ covariance) * factors).sum(1)
    explained = 1.0 - posterior / np.where(prior > 0.0, prior, 1.0)
    columns = np.empty((len(mean), 3), np.float32)
    columns[:, 0] = np.clip((mean + deviation) / 5.0, -1.0, 1.0)
    columns[:, 1] = np.clip(deviation, -1.0, 1.0)
    columns[:, 2] = np.where(prior > 0.0, np.clip(explained, 0.0, 1.0), 0.0)
    return columns


def _estimates(records: np.ndarray, items: Sequence[int] | np.ndarray, times: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean answers [n] and factors [n, D], both float64, of items [n] as known at times [n], or at one time."""
    items = np.asarray(items, np.int64)
    refreshes = REFRESH_AT[np.clip(times - records["release_step"][items], 0, MAX_AGE)]
    factors = records["answer_factors"][items, refreshes // REFRESHES_PER_ESTIMATE]
    return records["mean_answers"][items, refreshes].astype(np.float64), factors.astype(np.float64)
