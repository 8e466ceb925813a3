"""Descriptions of items and users in a ratings log: genres, titles, numbers, profiles.

Shape legend: I items, U users, K topics, F features.
"""

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MOVIELENS_GENRES = (
    "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""Columns 7 to 24 of u.item; column 6, `unknown`, is not used."""

NO_COLUMNS = "none"
"""Name of the single all-zero column of a log without descriptions."""


@dataclass(frozen=True, kw_only=True)
class Descriptions:
    """Rows that describe items, or users, by id."""

    row_of: dict[str, int]
    """Row of each described id."""
    titles: list[str]
    """Title of each row; empty if unknown."""
    genres: np.ndarray
    """[rows, K] float64, 0 or 1; K is 0 for users and without genres."""
    genre_names: tuple[str, ...]
    numbers: np.ndarray
    """[rows, F] float64, any range; NaN if unknown."""
    number_names: tuple[str, ...]

    def features(self, ids: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
        """[ids, F] float32 in [-1, 1] and their names: genres as 0 or 1, numbers scaled by their range.

        Unknown numbers are imputed by the median; an unknown item has no genre.
        """
        rows = self._rows(ids)
        numbers = np.full((len(ids), len(self.number_names)), np.nan)
        numbers[rows >= 0] = self.numbers[rows[rows >= 0]]
        columns = np.column_stack([self._genres(rows), *(_scaled(column) for column in numbers.T)])
        if columns.shape[1] == 0:
            return np.zeros((len(ids), 1), np.float32), (NO_COLUMNS,)
        return columns.astype(np.float32), self.genre_names + self.number_names

    def topics(self, ids: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
        """[ids, K] float64 on the simplex and the names: equal weights for an item's genres, uniform without genres."""
        genres = self._genres(self._rows(ids))
        if genres.shape[1] == 0:
            return np.ones((len(ids), 1)), (NO_COLUMNS,)
        genres[genres.sum(1) == 0] = 1.0
        return genres / genres.sum(1, keepdims=True), self.genre_names

    def titles_of(self, ids: Sequence[str]) -> list[str]:
        """The title of each id; the id itself if unknown."""
        titles = {key: self.titles[row] for key, row in self.row_of.items()}
        return [titles.get(key) or key for key in ids]

    def _rows(self, ids: Sequence[str]) -> np.ndarray:
        return np.array([self.row_of.get(key, -1) for key in ids], int)

    def _genres(self, rows: np.ndarray) -> np.ndarray:
        genres = np.zeros((len(rows), len(self.genre_names)))
        genres[rows >= 0] = self.genres[rows[rows >= 0]]
        return genres


NO_DESCRIPTIONS = Descriptions(
    row_of={},
    titles=[],
    genres=np.zeros((0, 0)),
    genre_names=(),
    numbers=np.zeros((0, 0)),
    number_names=(),
)
"""For a log without descriptions."""


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


def rows_of(
    path: Path, delimiter: str = ",", encoding: str = "utf-8-sig", quoted: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each non-empty row.

    Raises:
        ValueError: wrong encoding or unmatched quotes; names the file and the line.
    """
    with path.open(encoding=encoding, newline="") as file:
        reader = csv.reader(
            file, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=True
        )
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except UnicodeDecodeError as error:
                line = _first_undecodable_line(path, encoding)
                raise ValueError(f"{path}:{line}: not {encoding.removesuffix('-sig')} text") from error
            except csv.Error as error:
                raise ValueError(f"{path}:{reader.line_num}: not well-formed ({error})") from error
            if row:
                yield reader.line_num, row


def _first_undecodable_line(path: Path, encoding: str) -> int:
    with path.open("rb") as file:
        for line, content in enumerate(file, 1):
            try:
                content.decode(encoding)
            except UnicodeDecodeError:
                return line
    return 0


def read_movielens_items(path: Path) -> Descriptions:
    """Read u.item of MovieLens-100K: 24 fields, `id|title|release|video release|url|unknown|18 genres`.

    Raises:
        ValueError: a malformed row; names the file and the line.
    """
    row_of: dict[str, int] = {}
    titles: list[str] = []
    genres, years = [], []
    for line, row in rows_of(path, "|", "latin-1", quoted=False):
        flags = row[6:]
        if len(row) != 24 or not set(flags) <= {"0", "1"}:
            raise ValueError(f"{path}:{line}: must have 24 fields separated by |, the last 19 of them 0 or 1")
        if row[0] in row_of:
            raise ValueError(f"{path}:{line}: item {row[0]!r} appears twice")
        row_of[row[0]] = len(titles)
        titles.append(row[1])
        genres.append([float(flag) for flag in flags])
        year = re.search(r"(\d{4})$", row[2]) or re.search(r"\((\d{4})\)", row[1])
        years.append([float(year[1]) if year else math.nan])
    return Descriptions(
        row_of=row_of,
        titles=titles,
        genres=np.array(genres).reshape(len(titles), len(MOVIELENS_GENRES)),
        genre_names=MOVIELENS_GENRES,
        numbers=np.array(years).reshape(len(titles), 1),
        number_names=("release year",),
    )


def read_movielens_users(path: Path) -> Descriptions:
    """Read u.user of MovieLens-100K: `id|age|gender|occupation|zip code`; the zip code is dropped.

    Raises:
        ValueError: a malformed row; names the file and the line.
    """
    row_of: dict[str, int] = {}
    users: list[tuple[float, float, str]] = []
    for line, row in rows_of(path, "|", "latin-1", quoted=False):
        if len(row) != 5 or not row[1].isdecimal() or row[2] not in ("M", "F"):
            raise ValueError(f"{path}:{line}: must be id|age|M or F|occupation|zip code")
        if row[0] in row_of:
            raise ValueError(f"{path}:{line}: user {row[0]!r} appears twice")
        row_of[row[0]] = len(users)
        users.append((float(row[1]), float(row[2] == "F"), row[3]))
    occupations = tuple(sorted({occupation for _, _, occupation in users}))
    indicators = [[float(occupation == each) for each in occupations] for _, _, occupation in users]
    return Descriptions(
        row_of=row_of,
        titles=[""] * len(users),
        # Stored as genres because they are 0 or 1 and need no scaling.
        genres=np.array([[female, *own] for (_, female, _), own in zip(users, indicators, strict=True)]),
        genre_names=("female", *(f"occupation: {each}" for each in occupations)),
        numbers=np.array([[age] for age, _, _ in users]),
        number_names=("age",),
    )


def read_item_csv(path: Path) -> Descriptions:
    """Read a CSV with a column `item`, optional `title` and `genres` (separated by |), and numeric columns.

    Raises:
        ValueError: `item` is missing or empty, a row has another number of fields, an item appears twice, or a cell
            of a numeric column is not a number (empty means unknown); names the file and the line.
    """
    rows = rows_of(path)
    _, header = next(rows, (0, []))
    names = [name.strip() for name in header]
    if names.count("item") != 1 or len(set(names)) != len(names):
        found = ", ".join(names) or "none"
        raise ValueError(f"{path}:1: must name a column item, and no column twice; got {found}")
    number_names = tuple(name for name in names if name not in ("item", "title", "genres"))
    row_of: dict[str, int] = {}
    titles: list[str] = []
    genre_lists, numbers = [], []
    for line, row in rows:
        if len(row) != len(names):
            raise ValueError(f"{path}:{line}: has {len(row)} fields, the header {len(names)}")
        cell = dict(zip(names, (field.strip() for field in row), strict=True))
        if not cell["item"] or cell["item"] in row_of:
            raise ValueError(f"{path}:{line}: item {cell['item']!r} is empty or appears twice")
        row_of[cell["item"]] = len(titles)
        titles.append(cell.get("title", ""))
        genre_lists.append([genre.strip() for genre in cell.get("genres", "").split("|") if genre.strip()])
        numbers.append([_number(cell[name], f"{path}:{line}: {name}") for name in number_names])
    genre_names = tuple(sorted({genre for genres in genre_lists for genre in genres}))
    taken = set(genre_names) & set(number_names)
    if taken:
        raise ValueError(f"{path}: {', '.join(sorted(taken))} is both a genre and a column; rename one")
    genres = [[float(genre in own) for genre in genre_names] for own in genre_lists]
    return Descriptions(
        row_of=row_of,
        titles=titles,
        genres=np.array(genres).reshape(len(titles), len(genre_names)),
        genre_names=genre_names,
        numbers=np.array(numbers).reshape(len(titles), len(number_names)),
        number_names=number_names,
    )


def _number(cell: str, where: str) -> float:
    if not cell:
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where}={cell!r}: must be a finite number, or empty if unknown")
    return value
