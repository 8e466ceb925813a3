"""Return over compute for models of several sizes, with the curve that foretells the largest."""

from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.report.figures.palette import FAINT, FAMILY_TONES
from benchmarks.report.figures.panel import label_ends, margin_for, new_panel, svg_of
from benchmarks.running.rows import Row


def _as_power_of_ten(value: float, _: object) -> str:
    """A mark of a logarithmic axis in plain text, which every viewer of an SVG can draw."""
    return "10" + str(round(np.log10(value))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def draw_scaling(rows: list[Row], curve: Any, forecast: dict[str, Any]) -> str:
    """An SVG: every evaluation with its 95% interval over sessions, a line for each size, the curve, the forecast.

    Args:
        rows: with `operations`, `return_mean`, `return_sem`.
        curve: from operations [n] to returns [n].
        forecast: as `benchmarks.experiments.sigmoid_fit.forecast` has it.
    """
    points = [row for row in rows if row["status"] == "ok" and row["env_steps"] > 0]
    agents = list(dict.fromkeys(row["agent"] for row in points))
    presets = {agent: agent.removeprefix("large-model-") for agent in agents}
    names = [f"{name} (held out)" if agent == forecast["held_out"] else name for agent, name in presets.items()]
    title = "Return over compute"
    figure, axes = new_panel(
        title,
        "floating-point operations of training",
        "return of a session, stars",
        right=margin_for([*names, "sigmoid"]),
        width=420.0,
        height=240.0,
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator())
    axes.xaxis.set_major_formatter(_as_power_of_ten)
    axes.xaxis.set_minor_locator(NullLocator())
    tones, ends = FAMILY_TONES["learner"], []
    for number, (agent, name) in enumerate(zip(agents, names, strict=True)):
        own = sorted((row for row in points if row["agent"] == agent), key=lambda row: row["operations"])
        x, y, half = (np.array([row[key] for row in own]) for key in ("operations", "return_mean", "return_sem"))
        colour = tones[number % len(tones)].light
        axes.errorbar(x, y, 1.96 * half, color=colour, lw=1.2, marker="o", ms=2.5, elinewidth=0.7)
        ends.append((float(x[-1]), float(y[-1]), name, colour))
    every = np.array([row["operations"] for row in points])
    x = np.geomspace(every.min(), every.max(), 200)
    axes.plot(x, curve(x), color=FAINT.light, lw=1.0, ls=(0, (4, 2)), zorder=1.5)
    ends.append((float(x[-1]), float(curve(x)[-1]), "sigmoid", FAINT.light))
    axes.set_xlim(every.min() / 1.3, every.max() * 1.3)
    label_ends(axes, ends)
    return svg_of(figure, title)
