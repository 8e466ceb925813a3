"""Atomic writes: a reader finds the old content of a file or the new content, never a part of it."""

import errno
import os
import platform
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HOST = f"{zlib.crc32(platform.node().encode()):08x}"


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`: temporary file in the same folder, flush, fsync, rename, fsync of the folder.

    Temporary files that killed processes of this machine have left in the folder are deleted.

    Raises:
        OSError: the file cannot be written (no such folder, no permission, disk full); names the path, and leaves no
            temporary file.
    """
    with _path_in_errors(path):
        _delete_abandoned(path.parent)
        _replace(path, content)


def check_writable(path: Path) -> None:
    """Raise the error of `write_atomically` before the content is computed, by creating and deleting a temporary file.

    Raises:
        OSError: see `write_atomically`; or the path is a folder.
    """
    with _path_in_errors(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary, handle = _temporary_file(path)
        os.close(handle)
        os.unlink(temporary)


def printable(path: Path | str) -> str:
    """The path as one line of text; escaped where it has control characters or is not valid Unicode."""
    return str(path) if str(path).isprintable() else ascii(str(path))


@contextmanager
def _path_in_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"{printable(path)}: cannot be written ({reason})") from error


def _temporary_file(path: Path) -> tuple[Path, int]:
    """A new file beside `path`, and its handle."""
    temporary = path.with_name(f".{path.name}.{_HOST}-{os.getpid()}-{secrets.token_hex(8)}.tmp")
    # Not tempfile: its files are private, and this one follows the user's umask.
    return temporary, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)


def _replace(path: Path, content: bytes) -> None:
    temporary, handle = _temporary_file(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _delete_abandoned(folder: Path) -> None:
    """Delete temporary files whose process on this machine has ended."""
    for file in folder.glob(f".*.{_HOST}-*.tmp") if os.name == "posix" else ():
        process = file.name.rpartition(f".{_HOST}-")[2].partition("-")[0]
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except (OSError, ValueError):  # the process runs, or the name is not one of ours
            continue
