"""`metrics.jsonl`, the record of a run; all other trackers hold copies of it."""

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

    A killed process leaves at most an incomplete last line, which is removed when the file is opened again.

    Args:
        path: path of the file, which is created if it does not exist.
        last_step: the last step to keep, such as that of the checkpoint from which the run continues; later records are
            removed, since the run writes them again. None keeps all records.
        log: called with a warning if damaged lines, other than an incomplete last one, are removed.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, last_step: int | None = None, log: Callable[[str], None] = warn) -> None:
        self.path = path
        lines, num_damaged = _complete_lines(path)
        if num_damaged:
            log(f"{path}: {num_damaged} damaged lines are removed")
        self.records = [record for record in lines if last_step is None or record.step <= last_step]
        """The records in the file when it was opened, sorted by step."""
        write_atomically(path, b"".join(map(_as_line, self.records)))
        self._last_step = self.records[-1].step if self.records else None

    def log(self, step: int, metrics: Metrics, time: float | None = None) -> None:
        """See `Tracker.log`.

        Raises:
            ValueError: the step is not greater than the last one.
            OSError: the file cannot be written.
        """
        if self._last_step is not None and step <= self._last_step:
            raise ValueError(
                f"{self.path}: the last step is {self._last_step:,}; the next one must be greater, not {step:,}"
            )
        record = Record(step, checked_metrics(metrics), clock.time() if time is None else time)
        try:
            with self.path.open("ab") as file:
                file.write(_as_line(record))
                file.flush()
                os.fsync(file.fileno())  # before the checkpoint of this step is written
        except OSError as error:
            raise OSError(f"{self.path}: cannot be written ({error.strerror})") from None
        self._last_step = step

    def close(self) -> None:
        """Nothing is buffered."""


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """The records in a file, each a dict of `num_steps`, `time` and the metrics; damaged lines are skipped.

    Empty if the file does not exist.
    """
    return [_as_dict(record) for record in _complete_lines(Path(path))[0]]


def _complete_lines(path: Path) -> tuple[list[Record], int]:
    """The records, sorted by step, and the number of damaged lines, not counting an incomplete last one.

    Of several records of one step, the last one is kept.
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
