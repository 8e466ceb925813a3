"""The page of `python -m benchmarks validity`: both rankings, their agreement, and how far it goes; in Markdown."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.analysis.bootstrap import Estimate, estimate
from benchmarks.analysis.rank_agreement import (
    NUM_DRAWS,
    decided_pairs,
    difference,
    kendalls_tau,
    mean_returns,
    tau_without_each,
)
from benchmarks.report.tables import NONE

REAL, TASTES, SCENARIO = "replay", "tastes", "scenario"
CONTROLS = {TASTES: "tastes, shuffled", SCENARIO: "scenario, shuffled"}
"""The fitted worlds and their controls, in which item factors are shuffled among items."""
WORLDS = (REAL, *CONTROLS, *CONTROLS.values())
"""Where agents are ranked."""
EVALUATED_IN = {TASTES: WORLDS, CONTROLS[TASTES]: (REAL, *CONTROLS.values())}
"""For each world in which agents are trained, those in which they are ranked."""

_ABOUT = {
    REAL: "real people",
    TASTES: "fitted world, users with nothing but tastes",
    SCENARIO: "fitted world, users of the scenario MovieLens, who also choose, tire, lose trust and leave",
}
_LIMITS = """\
**What this shows.** Whether agents that find out what people like in the simulator do so with real people: tastes,
quality of items, cold start, exploration among items that the person rated.

**What it cannot show.** The log has one rating for each pair, of an item that the person chose to watch. It says
nothing about boredom, trust, patience, choice among items shown, return visits, or items that the person never rated. A
high tau supports the taste model alone; the ranking in the scenario also depends on dynamics that no ratings log can
test.
"""


def report(rows: Sequence[dict[str, Any]]) -> str:
    """The page, from the rows of all agents and seeds.

    Raises:
        ValueError: agents have different seeds, so that they are not paired.
    """
    agents = list(dict.fromkeys(row["agent"] for row in rows))
    returns = {trained_in: _returns(rows, agents, trained_in) for trained_in in EVALUATED_IN}
    rankings = {trained_in: mean_returns(each) for trained_in, each in returns.items()}
    ranking = rankings[TASTES]
    order = np.argsort(-ranking[REAL][0], kind="stable")
    num_seeds, num_people = returns[TASTES][REAL].shape[1:]
    first = rows[0]
    lines = [
        "# Validity",
        "",
        f"{len(agents)} agents, {num_seeds} trainings of each with {first['num_steps']:,} user-steps in the world "
        f"`tastes`; {first['num_sessions']} sessions of {first['session_length']} steps for each evaluation; "
        f"{num_people} real people. recsim_env {first['version']}.",
        "",
        *_agreement(rankings, agents),
        "",
        _LIMITS,
        "## Agents",
        "",
        *_agents(ranking, agents, order),
        "",
        "## Closest pairs",
        "",
        *_pairs(ranking, agents, order),
        "",
        "```bash",
        first["command"],
        "```",
    ]
    return "\n".join(lines) + "\n"


def _returns(rows: Sequence[dict[str, Any]], agents: list[str], trained_in: str) -> dict[str, np.ndarray]:
    """By world, [A, K, U] mean returns of each person, of the agents that were trained in one world."""
    by_key = {(row["agent"], row["seed"]): row["returns"] for row in rows if row["trained_in"] == trained_in}
    seeds = sorted({row["seed"] for row in rows})
    if missing := [key for key in itertools.product(agents, seeds) if key not in by_key]:
        agent, seed = missing[0]
        raise ValueError(f"agent {agent!r}, seed {seed}, trained in {trained_in!r}: no row; agents are paired by seed")
    return {
        world: np.array([[by_key[agent, seed][world] for seed in seeds] for agent in agents], np.float64)
        for world in EVALUATED_IN[trained_in]
    }


def _agreement(rankings: dict[str, Any], agents: list[str]) -> list[str]:
    lines = [
        "| ranking in | agents trained in | Kendall's tau with real people | less than in the fitted world "
        "| without one agent | significant pairs in the same order |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for world, control in CONTROLS.items():
        tau, draws = kendalls_tau(rankings[TASTES][world], rankings[TASTES][REAL])
        for ranked_in, trained_in in ((world, TASTES), (control, TASTES), (control, CONTROLS[TASTES])):
            ranking = rankings[trained_in]
            found, found_draws = kendalls_tau(ranking[ranked_in], ranking[REAL])
            less = NONE if ranked_in == world else estimate(tau.value - found.value, draws - found_draws).text()
            left_out = tau_without_each(ranking[ranked_in][0], ranking[REAL][0])
            decided, agreeing = decided_pairs(ranking[ranked_in], ranking[REAL])
            lines.append(
                f"| {ranked_in} | {trained_in} | {found.text()} | {less} | "
                f"{left_out.min():.2f} to {left_out.max():.2f} | {agreeing} of {decided} |"
            )
    return [
        *lines,
        "",
        *(f"* `{world}`: {about}." for world, about in _ABOUT.items() if world != REAL),
        "* `shuffled`: the control. Item factors are shuffled among items: quality and popularity stay, but content no "
        "longer tells an item's factors, nor does what was learnt elsewhere. Its agents are those of the fitted world, "
        "or are trained in the control as well; real people then rank these.",
        f"* Intervals: 95%, percentiles of {NUM_DRAWS:,} bootstrap draws that resample the people of each world, the "
        "same people for all agents; agents and trainings are fixed. The noise of the means counts twice in a draw, so "
        "intervals of tau lean downwards.",
        f"* Significant pairs: of the {len(agents) * (len(agents) - 1) // 2} pairs of agents, those whose paired "
        "difference is significant both with real people and in the world.",
    ]


def _agents(ranking: dict[str, Any], agents: list[str], order: np.ndarray) -> list[str]:
    places = {world: np.argsort(np.argsort(-ranking[world][0], kind="stable"), kind="stable") + 1 for world in WORLDS}
    lines = [
        f"| agent | {' | '.join(_ABOUT[REAL] if world == REAL else world for world in WORLDS)} |",
        f"| --- |{' ---: |' * len(WORLDS)}",
    ]
    for n in order:
        cells = []
        for world in WORLDS:
            values, draws = ranking[world]
            cells.append(f"{places[world][n]}. {estimate(values[n], draws[:, n]).text(1)}")
        lines.append(f"| {agents[n]} | {' | '.join(cells)} |")
    return ["Place, and mean sum of ratings in a session (95% interval).", "", *lines]


def _pairs(ranking: dict[str, Any], agents: list[str], order: np.ndarray) -> list[str]:
    lines = [
        f"| pair | {_ABOUT[REAL]} | {TASTES} | {SCENARIO} |",
        "| --- | ---: | ---: | ---: |",
    ]
    for one, other in itertools.pairwise(order):
        cells = [_signed(difference(ranking[world], one, other)) for world in (REAL, *CONTROLS)]
        lines.append(f"| {agents[one]} − {agents[other]} | {' | '.join(cells)} |")
    return [
        "Neighbours in the ranking of real people: paired differences (95% interval; bold: significant).",
        "",
        *lines,
    ]


def _signed(value: Estimate) -> str:
    is_significant = value.low > 0.0 or value.high < 0.0
    return f"**{value.text()}**" if is_significant else value.text()
