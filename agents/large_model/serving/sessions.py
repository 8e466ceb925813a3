"""Sessions in memory: the history that the model reads of each person, and what it has read of it.

A session is read in parts, as the model was trained: a part starts with the newest rows of the history before it, is
continued step by step, and ends after the number of steps of an env's session, when the history is read anew.

Shape legend: R rows, S slots of a slate.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from agents.large_model.serving.config import MAX_ITEMS
from agents.large_model.serving.database_file import Answers, StoredSession
from agents.large_model.serving.observations import LAST_SLOT, feedback_rows
from recsim_env.config import SessionConfig


class History:
    """The rows that the model reads.

    Args:
        history_length: rows that a part starts with, at most.
        session_length: steps of a part.
        max_rows: rows of a part; it also ends when these could be exceeded.
        largest_slate: rows of a step, at most.
    """

    def __init__(self, history_length: int, session_length: int, max_rows: int, largest_slate: int) -> None:
        self._history_length, self.session_length = history_length, session_length
        self._longest = max_rows - largest_slate
        self.items = np.zeros(0, np.int64)
        """[R]: the oldest first."""
        self.feedback = feedback_rows(np.zeros((0, 6)))
        """[R, 7] float32: `observation.FEEDBACK`."""
        self.times = np.zeros(0, np.int64)
        """[R]: the platform's, at which they were shown."""
        self.ends: list[int] = [0]
        """Rows before the part, and after each of its steps."""
        self.first_step = 0
        """Steps of the session before the part."""

    @classmethod
    def of(cls, config: SessionConfig, max_tokens: int) -> "History":
        """An empty history for sessions with the sizes of `config`, whose parts a model with `max_tokens` can read."""
        num_rows = config.history_length + config.session_length * config.slate_size + MAX_ITEMS
        return cls(config.history_length, config.session_length, min(num_rows, max_tokens - 1), MAX_ITEMS)

    @property
    def num_steps(self) -> int:
        """Steps of the part."""
        return len(self.ends) - 1

    def add(self, answers: Answers) -> None:
        """Add the feedback to a slate as a step."""
        self._append(answers)
        self.ends.append(len(self.items))
        if self.num_steps == self.session_length or len(self.items) > self._longest:
            self.first_step += self.num_steps
            self._cut()

    def add_earlier(self, answers: Iterable[Answers]) -> None:
        """Add feedback from before the session."""
        for each in answers:
            self._append(each)
        self._cut()

    def _append(self, answers: Answers) -> None:
        slots = np.minimum(np.arange(len(answers.items)), LAST_SLOT)
        rows = feedback_rows(np.column_stack([slots, answers.values]))
        self.items = np.concatenate([self.items, answers.items])
        self.feedback = np.concatenate([self.feedback, rows])
        self.times = np.concatenate([self.times, np.full(len(rows), answers.time)])

    def _cut(self) -> None:
        """Start a part with the newest rows."""
        for name in ("items", "feedback", "times"):
            setattr(self, name, getattr(self, name)[-self._history_length :])
        self.ends = [len(self.items)]


class ServedSession:
    """A session in memory; use it while holding its lock."""

    def __init__(self, stored: StoredSession, history: History, user: np.ndarray) -> None:
        self.key, self.person, self.user = stored.number, stored.person, user
        self.agent = stored.agent
        self.num_recommendations = stored.num_recommendations
        self.num_feedbacks = len(stored.own)
        self.history = history
        self.history.add_earlier(stored.earlier)
        for answers in stored.own:
            self.history.add(answers)
        self.cached: Any = None
        """The model's `CachedSession` of the part; None if the part has not been read, or must be read again."""
        self.num_read = 0
        """Rows in `cached`."""
        self.read_by = ""
        """The version of the model that has read them."""
        self.lock = asyncio.Lock()

    def add(self, answers: Answers) -> None:
        """Add acknowledged feedback."""
        part = self.history.first_step
        self.history.add(answers)
        self.num_feedbacks += 1
        if self.history.first_step != part:
            self.cached, self.num_read = None, 0

    def continue_with(self, version: str) -> None:
        """Forget the reading of another version of the model."""
        if version != self.read_by:
            self.cached, self.num_read, self.read_by = None, 0, version

    @property
    def num_bytes(self) -> int:
        """Memory of what the model has read, about."""
        history = self.history
        arrays = history.items.nbytes + history.feedback.nbytes + history.times.nbytes + self.user.nbytes
        return arrays + (0 if self.cached is None else self.cached.num_bytes)


class SessionCache:
    """The sessions used last, bounded in number and memory.

    Args:
        max_sessions: sessions to keep.
        max_bytes: sum of their `num_bytes`.
        evicted: called for each session that is dropped.
    """

    def __init__(self, max_sessions: int, max_bytes: int, evicted: Callable[[], None] = lambda: None) -> None:
        self._max_sessions, self._max_bytes, self._evicted = max_sessions, max_bytes, evicted
        self._sessions: OrderedDict[str, ServedSession] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, name: str) -> ServedSession | None:
        """The session, which becomes the one used last; None if it is not in memory."""
        if name in self._sessions:
            self._sessions.move_to_end(name)
        return self._sessions.get(name)

    def put(self, name: str, session: ServedSession) -> None:
        """Keep a session as the one used last."""
        self._sessions[name], self._sizes[name] = session, 0
        self.note_size(name, session)

    def note_size(self, name: str, session: ServedSession) -> None:
        """Note the new size of a session, unless it has been dropped. If there is too much, the least recently used
        sessions are dropped, except those in use."""
        if self._sessions.get(name) is not session:
            return
        self.num_bytes += session.num_bytes - self._sizes[name]
        self._sizes[name] = session.num_bytes
        num_sessions, num_bytes, least_used = len(self), self.num_bytes, []
        for other, each in self._sessions.items():
            if num_sessions <= self._max_sessions and num_bytes <= self._max_bytes:
                break
            if not each.lock.locked():
                least_used.append(other)
                num_sessions, num_bytes = num_sessions - 1, num_bytes - self._sizes[other]
        for other in least_used:
            self.drop(other)
            self._evicted()

    def drop(self, name: str) -> None:
        """Forget a session, if it is in memory."""
        if self._sessions.pop(name, None) is not None:
            self.num_bytes -= self._sizes.pop(name)

    def drop_person(self, person: str) -> None:
        """Forget all sessions of a person."""
        for name in [name for name, session in self._sessions.items() if session.person == person]:
            self.drop(name)
