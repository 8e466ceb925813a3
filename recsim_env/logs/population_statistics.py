"""Population statistics of a fitted world as a small JSON, and new items and users drawn from them.

Shape legend: I items, U users, D factors, K topics, F item features, P profile features.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsim_env.atomic_file import write_atomically
from recsim_env.logs.fitted_world import FittedWorld
from recsim_env.logs.gaussian_copula import GENRE, INDICATOR, NUMBER, GaussianCopula
from recsim_env.logs.json_dataclasses import as_text, from_content
from recsim_env.logs.linear_gaussian import LinearGaussian

STATISTICS_VERSION = 2
"""Version of the JSON; other versions are rejected."""

MOVIELENS_STATISTICS = Path(__file__).parent.parent / "data" / "movielens_statistics.json"
"""Statistics of MovieLens-100K, part of the package: moments only, no rows and no titles."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PopulationStatistics:
    """Distributions of items and of users, and the rating scale."""

    version: int = STATISTICS_VERSION
    source: str
    """Name of the log."""
    num_factors: int
    """D."""
    topic_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    profile_names: tuple[str, ...]
    rating_cuts: np.ndarray
    """[4] float64, ascending."""
    item_features: GaussianCopula
    """Observable features of items: F columns."""
    item_latents: LinearGaussian
    """Quality, appeal and D factors, given the features."""
    user_profiles: GaussianCopula
    """Observable profiles of users: the columns that are not categories, and the categories."""
    user_latents: LinearGaussian
    """Rating bias, log rating scale and D interests, given all P profile columns."""
    summary: dict[str, float]
    """Summary of the items and users of the log; see `summary_of`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnItems:
    """Items drawn from the statistics; fields as in `FittedWorld`."""

    item_factors: np.ndarray
    item_topics: np.ndarray
    topic_names: tuple[str, ...]
    quality: np.ndarray
    appeal: np.ndarray
    item_features: np.ndarray
    feature_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnUsers:
    """Users drawn from the statistics; fields as in `FittedWorld`."""

    interests: np.ndarray
    rating_bias: np.ndarray
    rating_scale: np.ndarray
    user_profiles: np.ndarray
    profile_names: tuple[str, ...]


def summary_of(items: FittedWorld | DrawnItems, users: FittedWorld | DrawnUsers) -> dict[str, float]:
    """Standard deviations in units of rating noise, and the correlation of appeal with quality.

    `interaction_sd` is the root mean square of interests . factors over all pairs of a user and an item.
    """
    interest_moments = users.interests.T @ users.interests / len(users.interests)
    factor_moments = items.item_factors.T @ items.item_factors / len(items.item_factors)
    constant = items.appeal.std() < 1e-9 or items.quality.std() < 1e-9
    correlation = 0.0 if constant else np.corrcoef(items.appeal, items.quality)[0, 1]
    return {
        "interaction_sd": float(np.sqrt(np.trace(interest_moments @ factor_moments))),
        "quality_sd": float(items.quality.std()),
        "rating_bias_sd": float(users.rating_bias.std()),
        "log_rating_scale_sd": float(np.log(users.rating_scale).std()),
        "appeal_quality_correlation": float(correlation),
    }


def statistics_of(world: FittedWorld) -> PopulationStatistics:
    """Estimate the statistics of a fitted world.

    Features of zeros and ones are indicators (genres, if topics have the same names and at least 99% of the items have
    one), others are numbers. Profile columns named `group: value`, exactly one 1 for each user, are categories.
    """
    feature_names, topic_names = tuple(world.feature_names.tolist()), tuple(world.topic_names.tolist())
    profile_names = tuple(world.profile_names.tolist())
    num_factors = world.item_factors.shape[1]
    features, profiles = world.item_features.astype(float), world.user_profiles.astype(float)
    is_genre = _is_indicator(features) & np.array([name in topic_names for name in feature_names])
    if (features[:, is_genre].sum(1) > 0).mean() < 0.99:
        is_genre[:] = False
    feature_kinds = np.where(is_genre, GENRE, np.where(_is_indicator(features), INDICATOR, NUMBER))
    is_category = _category_columns(profiles, profile_names)
    columns, categories = profiles[:, ~is_category], profiles[:, is_category]
    column_names, category_names = (
        tuple(name for name, inside in zip(profile_names, which, strict=True) if inside)
        for which in (~is_category, is_category)
    )
    return PopulationStatistics(
        source=str(world.fit_facts.get("source", "")),
        num_factors=num_factors,
        topic_names=topic_names,
        feature_names=feature_names,
        profile_names=profile_names,
        rating_cuts=world.rating_cuts,
        item_features=GaussianCopula.fit(
            feature_names, feature_kinds.tolist(), features, np.zeros(len(features), int), ("",)
        ),
        item_latents=LinearGaussian.fit(
            ("quality", "appeal", *_numbered("factor", num_factors)),
            features,
            np.column_stack([world.quality, world.appeal, world.item_factors]),
        ),
        user_profiles=GaussianCopula.fit(
            column_names,
            np.where(_is_indicator(columns), INDICATOR, NUMBER).tolist(),
            columns,
            categories.argmax(1) if category_names else np.zeros(len(profiles), int),
            category_names or ("",),
        ),
        user_latents=LinearGaussian.fit(
            ("rating bias", "log rating scale", *_numbered("interest", num_factors)),
            profiles,
            np.column_stack([world.rating_bias, np.log(world.rating_scale), world.interests]),
        ),
        summary=summary_of(world, world),
    )


def draw_items(statistics: PopulationStatistics, num_items: int, generator: np.random.Generator) -> DrawnItems:
    """Draw a catalogue with `generator`. Topics are equal weights on an item's genres, uniform without genres."""
    features, _ = statistics.item_features.draw(num_items, generator)
    latents = statistics.item_latents.draw(features, generator)
    topics = np.zeros((num_items, len(statistics.topic_names)))
    for column, name in enumerate(statistics.feature_names):
        if name in statistics.topic_names and statistics.item_features.kinds[column] != NUMBER:
            topics[:, statistics.topic_names.index(name)] = features[:, column]
    topics[topics.sum(1) == 0] = 1.0
    return DrawnItems(
        item_factors=latents[:, 2:],
        item_topics=topics / topics.sum(1, keepdims=True),
        topic_names=statistics.topic_names,
        quality=latents[:, 0],
        appeal=latents[:, 1],
        item_features=np.clip(features, -1.0, 1.0).astype(np.float32),
        feature_names=statistics.feature_names,
    )


def draw_users(statistics: PopulationStatistics, num_users: int, generator: np.random.Generator) -> DrawnUsers:
    """Draw a population with `generator`."""
    columns = statistics.user_profiles
    values, categories = columns.draw(num_users, generator)
    profiles = np.zeros((num_users, len(statistics.profile_names)))
    for column, name in enumerate(statistics.profile_names):
        if name in columns.names:
            profiles[:, column] = values[:, columns.names.index(name)]
        else:
            profiles[:, column] = categories == columns.category_names.index(name)
    latents = statistics.user_latents.draw(profiles, generator)
    return DrawnUsers(
        interests=latents[:, 2:],
        rating_bias=latents[:, 0],
        rating_scale=np.exp(latents[:, 1]),
        user_profiles=np.clip(profiles, -1.0, 1.0).astype(np.float32),
        profile_names=statistics.profile_names,
    )


def save_statistics(statistics: PopulationStatistics, path: Path | str) -> None:
    """Write the JSON atomically, with six significant digits.

    Raises:
        OSError: `path` cannot be written.
    """
    write_atomically(Path(path), as_text(statistics).encode())


def load_statistics(path: Path | str = MOVIELENS_STATISTICS) -> PopulationStatistics:
    """Read the file of `save_statistics`, by default the statistics in the package.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not valid, or has another version.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["version"] != STATISTICS_VERSION:
            raise ValueError(f"version {content['version']}, expected {STATISTICS_VERSION}")
        statistics = from_content(PopulationStatistics, content)
        _check(statistics)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: not population statistics ({type(error).__name__}: {error})") from error
    return statistics


def _check(statistics: PopulationStatistics) -> None:
    cuts = statistics.rating_cuts
    if cuts.shape != (4,) or not (np.diff(cuts) > 0).all():
        raise ValueError(f"rating_cuts={cuts.tolist()}: must be 4 ascending numbers")
    if statistics.item_features.names != statistics.feature_names:
        raise ValueError("the columns of item_features must be feature_names")
    columns = {*statistics.user_profiles.names, *statistics.user_profiles.category_names}
    if not set(statistics.profile_names) <= columns:
        raise ValueError("a profile column is neither a column of user_profiles nor a category")
    num_latent = 2 + statistics.num_factors
    for latents, names in (
        (statistics.item_latents, statistics.feature_names),
        (statistics.user_latents, statistics.profile_names),
    ):
        if latents.coefficients.shape != (len(names), num_latent):
            raise ValueError(f"coefficients must have shape [{len(names)}, {num_latent}]")


def _numbered(name: str, count: int) -> list[str]:
    return [f"{name} {number + 1}" for number in range(count)]


def _is_indicator(values: np.ndarray) -> np.ndarray:
    return ((values == 0.0) | (values == 1.0)).all(0)


def _category_columns(profiles: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """[P] bool: the columns of the first group of columns `group: value` with exactly one 1 for each user."""
    groups = [name.partition(": ")[0] if ": " in name else "" for name in names]
    for group in dict.fromkeys(each for each in groups if each):
        columns = np.array([each == group for each in groups])
        values = profiles[:, columns]
        if _is_indicator(values).all() and (values.sum(1) == 1).all():
            return columns
    return np.zeros(len(groups), bool)
