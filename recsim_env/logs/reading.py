"""Reading a ratings log: a MovieLens-100K folder, or a CSV with the columns user, item, rating, timestamp.

Shape legend: N ratings, U users, I items, K topics, F item features, P profile features.
"""

import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from recsim_env.atomic_file import printable
from recsim_env.logs.delimited_text import Rows, finite_number, read_csv, read_delimited

WHERE_TO_GET_DATA = (
    "download MovieLens-100K (https://grouplens.org/datasets/movielens/100k/), unzip it and give the folder "
    "ml-100k (RECSIM_DATA=<folder>), or any CSV with the columns user,item,rating,timestamp"
)
"""Where to get a ratings log, for error messages."""

COLUMNS = ("user", "item", "rating", "timestamp")

MOVIELENS_100K = "bc666f7d9e8b6fa85018805ed739d8857382ed0f79dc5ce7999bca097ce6da4e"
"""`fingerprint` of MovieLens-100K as distributed by GroupLens."""

MOVIELENS_GENRES = (
    "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_MOVIELENS_COLUMNS = {
    "u.data": COLUMNS,
    "u.item": ("item", "title", "release date", "video release date", "url", "unknown", *MOVIELENS_GENRES),
    "u.user": ("user", "age", "gender", "occupation", "zip code"),
}

NO_COLUMNS = "none"
"""Name of the single all-zero column of a log without descriptions."""


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
    """[I, K] float64 on the simplex: equal weights for an item's genres, uniform without genres."""
    topic_names: np.ndarray
    """[K] unicode."""
    item_features: np.ndarray
    """[I, F] float32 in [-1, 1]: genres as 0 or 1, numbers scaled by their range and imputed by their median."""
    feature_names: np.ndarray
    """[F] unicode."""
    user_profiles: np.ndarray
    """[U, P] float32 in [-1, 1]; likewise."""
    profile_names: np.ndarray
    """[P] unicode."""


def find_log() -> Path | None:
    """The ratings log of this machine, or None.

    If $RECSIM_DATA is set, it must be a MovieLens-100K folder, a folder that contains ml-100k, or a file; otherwise
    the result is None. If it is not set, ../shared/data/ml-100k relative to the current folder.
    """
    setting = os.environ.get("RECSIM_DATA")
    paths = [Path(setting), Path(setting) / "ml-100k"] if setting else [Path("..") / "shared" / "data" / "ml-100k"]
    return next((path for path in paths if (path / "u.data").is_file() or path.is_file()), None)


def existing_log(path: Path | str) -> Path:
    """`path`; `FileNotFoundError` if there is no such file or folder."""
    if not Path(path).exists():
        raise FileNotFoundError(f"{printable(path)}: no such file or folder; {WHERE_TO_GET_DATA}")
    return Path(path)


def read_log(path: Path | str, items_path: Path | str | None = None) -> RatingsLog:
    """Read and check a ratings log.

    Args:
        path: a MovieLens-100K folder (u.data, u.item, u.user) or a CSV with a header naming at least the
            columns user, item, rating, timestamp. Ratings are integers 1..5.
        items_path: for a CSV, a CSV of its items with a column `item`, optional `title` and `genres` (separated by
            |), and numeric columns, where an empty cell is an unknown number.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: invalid content; one line that names the file, the line and the rule.
    """
    path = existing_log(path)
    if path.is_dir():
        if items_path is not None:
            raise ValueError(f"{items_path}: the MovieLens folder describes its items; omit this file")
        return _read_movielens(path)
    items = _Descriptions()
    if items_path is not None:
        if not Path(items_path).is_file():
            raise FileNotFoundError(f"{printable(items_path)}: no such file; expected a CSV with a column item")
        items = _read_items(Path(items_path))
    log = _assemble(path, read_csv(path, COLUMNS), items, _Descriptions(), source=path.resolve().name)
    if items_path is not None and not items.titles.keys() & log.item_ids.tolist():
        raise ValueError(f"{items_path}: describes none of the items in {path}")
    return log


def fingerprint(path: Path, settings: str = "") -> str:
    """sha256 of the content of a log or a fitted world, independent of its location, and of `settings`."""
    digest = hashlib.sha256(settings.encode())
    for file in [path / name for name in _MOVIELENS_COLUMNS] if path.is_dir() else [path]:
        content = file.read_bytes() if file.is_file() else b""  # read_log reports missing files
        digest.update(f" {file.name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _read_movielens(folder: Path) -> RatingsLog:
    for name in _MOVIELENS_COLUMNS:
        if not (folder / name).is_file():
            raise ValueError(f"{folder}: not a MovieLens-100K folder, {name} is missing; {WHERE_TO_GET_DATA}")
    items, users = _read_movielens_items(folder / "u.item"), _read_movielens_users(folder / "u.user")
    data = folder / "u.data"
    log = _assemble(data, read_delimited(data, "\t", COLUMNS), items, users, source=folder.resolve().name)
    for ids, known, name in ((log.item_ids, items, "u.item"), (log.user_ids, users, "u.user")):
        missing = [key for key in ids.tolist() if key not in known.numbers]
        if missing:
            raise ValueError(f"{data}: {missing[0]!r} is rated but not in {folder / name}")
    return log


def _assemble(path: Path, rows: Rows, items: "_Descriptions", users: "_Descriptions", source: str) -> RatingsLog:
    places: dict[tuple[str, str], str] = {}
    ratings, times = [], []
    for place, row in rows:
        user, item = pair = row["user"], row["item"]
        if not user or not item:
            raise ValueError(f"{place}: user={user!r}, item={item!r}: must not be empty")
        if pair in places:
            raise ValueError(
                f"{place}: user {user!r} rates item {item!r} again, first at {places[pair]}; each pair may appear once"
            )
        places[pair] = place
        rating = finite_number(row["rating"])
        if rating not in (1.0, 2.0, 3.0, 4.0, 5.0):
            halves = "; half ratings are not supported, round them first" if rating % 1.0 == 0.5 else ""
            raise ValueError(f"{place}: rating={row['rating']!r}: must be an integer from 1 to 5{halves}")
        ratings.append(rating)
        times.append(finite_number(row["timestamp"]))
        if math.isnan(times[-1]):
            raise ValueError(f"{place}: timestamp={row['timestamp']!r}: must be a number, such as seconds since 1970")

    user_ids, user_indices = _in_order_of_first([user for user, _ in places], times)
    item_ids, item_indices = _in_order_of_first([item for _, item in places], times)
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
        titles=np.array([items.titles.get(key) or key for key in item_ids]),
        item_topics=item_topics,
        topic_names=np.array(topic_names),
        item_features=item_features,
        feature_names=np.array(feature_names),
        user_profiles=user_profiles,
        profile_names=np.array(profile_names),
    )


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


# Descriptions of items and users


@dataclass(frozen=True, kw_only=True)
class _Descriptions:
    """Titles, genres and numbers of items, or of users, by id."""

    titles: Mapping[str, str] = field(default_factory=dict)
    genre_names: Sequence[str] = ()
    genres: Mapping[str, Sequence[str]] = field(default_factory=dict)
    number_names: Sequence[str] = ()
    numbers: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """NaN if unknown."""

    def features(self, ids: Sequence[str]) -> tuple[np.ndarray, Sequence[str]]:
        """[ids, F] float32 in [-1, 1] and their names; see `RatingsLog.item_features`."""
        unknown = [math.nan] * len(self.number_names)
        numbers = np.array([self.numbers.get(key, unknown) for key in ids])
        columns = np.column_stack([self._genres(ids), *(_scaled(column) for column in numbers.T)])
        if columns.shape[1] == 0:
            return np.zeros((len(ids), 1), np.float32), (NO_COLUMNS,)
        return columns.astype(np.float32), (*self.genre_names, *self.number_names)

    def topics(self, ids: Sequence[str]) -> tuple[np.ndarray, Sequence[str]]:
        """[ids, K] float64 on the simplex and their names; see `RatingsLog.item_topics`."""
        genres = self._genres(ids)
        if genres.shape[1] == 0:
            return np.ones((len(ids), 1)), (NO_COLUMNS,)
        genres[genres.sum(1) == 0] = 1.0
        return genres / genres.sum(1, keepdims=True), self.genre_names

    def _genres(self, ids: Sequence[str]) -> np.ndarray:
        own = [self.genres.get(key, ()) for key in ids]
        return np.array([[float(name in genres) for name in self.genre_names] for genres in own])


def _scaled(column: np.ndarray) -> np.ndarray:
    if np.isnan(column).all():
        return np.zeros_like(column)
    column = np.where(np.isnan(column), np.nanmedian(column), column)
    least, greatest = column.min(), column.max()
    # Halved before subtracting: the difference of two large numbers may overflow.
    half_range = greatest / 2 - least / 2
    if half_range == 0:
        return np.zeros_like(column)
    return np.clip((column / 2 - least / 2) / half_range * 2 - 1, -1.0, 1.0)


def _by_id(rows: Rows, column: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Rows by their id, which is in `column`."""
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for place, row in rows:
        if not row[column] or row[column] in found:
            raise ValueError(f"{place}: {column} {row[column]!r} is empty or appears twice")
        found[row[column]] = place, row
    return found


def _read_movielens_items(path: Path) -> _Descriptions:
    titles, genres, numbers = {}, {}, {}
    for item, (place, row) in _by_id(read_delimited(path, "|", _MOVIELENS_COLUMNS[path.name]), "item").items():
        if not {row[name] for name in ("unknown", *MOVIELENS_GENRES)} <= {"0", "1"}:
            raise ValueError(f"{place}: the last 19 fields must be 0 or 1")
        titles[item] = row["title"]
        genres[item] = [name for name in MOVIELENS_GENRES if row[name] == "1"]
        year = re.search(r"(\d{4})$", row["release date"]) or re.search(r"\((\d{4})\)", row["title"])
        numbers[item] = [float(year[1]) if year else math.nan]
    return _Descriptions(
        titles=titles, genre_names=MOVIELENS_GENRES, genres=genres, number_names=("release year",), numbers=numbers
    )


def _read_movielens_users(path: Path) -> _Descriptions:
    """The occupation and being female are stored as genres: they are 0 or 1. The zip code is not used."""
    genres, numbers = {}, {}
    for user, (place, row) in _by_id(read_delimited(path, "|", _MOVIELENS_COLUMNS[path.name]), "user").items():
        if not row["age"].isdecimal() or row["gender"] not in ("M", "F"):
            raise ValueError(f"{place}: must be user|age|M or F|occupation|zip code")
        genres[user] = [f"occupation: {row['occupation']}", *(["female"] if row["gender"] == "F" else [])]
        numbers[user] = [float(row["age"])]
    occupations = sorted({names[0] for names in genres.values()})
    return _Descriptions(genre_names=("female", *occupations), genres=genres, number_names=("age",), numbers=numbers)


def _read_items(path: Path) -> _Descriptions:
    rows = _by_id(read_csv(path, ["item"]), "item")
    columns = list(next(iter(rows.values()))[1]) if rows else []
    number_names = [name for name in columns if name not in ("item", "title", "genres")]
    genres, numbers = {}, {}
    for item, (place, row) in rows.items():
        genres[item] = [genre.strip() for genre in row.get("genres", "").split("|") if genre.strip()]
        numbers[item] = [finite_number(row[name]) for name in number_names]
        for name, number in zip(number_names, numbers[item], strict=True):
            if row[name] and math.isnan(number):
                raise ValueError(f"{place}: {name}={row[name]!r}: must be a finite number, or empty if unknown")
    genre_names = sorted({genre for own in genres.values() for genre in own})
    ambiguous = set(genre_names) & set(number_names)
    if ambiguous:
        raise ValueError(f"{path}: {', '.join(sorted(ambiguous))} is both a genre and a column; rename one")
    return _Descriptions(
        titles={item: row.get("title", "") for item, (_, row) in rows.items()},
        genre_names=genre_names,
        genres=genres,
        number_names=number_names,
        numbers=numbers,
    )
