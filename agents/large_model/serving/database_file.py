"""The file of a server's database: its tables, and how other processes read them while the server uses it."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agents.large_model.serving.database_thread import connect
from recsim_env.atomic_file import printable
from recsim_env.simulation.records import HISTORY_FEEDBACK

SCHEMA_VERSION = 3
"""Increased when a table changes."""

APPLICATION_ID = 0x52656353
"""Marks the files of this module."""

SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE people (number INTEGER PRIMARY KEY AUTOINCREMENT, person TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL UNIQUE,
    person INTEGER NOT NULL REFERENCES people ON DELETE CASCADE,
    profile TEXT NOT NULL,
    agent TEXT NOT NULL,
    last_feedback INTEGER NOT NULL,
    created REAL NOT NULL,
    compared REAL
) STRICT;
CREATE INDEX sessions_of_people ON sessions (person);
CREATE TABLE recommendations (
    key INTEGER PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    number INTEGER NOT NULL,
    num_feedbacks INTEGER NOT NULL,
    candidates BLOB NOT NULL,
    num_candidates INTEGER NOT NULL,
    slate BLOB NOT NULL,
    places BLOB NOT NULL,
    log_propensity REAL NOT NULL,
    time INTEGER NOT NULL,
    agent TEXT NOT NULL,
    model TEXT NOT NULL,
    selection TEXT NOT NULL,
    created REAL NOT NULL,
    UNIQUE (session, number)
) STRICT;
CREATE TABLE feedback (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    recommendation INTEGER NOT NULL UNIQUE REFERENCES recommendations ON DELETE CASCADE,
    answers TEXT NOT NULL,
    received REAL NOT NULL
) STRICT;
"""


ANSWER_COLUMNS = HISTORY_FEEDBACK[1:]
"""What is stored of the feedback to an item, in this order: all columns of a row of a history but its slot."""


class Answers(NamedTuple):
    """The acknowledged feedback to a slate."""

    items: np.ndarray
    """[S] int64: the slate, top slot first."""
    values: np.ndarray
    """[S, 5] float64: `ANSWER_COLUMNS` of each."""
    time: int
    """The platform's, at which they were shown."""


@dataclass(frozen=True, kw_only=True)
class StoredSession:
    """What continues a session: its person, and all feedback that it has read."""

    number: int
    """The key of its rows."""
    person: str
    profile: Mapping[str, float]
    agent: str
    """See `agents.SESSION_AGENTS`."""
    num_recommendations: int
    earlier: Sequence[Answers]
    """Feedback in earlier sessions of the same person."""
    own: Sequence[Answers]
    """Feedback in this session, the oldest first."""


@contextmanager
def reading(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads all as of one time; close it soon, since it keeps a server from overwriting what it
    deletes.

    Raises:
        ValueError: it is not a database of this version; one line.
        FileNotFoundError: there is no such file.
    """
    if not database.is_file():
        raise FileNotFoundError(f"{printable(database)}: there is no such file")
    try:
        connection = connect(database, is_read_only=True)
        try:
            check_version(connection, database)
            connection.execute("BEGIN")
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ValueError(f"{printable(database)}: cannot be read ({error})") from None


def read_about(db: sqlite3.Connection) -> tuple[str, dict[str, Any]]:
    """The fingerprint of the catalogue, and its description (`ServedCatalog.about`)."""
    values = dict(db.execute("SELECT name, value FROM about"))
    return values["fingerprint"], json.loads(values["catalog"])


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """`ValueError` unless it is a server's database of this version."""
    (kind,), (version,) = (connection.execute(f"PRAGMA {it}").fetchone() for it in ("application_id", "user_version"))
    if kind != APPLICATION_ID:
        raise ValueError(f"{printable(path)}: not a database of this server")
    if version != SCHEMA_VERSION:
        raise ValueError(f"{printable(path)}: has schema version {version}; this version reads {SCHEMA_VERSION}")


def read_session(db: sqlite3.Connection, number: int) -> StoredSession:
    """What is needed to continue the session with that key."""
    person, name, profile, agent, last = db.execute(
        "SELECT p.number, p.person, profile, agent, last_feedback FROM sessions AS s "
        "JOIN people AS p ON s.person = p.number WHERE s.number = ?",
        (number,),
    ).fetchone()
    query = (
        "SELECT slate, answers, time FROM feedback JOIN recommendations AS r ON recommendation = r.key "
        "JOIN sessions AS s ON r.session = s.number WHERE {} ORDER BY feedback.number"
    )
    earlier = query.format("s.person = ? AND s.number != ? AND feedback.number <= ?")
    (total,) = db.execute("SELECT count(*) FROM recommendations WHERE session = ?", (number,)).fetchone()
    return StoredSession(
        number=number,
        person=name,
        profile=json.loads(profile),
        agent=agent,
        num_recommendations=total,
        earlier=[answers_of(*row) for row in db.execute(earlier, (person, number, last))],
        own=[answers_of(*row) for row in db.execute(query.format("s.number = ?"), (number,))],
    )


def answers_of(slate: bytes, answers: str, shown_at: int) -> Answers:
    """The feedback to a slate, from the columns of its row."""
    return Answers(items_of(slate), np.array(json.loads(answers), np.float64), shown_at)


def packed(items: np.ndarray) -> bytes:
    """Items [n]: the first item and the length of each run of successive ones, of which available items have few."""
    first = np.flatnonzero(np.diff(items, prepend=items[0] - 2) != 1)
    return np.column_stack([items[first], np.diff(first, append=len(items))]).astype("<i4").tobytes()


def unpacked(content: bytes) -> np.ndarray:
    """[n] int64: the items of `packed`."""
    first, lengths = items_of(content).reshape(-1, 2).T
    before = lengths.cumsum() - lengths  # items before each run
    return np.repeat(first - before, lengths) + np.arange(lengths.sum())


def items_of(content: bytes) -> np.ndarray:
    """[n] int64: the items of a slate."""
    return np.frombuffer(content, "<i4").astype(np.int64)
