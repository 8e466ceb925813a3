"""Metrics as TensorBoard event files."""

import json
import time as clock
from collections.abc import Sequence
from pathlib import Path

from agents.tracking.run_description import RunDescription
from agents.tracking.tracker import Metrics, Record, numbers_in

FOLDER = "tensorboard"
"""Name of the folder of event files in the folder of a run."""


class TensorBoardEvents:
    """A tracker that writes event files, in single precision; see `copies.open_copy`."""

    def __init__(self, folder: Path, run: RunDescription, records: Sequence[Record] = ()) -> None:
        from torch.utils.tensorboard import SummaryWriter

        own = folder / FOLDER / run.subfolder
        for path in own.glob("events.out.tfevents.*"):  # runs in subfolders keep theirs
            path.unlink()
        self._writer = SummaryWriter(str(own), purge_step=0)  # a running TensorBoard discards the old events
        text = json.dumps({"name": run.name, **run.provenance, "config": run.config}, indent=1)
        self._writer.add_text("run", "\n".join(f"    {line}" for line in text.splitlines()), 0)
        for step, metrics, time in records:
            self._add(step, metrics, time)
        self._writer.flush()

    def log(self, step: int, metrics: Metrics, time: float | None = None) -> None:
        """See `Tracker.log`."""
        self._add(step, metrics, clock.time() if time is None else time)
        self._writer.flush()

    def _add(self, step: int, metrics: Metrics, time: float) -> None:
        for name, value in numbers_in(metrics).items():
            self._writer.add_scalar(name, value, step, walltime=time)

    def close(self) -> None:
        """See `Tracker.close`."""
        self._writer.close()
