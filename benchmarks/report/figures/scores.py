"""Scores and returns of all agents: a dot with its 95% interval for each."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.analysis.bootstrap import Estimate
from benchmarks.analysis.leaderboard import Leaderboard
from benchmarks.report.figures.style import FAMILY_COLOURS, OTHERS, legend, panels, set_title, short


def dots(axes: Axes, agents: Sequence[str], estimates: Mapping[str, Estimate], family_of: Mapping[str, str]) -> None:
    """One line for each of the agents, from the top; without a dot where there is no estimate."""
    for n, agent in enumerate(agents):
        if (each := estimates.get(agent)) is not None:
            colour = FAMILY_COLOURS.get(family_of[agent], OTHERS)
            axes.plot([each.low, each.high], [n, n], color=colour, lw=2.0, alpha=0.5)
            axes.plot(each.value, n, color=colour, marker="o", ms=4.0)
    values = [each.value for each in estimates.values()]
    margin = 0.3 * (max(values) - min(values)) or 0.3
    # Intervals of two seeds are several times as wide as all scores together: they leave the panel.
    axes.set_xlim(min(values) - margin, max(values) + margin)
    axes.set_yticks(range(len(agents)), [short(agent) for agent in agents])
    axes.set_ylim(len(agents) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0.0)
    axes.locator_params(axis="x", nbins=5)


def leaderboard_figure(leaderboard: Leaderboard) -> Figure | None:
    """Scores over all scenarios, if there are several, and in each."""
    standings = [standing for standing in leaderboard.standings if standing.scores]
    scores = {
        scenario: {each.agent: each.scores[scenario] for each in standings if scenario in each.scores}
        for scenario in leaderboard.scored_scenarios
    }
    if len(scores) > 1:
        scores = {"All scenarios": {each.agent: each.score for each in standings if each.score}, **scores}
    return _dot_panels(leaderboard, [each.agent for each in standings], scores, "score", sharex=True)


def headroom_figure(leaderboard: Leaderboard) -> Figure | None:
    """Returns of the references, of the best deployable agents and of popularity in each scenario."""
    shown = {each.agent for each in leaderboard.standings if not each.is_deployable} | {*leaderboard.highlights(3)}
    agents = [each.agent for each in leaderboard.standings if each.agent in shown and each.returns]
    returns = {
        scenario: {
            agent: leaderboard.by_agent[agent].returns[scenario]
            for agent in agents
            if scenario in leaderboard.by_agent[agent].returns
        }
        for scenario in leaderboard.scenarios
    }
    return _dot_panels(leaderboard, agents, returns, "return (rating points)", sharex=False)


def _dot_panels(
    leaderboard: Leaderboard, agents: list[str], estimates: dict[str, dict[str, Estimate]], label: str, sharex: bool
) -> Figure | None:
    estimates = {title: by_agent for title, by_agent in estimates.items() if by_agent}
    if not estimates:
        return None
    height = 0.75 + 0.175 * len(agents)
    figure, axes = panels(len(estimates), 4, (2.6 if len(estimates) > 1 else 6.5, height), sharey=True, sharex=sharex)
    for axis, (title, by_agent) in zip(axes, estimates.items(), strict=True):
        dots(axis, agents, by_agent, leaderboard.family_of)
        set_title(axis, title)
        axis.set_xlabel(label)
    families = {leaderboard.family_of[agent] for agent in agents}
    colours = {family: colour for family, colour in FAMILY_COLOURS.items() if family in families}
    legend(figure, {family: {"color": colour, "ls": "", "marker": "o"} for family, colour in colours.items()})
    return figure
