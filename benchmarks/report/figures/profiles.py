"""Performance profiles and probabilities of improvement (Agarwal et al., NeurIPS 2021).

Shape legend: H thresholds.
"""

from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from benchmarks.analysis.bootstrap import decimals
from benchmarks.analysis.leaderboard import POPULARITY, Leaderboard
from benchmarks.report.figures.scores import dots
from benchmarks.report.figures.style import CYCLE, OTHERS, legend, line_styles, panels, short

_NUM_THRESHOLDS = 101
_NUM_HIGHLIGHTS = 6
_NUM_IN_MATRIX = 8


def performance_profiles(leaderboard: Leaderboard) -> Figure | None:
    """The share of runs above each score: the best agents with 95% bands, the others in pale grey."""
    highlighted = leaderboard.highlights(_NUM_HIGHLIGHTS)
    if not leaderboard.deployable:
        return None
    runs = [runs for each in leaderboard.ranked for runs in leaderboard.agent_runs[each.agent].scores.values()]
    values = np.concatenate([each.values for each in runs])
    thresholds = np.linspace(min(-0.05, values.min()), max(1.0, values.max()), _NUM_THRESHOLDS)
    styles = {name: style | {"ls": "-"} for name, style in line_styles(leaderboard).items() if name in highlighted}
    figure, (axes,) = panels(1, 1, (7.0, 3.3))
    for standing in reversed(leaderboard.deployable):
        share = leaderboard.profile(standing.agent, thresholds)
        if standing.agent not in styles:
            axes.step(thresholds, share, where="post", color=OTHERS, lw=0.8, alpha=0.6)
            continue
        low, high = leaderboard.profile_band(standing.agent, thresholds)
        axes.fill_between(thresholds, low, high, step="post", color=styles[standing.agent]["color"], alpha=0.13, lw=0)
        axes.step(thresholds, share, where="post", **styles[standing.agent])
    axes.set_xlim(thresholds[0], thresholds[-1])
    axes.set_ylim(0.0, 1.03)
    axes.set_xlabel("score τ")
    axes.set_ylabel("share of runs with a score above τ")
    has_others = len(leaderboard.deployable) > len(highlighted)
    others = {"other agents": {"color": OTHERS, "lw": 0.8, "alpha": 0.6}} if has_others else {}
    legend(figure, {name: styles[name] for name in highlighted} | others)
    return figure


def improvement(leaderboard: Leaderboard) -> Figure | None:
    """Each agent against popularity and against the best baseline; the best agents against each other.

    Without baselines that share no seed with another agent; None if no two agents share a seed.
    """
    agents, chance_of = [standing.agent for standing in leaderboard.deployable], leaderboard.improvement
    best = leaderboard.best_baseline.agent if leaderboard.best_baseline else POPULARITY
    against = {
        baseline: {agent: chance for agent in agents if agent != baseline and (chance := chance_of(agent, baseline))}
        for baseline in dict.fromkeys((POPULARITY, best))
        if baseline in agents
    }
    against = {baseline: chances for baseline, chances in against.items() if chances}
    if not any(chance_of(x, y) for x, y in combinations(agents, 2)):
        return None
    num_in_matrix = min(len(agents), _NUM_IN_MATRIX)
    height = 1.0 + max(0.175 * len(agents), 0.34 * num_in_matrix)
    widths = [3.0] * len(against) + [2.2 + 0.42 * num_in_matrix]
    figure, axes = panels(len(widths), len(widths), (sum(widths) / len(widths), height), width_ratios=widths)
    for axis, (baseline, chances) in zip(axes, against.items(), strict=False):
        dots(axis, [agent for agent in agents if agent != baseline], chances, leaderboard.family_of)
        axis.set_title(f"P(agent > {short(baseline)})")
        axis.set_xlim(-0.03, 1.03)
        axis.set_xticks((0.0, 0.5, 1.0))
        axis.axvline(0.5, color=OTHERS, lw=1.0, ls="--")
        axis.set_xlabel("probability of improvement")
    _matrix(axes[-1], leaderboard, agents[:num_in_matrix])
    return figure


def _matrix(axes: Axes, leaderboard: Leaderboard, agents: list[str]) -> None:
    chances = np.full((len(agents), len(agents)), np.nan)
    for y, row in enumerate(agents):
        for x, column in enumerate(agents):
            if x != y and (chance := leaderboard.improvement(row, column)) is not None:
                chances[y, x] = chance.value
                axes.text(x, y, decimals(chance.value), ha="center", va="center", size=8)
    colours = np.where(chances[..., None] >= 0.5, to_rgba(CYCLE[0]), to_rgba(CYCLE[1]))
    colours[..., 3] = np.nan_to_num(np.abs(chances - 0.5))
    axes.imshow(colours, aspect="auto")
    axes.set_title("P(row > column)")
    axes.set_xticks(range(len(agents)), [str(n) for n in range(1, len(agents) + 1)])
    axes.set_yticks(range(len(agents)), [f"{short(agent)}  {n}" for n, agent in enumerate(agents, 1)])
    axes.set_xlabel("columns in the order of the rows")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
