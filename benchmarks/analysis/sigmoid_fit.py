"""A curve of return over compute, and its error on a larger model.

Loss may be a power law in compute; return is bounded, so the curve is a sigmoid in the logarithm of compute:
R(C) = low + (high - low) / (1 + (middle / C)^slope).

Shape legend: n points, each an evaluation of a training.
"""

from typing import Any

import numpy as np
from scipy.optimize import curve_fit

from benchmarks.rows import ResultsError, Row


def sigmoid(operations: np.ndarray, low: float, high: float, middle: float, slope: float) -> np.ndarray:
    """[n] returns of the curve; `middle` is the compute at which the return is half-way between low and high."""
    return low + (high - low) / (1.0 + (middle / operations) ** slope)


def fitted(operations: np.ndarray, returns: np.ndarray) -> dict[str, float]:
    """The parameters of the least-squares sigmoid through points [n].

    Raises:
        ResultsError: fewer than five points; a sigmoid with four parameters would fit them exactly.
    """
    if len(operations) < 5:
        raise ResultsError(f"{len(operations)} points: a sigmoid needs at least 5")

    def curve(x: np.ndarray, low: float, rise: float, middle: float, slope: float) -> np.ndarray:
        return low + rise / (1.0 + np.exp(-slope * (x - middle)))

    x = np.log(operations)
    start = (returns.min(), max(np.ptp(returns), 1e-3), x.mean(), 1.0)
    bounds = ([-np.inf, 0.0, x.min() - 5.0, 0.05], [np.inf, np.inf, x.max() + 5.0, 10.0])
    (low, rise, middle, slope), _ = curve_fit(curve, x, returns, p0=start, bounds=bounds, max_nfev=20_000)
    return {"low": low, "high": low + rise, "middle": float(np.exp(middle)), "slope": slope}


def forecast(rows: list[Row]) -> dict[str, Any]:
    """The curve through all trainings but the one with the most operations per step, and its error on that one."""
    points = [row for row in rows if row["status"] == "ok" and row["env_steps"] > 0]
    per_step = {row["agent"]: row["operations"] / row["env_steps"] for row in points}
    largest = max(per_step, key=lambda agent: per_step[agent])
    fit = [row for row in points if row["agent"] != largest]
    held_out = [row for row in points if row["agent"] == largest and row["is_final"]]

    def columns(rows: list[Row]) -> tuple[np.ndarray, np.ndarray]:
        return np.array([row["operations"] for row in rows]), np.array([row["return_mean"] for row in rows])

    curve = fitted(*columns(fit))
    residuals = sigmoid(columns(fit)[0], **curve) - columns(fit)[1]
    predicted, measured = sigmoid(columns(held_out)[0], **curve), columns(held_out)[1]
    return {
        "curve": curve,
        "held_out": largest,
        "predicted": float(predicted.mean()),
        "measured": float(measured.mean()),
        "error": float((predicted - measured).mean()),
        "root_mean_square_residual": float(np.sqrt(np.mean(residuals**2))),
    }
