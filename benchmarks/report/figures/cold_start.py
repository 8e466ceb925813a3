"""Cold start: reward by step of the session, by age of the item, and by history of the user.

Shape legend: B steps of a session, or bins of ages or of tenures; R seeds.
"""

import warnings

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.analysis.leaderboard import REFERENCES, Leaderboard
from benchmarks.analysis.statistics import half_width
from benchmarks.report.figures.style import legend, line_styles, panels, set_title
from benchmarks.rows import Row

_NUM_HIGHLIGHTS = 5
MIN_COUNT = 5
"""Means of fewer sessions or exposures are not drawn."""

_LABELS = {
    "by_step_cold": "step of the session, cold-start users",
    "by_step": "step of the session",
    "by_item_age": "age of the item (steps, start of bin)",
    "by_tenure": "history of the user (steps, start of bin)",
}


def cold_start(leaderboard: Leaderboard) -> Figure | None:
    """For each scenario a panel by step, one by item age, and one by tenure where users differ in it."""
    best = leaderboard.highlights(_NUM_HIGHLIGHTS)
    shown = [*best, *(name for name in REFERENCES if name in leaderboard.by_agent)]
    drawn = []
    for scenario in leaderboard.scenarios:
        runs = {agent: [row for row in leaderboard.runs(agent, scenario) if row.get("curves")] for agent in shown}
        runs = {agent: rows for agent, rows in runs.items() if rows}
        has_cold = _bins(runs, "by_step_cold").size > 1
        row = ["by_step_cold" if has_cold else "by_step", "by_item_age", "by_tenure"]
        drawn += [(scenario, runs, kind if _bins(runs, kind).size > 1 else "") for kind in row]
    columns = [n for n in range(3) if any(kind for _, _, kind in drawn[n::3])]
    drawn = [each for n, each in enumerate(drawn) if n % 3 in columns]
    if not drawn:
        return None
    styles = {name: style for name, style in line_styles(leaderboard).items() if name in shown}
    figure, axes = panels(len(drawn), len(columns), (3.5, 2.3))
    for axis, (scenario, runs, kind) in zip(axes, drawn, strict=True):
        if not kind:
            axis.set_visible(False)
            continue
        set_title(axis, scenario, size=9)
        axis.set_xlabel(_LABELS[kind], size=8)
        bins = _bins(runs, kind)
        for agent, rows in runs.items():
            _draw(axis, curve_values(rows, kind)[bins[bins < _length(rows, kind)]], styles[agent], agent in best)
        starts = next(iter(runs.values()))[0]["curves"][kind].get("starts")
        labels = [1 + n if starts is None else starts[n] for n in bins]
        every = -(-len(bins) // 6)
        axis.set_xticks(range(0, len(bins), every), [f"{_short(label)}" for label in labels][::every])
    axes[0].set_ylabel("reward (rating points)", size=8)
    legend(figure, {name: styles[name] for name in shown})
    return figure


def curve_values(rows: list[Row], kind: str) -> np.ndarray:
    """[B, R] mean rewards of each seed; NaN where there are too few sessions or exposures."""
    curves = [row["curves"][kind] for row in rows]
    values = np.full((_length(rows, kind), len(curves)), np.nan)
    for n, each in enumerate(curves):
        counts = each.get("num_exposures") or each["num_sessions"]
        rewards = [
            np.nan if r is None or (k or 0) < MIN_COUNT else r for r, k in zip(each["reward"], counts, strict=True)
        ]
        values[: len(rewards), n] = rewards
    return values


def _length(rows: list[Row], kind: str) -> int:
    return max(len(row["curves"][kind]["reward"]) for row in rows)


def _bins(runs: dict[str, list[Row]], kind: str) -> np.ndarray:
    """Steps or bins with a value of some agent, ascending."""
    known = [np.flatnonzero(np.isfinite(curve_values(rows, kind)).any(1)) for rows in runs.values()]
    return np.unique(np.concatenate(known)) if known else np.zeros(0, np.int64)


def _draw(axes: Axes, values: np.ndarray, style: dict[str, object], has_band: bool) -> None:
    known = np.isfinite(values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # steps without a value of this agent
        mean, spread = np.nanmean(values, 1), np.nanstd(values, 1, ddof=1)
    half = half_width(np.nan_to_num(spread), known.sum(1))
    axes.plot(mean, **style)  # type: ignore[arg-type]
    if has_band:
        axes.fill_between(np.arange(len(mean)), mean - half, mean + half, color=str(style["color"]), alpha=0.13, lw=0)


def _short(number: float | None) -> str:
    number = number or 0
    return f"{number:.0f}" if number < 1_000 else f"{number / 1_000:.0f}k"
