"""Reading a ratings log: a MovieLens-100K folder, or a CSV with the columns user, item, rating, timestamp.

Shape legend: N ratings, U users, I items, K topics, F item features, P profile features.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsim_env.logs.descriptions import (
    NO_DESCRIPTIONS,
    Descriptions,
    read_item_csv,
    read_movielens_items,
    read_movielens_users,
    rows_of,
)

WHERE_TO_GET_DATA = (
    "download MovieLens-100K (https://grouplens.org/datasets/movielens/100k/), unzip it and give the folder "
    "ml-100k (RECSIM_DATA=<folder>), or any CSV with the columns user,item,rating,timestamp"
)
"""Where to get a ratings log, for error messages."""

COLUMNS = ("user", "item", "rating", "timestamp")


@dataclass(frozen=True, kw_only=True, eq=False)
class RatingsLog:
    """At most one rating for each pair of user and item; users and items in order of their first rating."""

    source: str
    """Name of the folder or file; not the whole path."""
    users: np.ndarray
    """[N] int64, indices into `user_ids`."""
    items: np.ndarray
    """[N] int64, indices into `item_ids`."""
    ratings: np.ndarray
    """[N] int64 in 1..5."""
    user_ids: np.ndarray
    """[U] unicode, in order of the first rating; ties are broken by id (numerically if all ids are numbers)."""
    item_ids: np.ndarray
    """[I] unicode; likewise."""
    titles: np.ndarray
    """[I] unicode; the id if the title is unknown."""
    item_topics: np.ndarray
    """[I, K] float64 on the simplex."""
    topic_names: np.ndarray
    """[K] unicode."""
    item_features: np.ndarray
    """[I, F] float32 in [-1, 1]."""
    feature_names: np.ndarray
    """[F] unicode."""
    user_profiles: np.ndarray
    """[U, P] float32 in [-1, 1]."""
    profile_names: np.ndarray
    """[P] unicode."""


def read_log(path: Path | str, items_path: Path | str | None = None) -> RatingsLog:
    """Read and check a ratings log.

    Args:
        path: a MovieLens-100K folder (u.data, u.item, u.user) or a CSV with a header naming at least the
            columns user, item, rating, timestamp. Ratings are integers 1..5.
        items_path: for a CSV, a CSV of its items (see `descriptions.read_item_csv`).

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: invalid content; one line that names the file, the line and the rule.
    """
    path = Path(path)
    if path.is_dir():
        return _read_movielens(path, items_path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file or folder; {WHERE_TO_GET_DATA}")
    items = NO_DESCRIPTIONS
    if items_path is not None:
        if not Path(items_path).is_file():
            raise FileNotFoundError(f"{items_path}: no such file; expected a CSV with a column item")
        items = read_item_csv(Path(items_path))
    log = _assemble(path, path.resolve().name, _csv_rows(path), items, NO_DESCRIPTIONS)
    if items_path is not None and not set(log.item_ids.tolist()) & set(items.row_of):
        raise ValueError(f"{items_path}: describes none of the items in {path}")
    return log


def files_of_log(path: Path | str, items_path: Path | str | None = None) -> list[Path]:
    """The files that `read_log` would read, in a fixed order."""
    path = Path(path)
    if path.is_dir():
        return [path / name for name in ("u.data", "u.item", "u.user")]
    return [path] if items_path is None else [path, Path(items_path)]


def _read_movielens(folder: Path, items_path: Path | str | None) -> RatingsLog:
    if items_path is not None:
        raise ValueError(f"{items_path}: the MovieLens folder describes its items; omit this file")
    for file in files_of_log(folder):
        if not file.is_file():
            raise ValueError(f"{folder}: not a MovieLens-100K folder, {file.name} is missing; {WHERE_TO_GET_DATA}")
    items, users = read_movielens_items(folder / "u.item"), read_movielens_users(folder / "u.user")
    data = folder / "u.data"
    rows = rows_of(data, "\t", "latin-1", quoted=False)
    log = _assemble(data, folder.resolve().name, _rows_of_four(data, rows), items, users)
    for ids, known, name in ((log.item_ids, items, "u.item"), (log.user_ids, users, "u.user")):
        missing = [key for key in ids.tolist() if key not in known.row_of]
        if missing:
            raise ValueError(f"{data}: {missing[0]!r} is rated but not in {folder / name}")
    return log


def _rows_of_four(path: Path, rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    for line, row in rows:
        if len(row) != 4:
            raise ValueError(
                f"{path}:{line}: has {len(row)} fields; must be user, item, rating, timestamp, tabs between"
            )
        yield line, row


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    rows = rows_of(path)
    _, header = next(rows, (0, []))
    if not header:
        raise ValueError(f"{path}: empty; its first line must name the columns {','.join(COLUMNS)}")
    names = [name.strip().lower() for name in header]
    missing = [name for name in COLUMNS if names.count(name) != 1]
    if missing:
        raise ValueError(
            f"{path}:1: no column, or more than one, named {', '.join(missing)}; "
            f"the first line must name {','.join(COLUMNS)}, got {','.join(names)}"
        )
    positions = [names.index(name) for name in COLUMNS]
    for line, row in rows:
        if len(row) != len(names):
            raise ValueError(f"{path}:{line}: has {len(row)} fields, the header {len(names)}")
        yield line, [row[position] for position in positions]


def _assemble(
    path: Path, source: str, rows: Iterator[tuple[int, list[str]]], items: Descriptions, users: Descriptions
) -> RatingsLog:
    lines: dict[tuple[str, str], int] = {}
    ratings: list[int] = []
    times: list[float] = []
    for line, (user, item, rating, time) in rows:
        pair = (user.strip(), item.strip())
        if not pair[0] or not pair[1]:
            raise ValueError(f"{path}:{line}: user={pair[0]!r}, item={pair[1]!r}: must not be empty")
        first = lines.setdefault(pair, line)
        if first != line:
            raise ValueError(
                f"{path}:{line}: user {pair[0]!r} rates item {pair[1]!r} again, first on line {first}; "
                "each pair may appear once"
            )
        ratings.append(_rating(rating, path, line))
        times.append(_time(time, path, line))
    if not ratings:
        raise ValueError(f"{path}: empty; at least 2 users and 2 items must be rated")

    user_ids, user_indices = _in_order_of_first([user for user, _ in lines], times)
    item_ids, item_indices = _in_order_of_first([item for _, item in lines], times)
    if len(user_ids) < 2 or len(item_ids) < 2:
        raise ValueError(f"{path}: {len(user_ids)} users and {len(item_ids)} items; at least 2 of each are required")
    item_topics, topic_names = items.topics(item_ids)
    item_features, feature_names = items.features(item_ids)
    user_profiles, profile_names = users.features(user_ids)
    return RatingsLog(
        source=source,
        users=user_indices,
        items=item_indices,
        ratings=np.array(ratings, np.int64),
        user_ids=np.array(user_ids),
        item_ids=np.array(item_ids),
        titles=np.array(items.titles_of(item_ids)),
        item_topics=item_topics,
        topic_names=np.array(topic_names),
        item_features=item_features,
        feature_names=np.array(feature_names),
        user_profiles=user_profiles,
        profile_names=np.array(profile_names),
    )


def _rating(text: str, path: Path, line: int) -> int:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{path}:{line}: rating={text!r}: must be an integer from 1 to 5") from None
    if value not in (1.0, 2.0, 3.0, 4.0, 5.0):
        halves = "; half ratings are not supported, round them first" if value % 1.0 == 0.5 else ""
        raise ValueError(f"{path}:{line}: rating={text!r}: must be an integer from 1 to 5{halves}")
    return int(value)


def _time(text: str, path: Path, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{path}:{line}: timestamp={text!r}: must be a number, such as seconds since 1970")
    return value


def _in_order_of_first(ids: list[str], times: list[float]) -> tuple[list[str], np.ndarray]:
    """Distinct ids in order of their first time, and the index of each row's id."""
    first: dict[str, float] = {}
    for key, time in zip(ids, times, strict=True):
        first[key] = min(time, first.get(key, math.inf))
    # Numerically if all ids are numbers, so that 10 comes after 9.
    as_numbers = all(key.isdecimal() for key in first)
    ordered = sorted(first, key=lambda key: (first[key], int(key) if as_numbers else 0, key))
    index_of = {key: index for index, key in enumerate(ordered)}
    return ordered, np.array([index_of[key] for key in ids], np.int64)
