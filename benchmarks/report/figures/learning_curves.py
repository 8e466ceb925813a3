"""Learning curves: returns and scores against user-steps and seconds of training.

Shape legend: E evaluations of an agent in a scenario, R seeds.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, StrMethodFormatter

from agents.off_policy.estimate import Z_95
from benchmarks.analysis.leaderboard import POPULARITY, REFERENCES, Leaderboard
from benchmarks.analysis.statistics import half_width
from benchmarks.report.figures.style import OTHERS, band, legend, limit_to_lines, line_styles, panels, set_title, short
from benchmarks.rows import Row

STEPS, SECONDS = "env_steps", "wall_s"
_NUM_HIGHLIGHTS = 6


def curve(rows: list[Row], along: str, value: str = "return_mean", error: str = "return_sem") -> np.ndarray:
    """[3, E]: the curve of one agent in one scenario; the n-th evaluations of all seeds make a point.

    Rows: steps or seconds, mean over seeds; the values, mean over seeds; half their 95% interval: the t
    interval over the R seeds, or 1.96 s / sqrt(R) with the standard error s over the sessions of one seed, if that is
    larger, as few seeds may underestimate it.
    """
    by_seed: dict[int, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["env_steps"]):
        if row["status"] == "ok":
            by_seed.setdefault(row["seed"], []).append(row)
    points = []
    for n in range(max((len(runs) for runs in by_seed.values()), default=0)):
        group = [runs[n] for runs in by_seed.values() if len(runs) > n]
        values = np.array([row[value] for row in group])  # type: ignore[literal-required]
        over_seeds = half_width(values.std(ddof=1), len(values)) if len(values) > 1 else 0.0
        of_sessions = Z_95 * np.mean([row[error] for row in group]) / np.sqrt(len(values))  # type: ignore[literal-required]
        position = np.mean([row[along] for row in group])  # type: ignore[literal-required]
        points.append((position, values.mean(), max(float(over_seeds), float(of_sessions))))
    return np.array(points, np.float64).reshape(-1, 3).T


def learning_curves(leaderboard: Leaderboard, along: str = STEPS) -> Figure | None:
    """A panel for each scenario: the best learners with 95% bands, the others in pale grey, reference levels."""
    agents = [standing.agent for standing in leaderboard.learners]
    scenarios = list(dict.fromkeys(row["scenario"] for row in leaderboard.rows if row["agent"] in agents))
    if not scenarios:
        return None
    levels = {*REFERENCES, POPULARITY, *leaderboard.highlights(_NUM_HIGHLIGHTS)}
    shown = [*agents[:_NUM_HIGHLIGHTS], *(name for name in leaderboard.by_agent if name in levels - set(agents))]
    styles = {name: style for name, style in line_styles(leaderboard).items() if name in shown}
    figure, axes = panels(len(scenarios), 3, (3.5, 2.4) if len(scenarios) > 1 else (7.0, 3.3))
    for axis, scenario in zip(axes, scenarios, strict=True):
        has_time = False
        for agent in reversed(agents):  # the best on top
            line = curve(
                [row for row in leaderboard.rows if (row["agent"], row["scenario"]) == (agent, scenario)], along
            )
            start = int(along == SECONDS)  # the axis is logarithmic, and the first evaluation is at 0 s
            x, mean, half = line[:, start:]
            has_time |= bool((x > 0.0).any())
            if agent in styles:
                band(axis, x, mean, half, **styles[agent], marker="o", ms=2.5)
            else:
                axis.plot(x, mean, color=OTHERS, lw=0.8, alpha=0.6, zorder=1.5)
        for agent in [name for name in styles if name not in agents]:
            if (level := leaderboard.by_agent[agent].returns.get(scenario)) is not None:
                axis.axhline(level.value, **styles[agent], zorder=1.8)
        limit_to_lines(axis)
        set_title(axis, scenario)
        if along == STEPS:
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        elif has_time:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.xaxis.set_minor_formatter("")
        axis.margins(x=0.02)
        axis.set_xlabel("user-steps of training" if along == STEPS else "seconds of training")
    axes[0].set_ylabel("return (rating points)")
    others = {"other learners": {"color": OTHERS, "lw": 0.8, "alpha": 0.6}} if len(agents) > _NUM_HIGHLIGHTS else {}
    legend(figure, {name: styles[name] for name in shown if name in styles} | others)
    return figure


def learners_one_by_one(leaderboard: Leaderboard) -> Figure | None:
    """A small panel for each learner: its score during training, mean over scenarios; the others in pale grey."""
    found = {standing.agent: _score_curve(leaderboard, standing.agent) for standing in leaderboard.learners}
    curves = {agent: line for agent, line in found.items() if line is not None}
    if len(curves) < 2:
        return None
    # One line with NaN between the curves of all learners.
    pale = np.concatenate([np.pad(line[:2], ((0, 0), (0, 1)), constant_values=np.nan) for line in curves.values()], 1)
    styles = line_styles(leaderboard)
    figure, axes = panels(len(curves), 5, (2.1, 1.6), sharex=True, sharey=True)
    for axis, (agent, line) in zip(axes, curves.items(), strict=True):
        axis.plot(*pale, color=OTHERS, lw=0.5, alpha=0.6)
        band(axis, *line, **styles[agent])
        limit_to_lines(axis)
        axis.set_title(short(agent), size=8)
        axis.locator_params(nbins=4)
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes[-1].set_xlabel("user-steps of training")
    axes[0].set_ylabel("score")
    return figure


def _score_curve(leaderboard: Leaderboard, agent: str) -> np.ndarray | None:
    """Mean of the score curves over scenarios; None without any."""
    lines = []
    for scenario in leaderboard.scored_scenarios:
        own = [
            row for row in leaderboard.rows if (row["agent"], row["scenario"]) == (agent, scenario) and "score" in row
        ]
        line = curve(own, STEPS, "score", "score_sem")
        if line.shape[1] > 1:
            lines.append(line)
    if not lines:
        return None
    n = min(line.shape[1] for line in lines)
    x, mean, half = np.stack([line[:, :n] for line in lines], 1)
    return np.stack([x.mean(0), mean.mean(0), np.sqrt((half**2).mean(0) / len(lines))])
