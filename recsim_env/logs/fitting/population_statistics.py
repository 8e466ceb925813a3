"""Population statistics of a fitted world as a small JSON file, and items and users drawn from them.

Shape legend: I items, U users, D factors, K topics, F item features, P profile features,
L rating levels.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np

from recsim_env.atomic_file import write_atomically
from recsim_env.logs.fitting.column_distributions import (
    NUMBER,
    GaussianCopula,
    LinearGaussian,
    is_indicator,
    set_arrays,
)
from recsim_env.logs.fitting.fitted_world import FittedWorld, ItemParameters, UserParameters

STATISTICS_VERSION = 3
"""Version of the JSON file; other versions are rejected."""

MOVIELENS_STATISTICS = files("recsim_env") / "data" / "movielens_statistics.json"
"""Statistics of MovieLens-100K, included in the package: moments only, no ratings and no titles."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PopulationStatistics:
    """Distributions of items and of users, and the rating scale."""

    version: int = STATISTICS_VERSION
    source: str
    """Name of the log."""
    num_factors: int
    """D."""
    topic_names: Sequence[str]
    feature_names: Sequence[str]
    profile_names: Sequence[str]
    rating_levels: np.ndarray
    """[L] float64, ascending."""
    rating_cuts: np.ndarray
    """[L - 1] float64, ascending."""
    item_features: GaussianCopula
    """Observable features of items: F columns."""
    item_latents: LinearGaussian
    """Quality, appeal and D factors, given the features."""
    user_profiles: GaussianCopula
    """Observable profiles of users: the columns other than categories, and the categories."""
    user_latents: LinearGaussian
    """Rating bias, log rating scale and D interests, given all P profile columns."""
    summary: dict[str, float]
    """Summary of the items and users of the log; see `summary_of`."""

    def __post_init__(self) -> None:
        num_levels = len(self.rating_levels)
        set_arrays(self, rating_levels=(num_levels,), rating_cuts=(num_levels - 1,))
        for name in ("rating_levels", "rating_cuts"):
            if not (np.diff(getattr(self, name)) > 0).all():
                raise ValueError(f"{name}={getattr(self, name).tolist()}: must ascend")
        if list(self.item_features.names) != list(self.feature_names):
            raise ValueError("the columns of item_features must be feature_names")
        if not {*self.profile_names} <= {*self.user_profiles.names, *self.user_profiles.category_names}:
            raise ValueError("a profile column is neither a column of user_profiles nor a category")
        for latents, names in ((self.item_latents, self.feature_names), (self.user_latents, self.profile_names)):
            if latents.coefficients.shape != (len(names), 2 + self.num_factors):
                raise ValueError(f"coefficients must have shape [{len(names)}, {2 + self.num_factors}]")


def summary_of(items: ItemParameters, users: UserParameters) -> dict[str, float]:
    """Standard deviations in units of rating noise, and the correlation of appeal with quality.

    `interaction_sd` is the root mean square of interests . factors over all user-item pairs.
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

    Features of zeros and ones are indicators, or genres if topics have the same names and at least 99% of the items
    have one; other features are numbers. Profile columns named `group: value` with exactly one 1 for each user are
    categories.
    """
    feature_names, topic_names = world.feature_names.tolist(), world.topic_names.tolist()
    profile_names, num_factors = world.profile_names.tolist(), world.item_factors.shape[1]
    features, profiles = world.item_features.astype(float), world.user_profiles.astype(float)
    is_genre = is_indicator(features) & np.isin(feature_names, topic_names)
    if (features[:, is_genre].sum(1) > 0).mean() < 0.99:
        is_genre[:] = False
    is_category = _category_columns(profiles, profile_names)
    category_names = world.profile_names[is_category].tolist()
    return PopulationStatistics(
        source=str(world.fit_facts.get("source", "")),
        num_factors=num_factors,
        topic_names=topic_names,
        feature_names=feature_names,
        profile_names=profile_names,
        rating_levels=world.rating_levels,
        rating_cuts=world.rating_cuts,
        item_features=GaussianCopula.fit(feature_names, features, genres=world.feature_names[is_genre].tolist()),
        item_latents=LinearGaussian.fit(
            ["quality", "appeal", *(f"factor {number + 1}" for number in range(num_factors))],
            features,
            np.column_stack([world.quality, world.appeal, world.item_factors]),
        ),
        user_profiles=GaussianCopula.fit(
            world.profile_names[~is_category].tolist(),
            profiles[:, ~is_category],
            categories=profiles[:, is_category].argmax(1) if category_names else None,
            category_names=category_names or [""],
        ),
        user_latents=LinearGaussian.fit(
            ["rating bias", "log rating scale", *(f"interest {number + 1}" for number in range(num_factors))],
            profiles,
            np.column_stack([world.rating_bias, np.log(world.rating_scale), world.interests]),
        ),
        summary=summary_of(world, world),
    )


def draw_items(statistics: PopulationStatistics, num_items: int, generator: np.random.Generator) -> ItemParameters:
    """Draw a catalogue. Topics are equal weights on an item's genres, uniform without genres."""
    features, _ = statistics.item_features.draw(num_items, generator)
    latents = statistics.item_latents.draw(features, generator)
    topic_names, topics = list(statistics.topic_names), np.zeros((num_items, len(statistics.topic_names)))
    for column, name in enumerate(statistics.feature_names):
        if name in topic_names and statistics.item_features.kinds[column] != NUMBER:
            topics[:, topic_names.index(name)] = features[:, column]
    topics[topics.sum(1) == 0] = 1.0
    return ItemParameters(
        item_factors=latents[:, 2:],
        item_topics=topics / topics.sum(1, keepdims=True),
        topic_names=np.array(topic_names),
        quality=latents[:, 0],
        appeal=latents[:, 1],
        item_features=np.clip(features, -1.0, 1.0).astype(np.float32),
        feature_names=np.array(statistics.feature_names),
    )


def draw_users(statistics: PopulationStatistics, num_users: int, generator: np.random.Generator) -> UserParameters:
    """Draw a population of users."""
    columns = statistics.user_profiles
    values, categories = columns.draw(num_users, generator)
    drawn = dict(zip(columns.names, values.T, strict=True))
    for category, name in enumerate(columns.category_names):
        drawn[name] = categories == category
    profiles = np.column_stack([drawn[name] for name in statistics.profile_names]).astype(float)
    latents = statistics.user_latents.draw(profiles, generator)
    return UserParameters(
        interests=latents[:, 2:],
        rating_bias=latents[:, 0],
        rating_scale=np.exp(latents[:, 1]),
        user_profiles=np.clip(profiles, -1.0, 1.0).astype(np.float32),
        profile_names=np.array(statistics.profile_names),
    )


def save_statistics(statistics: PopulationStatistics, path: Path | str) -> None:
    """Write a JSON file atomically, with six significant digits.

    Raises:
        OSError: `path` cannot be written.
    """
    text = json.dumps(dataclasses.asdict(statistics), default=np.ndarray.tolist)
    rounded = json.loads(text, parse_float=lambda digits: float(f"{float(digits):.6g}"))
    write_atomically(Path(path), f"{json.dumps(rounded, indent=1)}\n".encode())


def load_statistics(path: Traversable | str = MOVIELENS_STATISTICS) -> PopulationStatistics:
    """Read a file written by `save_statistics`, by default that of the package.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is invalid or of another version.
    """
    try:
        content = json.loads((Path(path) if isinstance(path, str) else path).read_text(encoding="utf-8"))
        if content["version"] != STATISTICS_VERSION:
            raise ValueError(f"version {content['version']}, expected {STATISTICS_VERSION}")
        for name in ("item_features", "user_profiles"):
            content[name] = GaussianCopula(**content[name])
        for name in ("item_latents", "user_latents"):
            content[name] = LinearGaussian(**content[name])
        return PopulationStatistics(**content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: not population statistics ({type(error).__name__}: {error})") from error


def _category_columns(profiles: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """[P] bool: the columns of the first group of columns `group: value` with exactly one 1 for each user."""
    groups = [name.partition(": ")[0] if ": " in name else "" for name in names]
    for group in dict.fromkeys(filter(None, groups)):
        columns = np.array([each == group for each in groups])
        values = profiles[:, columns]
        if is_indicator(values).all() and (values.sum(1) == 1).all():
            return columns
    return np.zeros(len(groups), bool)
