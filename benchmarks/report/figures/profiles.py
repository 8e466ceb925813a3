"""Performance profiles and probabilities of improvement (Agarwal et al., NeurIPS 2021).

Shape legend: H thresholds.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmarks.analysis.bootstrap import Estimate, decimals
from benchmarks.analysis.leaderboard import POPULARITY, Board, Standing
from benchmarks.report.figures.palette import INK, OTHERS, family_colour, shades
from benchmarks.report.figures.panel import TEXT, WIDTH, Picture, margin_for, new_panel, short, text_width
from benchmarks.report.figures.scores import dots

_NUM_THRESHOLDS = 101
_NUM_HIGHLIGHTS = 6
_NUM_IN_MATRIX = 8
_CELL = 21.5


def profile_picture(board: Board) -> Picture:
    """The share of runs above each score: the best agents with bands and names, the others faint."""
    highlighted = board.highlights(_NUM_HIGHLIGHTS)
    if not board.ranked or not highlighted:
        return Picture(name="profiles", title="Performance profiles", caption="", panels=[])
    every = np.concatenate(
        [runs.values for each in board.ranked for runs in board.of_agent[each.agent].scores.values()]
    )
    thresholds = np.linspace(min(-0.05, every.min()), max(1.0, every.max()), _NUM_THRESHOLDS)
    colours = shades(board)
    figure, axes = new_panel(
        "Runs above a score", "score", "share of runs, mean over scenarios", height=230.0, right=margin_for(highlighted)
    )
    ends = []
    for standing in reversed(board.ranked):
        share = board.profile(standing.agent, thresholds)
        if standing.agent not in highlighted:
            axes.plot(thresholds, share, drawstyle="steps-post", color=OTHERS.light, lw=0.7, zorder=1.5)
            continue
        colour = colours[standing.agent]
        low, high = board.profile_band(standing.agent, thresholds)
        axes.fill_between(thresholds, low, high, step="post", color=colour, alpha=0.13, lw=0)
        axes.plot(thresholds, share, drawstyle="steps-post", color=colour, lw=1.5)
        half = int(np.argmin(np.abs(share - 0.5)))
        ends.append((float(thresholds[half]), float(share[half]), standing.agent, colour))
    axes.set_xlim(thresholds[0], thresholds[-1])
    axes.set_ylim(0.0, 1.03)
    _name_by_order(figure, ends)
    rest = "; the others are pale" if len(board.ranked) > len(ends) else ""
    return Picture(
        name="profiles",
        title="Performance profiles",
        caption=(
            "For each score the share of runs (mean over scenarios) above it: the further right a line falls, the "
            "better. Bands: 95% at each point. Named, from the right line to the left one: "
            f"{', '.join(name for _, _, name, _ in sorted(ends, reverse=True))}{rest}."
        ),
        panels=[figure],
        families=frozenset({board.family_of[name] for name in highlighted}),
    )


def _name_by_order(figure: Figure, ends: list[tuple[float, float, str, str]]) -> None:
    """Names beside the axes, the best on top: lines that cross half way down cannot be named where they end."""
    axes = figure.axes[0]
    for n, (_, _, name, colour) in enumerate(sorted(ends, reverse=True)):
        y = 0.96 - n * 0.065
        axes.plot([1.02, 1.06], [y, y], transform=axes.transAxes, color=colour, lw=2.0, clip_on=False)
        axes.text(1.08, y, short(name), transform=axes.transAxes, va="center_baseline", size=TEXT - 0.5, color=colour)


def improvement_picture(board: Board) -> Picture:
    """Each agent against popularity and against the best baseline; the best ones against each other."""
    baselines = [POPULARITY] if POPULARITY in {standing.agent for standing in board.ranked} else []
    if board.best_baseline and board.best_baseline.agent not in baselines:
        baselines.append(board.best_baseline.agent)
    panels = []
    for baseline in baselines:
        chances = [
            (each, board.improvement(each.agent, baseline)) for each in board.deployable if each.agent != baseline
        ]
        against = [(each, chance) for each, chance in chances if chance]
        if against:
            panels.append(_against(baseline, sorted(against, key=lambda pair: -pair[1].value)))
    best = board.deployable[:_NUM_IN_MATRIX]
    if len(best) > 1:
        panels.append(_matrix(board, best))
    return Picture(
        name="improvement",
        title="Probability of improvement",
        caption=(
            "Probability that a run of an agent scores above a run of a baseline in the same scenario, mean over "
            "scenarios, with 95% intervals; below 0.5 it is worse. The matrix: the best deployable agents against "
            "each other, row above column."
        ),
        panels=panels,
        families=frozenset({standing.family for standing in board.deployable}),
    )


def _against(baseline: str, found: list[tuple[Standing, Estimate]]) -> Figure:
    figure = dots(f"Better than {baseline}?", "probability of improvement, 95% interval", found)
    axes = figure.axes[0]
    axes.set_xlim(-0.03, 1.03)
    axes.axvline(0.5, color=INK.light, lw=0.8, ls=(0, (3, 2)), zorder=0.5)
    return figure


def _matrix(board: Board, best: list[Standing]) -> Figure:
    names = [standing.agent for standing in best]
    rows = [f"{short(name)}  {n}" for n, name in enumerate(names, 1)]
    longest = max(text_width(row, TEXT - 0.5) for row in rows)
    names = names[: int((WIDTH - longest - 14.0) / _CELL)]
    rows = rows[: len(names)]
    figure, axes = new_panel(
        "Row better than column?",
        "probability; columns are numbered as the rows are",
        left=longest + 8.0,
        right=WIDTH - longest - 8.0 - _CELL * len(names),
        height=45.0 + _CELL * len(names),
    )
    strong = family_colour("learner")
    for y, x_name in enumerate(names):
        for x, y_name in enumerate(names):
            found = board.improvement(x_name, y_name) if x != y else None
            if found is None:
                continue
            chance = found.value
            alpha = 0.06 + 0.5 * abs(chance - 0.5) / 0.5
            tint = strong if chance >= 0.5 else OTHERS.light
            axes.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, color=tint, alpha=alpha, lw=0))
            axes.text(x, y, decimals(chance), ha="center", va="center_baseline", size=TEXT - 0.5, color=INK.light)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xticks(range(len(names)), [str(n) for n in range(1, len(names) + 1)])
    axes.set_yticks(range(len(names)), rows)
    axes.tick_params(length=0.0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return figure
