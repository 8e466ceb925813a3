"""Score against diversity, coverage and exposure of new items, with the Pareto front."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.analysis.leaderboard import REFERENCES, Leaderboard
from benchmarks.analysis.metric_names import name_of_metric
from benchmarks.analysis.statistics import t_interval
from benchmarks.report.figures.style import OTHERS, legend, line_styles, panels

_METRICS = ("intra_list_diversity", "catalog_coverage", "new_item_exposure")
_NUM_HIGHLIGHTS = 8


def front(points: dict[str, tuple[float, float]]) -> list[str]:
    """The agents that no other agent dominates in both coordinates, by ascending x."""
    kept, best = [], -np.inf
    for agent, (_, y) in sorted(points.items(), key=lambda pair: (-pair[1][0], -pair[1][1])):
        if y > best:
            kept.append(agent)
            best = y
    return kept[::-1]


def pareto(leaderboard: Leaderboard) -> Figure | None:
    """A panel for each metric: all agents, the best ones and the references by name, and the front."""
    values = {
        metric: {
            each.agent: found for each in leaderboard.ranked if len(found := leaderboard.metric(each.agent, metric))
        }
        for metric in _METRICS
    }
    values = {metric: by_agent for metric, by_agent in values.items() if len(by_agent) > 1}
    if not values:
        return None
    named = [*leaderboard.highlights(_NUM_HIGHLIGHTS), *(name for name in REFERENCES if name in leaderboard.by_agent)]
    styles = _marker_styles(leaderboard, named)
    figure, axes = panels(len(values), 3, (3.5, 2.9), sharey=True)
    for axis, (metric, by_agent) in zip(axes, values.items(), strict=True):
        points = {}
        for agent, of_agent in by_agent.items():
            score = leaderboard.by_agent[agent].score
            assert score is not None, "only ranked agents are drawn"
            x, low, high = t_interval(of_agent)
            points[agent] = (x, score.value)
            style = styles.get(agent, {"color": OTHERS, "marker": "o", "ms": 3.0})
            axis.plot([low, high], [score.value] * 2, color=style["color"], lw=0.8, alpha=0.5)
            axis.plot([x, x], [score.low, score.high], color=style["color"], lw=0.8, alpha=0.5)
            axis.plot(x, score.value, **style)
        line = front({agent: point for agent, point in points.items() if leaderboard.by_agent[agent].is_deployable})
        axis.plot(*zip(*(points[agent] for agent in line), strict=True), color=OTHERS, lw=1.0, zorder=1.5)
        axis.set_xlabel(name_of_metric(metric).label)
    axes[0].set_ylabel("score")
    others = {"other agents": {"color": OTHERS, "marker": "o", "ms": 3.0, "ls": ""}}
    has_others = len(leaderboard.ranked) > len(named)
    legend(figure, styles | (others if has_others else {}) | {"Pareto front": {"color": OTHERS, "lw": 1.0}})
    return figure


def _marker_styles(leaderboard: Leaderboard, named: list[str]) -> dict[str, dict[str, Any]]:
    """Coloured dots for deployable agents; grey shapes for references."""
    shapes = dict(zip(REFERENCES, ("v", "s", "D", "^"), strict=True))
    lines = line_styles(leaderboard)
    return {
        name: {"color": lines[name]["color"], "marker": shapes.get(name, "o"), "ms": 5.0, "ls": ""} for name in named
    }
