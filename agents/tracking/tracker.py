"""The interface of trackers, and the records that they receive."""

import math
import numbers
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

Metrics = Mapping[str, float | int | str | None]
"""Metrics by name. Text and None are recorded in the file of JSON lines only."""

RESERVED = ("num_steps", "time")
"""Names that metrics must not have: the step and the time of a record in the file of JSON lines."""


class Tracker(Protocol):
    """Receives the metrics of one run."""

    def log(self, step: int, metrics: Metrics, time: float | None = None) -> None:
        """Record metrics at a step.

        Args:
            step: user-steps so far; greater than in the previous call.
            metrics: by name. Names with a slash, such as `return/Video`, are grouped by trackers that support groups.
            time: seconds since 1970; None for the current time.
        """

    def close(self) -> None:
        """Write buffered records. No records may follow."""


class Record(NamedTuple):
    """The record of one call of `Tracker.log`."""

    step: int
    metrics: dict[str, Any]
    time: float


def checked_metrics(metrics: Metrics) -> dict[str, float | int | str | None]:
    """The metrics as built-in types; non-finite numbers, which JSON cannot represent, become None.

    Raises:
        TypeError: a value is not a number, text or None; the message names the metric.
        ValueError: a name is one of `RESERVED`.
    """
    for name in RESERVED:
        if name in metrics:
            raise ValueError(f"metric {name!r}: the name is reserved for a field of the record; choose another")
    checked: dict[str, float | int | str | None] = {}
    for name, value in metrics.items():
        if isinstance(value, numbers.Integral):  # includes bool and NumPy's integers
            checked[name] = int(value)
        elif isinstance(value, numbers.Real):
            number = float(value)
            checked[name] = number if math.isfinite(number) else None
        elif value is None or isinstance(value, str):
            checked[name] = value
        else:
            raise TypeError(f"metric {name!r}: must be a number, text or None, not {type(value).__name__}")
    return checked


def numbers_in(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are finite numbers, which all trackers can record."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    }
