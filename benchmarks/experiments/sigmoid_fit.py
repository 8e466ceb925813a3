"""A curve of return over compute, and how well it foretells what it was not made of.

Loss may be a power law in compute; return is bounded, so the curve is a sigmoid in the logarithm of compute:
R(C) = low + (high - low) / (1 + (middle / C)^slope).

Shape legend: n points (an evaluation of a training each).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import curve_fit

from benchmarks.rows import ResultsError, Row


@dataclass(frozen=True, kw_only=True)
class Sigmoid:
    """The curve, and how well it foretells what it was not made of."""

    low: float
    high: float
    middle: float
    """Operations at which half of the way is gone."""
    slope: float

    def __call__(self, operations: np.ndarray) -> np.ndarray:
        """[n] returns."""
        return self.low + (self.high - self.low) / (1.0 + (self.middle / operations) ** self.slope)


def fitted(operations: np.ndarray, returns: np.ndarray) -> Sigmoid:
    """The sigmoid of least squares through points [n].

    Raises:
        ResultsError: fewer than five points, which four numbers would go through whatever they are.
    """
    if len(operations) < 5:
        raise ResultsError(f"{len(operations)} points: a sigmoid needs at least 5")

    def curve(x: np.ndarray, low: float, rise: float, middle: float, slope: float) -> np.ndarray:
        return low + rise / (1.0 + np.exp(-slope * (x - middle)))

    x = np.log(operations)
    start = (returns.min(), max(np.ptp(returns), 1e-3), x.mean(), 1.0)
    bounds = ([-np.inf, 0.0, x.min() - 5.0, 0.05], [np.inf, np.inf, x.max() + 5.0, 10.0])
    (low, rise, middle, slope), _ = curve_fit(curve, x, returns, p0=start, bounds=bounds, max_nfev=20_000)
    return Sigmoid(low=low, high=low + rise, middle=float(np.exp(middle)), slope=slope)


def forecast(rows: list[Row]) -> dict[str, Any]:
    """The curve through the trainings of all agents but that of most operations, and its error there."""
    points = [row for row in rows if row["status"] == "ok" and row["env_steps"] > 0]
    most: dict[str, float] = {}
    for row in points:
        most[row["agent"]] = max(most.get(row["agent"], 0.0), row["operations"] / row["env_steps"])
    largest = max(most, key=lambda agent: most[agent])
    known = [row for row in points if row["agent"] != largest]
    curve = fitted(*(np.array([row[name] for row in known]) for name in ("operations", "return_mean")))
    held_out = [row for row in points if row["agent"] == largest and row["is_final"]]
    foretold = curve(np.array([row["operations"] for row in held_out]))
    found = np.array([row["return_mean"] for row in held_out])
    return {
        "curve": vars(curve),
        "held_out": largest,
        "foretold": float(foretold.mean()),
        "found": float(found.mean()),
        "error": float((foretold - found).mean()),
        "root_mean_square_of_the_fit": float(
            np.sqrt(
                np.mean([(float(curve(np.array([row["operations"]]))[0]) - row["return_mean"]) ** 2 for row in known])
            )
        ),
    }
