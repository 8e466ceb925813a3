"""A ratings log to be replayed: the people of one split, and item statistics from other people.

The catalogue has the items that people of `train` rated, in order of their first rating; ratings of other items are
left out. Statistics and the platform's ranking come from the people of `train`, never from the people replayed: where
those are of `train` themselves, one half of them is replayed, and the other half gives the statistics.

Shape legend: I items, U people, D tastes, P profile features.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsim_env.atomic_file import printable
from recsim_env.config import PopulationConfig
from recsim_env.logs.fitting.factorization import FACTOR_RIDGES, Ratings, chosen_ridges, fit_factors
from recsim_env.logs.reading.ratings_log import RatingsLog, positions_of
from recsim_env.simulation.observation import STATISTICS, scaled_impressions
from recsim_env.simulation.records import NUM_TASTES
from recsim_env.simulation.relevance import answers_of
from recsim_env.simulation.replay_simulator import RealRatings
from recsim_env.world.catalog import Items
from recsim_env.world.population import Users
from recsim_env.world.splits import split_indices

AGE = 512
"""Age of all items at the start of a session, in steps: their statistics do not change any more."""

MIN_PEOPLE = 10
"""People that a log needs, so that there are some in each split."""

MIN_RATINGS = 2
"""Rated items of the catalogue that a person needs to be replayed: with one there is nothing to choose."""

_SPLIT, _HALF, _FACTORS = range(7_001, 7_004)  # keys of generators
_LARGEST_RIDGE = max(FACTOR_RIDGES)  # where biases alone predict best, so that factors are nearly 0


@dataclass(frozen=True, kw_only=True)
class ReplayedLog:
    """Items, people, their ratings, and the answers of other people."""

    items: Items
    users: Users
    ratings: RealRatings
    item_statistics: np.ndarray
    """[I, 4] float32: as in `item_statistics.background_statistics`; an impression is a rating, and every one a click.
    """
    mean_answers: np.ndarray
    """[I] float64, 0..5."""
    answer_factors: np.ndarray
    """[I, D] float64: for tastes with mean 0 and variance 1; see `simulation.relevance`."""
    answer_variance: float
    """Of an answer around its mean plus factors times tastes."""


def read_replayed_log(path: str | Path, split: str, population: PopulationConfig) -> ReplayedLog:
    """Read a log and prepare the people of `split` (`train`, `validation` or `test`).

    Raises:
        ImportError: polars, which reads logs, is missing.
        ValueError: the log is invalid or too small, or a fitted world is given instead; one line.
    """
    if Path(path).suffix == ".npz":
        raise ValueError(f"{printable(path)}: a fitted world; Replay needs the ratings log itself")
    from recsim_env.logs.reading.ratings_reader import read_log  # needs polars

    log = read_log(path)
    if len(log.user_ids) < MIN_PEOPLE:
        raise ValueError(f"{printable(path)}: {len(log.user_ids)} people; Replay needs at least {MIN_PEOPLE}")
    catalog, others, played = train_log(log), people_of(log, "train"), people_of(log, split)
    if split == "train":
        shuffled = _generator(_HALF).permutation(played)
        played, others = np.sort(shuffled[: len(played) // 2]), np.sort(shuffled[len(played) // 2 :])
    places = positions_of(log.item_ids, catalog.item_ids)
    ratings, people = _real_ratings(log, played, places)
    if not len(people):
        raise ValueError(
            f"{printable(path)}: nobody of split={split!r} rated {MIN_RATINGS} items that people of 'train' rated; "
            "Replay needs a larger log"
        )
    is_known = np.isin(log.users, others)
    known = Ratings(
        np.unique(log.users[is_known], return_inverse=True)[1],
        places[log.items[is_known]],
        log.ratings[is_known],
        len(others),
        len(catalog.item_ids),
    )
    means, factors, variance = ranking_of(known)
    return ReplayedLog(
        items=_items(catalog),
        users=_users(log, people, population),
        ratings=ratings,
        item_statistics=statistics_of(known),
        mean_answers=means,
        answer_factors=factors,
        answer_variance=variance,
    )


def people_of(log: RatingsLog, split: str) -> np.ndarray:
    """Indices of the people of a split into `log.user_ids`, ascending."""
    return split_indices(len(log.user_ids), split, _generator(_SPLIT))


def train_log(log: RatingsLog) -> RatingsLog:
    """The ratings of the people of `train`, to fit a world that knows nothing of the people replayed."""
    return log.of_users(people_of(log, "train"))


def statistics_of(ratings: Ratings) -> np.ndarray:
    """[I, 4] float32: `STATISTICS` of each item and its number of ratings; 0 without one."""
    counts = np.bincount(ratings.items, minlength=ratings.num_items)
    totals = np.bincount(ratings.items, ratings.values, ratings.num_items)
    statistics = np.zeros((ratings.num_items, len(STATISTICS) + 1), np.float32)
    statistics[:, 0] = scaled_impressions(counts)
    statistics[:, 1] = counts > 0
    statistics[:, 2] = totals / np.maximum(counts, 1) / 5.0
    statistics[:, 3] = counts
    return statistics


def ranking_of(ratings: Ratings) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean answers [I], their factors [I, D] and the variance of the noise; see `simulation.relevance`.

    A biased matrix factorisation of the answers, y = mu + b_u + b_i + p_u . q_i + noise, in which b_u is one of the D
    tastes. With the mean m and the covariance C of the tastes (b_u, p_u) over people, and v_i = (1, q_i), the mean
    answer is mu + b_i + v_i . m, and the factors are C^(1/2) v_i. The ridges shrink them, so that the ranking learns a
    person's tastes with caution.
    """
    answers = ratings._replace(values=answers_of(ratings.values))
    generator, num_factors = _generator(_FACTORS), NUM_TASTES - 1
    ridges = chosen_ridges(answers, num_factors, generator)
    ridges = ridges._replace(factors=min(ridges.factors, _LARGEST_RIDGE))
    fitted = fit_factors(answers, num_factors, ridges, generator)
    tastes = np.c_[fitted.user_bias, fitted.user_factors]
    vectors = np.c_[np.ones(ratings.num_items), fitted.item_factors]
    deviations = tastes - tastes.mean(0)
    variances, axes = np.linalg.eigh(np.einsum("ud,ue->de", deviations, deviations) / len(tastes))
    factors = np.einsum("id,de->ie", vectors, axes * np.sqrt(np.maximum(variances, 0.0)))
    means = fitted.mean + fitted.item_bias + np.einsum("id,d->i", vectors, tastes.mean(0))
    residuals = answers.values - fitted.predict(answers.users, answers.items)
    return np.clip(means, 0.0, 5.0), factors, max(float((residuals**2).mean()), 1e-3)


def _generator(purpose: int) -> np.random.Generator:
    return np.random.default_rng(purpose)


def _real_ratings(log: RatingsLog, played: np.ndarray, places: np.ndarray) -> tuple[RealRatings, np.ndarray]:
    """The ratings of `played` of items in the catalogue, and [U] the people who have enough of them."""
    is_usable = np.isin(log.users, played) & (places[log.items] >= 0)
    counts = np.bincount(log.users[is_usable], minlength=len(log.user_ids))
    is_usable &= counts[log.users] >= MIN_RATINGS
    rows = np.flatnonzero(is_usable)
    rows = rows[np.lexsort((places[log.items[rows]], log.users[rows]))]
    people, starts = np.unique(log.users[rows], return_index=True)
    ratings = RealRatings(
        starts=np.append(starts, len(rows)).astype(np.int64),
        items=places[log.items[rows]].astype(np.int32),
        ratings=log.ratings[rows],
    )
    return ratings, people


def _items(catalog: RatingsLog) -> Items:
    """Items whose latent attributes are unknown, and 0."""
    num_items = len(catalog.item_ids)
    return Items(
        factors=np.zeros((num_items, 1)),
        topics=catalog.item_topics,
        quality=np.zeros(num_items),
        appeal=np.zeros(num_items),
        prices=np.zeros(num_items),
        creators=np.zeros(num_items, np.int64),
        features=catalog.item_features,
        observed_topics=catalog.item_topics,
        feature_names=tuple(catalog.feature_names.tolist()),
        topic_names=tuple(catalog.topic_names.tolist()),
        title=lambda item: str(catalog.titles[item]),
        ids=tuple(catalog.item_ids.tolist()),
    )


def _users(log: RatingsLog, people: np.ndarray, population: PopulationConfig) -> Users:
    """People whose latent state is unknown, and 0; they are never out of patience."""
    size = len(people)
    return Users(
        interests=np.zeros((size, 1)),
        rating_bias=np.zeros(size),
        rating_scale=np.ones(size),
        patience=np.full(size, population.patience_mean),
        receptiveness=np.zeros(size),
        budget=np.zeros(size),
        profiles=log.user_profiles[people],
        profile_names=tuple(log.profile_names.tolist()),
        ids=tuple(log.user_ids[people].tolist()),
    )
