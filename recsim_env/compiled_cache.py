"""Numba keeps what it has compiled, and throws it away when the file of a function changes; but not when the file
of another function changes that is called there, and compiled into it."""

from pathlib import Path


def drop_stale_cache(package: Path, *called: Path) -> None:
    """Delete the indices of `package`'s compiled functions (`*.nbi`) that are older than any source file of it, or of
    the packages whose functions it has `called`."""
    newest_source = max(source.stat().st_mtime_ns for folder in (package, *called) for source in folder.glob("*.py"))
    for index in (package / "__pycache__").glob("*.nbi"):
        try:
            if index.stat().st_mtime_ns <= newest_source:
                index.unlink()
        except OSError:  # another process was faster, or this one may not write here
            continue
