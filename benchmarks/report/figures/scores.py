"""The leaderboard as a picture: a dot and its 95% interval for each agent, all scenarios together and one by one."""

from matplotlib.figure import Figure

from benchmarks.analysis.bootstrap import Estimate, decimals
from benchmarks.analysis.leaderboard import Board, Standing
from benchmarks.report.figures.palette import GRID, OTHERS, family_colour
from benchmarks.report.figures.panel import LINE, TEXT, Picture, new_panel, short, text_width

_ROW = LINE + 1.5


def dots(title: str, x_label: str, places: list[tuple[Standing, Estimate]], digits: int = 2) -> Figure:
    """A row for each agent, from the top: name, dot with interval, figure."""
    left = 12.0 + max(text_width(short(standing.agent), TEXT - 0.5) for standing, _ in places)
    right = 12.0 + max(text_width(decimals(each.value, digits), TEXT - 0.5) for _, each in places)
    figure, axes = new_panel(title, x_label, height=56.0 + _ROW * len(places), left=left, right=right)
    colours = [family_colour(standing.family) for standing, _ in places]
    lows, highs = [found.low for _, found in places], [found.high for _, found in places]
    axes.hlines(range(len(places)), lows, highs, colors=colours, lw=1.8, alpha=0.55)
    axes.scatter([found.value for _, found in places], range(len(places)), s=17.0, c=colours, zorder=3.0)
    beside = axes.get_yaxis_transform()
    for n, (_, found) in enumerate(places):
        words = decimals(found.value, digits)
        axes.text(1.02, n, words, transform=beside, va="center_baseline", size=TEXT - 0.5, color=colours[n])
    axes.set_yticks(range(len(places)), [short(standing.agent) for standing, _ in places])
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0.0)
    axes.grid(axis="y", lw=0.35)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_color(GRID.light)
    return figure


def leaderboard_picture(board: Board) -> Picture:
    """All scored scenarios together, if there are several, then each."""
    panels, are_several = [], len(board.scored_scenarios) > 1
    everywhere = [(standing, standing.score) for standing in board.ranked if standing.score]
    if everywhere and are_several:
        panels.append(dots("All scenarios", "score, interquartile mean and 95% interval", everywhere))
    for scenario in board.scored_scenarios:
        here = [(each, each.scores[scenario]) for each in board.standings if scenario in each.scores]
        here.sort(key=lambda pair: -pair[1].value)
        panels.append(dots(scenario, "score, mean over seeds and 95% interval", here))
    for figure in panels:
        figure.axes[0].axvline(0.0, color=OTHERS.light, lw=0.9, zorder=0.5)
    return Picture(
        name="leaderboard",
        title="Leaderboard",
        caption=(
            "Score of every agent: 0 is random, 1 the planning oracle. "
            + ("First panel: interquartile mean over scenarios x seeds. The others: mean" if are_several else "Mean")
            + " over seeds. Bars: 95% intervals over seeds, or over the sessions of a single one."
        ),
        panels=panels,
        families=frozenset({standing.family for standing in board.standings}),
    )


def headroom_picture(board: Board) -> Picture:
    """For each scenario what the references return, and where the best deployable agents stand between them."""
    panels = []
    best = [standing.agent for standing in board.deployable][:1]
    if board.best_baseline:
        best.append(board.best_baseline.agent)
    for scenario in board.scenarios:
        rungs = [
            (standing, standing.returns[scenario])
            for standing in board.standings
            if scenario in standing.returns and (not standing.is_deployable or standing.agent in best)
        ]
        if rungs:
            rungs.sort(key=lambda pair: -pair[1].value)
            panels.append(dots(scenario, "return of a session, stars, 95% interval", rungs, digits=1))
    return Picture(
        name="headroom",
        title="Headroom",
        caption=(
            "What there is to gain: return of a session of the references, from random to the planning oracle, and of "
            "the best deployable agent and the best rule or bandit. The oracles read the latent state."
        ),
        panels=panels,
        families=frozenset({board.family_of[agent] for agent in best} | {"reference"}),
    )
