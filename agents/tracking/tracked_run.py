"""A run in a folder: its description, its metrics, and copies of them in other trackers."""

import functools
import time as clock
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.provenance import provenance
from agents.terminal import one_line, warn
from agents.tracking.copies import check_copies, open_copy
from agents.tracking.metrics_log import METRICS, MetricsLog
from agents.tracking.run_description import RunDescription, described_in
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
    """A tracker that writes `metrics.jsonl` and `run.json` in `folder`, and copies in further trackers.

    A run goes on when it is opened again: records after `last_step` are removed, from the copies, too. Every copy then
    holds what `metrics.jsonl` holds, however the process before ended, and whether it had this copy or not.

    Args:
        folder: of this run alone; made if it is missing.
        track: names of further trackers: "tensorboard", "wandb", "mlflow".
        name: of the run; by default that of the folder.
        config: settings, which may be nested.
        origin: command, commit, versions, machine and date; by default those of this process.
        last_step: that of the checkpoint from which the run goes on; None keeps all records.
        log: called with lines for the user.

    Raises:
        ValueError: an unknown tracker or a missing package; or `run.json` is damaged.
        OSError: the folder cannot be written.
    """
    check_copies(track)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run = described_in(folder, name or folder.resolve().name, config or {}, origin or provenance())
    tracker = _TrackedRun(MetricsLog(folder / METRICS, last_step, log), folder, run, track, log)
    try:
        yield tracker
    finally:
        tracker.close()


class _TrackedRun:
    """`metrics.jsonl` and its copies. A copy that fails is dropped with a warning: the run itself goes on."""

    def __init__(
        self,
        metrics_log: MetricsLog,
        folder: Path,
        run: RunDescription,
        track: Sequence[str],
        log: Callable[[str], None],
    ) -> None:
        self._metrics_log, self._log = metrics_log, log
        self._copies: dict[str, Tracker] = {}
        for name in dict.fromkeys(track):
            try:
                self._copies[name] = open_copy(name, folder, run, metrics_log.records)
            except Exception as error:  # a library's own errors, such as that of a server that does not answer
                self.close()
                raise ValueError(f"track={name!r}: {one_line(error)}") from error

    def log(self, step: int, metrics: Metrics, time: float | None = None) -> None:
        metrics, time = checked_metrics(metrics), clock.time() if time is None else time
        self._metrics_log.log(step, metrics, time)
        for name, copy in list(self._copies.items()):
            self._attempt(name, functools.partial(copy.log, step, metrics, time))

    def close(self) -> None:
        self._metrics_log.close()
        for name, copy in list(self._copies.items()):
            self._attempt(name, copy.close)

    def _attempt(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            del self._copies[name]
            self._log(f"{name}: stopped ({one_line(error)}); it gets what it lacks when the run is opened again")
