"""The table: each agent's final score and return by scenario, with intervals."""

from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.results import Row
from recsim_env.atomic_file import write_atomically


def half_interval(group: list[Row], key: str) -> float:
    """Half the width of the 95% interval of the mean of `<key>_mean` or `score` over one agent's seeds.

    Two independent sources add in quadrature: training seeds (Student's t; none with a single seed) and the choice
    of evaluation sessions, which all seeds share (the rows' standard errors).
    """
    values = np.array([row[f"{key}_mean" if key == "return" else key] for row in group])
    of_sessions = 1.96 * float(np.mean([row[f"{key}_sem"] for row in group]))
    of_seeds = 0.0
    if len(values) > 1:
        of_seeds = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(np.hypot(of_sessions, of_seeds))


def final_rows(rows: list[Row]) -> list[Row]:
    """The row with the most steps of each agent x scenario x seed."""
    last: dict[tuple[str, str, int], Row] = {}
    for row in rows:
        key = (row["agent"], row["scenario"], row["seed"])
        if key not in last or row["env_steps"] >= last[key]["env_steps"]:
            last[key] = row
    return list(last.values())


def leaderboard(rows: list[Row]) -> str:
    """A Markdown table for each scenario, best first."""
    final = final_rows(rows)
    parts = [f"# Leaderboard: suite `{rows[0]['suite']}`", provenance_line(rows[0])]
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        table = ["| agent | score | return of a session | session length | left | steps | learning, s |"]
        table.append("|---|---|---|---|---|---|---|")
        by_agent: dict[str, list[Row]] = {}
        for row in final:
            if row["scenario"] == scenario:
                by_agent.setdefault(row["agent"], []).append(row)
        for agent, group in sorted(by_agent.items(), key=lambda pair: -_mean(pair[1], "score")):
            table.append(
                f"| {agent} | {_mean(group, 'score'):.2f} ± {half_interval(group, 'score'):.2f} "
                f"| {_mean(group, 'return_mean'):.1f} ± {half_interval(group, 'return'):.1f} "
                f"| {_mean(group, 'session_length_mean'):.1f} | {_mean(group, 'churn'):.0%} "
                f"| {_mean(group, 'env_steps'):,.0f} | {_mean(group, 'wall_s'):.0f} |"
            )
        parts.append(f"## {scenario}\n\n" + "\n".join(table))
    parts.append(
        "Score: 0 is random, 1 is the myopic oracle, which reads the latent state but does not plan: a planner can "
        "score above 1. ± is half of the 95% interval over training seeds (Student's t) and evaluation sessions. "
        "Users and catalogues were not seen in training."
    )
    return "\n\n".join(parts) + "\n"


def provenance_line(row: Row) -> str:
    """Where rows come from, in one line of Markdown."""
    versions = ", ".join(f"{name} {number}" for name, number in row.get("versions", {}).items())
    return (
        f"`{row.get('command', '?')}` · commit {row.get('commit', '?')} · {row.get('date', '?')} · "
        f"{row.get('machine', '?')} · {versions}"
    )


def _mean(group: list[Row], key: str) -> float:
    return float(np.mean([row.get(key, np.nan) for row in group]))


def write_leaderboard(directory: Path, rows: list[Row]) -> str:
    """Write `leaderboard.md` and return its text."""
    text = leaderboard(rows)
    write_atomically(directory / "leaderboard.md", text.encode())
    return text
