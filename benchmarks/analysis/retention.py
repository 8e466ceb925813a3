"""How agents keep their users: users who left, visits and active days, and paired differences between agents.

Rows come from `python -m benchmarks retention`: one for each agent and assumption, with a value for each life. All
agents play the same lives: same users, same seeds, in the same order. Intervals are 95% t intervals over lives.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.analysis.statistics import t_interval

MEASURES = {"has_left": "left", "num_visits": "visits", "active_days": "active days"}
"""Headings by the name in a row: whether the user left for good, visits, and days with a visit, of each life."""

ORDERING = "active_days"
"""The measure by which agents are compared: platforms count active users."""

Rows = Sequence[Mapping[str, Any]]


def mean(row: Mapping[str, Any], measure: str) -> tuple[float, float, float]:
    """(mean, low, high) over the lives of a row."""
    return t_interval(np.asarray(row[measure], np.float64))


def difference(row: Mapping[str, Any], other: Mapping[str, Any], measure: str) -> tuple[float, float, float]:
    """(mean, low, high) of `row` minus `other`, paired by life.

    Raises:
        ValueError: the rows have different numbers of lives.
    """
    if len(row[measure]) != len(other[measure]):
        raise ValueError(f"rows of {len(row[measure])} and {len(other[measure])} lives cannot be paired")
    return t_interval(np.asarray(row[measure], np.float64) - np.asarray(other[measure], np.float64))


def by_assumption(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each assumption, in their order."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["assumption"], []).append(row)
    return found


def best_agents(rows: Rows) -> tuple[str, list[str]]:
    """From the rows of one assumption: the agent with the most active days, and those without significantly fewer.

    Not significant means that the paired 95% interval contains 0. It is not corrected for the number of agents.
    """
    best = max(rows, key=lambda row: mean(row, ORDERING)[0])
    others = [row for row in rows if row is not best]
    return best["agent"], [row["agent"] for row in others if difference(row, best, ORDERING)[2] >= 0.0]


def table(rows: Rows) -> str:
    """Measures of each agent under each assumption, and differences of the others from the first agent, in Markdown."""
    first, compared = rows[0]["agent"], MEASURES if len({row["agent"] for row in rows}) > 1 else {}
    headings = [*MEASURES.values(), *(f"{heading}, less {first}" for heading in compared.values())]
    lines = [f"| assumption | agent | {' | '.join(headings)} |", f"| --- | --- |{' ---: |' * len(headings)}"]
    for assumption, own in by_assumption(rows).items():
        baseline = next(row for row in own if row["agent"] == first)
        for row in own:
            cells = [_interval(mean(row, measure)) for measure in MEASURES]
            for measure in compared:
                cells.append("" if row is baseline else _interval(difference(row, baseline, measure), sign="+"))
            lines.append(f"| {assumption} | {row['agent']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def conclusions(rows: Rows) -> str:
    """The agent with the most active days under each assumption, and those without significantly fewer."""
    lines = ["| assumption | most active days | not significantly fewer |", "| --- | --- | --- |"]
    for assumption, own in by_assumption(rows).items():
        best, ties = best_agents(own)
        lines.append(f"| {assumption} | {best} | {', '.join(ties)} |")
    return "\n".join(lines) + "\n"


def _interval(values: tuple[float, float, float], sign: str = "") -> str:
    """`0.40 ± 0.02`."""
    value, _, high = values
    return f"{round(value, 2) + 0.0:{sign}.2f} ± {high - value:.2f}"
