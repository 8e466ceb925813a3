"""A line in the terminal that says how far long work has come, and how long the rest will take."""

import sys
import time
from types import TracebackType
from typing import Self


class ProgressLine:
    """Written to stderr, at most five times a second; nothing if stderr is not a terminal.

    Args:
        total: units of work.
        unit: their name, in the plural.
        done: units that were finished before.
    """

    def __init__(self, total: int, unit: str, done: int = 0) -> None:
        self._total, self._unit, self._before, self._done = total, unit, done, done
        self._is_shown = sys.stderr.isatty()
        self._start = self._last = time.perf_counter()

    def update(self, done: int) -> None:
        """Show that `done` units are finished."""
        now = time.perf_counter()
        if self._is_shown and now - self._last >= 0.2:
            self._last = now
            left = (now - self._start) * (self._total - done) / max(done - self._before, 1)
            text = f"recsim_env: {done:,} of {self._total:,} {self._unit}, {left:,.0f} s left"
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def advance(self, done: int) -> None:
        """Show that `done` more units are finished."""
        self._done += done
        self.update(self._done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Erase the line."""
        if self._is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
