"""Ids of the ratings log behind a simulated log.

Events contain indices of items in the catalogue and of users in the population. `items.parquet` and `users.parquet`, in
the same folder, map them to the ids of the ratings log that the world was fitted to.
"""

import io
from pathlib import Path
from typing import Any

import polars as pl

from recsim_env.atomic_file import printable, write_atomically
from recsim_env.logs.simulated.log_folder import read_manifest

_ITEMS, _USERS = "items.parquet", "users.parquet"


def write_ids(folder: Path, world: Any) -> None:
    """Write both files atomically, if the items and users of the world come from a ratings log."""
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
        content = io.BytesIO()
        pl.DataFrame(columns).cast({next(iter(columns)): pl.Int32}).write_parquet(content)
        write_atomically(folder / name, content.getvalue())


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
    of the population.

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
