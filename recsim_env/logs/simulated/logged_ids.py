"""Ids of the ratings log behind a simulated log.

Events contain indices of items in the catalogue and of users in the population. `items.parquet` and `users.parquet`, in
the same folder, map them to the ids of the ratings log that the world was fitted to.
"""

import io
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import polars as pl

from recsim_env.atomic_file import printable, write_atomically
from recsim_env.logs.simulated.log_folder import read_manifest

_ITEMS, _USERS = "items.parquet", "users.parquet"


def write_ids(folder: Path, world: Any) -> None:
    """Write the missing files atomically, if the items and users of the world come from a ratings log."""
    items, users = world.items, world.users
    if items.ids is None:
        return
    frames = {
        _ITEMS: {
            "item": range(len(items)),
            "id": items.ids,
            "title": [items.title(item) for item in range(len(items))],
        },
        _USERS: {"user": range(len(users)), "id": users.ids},
    }
    for name, columns in frames.items():
        if not (folder / name).is_file():  # users may have been removed from it
            _write(folder / name, pl.DataFrame(columns).cast({next(iter(columns)): pl.Int32}))


def users_with_ids(path: Path | str, ids: Iterable[str]) -> list[int]:
    """Indices, as in the column `user`, of users with these ids in the ratings log; without a ratings log, an id is the
    index itself, as text.

    Raises:
        FileNotFoundError: there is no log, or the file of its ids is missing.
        ValueError: an unknown id, or a damaged file.
    """
    has_ids = read_manifest(path).world_fingerprint is not None
    users = {str(name): user for user, name in read_users(path).iter_rows()} if has_ids else None
    found = []
    for each in ids:
        if users is None and each.isdecimal() and len(each) < 10:
            found.append(int(each))
        elif users is not None and each in users:
            found.append(users[each])
        else:
            raise ValueError(f"user {each!r}: is not among the users of {printable(path)}")
    return found


def remove_user_ids(folder: Path, users: Collection[int]) -> None:
    """Remove the rows of users from `users.parquet`, if there is one."""
    if (folder / _USERS).is_file():
        _write(folder / _USERS, _read(folder, _USERS).filter(~pl.col("user").is_in(users)))


def _write(file: Path, frame: pl.DataFrame) -> None:
    content = io.BytesIO()
    frame.write_parquet(content)
    write_atomically(file, content.getvalue())


def read_items(path: Path | str) -> pl.DataFrame:
    """Read the items of a log: columns `item`, as in the events, `id` in the ratings log, and `title` (the id if the
    title is unknown), with a row for each item of the catalogue.

    Raises:
        FileNotFoundError: there is no log, or its items do not come from a ratings log.
        ValueError: a damaged file.
    """
    return _read(Path(path), _ITEMS)


def read_users(path: Path | str) -> pl.DataFrame:
    """Read the users of a log: columns `user`, as in the events, and `id` in the ratings log, with a row for each user
    of the population, removed ones excepted.

    Raises:
        FileNotFoundError: there is no log, or its users do not come from a ratings log.
        ValueError: a damaged file.
    """
    return _read(Path(path), _USERS)


def _read(folder: Path, name: str) -> pl.DataFrame:
    file, manifest = folder / name, read_manifest(folder)
    if not file.is_file():
        if manifest.world_fingerprint is None:
            raise FileNotFoundError(f"{printable(folder)}: its items and users do not come from a ratings log")
        raise FileNotFoundError(f"{printable(file)}: is missing; repeat the command of the log to write it")
    try:
        return pl.read_parquet(io.BytesIO(file.read_bytes()))
    # Damaged bytes can raise any exception; Polars raises PanicException, which is not an Exception, for some.
    except (Exception, pl.exceptions.PanicException):
        raise ValueError(f"{printable(file)}: damaged") from None
