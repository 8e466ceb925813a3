"""Metrics as a run of Weights & Biases, by default offline."""

import os
import shutil
import time as clock
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.tracking.run_description import RunDescription
from agents.tracking.tracker import Metrics, Record, numbers_in

FOLDER = "wandb"
"""Name of the folder of offline runs, for `wandb sync`, in the folder of a run."""

_SERVICE = "WANDB_SERVICE"
"""Makes a subprocess share this process's writer, which would keep its run open after the subprocess is killed."""


class WandbRun:
    """A tracker that writes an offline run; see `copies.open_copy`.

    Nothing is sent unless the environment variable `WANDB_MODE` sets a mode other than `offline`. System metrics are
    disabled: they would be lost when the run is rewritten.
    """

    def __init__(self, folder: Path, run: RunDescription, records: Sequence[Record] = ()) -> None:
        import wandb

        for old in (folder / FOLDER).glob("offline-run-*"):
            if old.name.endswith(f"-{run.id}"):
                shutil.rmtree(old)
        os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")  # avoids an advertisement for another package
        os.environ.pop(_SERVICE, None)
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            mode=mode,
            dir=folder,
            project=os.environ.get("WANDB_PROJECT", "recsim_env"),
            id=run.id,
            name=run.name,
            config={**run.config, "provenance": dict(run.provenance)},
            resume=None if mode == "offline" else "allow",
            reinit="create_new",
            settings=wandb.Settings(
                console="off", silent=True, x_disable_stats=True, disable_git=True, disable_code=True
            ),
        )
        os.environ.pop(_SERVICE, None)
        for step, metrics, time in records:
            self.log(step, metrics, time)

    def log(self, step: int, metrics: Metrics, time: float | None = None) -> None:
        """See `Tracker.log`. In online modes, steps that the server already has are skipped."""
        if step >= self._run.step:
            own = {"_timestamp": clock.time() if time is None else time}
            self._run.log({**numbers_in(metrics), **own}, step=step, commit=True)

    def close(self) -> None:
        """See `Tracker.close`."""
        self._run.finish()
