"""Result rows: their schema, their provenance, and how they are written and read as JSON lines."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    Required,  # pydantic needs these before Python 3.12
)

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from agents.provenance import provenance as provenance_of
from agents.registry import FAMILIES
from recsim_env.atomic_file import write_atomically

Count = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, Field(gt=-1e15, lt=1e15)]
"""Bounded, so that sums and squares of what a report reads are finite."""


def _checked_curves(curves: dict[str, dict[str, list[float | None]]]) -> dict[str, dict[str, list[float | None]]]:
    """The curves, if each has as many rewards as counts; the figures rely on it."""
    for name in ("by_step", "by_step_cold", "by_item_age", "by_tenure") if curves else ():
        curve = curves.get(name, {})
        if "reward" not in curve or not {"num_sessions", "num_exposures"} & set(curve):
            raise ValueError(f"{name}: must have reward, and num_sessions or num_exposures")
        if len({len(values) for values in curve.values()}) > 1:
            raise ValueError(f"{name}: must have lists of one length")
    return curves


def _checked_family(family: str) -> str:
    if family not in FAMILIES:
        raise ValueError(f"must be one of {', '.join(FAMILIES)}")
    return family


Settings = Annotated[dict[str, JsonValue], AfterValidator(lambda it: json.loads(json.dumps(it, allow_nan=False)))]


@with_config(ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class Row(TypedDict, total=False):
    """One evaluation of a run (agent x scenario x seed), or the failure of a run. All numbers are finite."""

    suite: Required[str]
    agent: Required[str]
    family: Required[Annotated[str, AfterValidator(_checked_family)]]
    """A key of `agents.registry.FAMILIES`."""
    scenario: Required[str]
    """The scenario and, in a grid, its variant."""
    seed: Required[Count]
    run: Required[str]
    """Digest of everything that the rows of the run depend on."""
    version: Required[str]
    """Version of recsim_env."""
    env_steps: Required[Count]
    """User-steps of training before the evaluation."""
    wall_s: Required[Number]
    """Seconds of training before the evaluation, without earlier evaluations."""
    status: Required[Literal["ok", "failed"]]
    is_final: Required[bool]
    """Whether it is the last row of its run."""
    error: str
    """Why the run failed, in one line."""
    traceback: str
    num_sessions: Count
    return_mean: Number
    return_sem: Number
    session_length_mean: Number
    churn: Number
    evaluation_s: Number
    """Seconds of this evaluation."""

    # In final rows only:
    returns: Annotated[list[Number], Field(min_length=1)]
    """Return of each evaluation session; those of two agents are paired by seed and position."""
    metrics: dict[str, Number | None]
    curves: Annotated[dict[str, dict[str, list[Number | None]]], AfterValidator(_checked_curves)]
    """Rewards by step, item age and tenure."""
    settings: Settings
    """Keyword arguments of the agent, `num_envs` of its training, and what it has chosen by itself."""
    loaded_from: str
    """The file of an agent that was loaded instead of trained."""
    is_privileged: bool
    """Whether the class of a user's agent declares that it reads the latent state (`Agent.is_privileged`)."""
    log: str
    """Fingerprint of the ratings log behind MovieLens, if it is not MovieLens-100K."""
    steps_per_s: Number | None
    peak_memory_mib: Number | None
    run_s: Number | None
    """Seconds of the run with its evaluations."""
    latent_reads: list[Literal["training", "play"]]
    """Where the agent read the latent state; recorded for submissions only."""
    operations: float
    """Floating-point operations of the training (scaling experiment)."""

    # Provenance:
    command: str
    commit: str
    versions: dict[str, str]
    machine: str
    date: str


_ROW = TypeAdapter(Row)


RunKey = tuple[str, str, int]
"""Agent, scenario, seed."""


def key_of(row: Row) -> RunKey:
    """Agent, scenario and seed, as `Run.key`."""
    return row["agent"], row["scenario"], row["seed"]


STALE = "stale.jsonl"
"""The file, in a folder of results, of rows that are no longer among them."""


class ResultsError(ValueError):
    """A request that the benchmark cannot fulfil; the message says what and why in one line."""


def provenance(arguments: list[str], module: str = "benchmarks") -> dict[str, Any]:
    """Command (of `python -m module`), commit, versions, machine and date, for every row."""
    return provenance_of(arguments, module)


def checked(row: Mapping[str, Any]) -> Row:
    """The row as a results file gives it back.

    Raises:
        ResultsError: it does not fit the schema.
        ValueError, TypeError: JSON cannot hold it.
    """
    return _parsed(_as_line(row))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines, whole or not at all."""
    write_atomically(path, as_lines(rows))


def as_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """The content of a results file."""
    return b"".join(map(_as_line, rows))


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append JSON lines in one piece and flush them to disk.

    A machine that stops half-way leaves an incomplete last line, which `read_rows` skips.
    """
    content = as_lines(rows)
    try:
        with path.open("ab", buffering=0) as file:
            while content:
                content = content[file.write(content) :]
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror})") from None


def set_aside(rows: Iterable[Mapping[str, Any]], folder: Path) -> None:
    """Add rows to `STALE` in the folder, except those that a command wrote there before it was interrupted."""
    path = folder / STALE
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    present = dict.fromkeys(line for line in lines if line.endswith(b"\n"))
    write_atomically(path, b"".join(present | dict.fromkeys(as_lines([row]) for row in rows)))


def read_rows(path: Path, log: Callable[[str], None] | None = None) -> list[Row]:
    """Rows of a results file. An incomplete last line is skipped, with a line to `log`.

    Raises:
        ResultsError: the file is missing, empty, or a line does not fit the schema; the message names line and field.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ResultsError(f"{path}: cannot be read ({reason})") from None
    return rows_in(content, path, log)


def rows_in(content: bytes, path: Path, log: Callable[[str], None] | None = None) -> list[Row]:
    """As `read_rows`, from the content of a file; `path` is for messages only."""
    lines, rows = content.rstrip(b"\n").split(b"\n"), []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(_parsed(line))
        except _NotJSONError as error:
            if number < len(lines):
                raise ResultsError(f"{path}:{number}: {error}") from None
            if line and log:
                log(f"{path}:{number}: the last line is incomplete, and skipped")
        except ResultsError as error:
            raise ResultsError(f"{path}:{number}: {error}") from None
    if not rows:
        raise ResultsError(f"{path}: holds no rows")
    return rows


def read_objects(path: Path, *, allow_incomplete: bool = False) -> list[dict[str, Any]]:
    """The rows of a file, of any schema; with `allow_incomplete`, without an incomplete last line.

    Raises:
        ResultsError: a line is not a JSON object.
        OSError: the file cannot be read.
    """
    *lines, last = path.read_bytes().split(b"\n")
    if last and not allow_incomplete:
        lines.append(last)
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise ResultsError(f"{path}:{number}: not a JSON object")
        rows.append(row)
    return rows


def first_problem(error: ValidationError) -> str:
    """The field and the message of the first problem, in one line."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".replace("\n", " ")


class _NotJSONError(ResultsError):
    pass


def _as_line(row: Mapping[str, Any]) -> bytes:
    """One JSON line; lone surrogates, which UTF-8 cannot hold, become question marks."""
    return (json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n").encode(errors="replace")


def _parsed(line: bytes) -> Row:
    try:
        row = _ROW.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise _NotJSONError(f"not JSON ({first['msg'].removeprefix('Invalid JSON: ')})") from None
        field, value = ".".join(map(str, first["loc"])), ""
        if first["type"] not in ("missing", "extra_forbidden"):
            value = f"={str(first['input'])[:40]!r}"
        raise ResultsError(f"not a result row: {field}{value}: {first['msg']}".replace("\n", " ")) from None
    needed = ["return_mean", "return_sem"] if row["status"] == "ok" else ["error"]
    if row["status"] == "ok" and row["is_final"]:
        needed += ["returns", "settings"]
    if missing := [name for name in needed if name not in row]:
        raise ResultsError(f"not a result row: {', '.join(missing)}: Field required")
    return row


def of_newest_version(rows: list[Row], log: Callable[[str], None] | None = None) -> list[Row]:
    """The rows of the version of the newest row; a line to `log` says how many others are left out."""
    newest = max(rows, key=lambda row: row.get("date", ""))["version"]
    kept = [row for row in rows if row["version"] == newest]
    if len(kept) < len(rows) and log:
        others = ", ".join(sorted({row["version"] for row in rows} - {newest}))
        log(f"{len(rows) - len(kept)} rows of another version ({others}) are left out; shown is {newest}")
    return kept
