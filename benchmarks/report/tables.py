"""Contents of the report's tables that take more than a look into the leaderboard; the template lays them out."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from agents.registry import UnknownAgentError, entry_named
from benchmarks.analysis.bootstrap import Estimate, decimals
from benchmarks.analysis.headroom import GAINS, gains, ladder_runs
from benchmarks.analysis.leaderboard import LEARNING_FAMILIES, POPULARITY, Leaderboard, Standing
from benchmarks.analysis.metric_names import MetricName, name_of_metric
from benchmarks.rows import Row, RunKey, key_of

NONE = "–"

GAIN_COLUMNS = [f"{name}: {upper} / {lower}" for name, (upper, lower) in GAINS.items()]


def interval(value: Estimate | None, digits: int = 2) -> str:
    """A value with its interval, or a dash."""
    return value.text(digits) if value else NONE


def number(value: Estimate | float | None, digits: int = 2) -> str:
    """A number, or a dash; of an estimate its value without the interval."""
    value = value.value if isinstance(value, Estimate) else value
    return NONE if value is None else decimals(value, digits)


def mean(values: Sequence[float] | np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def privileges(agent: str) -> list[str]:
    """What an agent had in training that no recommender has; nothing is known of a class that is not installed here."""
    try:
        entry = entry_named(agent)
        own_class = entry.agent_class() if entry.family == "own" else None
    except UnknownAgentError:
        return []
    reads_items = entry.reads_evaluation_catalog or getattr(own_class, "reads_evaluation_catalog", False)
    return ["teacher"] * entry.is_taught + ["feedback on items"] * reads_items


def field_mean(runs: Iterable[Row], key: str) -> float | None:
    """Mean of a field over the runs that have it."""
    return mean([row[key] for row in runs if row.get(key) is not None])  # type: ignore[literal-required]


def by_return(leaderboard: Leaderboard, scenario: str) -> list[Standing]:
    """The agents with runs in a scenario, the highest return first."""
    standings = [each for each in leaderboard.standings if scenario in each.returns]
    return sorted(standings, key=lambda each: -each.returns[scenario].value)


def headroom(leaderboard: Leaderboard) -> dict[str, list[Estimate | None]]:
    """For each scenario the ratios of `GAINS`."""
    found = {name: gains(ladder_runs(leaderboard.agent_runs, name)) for name in leaderboard.scenarios}
    return {scenario: [ratios.get(name) for name in GAINS] for scenario, ratios in found.items() if ratios}


def metric_names(leaderboard: Leaderboard) -> dict[str, MetricName]:
    """Every metric that some run has, by its key."""
    metrics = [pair for row in leaderboard.final for pair in (row.get("metrics") or {}).items()]
    return {key: name_of_metric(key) for key, value in metrics if value is not None}


def above_popularity(leaderboard: Leaderboard) -> list[tuple[str, list[str], int]]:
    """Each learner, the scenarios in which it returns significantly more than popularity, and the number compared."""
    deployable = [each for each in leaderboard.standings if each.is_deployable]
    learners = [each.agent for each in deployable if each.family in LEARNING_FAMILIES]
    found = []
    for agent in learners:
        leads = {name: leaderboard.lead_in(name, agent, POPULARITY) for name in leaderboard.scenarios}
        compared = {name: lead for name, lead in leads.items() if lead}
        if compared:
            found.append((agent, [name for name, lead in compared.items() if lead.low > 0.0], len(compared)))
    return found


def missing_runs(leaderboard: Leaderboard, expected: Iterable[RunKey] | None = None) -> list[RunKey]:
    """Expected runs without a final row; by default each agent is expected in each scenario with each seed."""
    present = {key_of(row) for row in leaderboard.rows if row["is_final"]}
    if expected is None:
        seeds = sorted({row["seed"] for row in leaderboard.rows})
        agents, scenarios = leaderboard.family_of, leaderboard.scenarios
        expected = [(agent, scenario, seed) for agent in agents for scenario in scenarios for seed in seeds]
    return [key for key in expected if key not in present]


def grouped_missing(missing: Iterable[RunKey]) -> dict[tuple[str, tuple[int, ...]], list[str]]:
    """Missing runs: for each agent and set of seeds, the scenarios in which these are missing."""
    seeds: dict[tuple[str, str], list[int]] = defaultdict(list)
    for agent, scenario, seed in missing:
        seeds[agent, scenario].append(seed)
    scenarios: dict[tuple[str, tuple[int, ...]], list[str]] = defaultdict(list)
    for (agent, scenario), missing_seeds in seeds.items():
        scenarios[agent, tuple(missing_seeds)].append(scenario)
    return scenarios


def settings(leaderboard: Leaderboard) -> list[tuple[str, str]]:
    """Each agent with each set of settings that it has runs with."""
    runs = [row for standing in leaderboard.standings for row in leaderboard.runs(standing.agent)]
    texts = [(row["agent"], ", ".join(f"{name}={value}" for name, value in row["settings"].items())) for row in runs]
    return [(agent, text) for agent, text in dict.fromkeys(texts) if text]


def provenance(leaderboard: Leaderboard) -> dict[tuple[str, str, str, str], list[str]]:
    """Dates of the rows, ascending, for each command, commit, machine and set of versions."""
    dates: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for row in leaderboard.rows:
        versions = ", ".join(f"{name} {number}" for name, number in row.get("versions", {}).items())
        origin = (row.get("command", "?"), row.get("commit", "?"), row.get("machine", "?"), versions)
        dates[origin].append(row.get("date", "?")[:10])
    return {origin: sorted(days) for origin, days in dates.items()}
