"""Scores: returns on a scale where random is 0 and the planning oracle is 1, so that scenarios can be averaged."""

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from benchmarks.analysis.scale import has_scale, score
from benchmarks.rows import Row, key_of
from benchmarks.suites import ONE, ZERO

Seeds = Mapping[str, Collection[int]]
"""By scenario, the seeds whose runs are scored; the scale is set by the references' runs of the same seeds."""

MAX_SHARE_BELOW = 0.025
"""Largest share of bootstrap draws without the oracle above random with which a scenario has scores: with more, the 95%
interval of the width of the scale contains 0, and those of scores are not bounded."""

_NUM_DRAWS = 1_000


def final_rows(rows: Iterable[Row]) -> list[Row]:
    """The last evaluation of each agent x scenario x seed that did not fail; of a repeated run, the later one."""
    return list({key_of(row): row for row in rows if row["status"] == "ok" and row["is_final"]}.values())


def final_by_scenario(rows: Iterable[Row]) -> dict[str, dict[str, dict[int, Row]]]:
    """Final rows by scenario, agent and seed, in the order of the rows."""
    found: dict[str, dict[str, dict[int, Row]]] = {}
    for row in final_rows(rows):
        found.setdefault(row["scenario"], {}).setdefault(row["agent"], {})[row["seed"]] = row
    return found


def without_variant(scenario: str) -> str:
    """The scenario in a row's `scenario`, without its variant (see `Suite.tasks`)."""
    return scenario.split(" ", 1)[0]


def reference_seeds(rows: Iterable[Row]) -> dict[str, list[int]]:
    """For each scenario, in the order of the rows, the seeds, ascending, with final runs of both references."""
    return {
        scenario: sorted(by_agent.get(ZERO, {}).keys() & by_agent.get(ONE, {}).keys())
        for scenario, by_agent in final_by_scenario(rows).items()
    }


def compared_seeds(rows: Iterable[Row]) -> dict[str, list[int]]:
    """For each scored scenario, the seeds that the references share with all ranked agents, those with runs in every
    scored scenario.

    If no seed is shared, or if the oracle is not above random with the shared ones, all seeds of the references.
    """
    rows = list(rows)
    of_references, final = reference_seeds(rows), final_by_scenario(rows)
    scored_scenarios = scales(rows, of_references)
    agents = {
        name: {agent: seeds for agent, runs in final[name].items() if (seeds := runs.keys() & set(of_references[name]))}
        for name in scored_scenarios
    }
    ranked = set.intersection(*map(set, agents.values())) if agents else set()
    shared = {name: sorted(set.intersection(*(agents[name][agent] for agent in ranked))) for name in scored_scenarios}
    usable = scales(rows, shared)
    return {name: shared[name] if name in usable else of_references[name] for name in scored_scenarios}


def scales(rows: Iterable[Row], seeds: Seeds | None = None) -> dict[str, tuple[float, float]]:
    """For each scenario, in the order of the rows, the mean final returns of random and of the planning oracle.

    Both means are over `seeds`, by default those of `reference_seeds`. A scenario without them, or where the oracle is
    not above random in the mean or in more than `MAX_SHARE_BELOW` of bootstrap draws, has no scale and no scores.
    """
    rows = list(rows)
    seeds = reference_seeds(rows) if seeds is None else seeds
    found = {}
    for scenario, by_agent in final_by_scenario(rows).items():
        runs = [
            {seed: row for seed, row in by_agent.get(agent, {}).items() if seed in seeds.get(scenario, ())}
            for agent in (ZERO, ONE)
        ]
        if all(runs):
            zero, one = (float(np.mean([row["return_mean"] for row in of_seeds.values()])) for of_seeds in runs)
            if has_scale(zero, one) and _share_below(*runs) <= MAX_SHARE_BELOW:
                found[scenario] = (zero, one)
    return found


def _share_below(zero: Mapping[int, Row], one: Mapping[int, Row]) -> float:
    """The share of bootstrap draws in which the oracle is not above random, from their final rows by seed.

    As in `bootstrap`, a draw has R - 1 of the R shared seeds, or the sessions of one seed if they are paired.
    """
    seeds = sorted(zero.keys() & one.keys())
    differences = np.array([one[seed]["return_mean"] - zero[seed]["return_mean"] for seed in seeds])
    num_drawn = len(seeds) - 1
    if len(seeds) == 1 and len(one[seeds[0]]["returns"]) == len(zero[seeds[0]]["returns"]):
        differences = np.subtract(one[seeds[0]]["returns"], zero[seeds[0]]["returns"])
        num_drawn = len(differences)
    if num_drawn < 1 or (differences > 0.0).all():
        return 0.0
    shares = np.full(len(differences), 1.0 / len(differences))
    draws = np.random.default_rng(0).multinomial(num_drawn, shares, size=_NUM_DRAWS) @ differences
    return float(np.mean(draws <= 0.0))


def scored(rows: Iterable[Row], seeds: Seeds | None = None) -> list[Row]:
    """Rows with `score` = (return_mean - random) / (planning oracle - random) and `score_sem` on the same scale.

    Failed rows, rows of scenarios without a scale, and rows of seeds outside `seeds` (by default `reference_seeds`) are
    returned unchanged.
    """
    rows = list(rows)
    seeds = reference_seeds(rows) if seeds is None else seeds
    by_scenario = scales(rows, seeds)
    result = []
    for row in rows:
        scenario = row["scenario"]
        if row["status"] == "ok" and scenario in by_scenario and row["seed"] in seeds[scenario]:
            zero, one = by_scenario[scenario]
            value, error = float(score(row["return_mean"], zero, one)), row["return_sem"] / (one - zero)
            row = {**row, "score": value, "score_sem": error}  # type: ignore[typeddict-unknown-key]
        result.append(row)
    return result
