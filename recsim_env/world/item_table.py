"""A catalogue from a table of items, for agents that recommend to real users: nothing is known of the users.

Shape legend: I items, F content features.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recsim_env.atomic_file import printable
from recsim_env.config import MAX_CREATORS, PopulationConfig
from recsim_env.simulation.observation import STATISTICS, scaled_impressions
from recsim_env.world.catalog import PRICE_FEATURE, Items
from recsim_env.world.population import Users

_COUNTS = ("impressions", "clicks", "num_ratings")
_LIMITS = dict.fromkeys(_COUNTS, (0.0, 2.0**31)) | {"mean_rating": (1.0, 5.0), "price": (0.0, 1e12)}
"""Lowest and highest value of the columns that are not content."""


@dataclass(frozen=True, kw_only=True)
class ItemTable:
    """Items with their statistics, those with impressions first."""

    items: Items
    item_statistics: np.ndarray
    """[I, 4] float32: as in `item_statistics.background_statistics`; 0 for a new item."""
    is_new: np.ndarray
    """[I] bool: without impressions."""
    has_prices: bool
    num_creators: int


def read_item_table(path: str | Path) -> ItemTable:
    """Read a table with a header: delimited text, JSON lines or Parquet.

    Columns: an id, such as `item`; optionally a `title`, `genres` (separated by |), numbers as content features,
    `creator`, and `price` (items are for sale then); and the feedback of all users so far: `impressions`, `clicks`,
    `num_ratings` and `mean_rating` (1 to 5), empty or 0 for new items.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: polars, which reads tables, is missing.
        ValueError: invalid content; the message names the file, the line and the rule.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{printable(path)}: no such file; must be a table of items with a column of ids")
    import polars as pl

    from recsim_env.logs.reading.metadata import item_metadata
    from recsim_env.logs.reading.table_files import LINE, read_table

    table = read_table(Path(path), has_header=True)
    apart = [name for name in table.columns if name in (*_LIMITS, "creator")]
    metadata = item_metadata(replace(table, frame=table.frame.drop(apart)))
    ids = list(metadata.titles)
    if len(ids) < 2:
        raise ValueError(f"{printable(path)}: {len(ids)} items, must be at least 2")
    numbers: dict[str, np.ndarray] = {}
    for name in _LIMITS:
        low, high = _LIMITS[name]
        cells = table.frame[name] if name in apart else pl.Series([None] * len(ids), dtype=pl.String)
        values = cells.cast(pl.Float64, strict=False)
        is_wrong = cells.is_not_null() & ~values.is_between(low, high).fill_null(False)
        if is_wrong.any():
            row = int(is_wrong.arg_max() or 0)
            place = f"{printable(path)}:{table.frame[LINE][row]}"
            raise ValueError(f"{place}: {name}={cells[row]!r}: must be a number in [{low:g}, {high:g}], or empty")
        missing = values.mean() if name == "price" else 0.0  # an unknown price counts as an average one
        numbers[name] = values.fill_null(0.0 if missing is None else missing).to_numpy()
    _check_counts(numbers, path, table.frame[LINE].to_list())
    creators = np.zeros(len(ids), np.int64)
    if "creator" in apart:
        creators = np.unique(table.frame["creator"].fill_null("").to_numpy(), return_inverse=True)[1]
    if creators.max() >= MAX_CREATORS:
        raise ValueError(f"{printable(path)}: {creators.max() + 1:,} creators, must be at most {MAX_CREATORS:,}")
    order = np.argsort(numbers["impressions"] == 0.0, kind="stable")  # in order of release
    ids = [ids[row] for row in order]
    numbers = {name: values[order] for name, values in numbers.items()}
    features, feature_names = metadata.features(ids)
    if "price" in apart:
        mean_price = max(float(numbers["price"].mean()), 1e-9)
        relative = numbers["price"] / (numbers["price"] + mean_price)
        features = np.column_stack([features, relative.astype(np.float32)])
        feature_names = (*feature_names, PRICE_FEATURE)
    topics, topic_names = metadata.topics(ids)
    titles = [metadata.titles[key] or key for key in ids]
    items = Items(
        factors=np.zeros((len(ids), 1)),
        topics=topics,
        quality=np.zeros(len(ids)),
        appeal=np.zeros(len(ids)),
        prices=numbers["price"],
        creators=creators[order],
        features=features,
        observed_topics=topics,
        feature_names=tuple(feature_names),
        topic_names=tuple(topic_names),
        title=lambda item: titles[item],
        ids=tuple(ids),
    )
    return ItemTable(
        items=items,
        item_statistics=_statistics(numbers),
        is_new=numbers["impressions"] == 0.0,
        has_prices="price" in apart,
        num_creators=int(creators.max()) + 1,
    )


def unknown_users(config: PopulationConfig) -> Users:
    """One user of whom nothing is known, as a catalogue needs a population."""
    return Users(
        interests=np.zeros((1, 1)),
        rating_bias=np.zeros(1),
        rating_scale=np.ones(1),
        patience=np.full(1, config.patience_mean),
        receptiveness=np.zeros(1),
        budget=np.zeros(1),
        profiles=np.zeros((1, 1), np.float32),
        profile_names=("unknown",),
    )


def _check_counts(numbers: Mapping[str, np.ndarray], path: str | Path, lines: list[int]) -> None:
    """`ValueError` unless ratings <= clicks <= impressions, and ratings have a mean."""
    for fewer, more in (("clicks", "impressions"), ("num_ratings", "clicks")):
        for row in np.flatnonzero(numbers[fewer] > numbers[more])[:1]:
            raise ValueError(
                f"{printable(path)}:{lines[row]}: {fewer}={numbers[fewer][row]:g}: must be at most "
                f"{more}={numbers[more][row]:g}"
            )
    for row in np.flatnonzero((numbers["num_ratings"] > 0.0) & (numbers["mean_rating"] == 0.0))[:1]:
        raise ValueError(f"{printable(path)}:{lines[row]}: mean_rating: must be given with num_ratings above 0")


def _statistics(numbers: Mapping[str, np.ndarray]) -> np.ndarray:
    """[I, 4] float32: `STATISTICS` of each item, and its number of ratings."""
    statistics = np.zeros((len(numbers["impressions"]), len(STATISTICS) + 1), np.float32)
    statistics[:, 0] = scaled_impressions(numbers["impressions"])
    statistics[:, 1] = numbers["clicks"] / np.maximum(numbers["impressions"], 1.0)
    statistics[:, 2] = np.where(numbers["num_ratings"] > 0.0, numbers["mean_rating"] / 5.0, 0.0)
    statistics[:, 3] = numbers["num_ratings"]
    return statistics
