"""What Numba has compiled and keeps on the disk, made safe to be shared by processes and scenarios.

Three things can go wrong with Numba's own cache, none of which it notices:

* it throws away what it has compiled when the file of a function changes, but not when the file of another function
  changes that is called there, and compiled into it (`drop_stale_cache`);
* it names what it compiles by numbers that begin anew in each process, for functions and for layouts of records; two
  pieces from two processes then have one name, and a process that loads both runs one of them for the other
  (`make_names_unique`);
* it finds a free file by counting, so that two processes that compile at once may choose the same, and the code of one
  signature is found under another (`key_files_by_signature`).
"""

import hashlib
import itertools
import os
import secrets
from pathlib import Path
from typing import Any

from numba.core.bytecode import FunctionIdentity
from numba.core.caching import IndexDataCacheFile


def make_names_unique() -> None:
    """From now on, functions that this process compiles have names that no other process gives; nor do processes that
    are forked from it."""
    FunctionIdentity._unique_ids = itertools.count(secrets.randbits(60))


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=make_names_unique)


def key_files_by_signature() -> None:
    """From now on, what is compiled is kept in a file that is named for its signature."""
    IndexDataCacheFile.save = _save


def _save(self: Any, key: Any, data: Any) -> None:
    """As `IndexDataCacheFile.save`; at the worst an entry of the index is lost, and compiled again."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    name = self._data_name(int.from_bytes(digest))
    self._save_data(name, data)
    entries = self._load_index()
    if entries.get(key) != name:
        entries[key] = name
        self._save_index(entries)


def drop_stale_cache(package: Path, *called: Path) -> None:
    """Delete the indices of `package`'s compiled functions (`*.nbi`) that are older than any source file of it, or of
    the packages whose functions it has `called`."""
    newest_source = max(source.stat().st_mtime_ns for folder in (package, *called) for source in folder.rglob("*.py"))
    for index in package.rglob("__pycache__/*.nbi"):
        try:
            if index.stat().st_mtime_ns <= newest_source:
                index.unlink()
        except OSError:  # another process was faster, or this one may not write here
            continue
