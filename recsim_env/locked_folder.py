"""A lock on an output folder; it is released when its process ends, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


class FolderInUseError(ValueError):
    """Another process is writing into the folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder if it is missing, and lock it against other processes.

    Raises:
        FolderInUseError: another process is writing into it.
        OSError: it cannot be written.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path(lock.lock_file).touch()  # raises the reason, which the lock would hide
        lock.acquire(timeout=0)
    except Timeout:
        raise FolderInUseError(f"{folder}: another run is writing into this folder") from None
    except OSError as error:
        raise OSError(f"{folder}: cannot be written ({error.strerror})") from None
    try:
        yield
    finally:
        lock.release()
