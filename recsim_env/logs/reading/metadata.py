"""Metadata of items and users - titles, genres, numbers - as features.

Shape legend: K genres, F features.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from recsim_env.logs.reading.column_roles import COMMON_NAMES, by_plain_name
from recsim_env.logs.reading.ratings_log import NO_COLUMNS
from recsim_env.logs.reading.table_files import AnyPath, TableFile, problem_in

MOVIELENS_GENRES = (
    "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
NO_GENRES = "(no genres listed)"
"""The genre of MovieLens items without genres."""

_TITLES = ("title", "name", "itemname", "movietitle", "booktitle", "producttitle", "originaltitle")
_GENRES = ("genres", "genre", "categories", "category", "topics", "topic")
_NUMERIC_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Titles, genres and numbers of items or users, by id."""

    titles: Mapping[str, str] = field(default_factory=dict)
    genre_names: Sequence[str] = ()
    genres: Mapping[str, Sequence[str]] = field(default_factory=dict)
    number_names: Sequence[str] = ()
    numbers: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """NaN if unknown."""
    notes: Sequence[str] = ()
    """Remarks for the reader of the log."""

    def features(self, ids: Sequence[str]) -> tuple[np.ndarray, Sequence[str]]:
        """[ids, F] float32 in [-1, 1] and their names; see `RatingsLog.item_features`."""
        unknown = [math.nan] * len(self.number_names)
        numbers = np.array([self.numbers.get(key, unknown) for key in ids])
        columns = np.column_stack([self._indicators(ids), *(_scaled(column) for column in numbers.T)])
        if columns.shape[1] == 0:
            return np.zeros((len(ids), 1), np.float32), (NO_COLUMNS,)
        return columns.astype(np.float32), (*self.genre_names, *self.number_names)

    def topics(self, ids: Sequence[str]) -> tuple[np.ndarray, Sequence[str]]:
        """[ids, K] float64 on the simplex and their names; see `RatingsLog.item_topics`."""
        genres = self._indicators(ids)
        if genres.shape[1] == 0:
            return np.ones((len(ids), 1)), (NO_COLUMNS,)
        genres[genres.sum(1) == 0] = 1.0
        return genres / genres.sum(1, keepdims=True), self.genre_names

    def _indicators(self, ids: Sequence[str]) -> np.ndarray:
        column_of = {name: column for column, name in enumerate(self.genre_names)}
        indicators = np.zeros((len(ids), len(self.genre_names)))
        for row, key in enumerate(ids):
            indicators[row, [column_of[name] for name in self.genres.get(key, ())]] = 1.0
        return indicators


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


def item_metadata(table: TableFile) -> Metadata:
    """Item metadata from a table with a header.

    The table has a column of ids under a common name and, optionally, a title, genres separated by | and numeric
    columns, where an empty cell is an unknown number. Other text columns are ignored.

    Raises:
        ValueError: no column of ids, or invalid cells.
    """
    plain = by_plain_name(table.columns)
    of_items = [plain[name] for name in (*COMMON_NAMES["item"], "id") if name in plain]
    if not of_items:
        raise ValueError(f"{table.path}:1: must have a column of item ids, such as item; got {','.join(table.columns)}")
    identity = of_items[0]
    frame = _unique(table, identity)
    title, genres = (next((plain[name] for name in names if name in plain), "") for names in (_TITLES, _GENRES))
    number_names, unused = [], []
    for name in table.columns:
        if name in (identity, title, genres):
            continue
        values = frame.filter(pl.col(name).is_not_null())
        numbers = values[name].cast(pl.Float64, strict=False)
        is_number = numbers.is_finite().fill_null(False)
        if not len(values) or is_number.all():
            number_names.append(name)
        elif is_number.sum() < _NUMERIC_SHARE * len(values):
            unused.append(name)
        else:
            wrong = values.filter(~is_number)
            text = f"{name}={wrong[name][0]!r}: must be a finite number, or empty if unknown"
            raise ValueError(problem_in(wrong, text).at(table.path))
    ids = frame[identity].to_list()
    lists = frame[genres].to_list() if genres else [None] * len(ids)
    genres_of = {key: _genres(cell) for key, cell in zip(ids, lists, strict=True)}
    genre_names = sorted({name for own in genres_of.values() for name in own})
    ambiguous = set(genre_names) & set(number_names)
    if ambiguous:
        raise ValueError(
            f"{table.path}: {', '.join(sorted(ambiguous))} is both a genre and a numeric column; rename one"
        )
    rows = frame.select(pl.col(name).cast(pl.Float64, strict=False).fill_null(math.nan) for name in number_names).rows()
    titles = frame[title].fill_null("").to_list() if title else [""] * len(ids)
    return Metadata(
        titles=dict(zip(ids, titles, strict=True)),
        genre_names=genre_names,
        genres=genres_of,
        number_names=number_names,
        numbers=dict(zip(ids, rows or [()] * len(ids), strict=True)),
        notes=[f"ignored text columns: {', '.join(unused)}"] if unused else [],
    )


def _genres(cell: str | None) -> list[str]:
    names = dict.fromkeys(name.strip() for name in (cell or "").split("|"))
    return [name for name in names if name and name != NO_GENRES]


def _unique(table: TableFile, identity: str) -> pl.DataFrame:
    """The rows of the table, whose ids must be unique."""
    if table.problems:
        raise ValueError(table.problems[0].at(table.path))
    wrong = table.frame.filter(pl.col(identity).is_null() | ~pl.col(identity).is_first_distinct())
    if len(wrong):
        raise ValueError(
            problem_in(wrong, f"{identity} {wrong[identity][0] or ''!r} is empty or appears twice").at(table.path)
        )
    return table.frame


def _named(table: TableFile, names: Sequence[str]) -> pl.DataFrame:
    if len(table.columns) != len(names):
        raise ValueError(f"{table.path}:1: has {len(table.columns)} fields, must have {len(names)}")
    renamed = table.frame.rename(dict(zip(table.columns, names, strict=True)))
    return _unique(
        TableFile(path=table.path, layout="", has_header=False, frame=renamed, problems=table.problems), names[0]
    )


def movielens_100k_items(table: TableFile) -> Metadata:
    """Items of MovieLens-100K (u.item): genres, and the year of the release date or in the title."""
    columns = ("item", "title", "release date", "video release date", "url", "unknown", *MOVIELENS_GENRES)
    frame = _named(table, columns)
    flags = frame.select("unknown", *MOVIELENS_GENRES)
    wrong = frame.filter(~pl.all_horizontal(pl.col(name).is_in(["0", "1"]).fill_null(False) for name in flags.columns))
    if len(wrong):
        raise ValueError(problem_in(wrong, "the last 19 fields must be 0 or 1").at(table.path))
    titles = frame["title"].fill_null("").to_list()
    dates = frame["release date"].fill_null("").to_list()
    years = [
        re.search(r"(\d{4})$", date) or re.search(r"\((\d{4})\)", title)
        for date, title in zip(dates, titles, strict=True)
    ]
    ids = frame["item"].to_list()
    own = [
        [name for name, flag in zip(flags.columns, row, strict=True) if flag == "1" and name != "unknown"]
        for row in flags.rows()
    ]
    return Metadata(
        titles=dict(zip(ids, titles, strict=True)),
        genre_names=MOVIELENS_GENRES,
        genres=dict(zip(ids, own, strict=True)),
        number_names=("release year",),
        numbers={key: [float(year[1]) if year else math.nan] for key, year in zip(ids, years, strict=True)},
    )


def movielens_100k_users(table: TableFile) -> Metadata:
    """Users of MovieLens-100K (u.user): female, occupation, age. The zip code is not used."""
    frame = _named(table, ("user", "age", "gender", "occupation", "zip code"))
    return _people(table.path, frame, "user|age|M or F|occupation|zip code")


def movielens_1m_items(table: TableFile) -> Metadata:
    """Films of MovieLens-1M and 10M (movies.dat) and later (movies.csv): genres, and the year in the title."""
    frame = _named(table, ("item", "title", "genres"))
    ids, titles = frame["item"].to_list(), frame["title"].fill_null("").to_list()
    genres = {key: _genres(cell) for key, cell in zip(ids, frame["genres"].to_list(), strict=True)}
    years = [re.search(r"\((\d{4})\)\s*$", title) for title in titles]
    return Metadata(
        titles=dict(zip(ids, titles, strict=True)),
        genre_names=sorted({name for own in genres.values() for name in own}),
        genres=genres,
        number_names=("release year",),
        numbers={key: [float(year[1]) if year else math.nan] for key, year in zip(ids, years, strict=True)},
    )


def movielens_1m_users(table: TableFile) -> Metadata:
    """Users of MovieLens-1M (users.dat): female, occupation, age. The zip code is not used."""
    frame = _named(table, ("user", "gender", "age", "occupation", "zip code"))
    return _people(table.path, frame, "user::M or F::age::occupation::zip code")


def _people(path: AnyPath, frame: pl.DataFrame, form: str) -> Metadata:
    """Gender and occupation are stored as genres, as indicators."""
    is_valid = (
        pl.col("age").str.contains(r"^\d+$") & pl.col("gender").is_in(["M", "F"]) & pl.col("occupation").is_not_null()
    )
    wrong = frame.filter(~is_valid.fill_null(False))
    if len(wrong):
        raise ValueError(problem_in(wrong, f"must be {form}").at(path))
    genres, numbers = {}, {}
    for user, age, gender, occupation in frame.select("user", "age", "gender", "occupation").rows():
        genres[user] = [f"occupation: {occupation}", *(["female"] if gender == "F" else [])]
        numbers[user] = [float(age)]
    occupations = sorted({names[0] for names in genres.values()})
    return Metadata(genre_names=("female", *occupations), genres=genres, number_names=("age",), numbers=numbers)
