"""Numba's cache of compiled functions on disk, made safe for several processes and scenarios.

Numba's cache has three faults, none of which it detects:

* it invalidates a function when its own source file changes, but not when the source of a function changes that is
  compiled into it (`drop_stale_cache`);
* it numbers functions and record layouts from 0 in each process, so that functions from two processes can have the
  same name, and a process that loads both calls the wrong one (`make_names_unique`);
* it numbers cache files by counting, so that two processes that compile at the same time can write to the same file,
  and a signature then finds the code of another (`key_files_by_signature`).
"""

import hashlib
import itertools
import os
import secrets
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from numba.core import event as events
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import IndexDataCacheFile

from recsim_env.timed_line import timed_line


def make_names_unique() -> None:
    """Give functions compiled by this process, and by each process forked from it, names that no other process uses."""
    FunctionIdentity._unique_ids = itertools.count(secrets.randbits(60))


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=make_names_unique)


def key_files_by_signature() -> None:
    """Name each cache file after the signature that it holds."""
    IndexDataCacheFile.save = _save


def _save(self: Any, key: Any, data: Any) -> None:
    """As `IndexDataCacheFile.save`; at worst an entry of the index is lost, and compiled again."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    name = self._data_name(int.from_bytes(digest))
    self._save_data(name, data)
    entries = self._load_index()
    if entries.get(key) != name:
        entries[key] = name
        self._save_index(entries)


class _CompilationLine(events.Listener):
    """Reports the compilation of this project's functions in the terminal, with its duration."""

    def __init__(self) -> None:
        self._line: AbstractContextManager[None] | None = None
        self._depth = 0

    def on_start(self, event: events.Event) -> None:
        function = event.data["dispatcher"].py_func
        if self._depth == 0 and function.__module__.startswith(("recsim_env.", "agents.")):
            self._line = timed_line(f"compiling {function.__name__.strip('_')}, once for these sizes")
            self._line.__enter__()
        self._depth += 1

    def on_end(self, event: events.Event) -> None:
        self._depth -= 1
        if self._depth == 0 and self._line is not None:
            self._line.__exit__(None, None, None)
            self._line = None


def report_compilation() -> None:
    """Report compilation in the terminal from now on."""
    events.register("numba:compile", _CompilationLine())


def drop_stale_cache(package: Path, *called: Path) -> None:
    """Delete the cache indices (`*.nbi`) of `package` that are older than any of its source files, or of those of the
    packages that it has `called`."""
    newest_source = max(source.stat().st_mtime_ns for folder in (package, *called) for source in folder.rglob("*.py"))
    for index in package.rglob("__pycache__/*.nbi"):
        try:
            if index.stat().st_mtime_ns <= newest_source:
                index.unlink()
        except OSError:  # another process deleted it first, or no permission
            continue
