"""Log sets: reproducible simulated logs, with hashes in the package.

The hash of a log covers its content: the manifest without versions, and the values of all columns. Unlike the bytes of
the Parquet files, it does not depend on the version of Polars.
"""

import dataclasses
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

import recsim_env
from recsim_env.atomic_file import printable
from recsim_env.config import unknown_name
from recsim_env.logs.simulated.log_folder import check_complete, read_manifest, read_shard

HASHES = Path(recsim_env.__file__).parent / "data" / "log_sets.json"


def content_hash(path: Path | str) -> str:
    """SHA-256 of a log's content, in hexadecimal digits.

    Raises:
        FileNotFoundError: the folder contains no log.
        ValueError: a file is damaged, or shards are missing.
    """
    return _read(Path(path))[1]


def log_set_names() -> tuple[str, ...]:
    """Names of the logs with hashes in the package, such as `"Video/random"`."""
    return tuple(committed_logs())


def load_log_set(folder: Path | str, name: str) -> pl.DataFrame:
    """Check the hash of a log written by `python -m benchmarks log-sets`, and return its rows.

    Args:
        folder: folder of all logs; this log is in `folder / name`.
        name: one of `log_set_names()`.

    Returns:
        The rows, as from `read_events`.

    Raises:
        FileNotFoundError: the folder does not contain the log.
        ValueError: the name is unknown, the log is damaged or incomplete, or its content does not match the hash.
    """
    known = committed_logs()
    if name not in known:
        raise ValueError(f"log set {name!r}: {unknown_name(name, known)}")
    path = Path(folder) / name
    frame, found = _read(path)
    if found != known[name]["sha256"]:
        raise ValueError(
            f"{printable(path)}: has SHA-256 {found[:12]}..., must be {known[name]['sha256'][:12]}...: "
            f"the log was changed, written with other arguments, or by another version than {committed_version()}"
        )
    return frame


def committed_logs() -> dict[str, dict[str, Any]]:
    """By name, the entry of each log: its `sha256`, policy, seed and sizes."""
    return _hashes()["logs"]


def committed_version() -> str:
    """Version of the package that wrote the hashed logs."""
    return _hashes()["versions"]["recsim_env"]


@cache
def _hashes() -> dict[str, Any]:
    return json.loads(HASHES.read_bytes())


def _read(path: Path) -> tuple[pl.DataFrame, str]:
    """The rows of a log and the hash of its content."""
    manifest = read_manifest(path)
    check_complete(path, manifest)
    fields = dataclasses.asdict(manifest)
    del fields["versions"]
    digest, shards = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()), []
    for number in range(len(manifest.shard_lengths)):
        shards.append(read_shard(path, number, manifest))
        for column in shards[-1]:
            digest.update(f"{column.name} {column.dtype}".encode())
            digest.update(column.to_numpy().tobytes())
    return pl.concat(shards), digest.hexdigest()
