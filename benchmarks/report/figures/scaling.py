"""Return against training compute for models of several sizes, with the curve that predicts the largest."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.analysis.sigmoid_fit import sigmoid
from benchmarks.analysis.statistics import Z_95
from benchmarks.report.figures.style import OTHERS, panels
from benchmarks.rows import Row


def scaling(rows: list[Row], forecast: dict[str, Any]) -> Figure:
    """Every evaluation with its 95% interval over sessions, a line for each size, and the curve of `forecast`.

    Rows have `operations`, `return_mean` and `return_sem`; `sigmoid_fit.forecast` makes the other argument.
    """
    points = [row for row in rows if row["status"] == "ok" and row["env_steps"] > 0]
    figure, (axes,) = panels(1, 1, (6.5, 3.6))
    axes.set_xscale("log")
    for agent in dict.fromkeys(row["agent"] for row in points):
        own = sorted((row for row in points if row["agent"] == agent), key=lambda row: row["operations"])
        x, y, error = (np.array([row[key] for row in own]) for key in ("operations", "return_mean", "return_sem"))
        label = agent.removeprefix("large-model-") + (" (held out)" if agent == forecast["held_out"] else "")
        axes.errorbar(x, y, Z_95 * error, marker="o", ms=3.0, elinewidth=0.8, label=label)
    operations = np.array([row["operations"] for row in points])
    x = np.geomspace(operations.min(), operations.max(), 200)
    axes.plot(x, sigmoid(x, **forecast["curve"]), color=OTHERS, ls="--", zorder=1.5, label="fitted sigmoid")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0e}".replace("e+", "e"))
    axes.set_title("Return against compute")
    axes.set_xlabel("floating-point operations of training")
    axes.set_ylabel("return (rating points)")
    axes.legend()
    return figure
