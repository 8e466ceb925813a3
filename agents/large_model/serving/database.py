"""What a server remembers, in SQLite: people, sessions, recommendations and the feedback to them.

Requests are answered after their commit (`DatabaseThread`); commits with feedback also reach the disk before the
answer. Deleted rows are overwritten.
"""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from agents.large_model.serving.agents import BLIND
from agents.large_model.serving.database_file import (
    APPLICATION_ID,
    SCHEMA,
    SCHEMA_VERSION,
    Answers,
    StoredSession,
    answers_of,
    check_version,
    items_of,
    packed,
    read_session,
    unpacked,
)
from agents.large_model.serving.database_thread import DatabaseThread, connect
from recsim_env.atomic_file import printable


class NotFoundError(ValueError):
    """There is no such session, person or recommendation."""


class ConflictError(ValueError):
    """The recommendation has other feedback already, or the session has ended."""


class TooManyError(ValueError):
    """A limit on what is stored has been reached."""


class Scored(NamedTuple):
    """A past recommendation of a session."""

    num_feedbacks: int
    """Feedback in the session before it."""
    candidates: np.ndarray
    """[M] int64."""


class Database:
    """A database of one catalogue.

    Args:
        path: the file; created if it is missing, for its owner alone.
        catalog: fingerprint of the catalogue.
        about: description of the catalogue for those who read the file.

    Raises:
        ValueError: the file is not a database of this version and catalogue, or another server uses it; one line.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, catalog: str, about: Mapping[str, Any]) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._lock = FileLock(f"{path}.lock", thread_local=False)  # `close` may be called by another thread
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(f"{printable(path)}: is in use by another server") from None
        with ExitStack() as opened:
            opened.callback(self._lock.release)
            try:
                self._connection = opened.enter_context(closing(connect(path)))
                self._prepare(path, catalog, about)
            except sqlite3.Error as error:
                raise ValueError(f"{printable(path)}: not a database of this server ({error})") from None
            opened.pop_all()  # `close` closes them
        self._thread = DatabaseThread(self._connection)

    def close(self) -> None:
        """Finish the waiting requests, and close the file."""
        self._thread.close()
        self._lock.release()

    async def create_session(
        self,
        *,
        session: str,
        person: str,
        profile: Mapping[str, float],
        agent: str,
        max_sessions: int,
        max_sessions_of_person: int,
    ) -> None:
        """Add a session, and its person if they are new.

        Raises:
            TooManyError: there are too many sessions, in all or of the person.
        """

        def create(db: sqlite3.Connection) -> None:
            (total,) = db.execute("SELECT count(*) FROM sessions").fetchone()
            if total >= max_sessions:
                raise TooManyError(f"sessions: there are {total}, which is the limit; delete some")
            db.execute("INSERT OR IGNORE INTO people (person) VALUES (?)", (person,))
            (number,) = db.execute("SELECT number FROM people WHERE person = ?", (person,)).fetchone()
            (own,) = db.execute("SELECT count(*) FROM sessions WHERE person = ?", (number,)).fetchone()
            if own >= max_sessions_of_person:
                raise TooManyError(f"person: has {own} sessions, which is the limit; delete some")
            (last,) = db.execute("SELECT coalesce(max(number), 0) FROM feedback").fetchone()
            db.execute(
                "INSERT INTO sessions (session, person, profile, agent, last_feedback, created) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (session, number, json.dumps(profile), agent, last, time.time()),
            )

        await self._thread.run(create)

    async def load(self, session: str) -> StoredSession:
        """What is needed to continue a session.

        Raises:
            NotFoundError: there is none.
        """

        return await self._thread.run(lambda db: read_session(db, self._session(db, session)[0]))

    async def scored(self, number: int, first: int, end: int) -> list[Scored]:
        """The last recommendations of a session after each number of feedbacks in [first, end), in order."""

        def read(db: sqlite3.Connection) -> list[Scored]:
            rows = db.execute(
                "SELECT num_feedbacks, candidates, max(number) FROM recommendations "
                "WHERE session = ? AND num_feedbacks >= ? AND num_feedbacks < ? GROUP BY num_feedbacks ORDER BY 1",
                (number, first, end),
            )
            return [Scored(count, unpacked(items)) for count, items, _ in rows]

        return await self._thread.run(read)

    async def add_recommendation(
        self,
        session: int,
        *,
        number: int,
        num_feedbacks: int,
        candidates: np.ndarray,
        slate: np.ndarray,
        places: np.ndarray,
        log_propensity: float,
        shown_at: int,
        agent: str,
        model: str,
        selection: str,
    ) -> None:
        """Add the recommendation with that number of the session with that key.

        `candidates` [M] and `slate` [S] are items, and `places` [S] the places of the slate among the candidates;
        `selection` is `ServingConfig.selection`, or greedy where the large model does not recommend.

        Raises:
            NotFoundError: the session has been deleted.
            ConflictError: it has ended with a comparison.
        """

        def add(db: sqlite3.Connection) -> None:
            values = {
                "session": session,
                "number": number,
                "num_feedbacks": num_feedbacks,
                "candidates": packed(candidates),
                "num_candidates": len(candidates),
                "slate": slate.astype("<i4").tobytes(),
                "places": places.astype("<i4").tobytes(),
                "log_propensity": log_propensity,
                "time": shown_at,
                "agent": agent,
                "model": model,
                "selection": selection,
                "created": time.time(),
            }
            names = ", ".join(f":{name}" for name in values)
            _check_not_compared(db, session)
            try:
                db.execute(f"INSERT INTO recommendations ({', '.join(values)}) VALUES ({names})", values)
            except sqlite3.IntegrityError:
                raise NotFoundError("session: there is no such session") from None

        await self._thread.run(add)

    async def add_feedback(
        self, session: str, recommendation: int, canonical: Callable[[np.ndarray], np.ndarray]
    ) -> Answers | None:
        """Add the feedback on a recommendation, exactly once.

        `canonical` makes the values [S, 5] of the slate [S], or raises `ValueError`. Returns None if the same feedback
        is there already.

        Raises:
            NotFoundError: there is no such recommendation.
            ConflictError: it has other feedback, or the session has ended with a comparison.
        """

        def add(db: sqlite3.Connection) -> Answers | None:
            number = self._session(db, session)[0]
            found = db.execute(
                "SELECT key, slate, time FROM recommendations WHERE session = ? AND number = ?",
                (number, recommendation),
            ).fetchone()
            if found is None:
                raise NotFoundError(f"recommendation: the session has no recommendation {recommendation}")
            key, slate, shown_at = found
            text = json.dumps(canonical(items_of(slate)).tolist())
            stored = db.execute("SELECT answers FROM feedback WHERE recommendation = ?", (key,)).fetchone()
            if stored is not None:
                if stored[0] != text:
                    raise ConflictError(f"recommendation: {recommendation} has other feedback already")
                return None
            _check_not_compared(db, number)
            db.execute(
                "INSERT INTO feedback (recommendation, answers, received) VALUES (?, ?, ?)", (key, text, time.time())
            )
            return answers_of(slate, text, shown_at)

        return await self._thread.run(add, is_durable=True)

    async def compare(self, session: str) -> list[tuple[str, Answers]]:
        """End a blind session; the agent and the answers of each recommendation with feedback.

        Raises:
            NotFoundError: there is none.
            ConflictError: it is not blind.
        """

        def read(db: sqlite3.Connection) -> list[tuple[str, Answers]]:
            number = self._session(db, session)[0]
            (agent,) = db.execute("SELECT agent FROM sessions WHERE number = ?", (number,)).fetchone()
            if agent != BLIND:
                raise ConflictError(f"session: has the agent {agent}; only blind sessions compare agents")
            db.execute("UPDATE sessions SET compared = coalesce(compared, ?) WHERE number = ?", (time.time(), number))
            rows = db.execute(
                "SELECT agent, slate, answers, time FROM feedback JOIN recommendations AS r ON recommendation = r.key "
                "WHERE session = ? ORDER BY r.number",
                (number,),
            )
            return [(name, answers_of(*row)) for name, *row in rows]

        return await self._thread.run(read, is_durable=True)

    async def everything_of(self, session: str) -> dict[str, Any]:
        """All that is stored about a session, with items as positions; without the agents and propensities of a blind
        session that has not ended.

        Raises:
            NotFoundError: there is none.
        """

        def read(db: sqlite3.Connection) -> dict[str, Any]:
            number, _, person, profile, _ = self._session(db, session)
            query = "SELECT created, agent, agent = ? AND compared IS NULL FROM sessions WHERE number = ?"
            created, agent, is_blind = db.execute(query, (BLIND, number)).fetchone()
            rows = db.execute(
                "SELECT r.number, r.candidates, slate, log_propensity, time, agent, model, selection, created, "
                "answers, received FROM recommendations AS r LEFT JOIN feedback ON recommendation = r.key "
                "WHERE session = ? ORDER BY r.number",
                (number,),
            )
            recommendations = [
                {
                    "recommendation": each,
                    "candidates": unpacked(candidates).tolist(),
                    "items": items_of(slate).tolist(),
                    "log_propensity": None if is_blind else log_propensity,  # tells which agent could have shown it
                    "time": shown_at,
                    "agent": None if is_blind else by,
                    "model": model,
                    "selection": how,
                    "created": made,
                    "feedback": None if answers is None else json.loads(answers),
                    "received": received,
                }
                for each, candidates, slate, log_propensity, shown_at, by, model, how, made, answers, received in rows
            ]
            return {
                "session": session,
                "person": person,
                "profile": json.loads(profile),
                "agent": agent,
                "created": created,
                "recommendations": recommendations,
            }

        return await self._thread.run(read)

    async def delete_session(self, session: str) -> str:
        """Delete a session, and its person if it was their last; returns the person.

        Raises:
            NotFoundError: there is none.
        """

        def delete(db: sqlite3.Connection) -> str:
            number, person, name, *_ = self._session(db, session)
            db.execute("DELETE FROM sessions WHERE number = ?", (number,))
            db.execute("DELETE FROM people WHERE number = ? AND number NOT IN (SELECT person FROM sessions)", (person,))
            return name

        return await self._thread.run(delete, is_durable=True, erases=True)

    async def delete_person(self, person: str) -> None:
        """Delete a person with all of their sessions.

        Raises:
            NotFoundError: there is none.
        """

        def delete(db: sqlite3.Connection) -> None:
            if db.execute("DELETE FROM people WHERE person = ?", (person,)).rowcount == 0:
                raise NotFoundError("person: there is no such person")

        await self._thread.run(delete, is_durable=True, erases=True)

    async def check(self) -> None:
        """Raise `UnavailableError` if the database cannot be read."""
        await self._thread.run(lambda db: db.execute("SELECT 1").fetchone())

    @staticmethod
    def _session(db: sqlite3.Connection, session: str) -> tuple[int, int, str, str, int]:
        """Key, key and name of the person, profile, and the last feedback before it; `NotFoundError` if unknown."""
        found = db.execute(
            "SELECT s.number, p.number, p.person, profile, last_feedback FROM sessions AS s "
            "JOIN people AS p ON s.person = p.number WHERE session = ?",
            (session,),
        ).fetchone()
        if found is None:
            raise NotFoundError("session: there is no such session")
        return found

    def _prepare(self, path: Path, catalog: str, about: Mapping[str, Any]) -> None:
        """Make the tables of a new file; `ValueError` for a file of another kind, version or catalogue."""
        db = self._connection
        if db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(
                f"BEGIN; {SCHEMA} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
            )
            values = {"fingerprint": catalog, "catalog": json.dumps(about)}
            db.executemany("INSERT INTO about VALUES (?, ?)", values.items())
            db.execute("COMMIT")
        check_version(db, path)
        (present,) = db.execute("SELECT value FROM about WHERE name = 'fingerprint'").fetchone()
        if present != catalog:
            raise ValueError(f"{printable(path)}: is of the catalogue {present}, and this is {catalog}")


def _check_not_compared(db: sqlite3.Connection, session: int) -> None:
    """`ConflictError` if the session with that key has ended with a comparison."""
    if db.execute("SELECT 1 FROM sessions WHERE number = ? AND compared IS NOT NULL", (session,)).fetchone():
        raise ConflictError("session: has ended, as its agents have been compared")
