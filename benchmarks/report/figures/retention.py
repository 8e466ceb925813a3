"""Figure of the command `retention`: users who left, and active days beside the first agent."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.analysis.retention import Rows, by_assumption, difference, mean
from benchmarks.report.figures.style import CYCLE, OTHERS, panels, short


def retention(rows: Rows) -> Figure:
    """The share of users who left under each assumption, and, of several agents, the difference in active days to the
    first one, with 95% intervals over lives."""
    agents, groups = list(dict.fromkeys(row["agent"] for row in rows)), by_assumption(rows)
    height = 1.2 + len(groups) * (0.15 + 0.11 * len(agents))
    figure, grid = panels(min(len(agents), 2), 2, (4.4, height), sharey=True)
    for number, agent in enumerate(agents):
        own = [{row["agent"]: row for row in group} for group in groups.values()]
        places = np.arange(len(own)) + 0.7 * ((number + 0.5) / len(agents) - 0.5)
        style: dict[str, Any] = {"fmt": "o", "ms": 3.5, "elinewidth": 1.0, "color": CYCLE[number % len(CYCLE)]}
        shares = [mean(each[agent], "has_left") for each in own]
        _draw(grid[0], places, shares, label=short(agent), **style)
        if number > 0:
            _draw(grid[1], places, [difference(each[agent], each[agents[0]], "active_days") for each in own], **style)
    grid[0].set_yticks(range(len(groups)), list(groups))
    grid[0].invert_yaxis()
    grid[0].set_title("Users who left")
    grid[0].set_xlabel("share of users (95% interval)")
    for axes in grid[1:]:
        axes.axvline(0.0, color=OTHERS, lw=1.0)
        axes.set_title(f"Active days, less those of {short(agents[0])}")
        axes.set_xlabel("days (paired 95% interval)")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(agents), 5))
    return figure


def _draw(axes: Axes, places: np.ndarray, values: list[tuple[float, float, float]], **style: Any) -> None:
    """Means with their intervals, at heights `places`."""
    middle, low, high = np.array(values).T
    axes.errorbar(middle, places, xerr=[middle - low, high - middle], **style)
