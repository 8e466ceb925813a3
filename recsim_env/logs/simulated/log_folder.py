"""The folder of a log of simulated sessions: a manifest, and shards of rows in Parquet.

`manifest.json` describes how the log was made; each shard repeats it in its metadata. All shards but the last have the
same number of rows.
"""

import dataclasses
import io
import json
import platform
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

import recsim_env
from recsim_env.atomic_file import printable, write_atomically
from recsim_env.config import check_number
from recsim_env.logs.simulated.event_schema import SCHEMA_VERSION, event_schema

MANIFEST = "manifest.json"
_MANIFEST_KEY, _NUMBER_KEY, _CHECKSUM_KEY = "recsim_env.manifest", "recsim_env.shard", "recsim_env.checksum"
_REMOVED_KEY = "recsim_env.removed"
"""Number of rows that were removed from the shard (`user_removal`)."""


@dataclass(frozen=True, kw_only=True)
class LogManifest:
    """How a log was made. Logs with the same manifest have the same rows."""

    env_id: str
    """Id of the env; that of its scenario if the env was made without an id."""
    env_arguments: dict[str, Any]
    """All arguments of the env that affect its sessions, and its `max_episode_steps`."""
    is_remade: bool
    """Whether the env can be remade from its arguments: False with a custom scenario or user model."""
    world_fingerprint: str | None
    """Fingerprint of the ratings log or fitted world behind the env, if any; see `logs.fingerprint`."""
    policy: str
    """Name of the logging policy."""
    epsilon: float | None
    """Probability of a random slate in place of the policy's; None if the policy is unmodified."""
    seed: int
    """Lane i is seeded with `seed` + i, random draws of the policy with `seed`."""
    num_envs: int
    """Number of lanes. Rows are in order of vector steps, then lanes."""
    num_steps: int
    """Rows: vector steps times `num_envs`."""
    steps_per_shard: int
    """Vector steps in a shard."""
    slate_size: int
    num_candidates: int
    num_action_features: int
    """Length of an action that is a point in content space; 0 for indices of candidates."""
    versions: dict[str, str]
    """Versions of Python and of the packages that sessions, random draws or files depend on."""
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        for name in ("num_envs", "num_steps", "steps_per_shard", "slate_size", "num_candidates"):
            check_number(name, getattr(self, name), 1, 10**15, int)
        for name in ("seed", "num_action_features"):
            check_number(name, getattr(self, name), 0, 2**63 - 1, int)
        if self.num_steps % self.num_envs:
            raise ValueError(f"num_steps={self.num_steps}: must be a multiple of num_envs={self.num_envs}")
        for name, kind in (("env_id", str), ("policy", str), ("env_arguments", dict), ("versions", dict)):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name}={getattr(self, name)!r}: must be a {kind.__name__}")

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Column names and types."""
        return event_schema(
            slate_size=self.slate_size,
            num_candidates=self.num_candidates,
            num_action_features=self.num_action_features,
        )

    @property
    def shard_lengths(self) -> Sequence[int]:
        """Vector steps of each shard."""
        full, rest = divmod(self.num_steps // self.num_envs, self.steps_per_shard)
        return [self.steps_per_shard] * full + ([rest] if rest else [])

    def as_json(self) -> str:
        """The manifest as JSON, with a line for each field."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n"


def present_versions() -> dict[str, str]:
    """Installed versions of Python and of the packages that sessions, random draws or files depend on."""
    packages = {name: version(name) for name in ("numpy", "numba", "polars")}
    return {"recsim_env": recsim_env.__version__, "python": platform.python_version(), **packages}


def shard_path(folder: Path, number: int) -> Path:
    """The file of a shard; shards are numbered from 0."""
    return folder / f"events-{number:05d}.parquet"


def read_manifest(path: Path | str) -> LogManifest:
    """The manifest of the log in a folder.

    Raises:
        FileNotFoundError: there is no such folder, or it contains no log.
        ValueError: the manifest is damaged or has another schema version.
    """
    file = Path(path) / MANIFEST
    if not file.is_file():
        raise FileNotFoundError(f"{printable(path)}: not the folder of a simulated log, {MANIFEST} is missing")
    try:
        fields = json.loads(file.read_bytes())
        schema_version = fields["schema_version"]
        if schema_version == SCHEMA_VERSION:
            return LogManifest(**fields)
    except (ValueError, TypeError, LookupError):
        raise ValueError(f"{printable(file)}: damaged, or not the manifest of a simulated log") from None
    raise ValueError(f"{printable(file)}: has schema version {schema_version!r}; this version reads {SCHEMA_VERSION}")


def write_shard(folder: Path, number: int, frame: pl.DataFrame, manifest: LogManifest) -> None:
    """Write a shard, from which rows may be missing, whole or not at all; `OSError` if it cannot be written."""
    content = io.BytesIO()
    metadata = {_MANIFEST_KEY: manifest.as_json(), _NUMBER_KEY: str(number), _CHECKSUM_KEY: _checksum(frame)}
    num_removed = manifest.shard_lengths[number] * manifest.num_envs - len(frame)
    if num_removed:
        metadata[_REMOVED_KEY] = str(num_removed)
    frame.write_parquet(content, metadata=metadata)
    write_atomically(shard_path(folder, number), content.getvalue())


def read_shard(folder: Path, number: int, manifest: LogManifest) -> pl.DataFrame:
    """The rows of a shard; `ValueError` if it is damaged or belongs to another log."""
    file = shard_path(folder, number)
    try:
        content = file.read_bytes()
        metadata = pl.read_parquet_metadata(io.BytesIO(content))
        frame = pl.read_parquet(io.BytesIO(content))
        checksum = _checksum(frame)
    # Damaged bytes can raise any exception; Polars raises PanicException, which is not an Exception, for some.
    except (Exception, pl.exceptions.PanicException) as error:
        if isinstance(error, FileNotFoundError):
            raise ValueError(f"{printable(file)}: is missing") from None
        raise ValueError(f"{printable(file)}: damaged") from None
    if metadata.get(_MANIFEST_KEY) != manifest.as_json():
        raise ValueError(f"{printable(file)}: belongs to another log than {MANIFEST}")
    if metadata.get(_NUMBER_KEY, str(number)) != str(number):  # shards of older versions have no number
        raise ValueError(f"{printable(file)}: is another shard of the log, not shard {number}")
    num_rows = manifest.shard_lengths[number] * manifest.num_envs
    is_whole = frame.schema == manifest.schema and metadata.get(_REMOVED_KEY, "0") == str(num_rows - len(frame))
    if not is_whole or metadata.get(_CHECKSUM_KEY) != checksum:
        raise ValueError(f"{printable(file)}: damaged")
    return frame


def check_complete(folder: Path, manifest: LogManifest) -> list[Path]:
    """The files of all shards; `ValueError` if some are missing."""
    files = [shard_path(folder, number) for number in range(len(manifest.shard_lengths))]
    num_written = sum(file.is_file() for file in files)
    if num_written < len(files):
        raise ValueError(
            f"{printable(folder)}: has {num_written} of {len(files)} shards; repeat its command to write the others"
        )
    return files


def scan_events(path: Path | str) -> pl.LazyFrame:
    """Scan the rows of a log lazily: Polars reads only the columns and rows that a query needs.

    Columns are described in the documentation, under "Simulated logs". Unlike `read_events`, this does not verify
    checksums.

    Raises:
        FileNotFoundError: there is no log.
        ValueError: a damaged manifest, or missing shards.
    """
    return pl.scan_parquet(check_complete(Path(path), read_manifest(path)))


def read_events(path: Path | str) -> pl.DataFrame:
    """Read the rows of a log, in order of vector steps, then lanes; those of removed users are missing.

    Columns are described in the documentation, under "Simulated logs".

    Raises:
        FileNotFoundError: there is no log.
        ValueError: a damaged file, or missing shards.
    """
    folder, manifest = Path(path), read_manifest(path)
    check_complete(folder, manifest)
    return pl.concat([read_shard(folder, number, manifest) for number in range(len(manifest.shard_lengths))])


def _checksum(frame: pl.DataFrame) -> str:
    """CRC-32 of the values of all columns."""
    total = 0
    for column in frame:
        total = zlib.crc32(column.to_numpy().data, total)
    return f"{total:08x}"
