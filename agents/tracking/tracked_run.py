"""A run in a folder: its description, its metrics, and copies of them in other trackers."""

import time as clock
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.provenance import provenance
from agents.terminal import warn
from agents.tracking.copies import Copies, check_copies
from agents.tracking.metrics_log import METRICS, MetricsLog
from agents.tracking.run_description import described_in
from agents.tracking.tracker import Metrics, Tracker, checked_metrics


@contextmanager
def tracked_run(
    folder: Path | str,
    track: Sequence[str] = (),
    *,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
    last_step: int | None = None,
    log: Callable[[str], None] = warn,
) -> Iterator[Tracker]:
    """A tracker that writes `metrics.jsonl` and `run.json` in `folder`, with copies in further trackers.

    Opening a folder again resumes its run: records after `last_step` are removed from `metrics.jsonl` and from the
    copies. All copies, including new ones, then hold the records of `metrics.jsonl`, even if the previous process was
    killed.

    Args:
        folder: folder of this run only; created if it does not exist.
        track: names of further trackers: "tensorboard", "wandb", "mlflow".
        name: name of the run; by default that of the folder.
        config: settings; values may be nested mappings.
        origin: command, commit, versions, machine and date; by default those of this process.
        last_step: step of the checkpoint from which the run continues; None keeps all records.
        log: called with each warning.

    Raises:
        ValueError: an unknown tracker, a missing package, or a damaged `run.json`.
        OSError: the folder cannot be written.
    """
    check_copies(track)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run = described_in(folder, name or folder.resolve().name, config or {}, origin or provenance())
    metrics_log = MetricsLog(folder / METRICS, last_step, log)
    tracker = _TrackedRun(metrics_log, Copies(track, folder, run, metrics_log.records, log))
    try:
        yield tracker
    finally:
        tracker.close()


class _TrackedRun:
    """`metrics.jsonl` and its copies."""

    def __init__(self, metrics_log: MetricsLog, copies: Copies) -> None:
        self._metrics_log, self._copies = metrics_log, copies

    def log(self, step: int, metrics: Metrics, time: float | None = None) -> None:
        metrics, time = checked_metrics(metrics), clock.time() if time is None else time
        self._metrics_log.log(step, metrics, time)
        self._copies.log(step, metrics, time)

    def close(self) -> None:
        self._metrics_log.close()
        self._copies.close()
