"""The interface of trackers, and the records that they receive."""

import math
import numbers
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

Metrics = Mapping[str, float | int | str | None]
"""By name; text and None are for the file of JSON lines alone."""


RESERVED = ("num_steps", "time")
"""Names in the file of JSON lines that no metric may have: the step, and the time of the record."""


class Tracker(Protocol):
    """Receives the metrics of one run."""

    def log(self, step: int, metrics: Metrics, time: float | None = None) -> None:
        """Record metrics at a step.

        Args:
            step: user-steps so far; above that of the previous call.
            metrics: by name. Names with a slash, such as `return/Video`, are grouped where a tracker has groups.
            time: seconds since 1970; None for now.
        """

    def close(self) -> None:
        """Write what is still buffered; nothing may be recorded afterwards."""


class Record(NamedTuple):
    """What one call of `log` recorded."""

    step: int
    metrics: dict[str, Any]
    time: float


def checked_metrics(metrics: Metrics) -> dict[str, float | int | str | None]:
    """The metrics as Python's own types; numbers that are not finite, which JSON cannot hold, become None.

    Raises:
        TypeError: a value is neither a number, nor text, nor None; the message names it.
        ValueError: a name is one of `RESERVED`.
    """
    for name in RESERVED:
        if name in metrics:
            raise ValueError(f"metric {name!r}: has the name of a record's own field; choose another")
    checked: dict[str, float | int | str | None] = {}
    for name, value in metrics.items():
        if isinstance(value, numbers.Integral):  # bool and NumPy's integers, too
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
    """The metrics that are finite numbers: those that all trackers receive."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    }
