"""A folder that one run at a time writes into: the lock falls when its process ends, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


class FolderInUseError(ValueError):
    """Another run is writing into the folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder if it is missing, and keep other runs out of it.

    Raises:
        FolderInUseError: another run is writing into it.
        OSError: it cannot be written.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path(lock.lock_file).touch()  # says why, where the lock would only say that it cannot be had
        lock.acquire(timeout=0)
    except Timeout:
        raise FolderInUseError(f"{folder}: another run is writing into this folder") from None
    except OSError as error:
        raise OSError(f"{folder}: cannot be written ({error.strerror})") from None
    try:
        yield
    finally:
        lock.release()
