"""One thread that reads and writes an SQLite database, and commits the requests that are waiting together.

Requests are answered after the commit, so that a process that is killed loses nothing that it has acknowledged.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

_MAX_GROUP = 256  # requests in one commit


class UnavailableError(RuntimeError):
    """The database cannot be read or written now."""


class _Job(NamedTuple):
    function: Callable[[sqlite3.Connection], Any]
    is_durable: bool
    erases: bool
    future: Future[Any]


class DatabaseThread:
    """Calls functions of a connection in one thread, those that are waiting in one transaction; `close` ends it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()  # None: the last
        self._has_deleted = True  # by a server that was killed, perhaps
        self._thread = threading.Thread(target=self._work, name="database", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the waiting requests, and close the connection."""
        self._jobs.put(None)
        self._thread.join()
        self._connection.close()

    async def run(
        self, function: Callable[[sqlite3.Connection], Any], is_durable: bool = False, erases: bool = False
    ) -> Any:
        """The result of a function of the connection, after the commit.

        With `is_durable` the commit reaches the disk before; with `erases`, what was deleted is overwritten before.

        Raises:
            UnavailableError: the database cannot be written, or what was deleted cannot be overwritten yet.
        """
        job = _Job(function, is_durable, erases, Future())
        self._jobs.put(job)
        return await asyncio.wrap_future(job.future)

    def _work(self) -> None:
        is_over = False
        while not is_over:
            jobs = [self._jobs.get()]
            while len(jobs) < _MAX_GROUP and not self._jobs.empty():
                jobs.append(self._jobs.get())
            is_over = None in jobs
            group = [job for job in jobs if job is not None]
            try:
                outcomes = self._commit(group)
            except Exception as error:  # of SQLite, such as a full disk
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                outcomes = [UnavailableError(f"the database is not available ({error})")] * len(group)
            for job, outcome in zip(group, outcomes, strict=True):
                if not job.future.set_running_or_notify_cancel():
                    continue
                if isinstance(outcome, BaseException):
                    job.future.set_exception(outcome)
                else:
                    job.future.set_result(outcome)

    def _commit(self, jobs: Sequence["_Job"]) -> list[Any]:
        """The results of the jobs, or their errors, in one transaction."""
        db = self._connection
        outcomes: list[Any] = []
        if not jobs:
            return outcomes
        db.execute(f"PRAGMA synchronous = {'FULL' if any(job.is_durable for job in jobs) else 'NORMAL'}")
        db.execute("BEGIN")
        for job in jobs:
            db.execute("SAVEPOINT job")
            try:
                outcomes.append(job.function(db))
            except sqlite3.Error:
                raise
            except Exception as error:
                db.execute("ROLLBACK TO job")
                outcomes.append(error)
            db.execute("RELEASE job")
        db.execute("COMMIT")
        self._has_deleted |= any(job.erases for job in jobs)
        if self._has_deleted:  # the log of changes still contains it
            (is_read_by_others, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._has_deleted = bool(is_read_by_others)
            if is_read_by_others:
                late = UnavailableError("deleted, and overwritten as soon as no other process reads the database")
                return [late if job.erases else each for job, each in zip(jobs, outcomes, strict=True)]
        return outcomes


def connect(path: Path, is_read_only: bool = False) -> sqlite3.Connection:
    """A connection with explicit transactions, which overwrites what it deletes."""
    place = f"{path.absolute().as_uri()}?mode={'ro' if is_read_only else 'rw'}"
    connection = sqlite3.connect(place, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection
