"""Copies of a run's `metrics.jsonl` in other trackers."""

import functools
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agents.terminal import one_line
from agents.tracking.mlflow_run import MLflowRun
from agents.tracking.run_description import RunDescription
from agents.tracking.tensorboard_events import TensorBoardEvents
from agents.tracking.tracker import Metrics, Record, Tracker
from agents.tracking.wandb_run import WandbRun
from recsim_env.config import unknown_name

_COPIES: dict[str, Callable[[Path, RunDescription, Sequence[Record]], Tracker]] = {
    "tensorboard": TensorBoardEvents,
    "wandb": WandbRun,
    "mlflow": MLflowRun,
}
COPIES = tuple(_COPIES)
"""Names of the trackers, of their packages, and of the extras that install them."""


def add_track_argument(parser: Any, subject: str) -> None:
    """Add `--track NAME` to an argument parser, for commands whose options do not come from a config."""
    parser.add_argument(
        "--track",
        action="append",
        default=[],
        metavar="NAME",
        help=f"also copy {subject} to tensorboard, wandb or mlflow (needs the extra of that name); repeat for several",
    )


def check_copies(names: Iterable[str]) -> None:
    """Raise a one-line `ValueError` unless all names are those of trackers whose packages are installed."""
    for name in names:
        if name not in _COPIES:
            raise ValueError(f"track={name!r}: {unknown_name(name, _COPIES)}")
        package = find_spec(name)
        if package is None or package.origin is None:  # a namespace package: a folder of that name, such as W&B's own
            raise ValueError(f"track={name!r}: needs the package {name}: pip install 'recsim-env[{name}]'")


def open_copy(name: str, folder: Path, run: RunDescription, records: Sequence[Record] = ()) -> Tracker:
    """Open the tracker of a run, so that it holds exactly these records: others are removed, missing ones are added.

    Args:
        name: one of `COPIES`.
        folder: folder of the tracker's files, which may hold several runs.
        run: the run, identified by its id.
        records: sorted by step.

    Raises:
        ValueError: see `check_copies`.
    """
    check_copies([name])
    return _COPIES[name](folder, run, records)


class Copies:
    """A tracker that forwards records to several others. One that fails is dropped with a warning; the run continues.

    Args:
        names: names of trackers, see `open_copy`.
        folder: see `open_copy`.
        run: see `open_copy`.
        records: see `open_copy`.
        log: called with each warning.

    Raises:
        ValueError: a tracker cannot be opened.
    """

    def __init__(
        self,
        names: Iterable[str],
        folder: Path,
        run: RunDescription,
        records: Sequence[Record],
        log: Callable[[str], None],
    ) -> None:
        self._log, self._trackers = log, dict[str, Tracker]()
        for name in dict.fromkeys(names):
            try:
                self._trackers[name] = open_copy(name, folder, run, records)
            except Exception as error:  # of the library, for example if a server does not respond
                self.close()
                raise ValueError(f"track={name!r}: {one_line(error)}") from error

    def log(self, step: int, metrics: Metrics, time: float | None = None) -> None:
        """See `Tracker.log`."""
        for name, tracker in list(self._trackers.items()):
            self._attempt(name, functools.partial(tracker.log, step, metrics, time))

    def close(self) -> None:
        """See `Tracker.close`."""
        for name, tracker in list(self._trackers.items()):
            self._attempt(name, tracker.close)

    def _attempt(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            del self._trackers[name]
            self._log(f"{name}: stopped ({one_line(error)}); missing records are added when the run is resumed")
