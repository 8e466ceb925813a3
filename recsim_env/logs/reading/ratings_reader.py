"""Reading a ratings log: detects its format, columns and rating scale, and finds its problems.

Shape legend: N ratings, U users, I items.
"""

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsim_env.atomic_file import printable
from recsim_env.config import unknown_name
from recsim_env.logs.reading.column_roles import assigned_columns
from recsim_env.logs.reading.ratings_log import NO_DISTINGUISHING_FEATURES, RatingsLog

try:
    import polars as pl
except ImportError as error:
    raise ImportError("reading a ratings log needs polars: pip install 'recsim-env[logs]'") from error

from recsim_env.logs.reading.event_times import EventTimes, parse_times
from recsim_env.logs.reading.log_files import FOLDERS, WHERE_TO_GET_DATA, existing_log
from recsim_env.logs.reading.metadata import (
    Metadata,
    item_metadata,
    movielens_1m_items,
    movielens_1m_users,
    movielens_100k_items,
    movielens_100k_users,
)
from recsim_env.logs.reading.rating_levels import FEEDBACK_KINDS, Rated, rate
from recsim_env.logs.reading.table_files import LINE, AnyPath, Problem, TableFile, problem_in, read_table

DUPLICATES = ("error", "last", "mean")
"""Treatments of repeated ratings of an item by the same user."""

_MOVIELENS_COLUMNS = ("user", "item", "rating", "time")
_METADATA_READERS = {
    "u.item": movielens_100k_items,
    "u.user": movielens_100k_users,
    "movies.dat": movielens_1m_items,
    "users.dat": movielens_1m_users,
    "movies.csv": movielens_1m_items,
}


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """Facts about a log that its files do not state."""

    columns: tuple[str, ...] = ()
    """Roles `user`, `item`, `rating`, `time` in the order of the columns, with `-` for a column to skip; or `role=name`
    for some roles."""
    scale: tuple[float, ...] = ()
    """Ends of the rating scale."""
    levels: tuple[str, ...] = ()
    """For ratings in words: the words in ascending order."""
    feedback: str = "ratings"
    """`ratings`; `clicks`: 1 for a click, which is the default, and 0 for an item that was shown but not clicked;
    `plays`: counts, cut at their quintiles; `watch_ratio`: watched fractions, cut at fifths."""
    missing: tuple[str, ...] = ()
    """Values that mark unrated items; such rows are skipped."""
    duplicates: str = "error"
    """Treatment of repeated ratings of an item by the same user: `error` rejects them, `last` keeps the last, `mean`
    keeps their mean, rounded to a level. For other feedback `error` does not apply: an item with any click counts as
    clicked, and of plays and watch ratios the last is kept."""
    encoding: str = ""
    """Text encoding; by default UTF-8."""

    def __post_init__(self) -> None:
        if self.feedback not in FEEDBACK_KINDS:
            raise ValueError(f"feedback={self.feedback!r}: {unknown_name(self.feedback, FEEDBACK_KINDS)}")
        if self.duplicates not in DUPLICATES:
            raise ValueError(f"duplicates={self.duplicates!r}: {unknown_name(self.duplicates, DUPLICATES)}")


@dataclass(frozen=True, kw_only=True)
class LogContent:
    """The content of a log: a `log`, or its `problems`."""

    path: AnyPath
    """The file of the ratings."""
    layout: str
    """File format, in words."""
    columns: Mapping[str, str]
    """Column names for `user`, `item` and, if present, `rating` and `time`."""
    preview: pl.DataFrame
    """First rows."""
    num_rows: int
    num_repeats: int
    """Rows that repeat a user-item pair."""
    scale: str
    """Rating scale, in words."""
    times: str
    """Format of the times, in words."""
    problems: Sequence[Problem]
    notes: Sequence[str]
    """Remarks and assumptions; a warning begins with `warning: `."""
    log: RatingsLog | None
    """None if there are problems."""


def read_log(
    path: Path | str, items_path: Path | str | None = None, options: ReadingOptions | None = None
) -> RatingsLog:
    """Read and check a ratings log.

    Args:
        path: a MovieLens folder or .zip (100K, 1M, 10M, latest, 20M, 25M, 32M), a Netflix Prize file, or a file of
            ratings: delimited text, JSON lines or Parquet, optionally compressed.
        items_path: for a single file, its item metadata: a table with a column of ids and, optionally, `title`,
            `genres` (separated by |) and numeric columns, where an empty cell is an unknown number.
        options: facts that the file does not state.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: invalid content; the message names the file, the line and the rule.
    """
    return whole_log(read_content(path, items_path, options))


def whole_log(content: LogContent) -> RatingsLog:
    """The log; `ValueError` with the first of its problems if there are any."""
    if content.log is None:
        first, *others = content.problems
        more = f" (and {len(others)} other kinds of problems; run describe)" if others else ""
        raise ValueError(f"{first.at(content.path)}{more}")
    return content.log


def read_content(
    path: Path | str, items_path: Path | str | None = None, options: ReadingOptions | None = None
) -> LogContent:
    """Like `read_log`, but returns all problems of the rows at once, and facts about the files."""
    options = options or ReadingOptions()
    folder, file = _file_of_ratings(existing_log(path))
    source = Path(path).resolve().name
    if folder is not None and items_path is not None:
        raise ValueError(f"{items_path}: a MovieLens folder has its own item metadata; omit this file")
    table, columns = _table_of_ratings(file, options)
    if folder is None:
        items, users = _items_of(items_path), Metadata()
    else:
        items, users = (_metadata_in(folder, name) for name in FOLDERS[file.name])
    return _content(table, columns, items, users, options, source, items_path, folder)


def _file_of_ratings(path: Path) -> tuple[AnyPath | None, AnyPath]:
    """The MovieLens folder, if it is one, and the file of ratings."""
    folder: AnyPath = path
    if path.is_file():
        if not zipfile.is_zipfile(path) or path.suffix == ".npz":
            return None, path
        folder = zipfile.Path(path)
        members = [each for each in folder.iterdir() if not each.name.startswith(("__MACOSX", "."))]
        if len(members) == 1 and members[0].is_dir():
            (folder,) = members
        elif len(members) == 1:
            return None, members[0]
    found = [name for name in FOLDERS if (folder / name).is_file()]
    if found:
        return folder, folder / found[0]
    netflix = sorted(each.name for each in folder.iterdir() if re.match(r"combined_data_\d+\.txt", each.name))
    if netflix:
        raise ValueError(f"{printable(str(path))}: Netflix Prize files; choose one of them: {', '.join(netflix)}")
    raise ValueError(
        f"{printable(str(path))}: not a MovieLens folder ({', '.join(FOLDERS)}); pass the file of ratings instead, or "
        f"{WHERE_TO_GET_DATA}"
    )


def _metadata_in(folder: AnyPath, name: str) -> Metadata:
    if not name:
        return Metadata()
    if not (folder / name).is_file():
        raise ValueError(f"{folder}: incomplete MovieLens folder, {name} is missing; {WHERE_TO_GET_DATA}")
    encoding = "" if name.endswith(".csv") else "latin-1"
    return _METADATA_READERS[name](read_table(folder / name, encoding=encoding))


def _items_of(path: Path | str | None) -> Metadata:
    if path is None:
        return Metadata()
    if not Path(path).is_file():
        raise FileNotFoundError(f"{printable(path)}: no such file; expected a table with a column of item ids")
    return item_metadata(read_table(Path(path), has_header=True))


def _table_of_ratings(path: AnyPath, options: ReadingOptions) -> tuple[TableFile, dict[str, str]]:
    """The table, and its column names by role."""
    is_positional = bool(options.columns) and not any("=" in each for each in options.columns)
    table = read_table(path, encoding=options.encoding, has_header=False if is_positional else None)
    given = options.columns
    if not (table.has_header or given) and table.separator in ("::", "\t") and len(table.columns) == 4:
        given = _MOVIELENS_COLUMNS  # u.data, ratings.dat
    try:
        columns = assigned_columns(table.columns, table.has_header, given, options.feedback)
    except ValueError as error:
        kind = table.layout.partition(",")[0]
        known = f"this is {kind}; " if kind.startswith("JSON") else ""
        raise ValueError(f"{printable(str(path))}:1: {known}{error}") from error
    return table, columns


def _content(
    table: TableFile,
    columns: dict[str, str],
    items: Metadata,
    users: Metadata,
    options: ReadingOptions,
    source: str,
    items_path: Path | str | None,
    folder: AnyPath | None,
) -> LogContent:
    kind = columns.pop("kind", "")
    names = {"user": "user", "item": "item", "rating": "value", "time": "time"}
    frame = table.frame.select(LINE, *(pl.col(column).alias(names[role]) for role, column in columns.items()))
    problems, notes = list(table.problems), []
    if not len(frame) and not problems:
        raise ValueError(f"{printable(str(table.path))}: no rows")
    try:
        rated = rate(frame, options.feedback, kind, options.scale, options.levels, options.missing)
    except ValueError as error:
        raise ValueError(f"{printable(str(table.path))}: {error}") from error
    problems += rated.problems
    if not len(rated.frame) and not problems:
        raise ValueError(f"{printable(str(table.path))}: no row has a rating")
    times = parse_times(rated.frame)
    problems += times.problems
    rows = rated.frame
    for role in ("user", "item"):
        wrong = rows.filter(pl.col(role).is_null())
        if len(wrong):
            problems.append(problem_in(wrong, f"{role}='': must not be empty"))
    notes += rated.notes
    if not times.is_known and not times.problems:
        notes.append(f"no times: events are in the {times.description}")
    num_repeats = len(rows) - rows.select(pl.struct("user", "item").n_unique()).item()
    rows = rows.select("user", "item", "rating", LINE).with_columns(pl.Series("time", times.seconds, pl.Float64))
    if not problems:
        rows, duplicates = _without_duplicates(rows, options, rated, notes)
        problems += duplicates
    if not problems and options.feedback == "clicks" and rows["rating"].min() == 5.0:
        rows = _with_items_not_clicked(rows)
        notes.append(
            "the log has clicks only; for each, a random item that the user did not click is added as not clicked: an "
            "assumption"
        )
    log = None
    if not problems:
        log = _assembled(table.path, rows, rated, times, items, users, source)
        notes += _notes_on_items(log, items, items_path, folder, table.path)
    return LogContent(
        path=table.path,
        layout=table.layout,
        columns=columns,
        preview=table.frame.drop(LINE).head(3),
        num_rows=len(table.frame) + sum(problem.num_rows for problem in table.problems),
        num_repeats=num_repeats,
        scale=rated.scale.description,
        times=times.description,
        problems=problems,
        notes=notes,
        log=log,
    )


def _without_duplicates(
    rows: pl.DataFrame, options: ReadingOptions, rated: Rated, notes: list[str]
) -> tuple[pl.DataFrame, list[Problem]]:
    """Rows with one rating for each user-item pair."""
    pair = ["user", "item"]
    is_first = rows.select(pl.struct(pair).is_first_distinct()).to_series()
    repeated = rows.filter(~is_first)
    if not len(repeated):
        return rows, []
    share = f"{len(repeated):,} of {len(rows):,} rows repeat a user-item pair"
    if options.feedback == "ratings" and options.duplicates == "error":
        user, item = repeated["user"][0], repeated["item"][0]
        first = rows.filter((pl.col("user") == user) & (pl.col("item") == item))[LINE][0]
        text = (
            f"user {user!r} rates item {item!r} again, first in line {first}; {share}; choose --duplicates last or mean"
        )
        return rows, [problem_in(repeated, text)]
    if options.duplicates == "mean":
        levels = rated.scale.levels
        grouped = rows.group_by(pair, maintain_order=True).agg(
            pl.col("rating").mean(), pl.col("time").max(), pl.col(LINE).first()
        )
        nearest = levels[np.abs(grouped["rating"].to_numpy()[:, None] - levels).argmin(1)]
        kept = grouped.with_columns(pl.Series("rating", nearest))
        notes.append(f"{share}: their mean is kept, rounded to a level")
    elif options.feedback == "clicks":
        kept = rows.group_by(pair, maintain_order=True).agg(
            pl.col("rating").max(), pl.col("time").min(), pl.col(LINE).first()
        )
        notes.append(f"{share}: an item with any click counts as clicked")
    else:
        kept = rows.sort("time", maintain_order=True).unique(pair, keep="last", maintain_order=True)
        notes.append(f"{share}: the last is kept")
    return kept.select(rows.columns), []


def _with_items_not_clicked(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows, and for each a row, rated 1, of an item drawn uniformly at random; draws that the user has clicked, or
    that repeat, are dropped."""
    generator = np.random.default_rng(0)
    items = rows["item"].unique().sort()
    drawn = rows.with_columns(
        items.gather(generator.integers(len(items), size=len(rows))).alias("item"), pl.lit(1.0).alias("rating")
    )
    drawn = drawn.join(rows, on=["user", "item"], how="anti", maintain_order="left").unique(
        ["user", "item"], maintain_order=True
    )
    return pl.concat([rows, drawn.select(rows.columns)])


def _assembled(
    path: AnyPath,
    rows: pl.DataFrame,
    rated: Rated,
    times: EventTimes,
    items: Metadata,
    users: Metadata,
    source: str,
) -> RatingsLog:
    user_ids, user_indices = _in_order_of_first(rows, "user")
    item_ids, item_indices = _in_order_of_first(rows, "item")
    if len(user_ids) < 2 or len(item_ids) < 2:
        users_and_items = f"{_counted(len(user_ids), 'user')} and {_counted(len(item_ids), 'item')}"
        raise ValueError(f"{printable(str(path))}: {users_and_items}; at least 2 of each are required")
    item_topics, topic_names = items.topics(item_ids)
    item_features, feature_names = items.features(item_ids)
    user_profiles, profile_names = users.features(user_ids)
    return RatingsLog(
        source=source,
        users=user_indices,
        items=item_indices,
        ratings=rows["rating"].to_numpy(writable=True),
        rating_levels=rated.scale.levels,
        times=rows["time"].to_numpy(),
        has_times=times.is_known,
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


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _in_order_of_first(rows: pl.DataFrame, role: str) -> tuple[list[str], np.ndarray]:
    """Distinct ids in order of first occurrence, and the index of each row's id."""
    ids = rows.group_by(role).agg(pl.col("time").min())
    as_number = ids[role].str.to_integer(strict=False, dtype=pl.Int64)
    # Ties are broken numerically if all ids are numbers, so that 10 comes after 9.
    number = as_number if not as_number.null_count() else pl.repeat(0, len(ids), eager=True)
    ids = ids.with_columns(number.alias("number")).sort("time", "number", role)
    index = ids.select(role).with_row_index("index")
    return ids[role].to_list(), rows.join(index, on=role, how="left", maintain_order="left")["index"].cast(
        pl.Int64
    ).to_numpy(writable=True)


def _notes_on_items(
    log: RatingsLog, items: Metadata, items_path: Path | str | None, folder: AnyPath | None, path: AnyPath
) -> list[str]:
    """The share of items with metadata, and a warning if no features distinguish items."""
    notes = list(items.notes)
    described = items.numbers.keys() | items.genres.keys()
    if folder is not None or items_path is not None:
        num_described = len(described & set(log.item_ids.tolist()))
        name = items_path or folder
        if not num_described:
            raise ValueError(f"{name}: has metadata of none of the items in {path}")
        notes.append(
            f"{num_described:,} of {len(log.item_ids):,} items have metadata ({num_described / len(log.item_ids):.0%})"
        )
    if not log.has_content:
        notes.append(f"warning: {NO_DISTINGUISHING_FEATURES}")
    return notes
