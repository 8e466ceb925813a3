"""The items of a catalogue: how they are drawn, when they arrive and retire, and what the platform knows of them.

Shape legend: I items, K topics, D interest factors, F content features, A ages at which statistics are refreshed,
U sampled users.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recsim_env.config import BehaviourConfig, CatalogConfig
from recsim_env.content import draw_features, feature_names_of, make_title, topic_names_of
from recsim_env.population import Users
from recsim_env.user_model import item_dtype

STATISTICS = ("impressions", "click_rate", "mean_rating")
"""Observed item statistics, each scaled to 0..1: log2(1 + impressions) / 32, clicks / impressions, stars / 5."""

NUM_REFRESHES = 16
"""Statistics are refreshed when an item is released and at the ages of 1, 2, 4, ... 2**14 steps."""

_ITEMS_AT_ONCE = 4_096
_SAMPLED_USERS = 256
_END_OF_TIME = 2.0**62


@dataclass(frozen=True, kw_only=True)
class Items:
    """What items are, in the order in which they arrive."""

    factors: np.ndarray
    """[I, D] float64: what interests multiply (latent)."""
    topics: np.ndarray
    """[I, K] float64 on the simplex: what satiates (latent)."""
    quality: np.ndarray
    """[I] float64: what an item is worth after consumption (latent)."""
    appeal: np.ndarray
    """[I] float64: what makes one click (latent)."""
    features: np.ndarray
    """[I, F] float32 in [-1, 1]: content that anyone can see."""
    feature_names: Sequence[str]
    topic_names: Sequence[str]
    title: Callable[[int], str]
    """The title of one item, made when it is asked for."""

    def __len__(self) -> int:
        return len(self.quality)


def draw_synthetic_items(config: CatalogConfig, generator: np.random.Generator, title_key: int) -> Items:
    """Items whose factors are their topics: theta ~ Dirichlet(c), (quality, appeal) ~ bivariate normal."""
    num_items, num_topics = config.num_items, config.num_topics
    topics = generator.dirichlet(np.full(num_topics, config.topic_concentration), num_items)
    correlation = config.appeal_quality_correlation
    quality = generator.standard_normal(num_items)
    independent = generator.standard_normal(num_items)
    appeal = correlation * quality + np.sqrt(1.0 - correlation**2) * independent
    quality, appeal = config.quality_sd * quality, config.appeal_sd * appeal

    def title(item: int) -> str:
        return make_title(topics[item], float(quality[item]), float(appeal[item]), title_key, item)

    return Items(
        factors=topics,
        topics=topics,
        quality=quality,
        appeal=appeal,
        features=draw_features(topics, quality, appeal, config, generator),
        feature_names=feature_names_of(num_topics),
        topic_names=topic_names_of(num_topics),
        title=title,
    )


def release_steps(num_items: int, arrivals_per_step: float, generator: np.random.Generator) -> np.ndarray:
    """[I] int64, ascending: platform time of each release, a Poisson process; all 0 if nothing ever arrives."""
    if arrivals_per_step == 0.0:
        return np.zeros(num_items, np.int64)
    times = np.cumsum(generator.exponential(min(1.0 / arrivals_per_step, _END_OF_TIME), num_items))
    return np.minimum(times, _END_OF_TIME).astype(np.int64)


def item_records(items: Items, config: CatalogConfig, generator: np.random.Generator) -> np.ndarray:
    """[I] records of `user_model.item_dtype`: the latent side of the catalogue, in order of release."""
    records = np.zeros(len(items), item_dtype(items.factors.shape[1], items.topics.shape[1]))
    for name in ("factors", "topics", "quality", "appeal"):
        records[name] = getattr(items, name)
    records["release_step"] = release_steps(len(items), config.arrivals_per_step, generator)
    never = config.arrivals_per_step == 0.0
    records["retire_step"] = np.iinfo(np.int64).max if never else records["release_step"] + config.shelf_life
    return records


def population_response(
    items: Items, users: Users, behaviour: BehaviourConfig, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How a trusting, unsatiated population answers each item shown alone.

    Returns three [I] float64 arrays: the share that clicks; the mean and the standard deviation of the ratings
    that those who click give.
    """
    chosen = generator.choice(len(users), min(_SAMPLED_USERS, len(users)), replace=False)
    interests, bias, scale = users.interests[chosen], users.rating_bias[chosen], users.rating_scale[chosen]
    noise = generator.standard_normal(len(chosen))
    cuts = np.asarray(behaviour.rating_cuts)
    click_rate, mean, deviation = (np.empty(len(items)) for _ in range(3))
    for start in range(0, len(items), _ITEMS_AT_ONCE):
        block = slice(start, start + _ITEMS_AT_ONCE)
        affinity = items.factors[block] @ interests.T  # [block, U]
        utility = (
            behaviour.choice_intercept
            + behaviour.choice_affinity * affinity
            + behaviour.choice_appeal * items.appeal[block, None]
        )
        click = 1.0 / (1.0 + np.exp(-np.clip(utility, -500.0, 500.0)))
        worth = behaviour.rating_affinity * affinity + behaviour.rating_quality * items.quality[block, None]
        opinion = bias + scale * (worth + behaviour.rating_noise * noise)
        rating = 1.0 + np.searchsorted(cuts, opinion)
        weight = click / np.maximum(click.sum(1, keepdims=True), 1e-12)
        click_rate[block] = click.mean(1)
        mean[block] = (weight * rating).sum(1)
        deviation[block] = np.sqrt((weight * (rating - mean[block, None]) ** 2).sum(1))
    return click_rate, mean, deviation


def background_statistics(
    items: Items,
    users: Users,
    config: CatalogConfig,
    behaviour: BehaviourConfig,
    generator: np.random.Generator,
) -> np.ndarray:
    """[A, I, 3] float32 in [0, 1]: `STATISTICS` of every item at each refresh, zero at its release.

    The rest of the platform is shown an item `impressions_per_step` times in a step, clicks as the population
    does and rates what it clicks; the counts accumulate from one refresh to the next.
    """
    click_rate, mean, deviation = population_response(items, users, behaviour, generator)
    statistics = np.zeros((NUM_REFRESHES, len(items), len(STATISTICS)), np.float32)
    impressions, clicks, ratings, stars = (np.zeros(len(items)) for _ in range(4))
    age = 0
    for refresh in range(1, NUM_REFRESHES):
        next_age = 2 ** (refresh - 1)
        new_impressions = generator.poisson(config.impressions_per_step * (next_age - age), len(items))
        new_clicks = generator.binomial(new_impressions, click_rate)
        new_ratings = generator.binomial(new_clicks, behaviour.rating_probability)
        error = deviation * np.sqrt(new_ratings) * generator.standard_normal(len(items))
        new_stars = np.clip(mean * new_ratings + error, new_ratings, 5.0 * new_ratings)
        impressions, clicks = impressions + new_impressions, clicks + new_clicks
        ratings, stars = ratings + new_ratings, stars + new_stars
        statistics[refresh, :, 0] = np.log2(1.0 + impressions) / 32.0
        statistics[refresh, :, 1] = clicks / np.maximum(impressions, 1.0)
        statistics[refresh, :, 2] = stars / np.maximum(ratings, 1.0) / 5.0
        age = next_age
    return np.clip(statistics, 0.0, 1.0)
