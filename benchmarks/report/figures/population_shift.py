"""Return of a policy that keeps learning and of a frozen copy, when the population changes half-way."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.analysis.statistics import Z_95
from benchmarks.report.figures.style import OTHERS, band, panels


def population_shift(rows: list[dict[str, Any]], shift_at: int) -> Figure:
    """Mean return of evaluation sessions with its 95% interval, for each policy, and the change after `shift_at` live
    steps. Rows have `policy`, `population`, `live_steps`, `return_mean` and `return_sem`."""
    figure, (axes,) = panels(1, 1, (6.5, 3.4))
    for policy, colour in (("learning", "C0"), ("frozen", "C1")):
        label: str | None = policy
        for population in dict.fromkeys(row["population"] for row in rows):
            own = [row for row in rows if (row["policy"], row["population"]) == (policy, population)]
            own.sort(key=lambda row: row["live_steps"])
            x, y, error = (np.array([row[key] for row in own]) for key in ("live_steps", "return_mean", "return_sem"))
            band(axes, x / 1e3, y, Z_95 * error, color=colour, marker="o", ms=3.0, label=label)
            label = None
    axes.axvline(shift_at / 1e3, color=OTHERS, ls="--", label="population changes")
    axes.set_title("Change of population")
    axes.set_xlabel("live user-steps (thousands)")
    axes.set_ylabel("return (rating points)")
    axes.margins(x=0.01)
    axes.legend()
    return figure
