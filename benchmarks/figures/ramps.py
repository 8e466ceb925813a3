"""Cold start: reward as a session goes on, by the age of the item, and by the history that the user brought.

Shape legend: T steps of a session, B bins of ages or of tenures.
"""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.board import REFERENCES, Board
from benchmarks.figures.palette import shades
from benchmarks.figures.panel import TEXT, Picture, label_ends, new_panel, text_width
from benchmarks.results import Row

_NUM_HIGHLIGHTS = 5
_STARS = "reward, stars"

Series = tuple[np.ndarray, np.ndarray]
"""Positions, and for each a row of values, one for each seed; NaN where there is none."""


def by_step(rows: list[Row]) -> Series:
    """[T] steps and [T, R] mean rewards of each seed."""
    found = [row["ramps"]["by_step"] for row in rows]
    num_steps = max(len(each) for each in found)
    values = np.full((num_steps, len(found)), np.nan)
    for n, each in enumerate(found):
        values[: len(each), n] = [np.nan if value is None else value for value in each]
    return np.arange(num_steps), values


def by_bin(rows: list[Row], ramp: str) -> Series:
    """[B] positions 0, 1, 2, ... of the bins and [B, R] mean rewards of each seed."""
    values = np.array([[np.nan if v is None else v for v in row["ramps"][ramp]["means"]] for row in rows], float).T
    return np.arange(len(values)), values


def bin_names(edges: list[float]) -> list[str]:
    """What stands below the bins: where each begins."""
    return [f"{int(edge)}" if edge < 1_000 else f"{edge / 1_000:.0f}k" for edge in edges[:-1]]


def ramp_picture(board: Board) -> Picture:
    """For each scenario a panel by step, one by item age, and one by tenure where users differ in it."""
    shown = [*board.highlights(_NUM_HIGHLIGHTS), *(name for name in REFERENCES if name in board.by_agent)]
    panels = []
    for scenario in board.scenarios:
        runs = {agent: [row for row in board.runs(agent, scenario) if row.get("ramps")] for agent in shown}
        runs = {agent: rows for agent, rows in runs.items() if rows}
        if not runs:
            continue
        panels.append(_panel(board, f"{scenario}: as the session goes on", "step of the session", runs, by_step))
        for ramp, title, label in (
            ("by_item_age", "by age of the item", "age of the item, steps, from"),
            ("by_tenure", "by history of the user", "logged steps before the session, from"),
        ):
            series = {agent: by_bin(rows, ramp) for agent, rows in runs.items()}
            is_known = np.any([np.isfinite(values).any(1) for _, values in series.values()], 0)
            if is_known.sum() > 1:
                names = bin_names(next(iter(runs.values()))[0]["ramps"][ramp]["edges"])
                figure = _panel(board, f"{scenario}: {title}", label, runs, lambda rows, ramp=ramp: by_bin(rows, ramp))
                _name_bins(figure.axes[0], names, is_known)
                panels.append(figure)
    return Picture(
        name="cold_start",
        title="Cold start",
        caption=(
            "Mean reward of a step as the session goes on (the agent gets to know the user), by how long ago the item "
            "was released (nobody has rated a new item), and by the history that the user brought. Mean over seeds, "
            "bands: 95% intervals. Later steps are of those users who stayed."
        ),
        panels=panels,
        families=frozenset(board.family_of[agent] for agent in shown),
    )


def _panel(
    board: Board, title: str, x_label: str, runs: dict[str, list[Row]], read: Callable[[list[Row]], Series]
) -> Figure:
    margin = 16.0 + max(text_width(name, TEXT - 0.5) for name in runs)
    figure, axes = new_panel(title, x_label, _STARS, right=margin)
    colours, ends = shades(board), []
    for agent, rows in runs.items():
        x, values = read(rows)
        is_known = np.isfinite(values).any(1)
        x, values = x[is_known], values[is_known]
        if len(x) == 0:
            continue
        mean, half = np.nanmean(values, 1), _half(values)
        is_reference = board.family_of[agent] == "reference"
        style = {"lw": 0.9, "ls": (0, (4, 2))} if is_reference else {"lw": 1.4}
        axes.plot(x, mean, color=colours[agent], **style)
        if not is_reference:
            axes.fill_between(x, mean - half, mean + half, color=colours[agent], alpha=0.13, lw=0)
        ends.append((float(x[-1]), float(mean[-1]), agent, colours[agent]))
    axes.margins(x=0.0)
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())
    label_ends(axes, ends)
    return figure


def _half(values: np.ndarray) -> np.ndarray:
    """Half the 95% interval over seeds."""
    num_known = np.isfinite(values).sum(1)
    spread = np.nanstd(values, 1) * np.sqrt(num_known / np.maximum(num_known - 1, 1))
    return 1.96 * spread / np.sqrt(num_known)


def _name_bins(axes: Axes, names: list[str], is_known: np.ndarray) -> None:
    known = np.flatnonzero(is_known)
    step = -(-len(known) // 7)  # no more than seven names below the axes
    axes.set_xlim(known[0], known[-1])
    axes.set_xticks(known[::step], [names[n] for n in known[::step]])
