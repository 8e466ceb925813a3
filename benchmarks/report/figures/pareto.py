"""What reward costs: score against diversity and coverage, with the agents that nobody beats in both."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.analysis.leaderboard import REFERENCES, Board
from benchmarks.analysis.metric_names import MetricName, name_of_metric
from benchmarks.report.figures.palette import OTHERS, family_colour
from benchmarks.report.figures.panel import TEXT, Picture, new_panel, short, text_width

_AXES = ("intra_list_diversity", "catalog_coverage", "new_item_exposure")
_NUM_NAMED = 6


def front(points: dict[str, tuple[float, float]]) -> list[str]:
    """The agents that no other one exceeds in one figure without falling short in the other, by rising x."""
    kept, best = [], -np.inf
    for agent, (_, y) in sorted(points.items(), key=lambda pair: (-pair[1][0], -pair[1][1])):
        if y > best:
            kept.append(agent)
            best = y
    return kept[::-1]


def pareto_picture(board: Board) -> Picture:
    """A panel for each metric: deployable agents by family, references in grey, the front as a line."""
    panels = []
    for metric in _AXES:
        found = {each.agent: board.metric(each.agent, metric) for each in board.ranked}
        found = {agent: values for agent, values in found.items() if len(values)}
        if len(found) > 1:
            panels.append(_panel(board, name_of_metric(metric), found))
    return Picture(
        name="pareto",
        title="Reward and diversity",
        caption=(
            "Score against what the recommendations are like besides, mean over scenarios; bars: 95% intervals. The "
            "line joins the deployable agents that no other one beats in both. Names are left out where there is no "
            "room."
        ),
        panels=panels,
        families=frozenset(board.family_of[each.agent] for each in board.ranked),
    )


def _panel(board: Board, metric: MetricName, found: dict[str, np.ndarray]) -> Figure:
    figure, axes = new_panel(f"Score and {metric.words}", f"{metric.words}, {metric.unit}", "score", height=230.0)
    points = {}
    for agent, values in found.items():
        score = board.by_agent[agent].score
        assert score is not None, "only ranked agents are drawn"
        x = float(values.mean())
        half = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
        colour = family_colour(board.family_of[agent])
        points[agent] = (x, score.value)
        axes.plot([x - half, x + half], [score.value] * 2, color=colour, lw=0.8, alpha=0.5)
        axes.plot([x, x], [score.low, score.high], color=colour, lw=0.8, alpha=0.5)
        axes.plot(x, score.value, color=colour, marker="o", ms=3.6)
    line = front({agent: points[agent] for agent in points if board.by_agent[agent].is_deployable})
    axes.plot(*zip(*(points[agent] for agent in line), strict=True), color=OTHERS.light, lw=1.0, zorder=1.5)
    axes.margins(0.12)
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())
    references = [agent for agent in REFERENCES if agent in points]
    best = [agent for agent in points if board.by_agent[agent].is_deployable][:_NUM_NAMED]
    _name(axes, board, points, list(dict.fromkeys([*references, *best, *line])))
    return figure


def _name(axes: Axes, board: Board, points: dict[str, tuple[float, float]], wanted: list[str]) -> None:
    """Names beside the dots, the first ones first, each where nothing is written yet; else none."""
    scale = 72.0 / axes.figure.dpi
    width, height = axes.bbox.width * scale, axes.bbox.height * scale
    to_axes = axes.transData + axes.transAxes.inverted()
    dots = {agent: to_axes.transform(point) * (width, height) for agent, point in points.items()}
    taken = [(x - 3.0, y - 3.0, x + 3.0, y + 3.0) for x, y in dots.values()]
    for agent in wanted:
        x, y = dots[agent]
        long = text_width(short(agent), TEXT - 0.5)
        for dx, dy in ((4, 2.5), (-4 - long, 2.5), (4, -9.5), (-4 - long, -9.5)):
            box = (x + dx, y + dy - 1.0, x + dx + long, y + dy + 8.0)
            is_inside = box[0] >= 0 and box[2] <= width and box[1] >= 0 and box[3] <= height
            if is_inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                colour = family_colour(board.family_of[agent])
                place = (box[0] / width, (box[1] + 1.0) / height)
                axes.text(*place, short(agent), transform=axes.transAxes, size=TEXT - 0.5, color=colour)
                break


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
