"""Copies of a run's metrics in other trackers than `metrics.jsonl`."""

from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from agents.tracking.mlflow_run import MLflowRun
from agents.tracking.run_description import RunDescription
from agents.tracking.tensorboard_events import TensorBoardEvents
from agents.tracking.tracker import Record, Tracker
from agents.tracking.wandb_run import WandbRun
from recsim_env.config import unknown_name

_COPIES: dict[str, Callable[[Path, RunDescription, Sequence[Record]], Tracker]] = {
    "tensorboard": TensorBoardEvents,
    "wandb": WandbRun,
    "mlflow": MLflowRun,
}
COPIES = tuple(_COPIES)
"""Names of trackers, which are also those of their packages and extras."""


def check_copies(names: Iterable[str]) -> None:
    """Raise `ValueError`, in one line, unless all are names of trackers whose packages are installed."""
    for name in names:
        if name not in _COPIES:
            raise ValueError(f"track={name!r}: {unknown_name(name, _COPIES)}")
        if find_spec(name) is None:
            raise ValueError(f"track={name!r}: needs the package {name}: pip install 'recsim-env[{name}]'")


def open_copy(name: str, folder: Path, run: RunDescription, records: Sequence[Record] = ()) -> Tracker:
    """The tracker of a run, which holds exactly these records: what it held before and what they do not have is
    removed, and what it lacks is added.

    Args:
        name: one of `COPIES`.
        folder: where it stores runs, each in a place of its own.
        run: the run, known by its id.
        records: in the order of steps.

    Raises:
        ValueError: see `check_copies`.
    """
    check_copies([name])
    return _COPIES[name](folder, run, records)
