"""A catalogue in a few numbers: how its items are clicked and rated by all users, as a platform knows it.

They tell a model how a scenario works before the first step of a session: whether clicks are rare, whether appeal is
a promise of quality or clickbait, and how much users differ.

Shape legend: I items, F content features, D tastes.
"""

from typing import Any

import numpy as np

from recsim_env.simulation.observation import num_impressions
from recsim_env.simulation.relevance import REFRESH_AT
from recsim_env.simulation.simulator import Simulator

CATALOG_SUMMARY = (
    "catalog: impressions",
    "catalog: click rate",
    "catalog: click rate sd",
    "catalog: mean rating",
    "catalog: mean rating sd",
    "catalog: clicks and ratings",
    "catalog: quality cue and clicks",
    "catalog: quality cue and ratings",
    "catalog: appeal cue and clicks",
    "catalog: appeal cue and ratings",
    "catalog: price and clicks",
    "catalog: taste sd",
    "catalog: answer sd",
)
"""Over all items at the age of `_AGE` steps, with more weight for more impressions: log2(1 + impressions) / 16; four
times the mean click rate; eight times its standard deviation; half the mean rating above 3; its standard deviation;
correlations of two item statistics, or of a content feature and a statistic (0 without the feature); the standard
deviation of the users' predictable answers (`simulation.relevance`) and that of the rest, each halved."""

_AGE = 32
_MANY = 20.0  # impressions that half suffice
_PAIRS = (
    ("click rate", "rating"),
    ("quality cue", "click rate"),
    ("quality cue", "rating"),
    ("appeal cue", "click rate"),
    ("appeal cue", "rating"),
    ("price / (price + mean price)", "click rate"),
)


def catalog_summary(simulator: Simulator) -> list[float]:
    """The values of `CATALOG_SUMMARY` in a world."""
    world = simulator.world
    statistics = world.item_statistics[REFRESH_AT[_AGE]]
    scaled, click_rates, mean_ratings = statistics[:, :3].astype(np.float64).T  # [I] each
    impressions = num_impressions(statistics)
    ratings = 2.5 * (mean_ratings - 0.6)
    weights = impressions / (impressions + _MANY)
    rated = weights * (mean_ratings > 0.0)
    columns = {name: world.items.features[:, n] for n, name in enumerate(world.items.feature_names)}
    columns |= {"click rate": click_rates, "rating": ratings}
    click_rate, click_rate_sd = _moments(click_rates, weights)
    rating, rating_sd = _moments(ratings, rated)
    factors = world.item_records["answer_factors"][:, -1].astype(np.float64)  # [I, D]
    return [
        float(scaled.mean()) * 2.0,
        4.0 * click_rate,
        8.0 * click_rate_sd,
        rating,
        rating_sd,
        *(_correlation(columns.get(a), columns[b], rated if b == "rating" else weights) for a, b in _PAIRS),
        0.5 * float(np.sqrt((factors**2).sum(1).mean())),
        0.5 * float(np.sqrt(world.answer_variance)),
    ]


def _moments(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Weighted mean and standard deviation; 0 without weight."""
    total = max(float(weights.sum()), 1e-9)
    mean = float((weights * values).sum()) / total
    return mean, float(np.sqrt((weights * (values - mean) ** 2).sum() / total))


def _correlation(a: Any, b: np.ndarray, weights: np.ndarray) -> float:
    """Weighted correlation of two columns; 0 if one is missing or constant."""
    if a is None:
        return 0.0
    (mean_a, sd_a), (mean_b, sd_b) = _moments(a, weights), _moments(b, weights)
    covariance = float((weights * (a - mean_a) * (b - mean_b)).sum()) / max(float(weights.sum()), 1e-9)
    return covariance / (sd_a * sd_b) if sd_a * sd_b > 1e-9 else 0.0
