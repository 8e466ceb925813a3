"""A log of shown items and clicks: sessions of slates.

Shape legend: R rows (shown items), V sessions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsim_env.atomic_file import printable

try:
    import polars as pl
except ImportError as error:
    raise ImportError("reading a log of shown items needs polars: pip install 'recsim-env[logs]'") from error

from recsim_env.logs.reading.column_roles import assigned_columns_of_shown_items
from recsim_env.logs.reading.event_times import parse_times
from recsim_env.logs.reading.table_files import LINE, problem_in, read_table
from recsim_env.logs.simulated.log_folder import MANIFEST, read_events

SESSION_GAP = 1_800.0
"""Seconds without a shown item after which a new session begins, if the log has no session ids."""

_SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True, kw_only=True, eq=False)
class ShownItems:
    """Rows in order of user, session, step and slot."""

    source: str
    """Name of the file or folder."""
    users: np.ndarray
    """[R] unicode ids."""
    items: np.ndarray
    """[R] unicode ids."""
    sessions: np.ndarray
    """[R] int64 in 0..V-1."""
    steps: np.ndarray
    """[R] int64 from 0: step in the session, shared by the rows of a slate."""
    slots: np.ndarray
    """[R] int64 from 0: slot in the slate, top slot first."""
    clicks: np.ndarray
    """[R] bool."""
    times: np.ndarray | None
    """[R] float64 days; None if the log has no times."""


def read_shown_items(path: Path | str, columns: Sequence[str] = (), encoding: str = "") -> ShownItems:
    """Read a log of shown items.

    Args:
        path: a log written by `LogWriter`, or a table with columns of users, items, clicks (1 or 0), and sessions or
            times; optionally step (or request), shared by the rows of a slate, and position in the slate.
        columns: `role=name` for some of `user`, `item`, `click`, `session`, `step`, `position`, `time`.
        encoding: text encoding; by default UTF-8.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: invalid content.
    """
    path = Path(path)
    if (path / MANIFEST).is_file():
        return _from_events(path)
    if not path.is_file():
        raise FileNotFoundError(f"{printable(path)}: no such file; expected a table of shown items, or a simulated log")
    table = read_table(path, encoding=encoding)
    try:
        roles = assigned_columns_of_shown_items(table.columns, columns)
    except ValueError as error:
        raise ValueError(f"{printable(path)}:1: {error}") from error
    if table.problems:
        raise ValueError(table.problems[0].at(path))
    frame = table.frame.select(LINE, *(pl.col(column).alias(role) for role, column in roles.items()))
    for role in ("user", "item"):
        _require(frame, pl.col(role).is_not_null(), role, "must not be empty", path)
    for role in ("click", "position"):
        if role in frame.columns:
            frame = frame.with_columns(pl.col(role).cast(pl.Float64, strict=False).alias(f"{role} number"))
            _require(frame, pl.col(f"{role} number") >= 0.0, role, "must be a number from 0", path)
    times = parse_times(frame)
    if times.problems:
        raise ValueError(times.problems[0].at(path))
    if not times.is_known and "session" not in frame.columns:
        raise ValueError(f"{printable(path)}: no column of sessions or times; name one: --columns session=NAME")
    frame = frame.with_columns(pl.Series("seconds", times.seconds), pl.col("click number").alias("clicked") > 0.0)
    return _assembled(path.resolve().name, frame, times.is_known)


def _require(frame: pl.DataFrame, is_valid: pl.Expr, role: str, rule: str, path: Path) -> None:
    wrong = frame.filter(~is_valid.fill_null(False))
    if len(wrong):
        raise ValueError(problem_in(wrong, f"{role}={wrong[role][0] or ''!r}: {rule}").at(path))


def _assembled(source: str, frame: pl.DataFrame, has_times: bool) -> ShownItems:
    order = ["user", *(["seconds"] if has_times else []), LINE]
    frame = frame.sort(order)
    is_new = pl.col("user") != pl.col("user").shift(1)
    if "session" in frame.columns:
        is_new = is_new | (pl.col("session") != pl.col("session").shift(1))
    else:
        is_new = is_new | (pl.col("seconds") - pl.col("seconds").shift(1) > SESSION_GAP)
    frame = frame.with_columns(is_new.fill_null(True).cum_sum().alias("number"))
    # The rows of a slate share a step or, without steps, a time; without either, each row is a step.
    same = "step" if "step" in frame.columns else "seconds" if has_times else LINE
    changes = (pl.col(same) != pl.col(same).shift(1)).fill_null(True) | is_new.fill_null(True)
    frame = frame.with_columns(changes.cast(pl.Int64).cum_sum().alias("slate"))
    frame = frame.with_columns((pl.col("slate") - pl.col("slate").min().over("number")).alias("step of the session"))
    if "position number" in frame.columns:
        frame = frame.sort("slate", "position number", maintain_order=True)
    slots = frame.select((pl.int_range(pl.len()).over("slate")).alias("slot"))["slot"]
    return ShownItems(
        source=source,
        users=frame["user"].to_numpy().astype(np.str_),
        items=frame["item"].to_numpy().astype(np.str_),
        sessions=frame["number"].to_numpy().astype(np.int64) - 1,
        steps=frame["step of the session"].to_numpy().astype(np.int64),
        slots=slots.to_numpy().astype(np.int64),
        clicks=frame["clicked"].to_numpy().astype(bool),
        times=frame["seconds"].to_numpy() / _SECONDS_PER_DAY if has_times else None,
    )


def _from_events(path: Path) -> ShownItems:
    """Each visit of a simulated log is a session. Its times are steps of the platform, which have no duration, so that
    absences are unknown."""
    events = read_events(path).sort("session", "step")
    items, clicks = events["item"].to_numpy(), events["click"].to_numpy()
    numbers = events.select(pl.struct("session", "visit").rle_id()).to_series().to_numpy().astype(np.int64)
    steps = events["step"].to_numpy().astype(np.int64)
    first = np.r_[True, numbers[1:] != numbers[:-1]]
    steps = steps - steps[first][numbers]
    rows, slots = np.nonzero(items >= 0)
    return ShownItems(
        source=path.resolve().name,
        users=events["user"].to_numpy().astype(np.str_)[rows],
        items=items[rows, slots].astype(np.str_),
        sessions=numbers[rows],
        steps=steps[rows],
        slots=slots.astype(np.int64),
        clicks=clicks[rows, slots],
        times=None,
    )
