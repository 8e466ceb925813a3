"""Tables of a report: text cells from the leaderboard."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.analysis.bootstrap import Estimate, decimals
from benchmarks.analysis.headroom import GAINS, gains, ladder_returns
from benchmarks.analysis.leaderboard import LEARNING_FAMILIES, POPULARITY, REFERENCES, Leaderboard, Standing
from benchmarks.analysis.metric_names import name_of_metric
from benchmarks.rows import Row
from benchmarks.suites import ONE

NONE = "–"
ENOUGH_SEEDS = 10

RunKey = tuple[str, str, int]
"""Agent, scenario, seed."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text cells under column names."""

    columns: list[str]
    rows: list[list[str]]
    num_text_columns: int = 1
    """The first columns, which are aligned to the left; the others are numbers."""


def text_of(value: Estimate | None, digits: int = 2) -> str:
    """A value with its interval, or a dash."""
    return value.text(digits) if value else NONE


def summary_table(leaderboard: Leaderboard, missing: list[RunKey]) -> Table:
    """The main results."""
    failed = sum(row["status"] == "failed" for row in leaderboard.rows)
    seeds = ", ".join(sorted({str(number) for number in leaderboard.num_seeds.values()}, key=int)) or NONE
    rows = [
        ["scenarios", ", ".join(leaderboard.scenarios)],
        ["agents", f"{len(leaderboard.standings)}, {len(leaderboard.deployable)} of them deployable with all runs"],
        ["seeds", seeds],
        ["failed runs", str(failed)],
        ["missing runs", f"{len(missing):,}"],
    ]
    best, runner_up = (*leaderboard.deployable, None, None)[:2]
    if best:
        rows.append(["best agent", f"{best.agent}: score {text_of(best.score)}"])
    if best and runner_up:
        lead = leaderboard.lead(best.agent, runner_up.agent)
        rows += [
            ["second best", f"{runner_up.agent}: score {text_of(runner_up.score)}"],
            ["difference of the two", f"{text_of(lead)}{_significance(lead)}"],
            ["probability of improvement", text_of(leaderboard.improvement(best.agent, runner_up.agent))],
        ]
    if leaderboard.best_baseline:
        baseline = leaderboard.best_baseline
        rows.append(["best rule or bandit", f"{baseline.agent}: score {text_of(baseline.score)}"])
    for name in REFERENCES:
        if name in leaderboard.by_agent and leaderboard.by_agent[name].score:
            rows.append([name, f"score {text_of(leaderboard.by_agent[name].score)}"])
    return Table(columns=["", "result"], rows=rows, num_text_columns=2)


def _significance(difference: Estimate | None) -> str:
    return ", not significant" if difference and difference.low <= 0.0 <= difference.high else ""


def score_table(leaderboard: Leaderboard) -> Table:
    """Score, optimality gap, and mean score in each scenario; best agent first."""
    scenarios, rank, rows = leaderboard.scored_scenarios, 0, []
    for standing in leaderboard.standings:
        is_ranked = standing.is_deployable and standing.score is not None
        rank += is_ranked
        values = [standing.gap, *(standing.scores.get(scenario) for scenario in scenarios)]
        cells = [NONE if each is None else decimals(each.value) for each in values]
        rows.append(
            [
                str(rank) if is_ranked else "",
                standing.agent,
                standing.family,
                text_of(standing.score),
                *cells,
                _seeds(standing),
            ]
        )
    columns = ["rank", "agent", "family", "score (95% interval)", "optimality gap", *scenarios, "seeds"]
    return Table(columns=columns, rows=rows, num_text_columns=3)


def _seeds(standing: Standing) -> str:
    numbers = sorted(set(standing.num_seeds.values()))
    return "–".join(map(str, numbers[:1] + numbers[-1:][: len(numbers) - 1])) or NONE


def popularity_table(leaderboard: Leaderboard) -> Table:
    """Scenarios in which each learner returns significantly more than popularity."""
    rows = []
    for standing in leaderboard.standings:
        if standing.family not in LEARNING_FAMILIES or POPULARITY not in leaderboard.by_agent:
            continue
        leads = {name: leaderboard.lead_in(name, standing.agent, POPULARITY) for name in leaderboard.scenarios}
        compared = {name: lead for name, lead in leads.items() if lead}
        above = [name for name, lead in compared.items() if lead.low > 0.0]
        if compared:
            rows.append([standing.agent, ", ".join(above) or "none", f"{len(above)} of {len(compared)}"])
    return Table(columns=["agent", "above popularity in", "scenarios"], rows=rows, num_text_columns=2)


def headroom_table(leaderboard: Leaderboard) -> Table:
    """For each scenario the ratios of gains over random that `GAINS` defines."""
    rows = []
    for scenario in leaderboard.scenarios:
        ratios = gains(ladder_returns(leaderboard.rows, scenario))
        if ratios:
            rows.append([scenario, *(text_of(ratios.get(name)) for name in GAINS)])
    columns = ["scenario", *(f"{name}: {upper} / {lower}" for name, (upper, lower) in GAINS.items())]
    return Table(columns=columns, rows=rows)


def scenario_table(leaderboard: Leaderboard, scenario: str) -> Table:
    """Score, return, difference to popularity, regret, session length and churn in one scenario."""
    standings = [standing for standing in leaderboard.standings if scenario in standing.returns]
    rows = []
    for standing in sorted(standings, key=lambda standing: -standing.returns[scenario].value):
        agent, runs = standing.agent, leaderboard.runs(standing.agent, scenario)
        lead = regret = None
        if agent != POPULARITY and POPULARITY in leaderboard.by_agent:
            lead = leaderboard.lead_in(scenario, agent, POPULARITY)
        if ONE in leaderboard.by_agent:
            regret = leaderboard.lead_in(scenario, ONE, agent)
        rows.append(
            [
                agent,
                text_of(standing.scores.get(scenario)),
                text_of(standing.returns[scenario], 1),
                text_of(lead, 1),
                decimals(regret.value, 1) if regret else NONE,
                decimals(_mean(runs, "session_length_mean"), 1),
                decimals(_mean(runs, "churn")),
                str(len(runs)),
            ]
        )
    columns = ["agent", "score", "return", "return − popularity's", "regret", "session length", "churn", "seeds"]
    return Table(columns=columns, rows=rows)


def metrics_table(leaderboard: Leaderboard) -> Table:
    """Every metric of any run, mean over scenarios and seeds."""
    pairs = (pair for row in leaderboard.final for pair in (row.get("metrics") or {}).items())
    keys = list(dict.fromkeys(key for key, value in pairs if value is not None))
    names = [name_of_metric(key) for key in keys]
    rows = []
    for standing in leaderboard.standings:
        values = [leaderboard.metric(standing.agent, key) for key in keys]
        cells = [
            decimals(float(each.mean()), name.num_digits) if each.size else NONE
            for each, name in zip(values, names, strict=True)
        ]
        rows.append([standing.agent, *cells])
    return Table(columns=["agent", *(name.label for name in names)], rows=rows if keys else [])


def metric_definitions(leaderboard: Leaderboard) -> Table:
    """Definitions of the metrics that runs have."""
    keys = dict.fromkeys(key for row in leaderboard.final for key in row.get("metrics") or {})
    names = [name for name in map(name_of_metric, keys) if name.definition]
    rows = [[name.title, name.definition] for name in names]
    return Table(columns=["metric", "definition"], rows=rows, num_text_columns=2)


def cost_table(leaderboard: Leaderboard) -> Table:
    """Training cost, mean over scenarios × seeds."""
    rows = []
    for standing in leaderboard.learners:
        if runs := leaderboard.runs(standing.agent):
            keys = ("env_steps", "wall_s", "steps_per_s", "peak_memory_mib")
            cells = [decimals(_mean(runs, key), digits) for key, digits in zip(keys, (0, 1, 0, 0), strict=True)]
            rows.append([standing.agent, text_of(standing.score), *cells])
    columns = ["agent", "score", "user-steps", "training (s)", "user-steps/s", "peak memory (MiB)"]
    return Table(columns=columns, rows=rows)


def failed_table(leaderboard: Leaderboard) -> Table:
    """Failed runs with their errors."""
    rows = [
        [row["agent"], row["scenario"], str(row["seed"]), row.get("error", NONE)]
        for row in leaderboard.rows
        if row["status"] == "failed"
    ]
    return Table(columns=["agent", "scenario", "seed", "error"], rows=rows, num_text_columns=4)


def missing_runs(leaderboard: Leaderboard, expected: Iterable[RunKey] | None = None) -> list[RunKey]:
    """Expected runs without a final row; by default each agent is expected in each scenario with each seed."""
    present = {(row["agent"], row["scenario"], row["seed"]) for row in leaderboard.rows if row["is_final"]}
    if expected is None:
        seeds = sorted({row["seed"] for row in leaderboard.rows})
        agents, scenarios = leaderboard.family_of, leaderboard.scenarios
        expected = [(agent, scenario, seed) for agent in agents for scenario in scenarios for seed in seeds]
    return [key for key in expected if key not in present]


def missing_table(missing: list[RunKey]) -> Table:
    """Missing runs: one row for each agent and set of seeds, with all scenarios in which these are missing."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for agent, scenario, seed in missing:
        seeds.setdefault((agent, scenario), []).append(str(seed))
    scenarios: dict[tuple[str, str], list[str]] = {}
    for (agent, scenario), numbers in seeds.items():
        scenarios.setdefault((agent, ", ".join(numbers)), []).append(scenario)
    rows = [[agent, ", ".join(names), numbers] for (agent, numbers), names in scenarios.items()]
    return Table(columns=["agent", "scenarios", "seeds"], rows=rows, num_text_columns=3)


def settings_table(leaderboard: Leaderboard) -> Table:
    """Each set of settings that an agent has runs with."""
    rows = []
    for standing in leaderboard.standings:
        texts = [_settings_text(row.get("settings") or {}) for row in leaderboard.runs(standing.agent)]
        rows += [[standing.agent, text] for text in dict.fromkeys(texts) if text]
    return Table(columns=["agent", "settings"], rows=rows, num_text_columns=2)


def _settings_text(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def provenance_table(leaderboard: Leaderboard) -> Table:
    """One row for each command, commit, machine and set of versions, with its dates and its number of rows."""
    dates: dict[tuple[str, ...], list[str]] = {}
    for row in leaderboard.rows:
        versions = ", ".join(f"{name} {number}" for name, number in row.get("versions", {}).items())
        origin = (row.get("command", "?"), row.get("commit", "?"), row.get("machine", "?"), versions)
        dates.setdefault(origin, []).append(row.get("date", "?")[:10])
    rows = [[*origin, " to ".join(sorted({min(days), max(days)})), f"{len(days):,}"] for origin, days in dates.items()]
    columns = ["command", "commit", "machine", "versions", "date", "rows"]
    return Table(columns=columns, rows=rows, num_text_columns=5)


def _mean(runs: list[Row], key: str) -> float:
    values = [row[key] for row in runs if row.get(key) is not None]  # type: ignore[literal-required]
    return float(np.mean(values)) if values else float("nan")
