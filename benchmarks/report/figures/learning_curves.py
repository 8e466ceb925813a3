"""Learning curves: what a session returns against user-steps, and against seconds of learning.

Shape legend: E evaluations of an agent in a scenario, R seeds.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator, StrMethodFormatter

from benchmarks.analysis.leaderboard import POPULARITY, REFERENCES, Board
from benchmarks.report.figures.palette import OTHERS, shades
from benchmarks.report.figures.panel import Picture, label_ends, margin_for, new_panel, short
from benchmarks.running.rows import Row

STEPS, SECONDS = "env_steps", "wall_s"
_NUM_HIGHLIGHTS = 6
_WIDE = 60.0
"""How many times its beginning an axis of seconds may end at, and still have room for marks at 1, 2 and 5."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What one agent returned as it learned."""

    x: np.ndarray
    """[E]: steps or seconds, mean over seeds."""
    mean: np.ndarray
    """[E]: mean over seeds."""
    half: np.ndarray
    """[E]: half the 95% interval: 1.96 s / sqrt(R) with s the spread of the R seeds, which few seeds may understate:
    so at least the error of one seed's sessions."""


def curve(rows: list[Row], along: str, value: str = "return_mean", error: str = "return_sem") -> Curve:
    """The curve of an agent's rows in one scenario; the n-th evaluations of its seeds make a point."""
    by_seed: dict[int, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["env_steps"]):
        if row["status"] == "ok":
            by_seed.setdefault(row["seed"], []).append(row)
    longest = max((len(runs) for runs in by_seed.values()), default=0)
    points = [[runs[n] for runs in by_seed.values() if len(runs) > n] for n in range(longest)]
    x, mean, half = [], [], []
    for group in points:
        values = np.array([row[value] for row in group])
        of_seeds = values.std(ddof=1) if len(values) > 1 else 0.0
        of_sessions = np.mean([row[error] for row in group])
        x.append(np.mean([row[along] for row in group]))
        mean.append(values.mean())
        half.append(1.96 * max(of_seeds, of_sessions) / np.sqrt(len(values)))
    return Curve(x=np.array(x), mean=np.array(mean), half=np.array(half))


def learning_curves(board: Board, along: str = STEPS) -> Picture:
    """A panel for each scenario: the best learners with names and 95% bands, the others faint, levels of reference."""
    by_steps = along == STEPS
    highlighted = [standing.agent for standing in board.learners][:_NUM_HIGHLIGHTS]
    learners, panels = {standing.agent for standing in board.learners}, []
    for scenario in dict.fromkeys(row["scenario"] for row in board.rows if row["agent"] in learners):
        figure, axes = new_panel(
            scenario,
            "user-steps of training" if by_steps else "seconds of learning, without evaluations",
            "return of a session, stars",
            right=margin_for([*highlighted, *_levels(board)]),
            height=215.0,
        )
        _draw(axes, board, scenario, along, highlighted)
        panels.append(figure)
    rest = f" Named: the {len(highlighted)} learners with the best final scores; the others are pale."
    rest = rest if len(board.learners) > len(highlighted) else ""
    families = {standing.family for standing in board.learners} | {board.family_of[each] for each in _levels(board)}
    return Picture(
        name="learning_curves" if by_steps else "learning_curves_by_time",
        title="Learning curves" if by_steps else "Learning curves by time",
        caption=(
            f"Mean return of a session against {'user-steps' if by_steps else 'seconds of learning'} on held-out "
            f"users and catalogues. Bands: 95% intervals over seeds and evaluation sessions.{rest} Broken lines: "
            "agents that do not learn."
        ),
        panels=panels,
        families=frozenset(families),
    )


def _levels(board: Board) -> list[str]:
    """Agents that do not learn and give the curves something to be measured against."""
    learners = {standing.agent for standing in board.learners}
    wanted = {POPULARITY, *REFERENCES}
    if board.best_baseline:
        wanted.add(board.best_baseline.agent)
    return [standing.agent for standing in board.standings if standing.agent in wanted - learners]


def _draw(axes: Axes, board: Board, scenario: str, along: str, highlighted: list[str]) -> None:
    colours, ends = shades(board), []
    by_agent: dict[str, list[Row]] = {}
    for row in board.rows:
        if row["scenario"] == scenario:
            by_agent.setdefault(row["agent"], []).append(row)
    for standing in reversed(board.learners):  # the best on top
        line = curve(by_agent.get(standing.agent, []), along)
        if along == SECONDS:
            line = Curve(x=line.x[1:], mean=line.mean[1:], half=line.half[1:])  # no zero on a logarithmic axis
        if len(line.x) == 0:
            continue
        if standing.agent not in highlighted:
            axes.plot(line.x, line.mean, color=OTHERS.light, lw=0.8, zorder=1.5)
            continue
        colour = colours[standing.agent]
        axes.fill_between(line.x, line.mean - line.half, line.mean + line.half, color=colour, alpha=0.14, lw=0)
        axes.plot(line.x, line.mean, color=colour, lw=1.5, marker="o", ms=2.2, clip_on=False)
        ends.append((float(line.x[-1]), float(line.mean[-1]), standing.agent, colour))
    if along == SECONDS:
        axes.set_xscale("log")
        left, right = axes.get_xlim()
        is_wide = right > _WIDE * left
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if is_wide else (1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.0)
    right = axes.get_xlim()[1]
    for agent in _levels(board):
        returns = board.by_agent[agent].returns.get(scenario)
        if returns:
            colour = colours[agent]
            axes.axhline(returns.value, color=colour, lw=0.9, ls=(0, (4, 2)), zorder=1.8)
            ends.append((right, returns.value, agent, colour))
    axes.set_xlim(axes.get_xlim()[0], right)
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if along == STEPS else StrMethodFormatter("{x:,g}"))
    label_ends(axes, ends)


def one_by_one(board: Board) -> Picture:
    """A small panel for each learner: its score as it learns, mean over scenarios, before the pale ones of the rest."""
    found = [(standing.agent, _score_curve(board, standing.agent)) for standing in board.learners]
    curves = {agent: line for agent, line in found if line is not None}
    if len(curves) < 2:
        return Picture(name="learners_one_by_one", title="Learners one by one", caption="", panels=[])
    # One line, broken by NaN after each curve: as many panels as curves, so a line for each would be their square.
    pale = [np.concatenate([[*getattr(line, of), np.nan] for line in curves.values()]) for of in ("x", "mean")]
    colours, panels = shades(board), []
    for agent, own in curves.items():
        figure, axes = new_panel(short(agent), "user-steps", "score", height=108.0, width=132.0, right=8.0)
        axes.plot(*pale, color=OTHERS.light, lw=0.5)
        axes.fill_between(own.x, own.mean - own.half, own.mean + own.half, color=colours[agent], alpha=0.18, lw=0)
        axes.plot(own.x, own.mean, color=colours[agent], lw=1.6)
        axes.axhline(0.0, color=OTHERS.light, lw=0.8)
        axes.margins(x=0.0)
        axes.locator_params(axis="x", nbins=3)
        axes.locator_params(axis="y", nbins=4)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        panels.append(figure)
    return Picture(
        name="learners_one_by_one",
        title="Learners one by one",
        caption=(
            "Score of each learner as it learns, mean over the scored scenarios that it has runs in, with 95% "
            "intervals over seeds; all the others are pale. 0 is random, 1 the planning oracle."
        ),
        panels=panels,
        families=frozenset({board.family_of[agent] for agent in curves}),
    )


def _score_curve(board: Board, agent: str) -> Curve | None:
    of_scenarios = []
    for scenario in board.scored_scenarios:
        rows = [row for row in board.rows if (row["agent"], row["scenario"]) == (agent, scenario) and "score" in row]
        line = curve(rows, STEPS, "score", "score_sem")
        if len(line.x) > 1:
            of_scenarios.append(line)
    if not of_scenarios:
        return None
    n = min(len(line.x) for line in of_scenarios)
    return Curve(
        x=np.mean([line.x[:n] for line in of_scenarios], 0),
        mean=np.mean([line.mean[:n] for line in of_scenarios], 0),
        half=np.sqrt(np.mean([line.half[:n] ** 2 for line in of_scenarios], 0) / len(of_scenarios)),
    )
