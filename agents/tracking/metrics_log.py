"""`metrics.jsonl`, the record of a run that all other trackers are copies of."""

import json
import os
import time as clock
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.terminal import warn
from agents.tracking.tracker import Metrics, Record, checked_metrics
from recsim_env.atomic_file import write_atomically

METRICS = "metrics.jsonl"
"""The file's name in the folder of a run."""


class MetricsLog:
    """A tracker that appends a line of JSON for each record: `num_steps` (the step), `time`, and the metrics.

    A process that is killed leaves an incomplete last line at most, which is removed when the file is opened again.

    Args:
        path: of the file; made if it is missing.
        last_step: of the records to keep, such as that of a checkpoint from which the run goes on; the run records
            later ones again. None keeps all.
        log: called with a line for the user if lines other than an incomplete last one are damaged, and removed.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, last_step: int | None = None, log: Callable[[str], None] = warn) -> None:
        self.path = path
        lines, num_damaged = _complete_lines(path)
        if num_damaged:
            log(f"{path}: {num_damaged} damaged lines are removed")
        self.records = [record for record in lines if last_step is None or record.step <= last_step]
        """Those in the file when it was opened, in the order of steps."""
        write_atomically(path, b"".join(map(_as_line, self.records)))
        self._last_step = self.records[-1].step if self.records else None

    def log(self, step: int, metrics: Metrics, time: float | None = None) -> None:
        """See `Tracker.log`.

        Raises:
            ValueError: the step is not above the last one.
            OSError: the file cannot be written.
        """
        if self._last_step is not None and step <= self._last_step:
            raise ValueError(f"{self.path}: ends at step {self._last_step:,}; the next must be above it, not {step:,}")
        record = Record(step, checked_metrics(metrics), clock.time() if time is None else time)
        try:
            with self.path.open("ab") as file:
                file.write(_as_line(record))
                file.flush()
                os.fsync(file.fileno())  # before a checkpoint that counts on it
        except OSError as error:
            raise OSError(f"{self.path}: cannot be written ({error.strerror})") from None
        self._last_step = step

    def close(self) -> None:
        """Nothing is buffered."""


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """The records in a file, `num_steps` and `time` among the metrics; without incomplete lines, empty if there is no
    file."""
    return [_as_dict(record) for record in _complete_lines(Path(path))[0]]


def _complete_lines(path: Path) -> tuple[list[Record], int]:
    """The records in the order of steps, and the number of damaged lines, without an incomplete last one.

    Of records of the same step, the last one counts.
    """
    records, num_damaged = {}, 0
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    for line in lines[:-1]:  # what follows the last line break is incomplete
        record = _parsed(line)
        if record is None:
            num_damaged += 1
        else:
            records[record.step] = record
    return [records[step] for step in sorted(records)], num_damaged


def _parsed(line: bytes) -> Record | None:
    try:
        values = json.loads(line)
        step, time = values.pop("num_steps"), values.pop("time", 0.0)
        if isinstance(step, int) and isinstance(time, int | float):
            return Record(step, checked_metrics(values), float(time))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    return None


def _as_dict(record: Record) -> dict[str, Any]:
    return {"num_steps": record.step, "time": record.time, **record.metrics}


def _as_line(record: Record) -> bytes:
    return json.dumps(_as_dict(record), allow_nan=False).encode() + b"\n"
