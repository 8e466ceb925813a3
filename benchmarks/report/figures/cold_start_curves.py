"""Cold start: reward as a session goes on, by the age of the item, and by the history that the user brought.

Shape legend: B steps of a session, or bins of ages or of tenures; R seeds.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.analysis.leaderboard import REFERENCES, Board
from benchmarks.report.figures.palette import shades
from benchmarks.report.figures.panel import Picture, label_ends, margin_for, new_panel
from benchmarks.running.rows import Row

_NUM_HIGHLIGHTS = 5
_LEAST = 5
"""A mean of fewer sessions or showings is not drawn."""

_RAMPS = {
    "by_step_cold": ("new users, step by step", "step of the session"),
    "by_step": ("step by step", "step of the session"),
    "by_item_age": ("by age of the item", "age of the item in steps, from"),
    "by_tenure": ("by history of the user", "logged steps before the session, from"),
}
"""What is in the rows: what it is, and along what it runs."""

Runs = dict[str, list[Row]]
"""The final rows of each agent in one scenario."""


def ramp_picture(board: Board) -> Picture:
    """For each scenario a panel by step, one by item age, and one by tenure where users differ in it."""
    shown = [*board.highlights(_NUM_HIGHLIGHTS), *(name for name in REFERENCES if name in board.by_agent)]
    panels = []
    for scenario in board.scenarios:
        runs = {agent: [row for row in board.runs(agent, scenario) if row.get("curves")] for agent in shown}
        runs = {agent: rows for agent, rows in runs.items() if rows}
        drawn = [ramp for ramp in _RAMPS if _known(runs, ramp).size > 1]
        if "by_step_cold" in drawn:
            drawn.remove("by_step")  # of all users, hardly another picture
        panels += [_panel(board, scenario, runs, ramp) for ramp in drawn]
    return Picture(
        name="cold_start",
        title="Cold start",
        caption=(
            "Mean reward of a step as the session goes on (the agent gets to know the user), by how long ago the item "
            "was released (nobody has rated a new item), and by the history that the user brought. Mean over seeds, "
            "bands: 95% intervals over seeds. Later steps are of those users who stayed; means of fewer than "
            f"{_LEAST} sessions or showings are left out."
        ),
        panels=panels,
        families=frozenset(board.family_of[agent] for agent in shown),
    )


def ramp_values(rows: list[Row], ramp: str) -> np.ndarray:
    """[B, R] mean rewards of each seed; NaN where there are none or too few."""
    found = [row["curves"][ramp] for row in rows]
    values = np.full((max(len(each["reward"]) for each in found), len(found)), np.nan)
    for n, each in enumerate(found):
        counts = each["num_showings" if "num_showings" in each else "num_sessions"]
        kept = [np.nan if r is None or k < _LEAST else r for r, k in zip(each["reward"], counts, strict=True)]
        values[: len(kept), n] = kept
    return values


def _known(runs: Runs, ramp: str) -> np.ndarray:
    """Which steps or bins some agent has a value for, rising."""
    found = [np.flatnonzero(np.isfinite(ramp_values(rows, ramp)).any(1)) for rows in runs.values()]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


def _panel(board: Board, scenario: str, runs: Runs, ramp: str) -> Figure:
    title, x_label = _RAMPS[ramp]
    figure, axes = new_panel(f"{scenario}: {title}", x_label, "reward, stars", right=margin_for(runs))
    colours, ends, known = shades(board), [], _known(runs, ramp)
    for agent, rows in runs.items():
        values = ramp_values(rows, ramp)
        bins = np.flatnonzero(np.isfinite(values).any(1))
        if bins.size == 0:
            continue
        x, mean, half = np.searchsorted(known, bins), np.nanmean(values[bins], 1), _half_interval(values[bins])
        is_reference = board.family_of[agent] == "reference"
        axes.plot(
            x, mean, color=colours[agent], lw=0.9 if is_reference else 1.4, ls=(0, (4, 2)) if is_reference else "-"
        )
        if not is_reference:
            axes.fill_between(x, mean - half, mean + half, color=colours[agent], alpha=0.13, lw=0)
        ends.append((float(x[-1]), float(mean[-1]), agent, colours[agent]))
    axes.set_xlim(0, known.size - 1)
    means = np.concatenate([line.get_ydata() for line in axes.lines])
    room = 0.06 * max(float(np.ptp(means)), 0.1)
    axes.set_ylim(means.min() - room, means.max() + room)  # bands of a few sessions may be cut off: the lines count
    if "starts" in (described := next(iter(runs.values()))[0]["curves"][ramp]):
        _name_bins(axes, [described["starts"][bin_] for bin_ in known])
    label_ends(axes, ends)
    return figure


def _half_interval(values: np.ndarray) -> np.ndarray:
    """[B] half the 95% interval over the seeds that have a value; 0 with one of them."""
    num_known = np.isfinite(values).sum(1)
    return 1.96 * np.nanstd(values, 1) / np.sqrt(np.maximum(num_known - 1, 1))


def _name_bins(axes: Axes, starts: list[int]) -> None:
    """Below the axes, where each bin starts; where they are many, each second or third."""
    step = -(-len(starts) // 7)
    names = [f"{start}" if start < 1_000 else f"{start / 1_000:.0f}k" for start in starts]
    axes.set_xticks(range(0, len(starts), step), names[::step])
