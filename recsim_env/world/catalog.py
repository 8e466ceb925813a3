"""The items of a catalogue: drawn or taken from a log, with times of release and retirement.

Shape legend: I items, K topics, D interest factors, F content features, C creators.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recsim_env.config import CatalogConfig
from recsim_env.logs.fitting.fitted_world import ItemParameters
from recsim_env.simulation.records import ITEM, WorldSizes, dtypes
from recsim_env.world.audio import draw_audio
from recsim_env.world.images import draw_images
from recsim_env.world.titles import draw_features, feature_names_of, make_title, topic_names_of

PRICE_FEATURE = "price / (price + mean price)"
"""Name of the content feature of prices."""

_END_OF_TIME = 2.0**62


@dataclass(frozen=True, kw_only=True)
class Items:
    """Items of a catalogue, in order of release."""

    factors: np.ndarray
    """[I, D] float64: multiplied by interests (latent)."""
    topics: np.ndarray
    """[I, K] float64 on the simplex: satiate (latent)."""
    quality: np.ndarray
    """[I] float64: value after consumption (latent)."""
    appeal: np.ndarray
    """[I] float64: attraction before consumption (latent)."""
    prices: np.ndarray
    """[I] float64; 0 where items are not for sale."""
    creators: np.ndarray
    """[I] int64: creator of each item; all 0 where there is one creator."""
    features: np.ndarray
    """[I, F] float32 in [-1, 1]: observable content."""
    observed_topics: np.ndarray
    """[I, K], non-negative: the topics as observed."""
    feature_names: Sequence[str]
    topic_names: Sequence[str]
    title: Callable[[int], str]
    """The title of one item, generated on demand."""
    ids: Sequence[str] | None = None
    """[I] ids of the ratings log that the items come from; None without one."""
    images: Callable[[np.ndarray], np.ndarray] | None = None
    """[n] ids to [n, 3, 32, 32] uint8: images, generated on demand; None without images."""
    audio: Callable[[np.ndarray], np.ndarray] | None = None
    """[n] ids to [n, 32, 32] float32 in [0, 1]: log-mel patches, bands by frames; None without audio."""

    def __len__(self) -> int:
        return len(self.quality)


def draw_synthetic_items(
    config: CatalogConfig, structure_generator: np.random.Generator, generator: np.random.Generator, content_key: int
) -> Items:
    """Draw synthetic items, whose factors are their topics. `structure_generator` draws the creators.

    Topics: theta_i = s theta_creator + (1 - s) theta_item, each ~ Dirichlet(c), with s = `creator_share`. (Quality,
    appeal) ~ bivariate normal; the creator explains the share s of the variance of quality. Price ~ log-normal.
    """
    num_items, num_topics, share = config.num_items, config.num_topics, config.creator_share
    concentration = np.full(num_topics, config.topic_concentration)
    topics = generator.dirichlet(concentration, num_items)
    quality = generator.standard_normal(num_items)
    independent = generator.standard_normal(num_items)
    creators = generator.integers(config.num_creators, size=num_items)
    if share > 0.0:
        creator_topics = structure_generator.dirichlet(concentration, config.num_creators)
        topics = share * creator_topics[creators] + (1.0 - share) * topics
        creator_quality = structure_generator.standard_normal(config.num_creators)[creators]
        quality = np.sqrt(share) * creator_quality + np.sqrt(1.0 - share) * quality
    correlation = config.appeal_quality_correlation
    appeal = correlation * quality + np.sqrt(1.0 - correlation**2) * independent
    quality, appeal = config.quality_sd * quality, config.appeal_sd * appeal
    features = draw_features(topics, quality, appeal, config, generator)
    prices = log_normal(config.price_mean, config.price_sd, num_items, generator)
    names = feature_names_of(num_topics)
    if config.price_mean > 0.0:
        relative = prices / (prices + config.price_mean)
        features = np.column_stack([features, relative.astype(np.float32)])
        names = (*names, PRICE_FEATURE)

    def title(item: int) -> str:
        return make_title(topics[item], float(quality[item]), float(appeal[item]), content_key, item)

    def images(ids: np.ndarray) -> np.ndarray:
        return draw_images(topics[ids], quality[ids], appeal[ids], content_key, np.asarray(ids))

    def audio(ids: np.ndarray) -> np.ndarray:
        return draw_audio(topics[ids], quality[ids], appeal[ids], content_key, np.asarray(ids))

    return Items(
        factors=topics,
        topics=topics,
        quality=quality,
        appeal=appeal,
        prices=prices,
        creators=creators,
        features=features,
        observed_topics=np.maximum(features[:, :num_topics], 0.0),
        feature_names=names,
        topic_names=topic_names_of(num_topics),
        title=title,
        images=images,
        audio=audio if config.has_audio else None,
    )


def items_from_log(source: ItemParameters, chosen: np.ndarray) -> Items:
    """The chosen items of a fitted log in its order of arrival, or of items drawn from a log's statistics."""
    titles, ids = getattr(source, "titles", None), getattr(source, "item_ids", None)

    def title(item: int) -> str:
        if titles is not None:
            return str(titles[chosen[item]])
        topics = np.flatnonzero(source.item_topics[chosen[item]])
        return f"Film {item + 1} ({', '.join(str(source.topic_names[k]) for k in topics)})"

    return Items(
        factors=source.item_factors[chosen],
        topics=source.item_topics[chosen],
        quality=source.quality[chosen],
        appeal=source.appeal[chosen],
        prices=np.zeros(len(chosen)),
        creators=np.zeros(len(chosen), np.int64),
        features=source.item_features[chosen],
        observed_topics=source.item_topics[chosen],
        feature_names=tuple(str(name) for name in source.feature_names),
        topic_names=tuple(str(name) for name in source.topic_names),
        title=title,
        ids=None if ids is None else tuple(ids[chosen].tolist()),
    )


def log_normal(mean: float, sd: float, size: int, generator: np.random.Generator) -> np.ndarray:
    """[size] float64 draws with that mean and that standard deviation of the logarithm."""
    return mean * np.exp(sd * generator.standard_normal(size) - 0.5 * sd**2)


def release_steps(num_items: int, arrivals_per_step: float, generator: np.random.Generator) -> np.ndarray:
    """[I] int64, ascending: platform time of each release, a Poisson process; all 0 without arrivals."""
    if arrivals_per_step == 0.0:
        return np.zeros(num_items, np.int64)
    times = np.cumsum(generator.exponential(min(1.0 / arrivals_per_step, _END_OF_TIME), num_items))
    return np.minimum(times, _END_OF_TIME).astype(np.int64)


def item_records(items: Items, sizes: WorldSizes, config: CatalogConfig, generator: np.random.Generator) -> np.ndarray:
    """[I] records of kind `ITEM`, in order of release."""
    records = np.zeros(len(items), dtypes(sizes)[ITEM])
    records["index"] = np.arange(len(items))
    for name in ("factors", "topics", "quality", "appeal"):
        records[name] = getattr(items, name)
    records["price"], records["creator"] = items.prices, items.creators
    records["category"] = items.observed_topics.argmax(1)
    records["release_step"] = release_steps(len(items), config.arrivals_per_step, generator)
    never = config.arrivals_per_step == 0.0
    records["retire_step"] = np.iinfo(np.int64).max if never else records["release_step"] + config.item_lifetime
    return records
