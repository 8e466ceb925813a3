"""The leaderboard as a table: every agent's place, score and cost, all scenarios together and one by one."""

import numpy as np

from benchmarks.analysis.bootstrap import AgentRuns, Estimate, decimals
from benchmarks.analysis.leaderboard import POPULARITY, Board, Standing
from benchmarks.analysis.metric_names import name_of_metric
from benchmarks.report.report_content import Table
from benchmarks.running.rows import Row
from benchmarks.suites import ONE

NONE = "–"


def score_table(board: Board) -> Table:
    """Best first: interquartile mean, optimality gap and, for each scenario, the mean score."""
    columns = ["agent", "family", "score", "gap", *board.scored_scenarios, "seeds"]
    rows, place = [], 0
    for standing in board.standings:
        if standing.is_deployable and standing.score:
            place += 1
            name = f"{place}. {standing.agent}"
        else:
            name = standing.agent
        scores = [standing.scores.get(scenario) for scenario in board.scored_scenarios]
        figures = [NONE if each is None else decimals(each.value) for each in (standing.gap, *scores)]
        rows.append([name, standing.family, text_of(standing.score), *figures, seeds_of(standing)])
    title = "Interquartile mean score (95% interval), optimality gap, and mean score in each scenario"
    return Table(title=title, columns=columns, rows=rows)


def scenario_table(board: Board, scenario: str) -> Table:
    """Best first: score, return, difference to popularity, session length and churn in one scenario."""
    here = [standing for standing in board.standings if scenario in standing.returns]
    here.sort(key=lambda standing: -standing.returns[scenario].value)
    has_popularity = any(standing.agent == POPULARITY for standing in here)
    rows = []
    for standing in here:
        runs = board.runs(standing.agent, scenario)
        over = NONE
        if has_popularity and standing.agent != POPULARITY:
            over = text_of(board.lead_in(scenario, standing.agent, POPULARITY), 1)
        rows.append(
            [
                standing.agent,
                text_of(standing.scores.get(scenario)),
                text_of(standing.returns[scenario], 1),
                over,
                _regret(board, scenario, standing.agent),
                decimals(_mean(runs, "session_length_mean"), 1),
                f"{_mean(runs, 'churn'):.0%}",
                str(len(runs)),
            ]
        )
    columns = [
        "agent",
        "score",
        "return, stars",
        "over popularity, stars",
        "regret, stars",
        "steps of a session",
        "left",
        "seeds",
    ]
    return Table(title=scenario, columns=columns, rows=rows, is_detail=True)


def cost_table(board: Board) -> Table:
    """What learning took, mean over scenarios x seeds."""
    rows = []
    for standing in board.learners:
        runs = board.runs(standing.agent)
        if runs:
            steps, seconds, speed, memory = (
                _mean(runs, key) for key in ("env_steps", "wall_s", "steps_per_s", "peak_memory_mib")
            )
            figures = [f"{steps:,.0f}", decimals(seconds, 1), f"{speed:,.0f}", f"{memory:,.0f}"]
            rows.append([standing.agent, text_of(standing.score), *figures])
    columns = ["agent", "score", "user-steps", "learning, s", "user-steps/s", "peak memory, MiB"]
    return Table(title="Cost of a run, mean over scenarios × seeds", columns=columns, rows=rows)


def _regret(board: Board, scenario: str, agent: str) -> str:
    """What the planning oracle returns more."""
    has_oracle = scenario in board.of_agent.get(ONE, AgentRuns()).returns
    lost = board.lead_in(scenario, ONE, agent) if has_oracle else None
    return decimals(lost.value, 1) if lost else NONE


def metric_tables(board: Board) -> list[Table]:
    """Each metric that any run has, mean over scenarios and seeds; and what they mean."""
    pairs = (pair for row in board.final for pair in (row.get("metrics") or {}).items())
    keys = list(dict.fromkeys(key for key, value in pairs if value is not None))
    if not keys:
        return []
    names = [name_of_metric(key) for key in keys]
    rows = []
    for standing in board.standings:
        found = [board.metric(standing.agent, key) for key in keys]
        figures = [
            decimals(float(values.mean()), name.digits) if values.size else NONE
            for values, name in zip(found, names, strict=True)
        ]
        rows.append([standing.agent, *figures])
    columns = ["agent", *(f"{name.words}, {name.unit}" if name.unit else name.words for name in names)]
    return [
        Table(title="Metrics, mean over scenarios and seeds", columns=columns, rows=rows),
        Table(
            title="What they are",
            columns=["metric", "meaning"],
            rows=[[name.words, name.about] for name in names if name.about],
        ),
    ]


def seeds_of(standing: Standing) -> str:
    """`5`, or `3 to 5` where scenarios differ."""
    numbers = sorted(set(standing.num_seeds.values()))
    return NONE if not numbers else str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def text_of(found: Estimate | None, digits: int = 2) -> str:
    """A figure with its interval, or a dash."""
    return found.text(digits) if found else NONE


def _mean(runs: list[Row], key: str) -> float:
    values = [row[key] for row in runs if row.get(key) is not None]
    return float(np.mean(values)) if values else float("nan")
