"""Rows as runs in TensorBoard, Weights & Biases or MLflow, one run for each scenario, agent and seed."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from agents.provenance import FIELDS
from agents.tracking.copies import check_copies, open_copy
from agents.tracking.run_description import RunDescription
from agents.tracking.tracker import Record
from benchmarks.analysis.scores import scored
from benchmarks.rows import ResultsError, Row, RunKey, key_of
from recsim_env.atomic_file import write_atomically

TRACKED = "tracked.json"
"""Name of the file that lists, for each tracker, the digests of the runs that it already holds."""

_HELD = TypeAdapter(dict[str, dict[str, str]])

_CURVES = {
    "return": "return_mean",
    "return_sem": "return_sem",
    "score": "score",
    "session_length": "session_length_mean",
    "churn": "churn",
    "seconds_of_learning": "wall_s",
}
"""Names of the curves over user-steps, with their keys in rows."""


def track_rows(directory: Path, rows: Iterable[Row], track: Sequence[str], log: Callable[[str], None]) -> None:
    """Write learning curves to trackers; runs that a tracker already holds are skipped unless they have changed.

    Scores need rows of both references, and change with them. Missing values and failed runs are skipped.

    Args:
        directory: folder of the trackers' files; created if it does not exist.
        rows: rows of any number of runs.
        track: names of trackers, see `agents.tracking.copies.COPIES`.
        log: called with a summary for each tracker.

    Raises:
        ValueError: a tracker is unknown, its package is missing, or `tracked.json` is damaged.
    """
    check_copies(track)
    by_run: dict[RunKey, list[Row]] = {}
    for row in scored(rows):
        if row["status"] == "ok":
            by_run.setdefault(key_of(row), []).append(row)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / TRACKED
    held = _held(path)
    for name in dict.fromkeys(track):
        own, num_written = held.setdefault(name, {}), 0
        for of_run in by_run.values():
            run, records = _described(of_run[-1]), _records(of_run)
            digest = hashlib.blake2b(json.dumps([asdict(run), records]).encode(), digest_size=8).hexdigest()
            if own.get(run.subfolder) != digest:
                open_copy(name, directory, run, records).close()
                own[run.subfolder], num_written = digest, num_written + 1
                write_atomically(path, json.dumps(held, indent=1).encode())
        log(f"{name}: {num_written} of {len(by_run)} runs written to {directory}; the others are unchanged")


def _held(path: Path) -> dict[str, dict[str, str]]:
    """By tracker and run, the digests in `tracked.json`; empty without the file."""
    try:
        return _HELD.validate_json(path.read_bytes()) if path.exists() else {}
    except ValidationError:
        raise ResultsError(f"{path}: is damaged; without it, all runs are written to the trackers again") from None


def metrics_of(row: Row) -> dict[str, float]:
    """Values of a row by name; the metrics of a final row have the prefix `metrics/`."""
    curves = {name: row[key] for name, key in _CURVES.items() if key in row}  # type: ignore[literal-required]
    metrics = row.get("metrics") or {}
    return curves | {f"metrics/{name}": value for name, value in metrics.items() if value is not None}


def _described(row: Row) -> RunDescription:
    """The description of a run, from its final row."""
    parts = (row["scenario"], row["agent"], f"seed-{row['seed']}")
    config = {key: row[key] for key in ("suite", "scenario", "agent", "family", "seed", "version")}  # type: ignore[literal-required]
    return RunDescription(
        id=row["run"],
        name="/".join(parts),
        subfolder="/".join(re.sub(r"[^\w.:=,()+ -]|\.\.+", "_", part) for part in parts),  # rows may come from others
        config={**config, "settings": row.get("settings", {})},
        provenance={key: row[key] for key in FIELDS if key in row},  # type: ignore[literal-required]
    )


def _records(rows: Iterable[Row]) -> list[Record]:
    """The records of a run, sorted by step; of several rows of one step, the last one is kept."""
    found = {row["env_steps"]: Record(row["env_steps"], metrics_of(row), _time(row)) for row in rows}
    return [found[step] for step in sorted(found)]


def _time(row: Row) -> float:
    """Start time of the command that produced the row, in seconds since 1970; 0 if unknown."""
    try:
        return datetime.fromisoformat(row.get("date", "")).timestamp()
    except ValueError:
        return 0.0
