"""Scores: returns on a scale where random is 0 and the planning oracle is 1, so that scenarios can be averaged."""

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from benchmarks.rows import Row
from benchmarks.suites import ONE, ZERO

Seeds = Mapping[str, Collection[int]]
"""By scenario, the seeds whose runs are scored; the scale is set by the references' runs of the same seeds."""


def final_rows(rows: Iterable[Row]) -> list[Row]:
    """The last evaluation of each agent x scenario x seed that did not fail; of a repeated run, the later one."""
    last: dict[tuple[str, str, int], Row] = {}
    for row in rows:
        if row["status"] == "ok" and row["is_final"]:
            last[row["agent"], row["scenario"], row["seed"]] = row
    return list(last.values())


def reference_seeds(rows: Iterable[Row]) -> dict[str, list[int]]:
    """For each scenario, in the order of the rows, the seeds, ascending, with final runs of both references."""
    seeds: dict[str, dict[str, set[int]]] = {}
    for row in final_rows(rows):
        seeds.setdefault(row["scenario"], {ZERO: set(), ONE: set()}).setdefault(row["agent"], set()).add(row["seed"])
    return {scenario: sorted(of[ZERO] & of[ONE]) for scenario, of in seeds.items()}


def compared_seeds(rows: Iterable[Row]) -> dict[str, list[int]]:
    """For each scored scenario, the seeds of the references that all ranked agents (with runs in every scored scenario)
    share.

    All seeds of the references where no seed is shared, or where the oracle is not above random with the shared ones.
    """
    rows = list(rows)
    of_references = reference_seeds(rows)
    scored_scenarios = scales(rows, of_references)
    seeds_of: dict[str, dict[str, set[int]]] = {}
    for row in final_rows(rows):
        if row["scenario"] in scored_scenarios and row["seed"] in of_references[row["scenario"]]:
            seeds_of.setdefault(row["agent"], {}).setdefault(row["scenario"], set()).add(row["seed"])
    ranked = [by_scenario for by_scenario in seeds_of.values() if by_scenario.keys() == scored_scenarios.keys()]
    shared = {name: sorted(set.intersection(*(of[name] for of in ranked))) for name in scored_scenarios}
    usable = scales(rows, shared)
    return {name: shared[name] if name in usable else of_references[name] for name in scored_scenarios}


def scales(rows: Iterable[Row], seeds: Seeds | None = None) -> dict[str, tuple[float, float]]:
    """For each scenario, in the order of the rows, the mean final returns of random and of the planning oracle.

    Both means are over `seeds`, by default those of `reference_seeds`. A scenario without them, or where the oracle is
    not above random, has no scale and no scores.
    """
    rows = list(rows)
    seeds = reference_seeds(rows) if seeds is None else seeds
    returns: dict[str, dict[str, list[float]]] = {}
    for row in final_rows(rows):
        if row["seed"] in seeds.get(row["scenario"], ()):
            returns.setdefault(row["scenario"], {}).setdefault(row["agent"], []).append(row["return_mean"])
    by_scenario = {}
    for scenario, by_agent in returns.items():
        if ZERO in by_agent and ONE in by_agent:
            zero, one = float(np.mean(by_agent[ZERO])), float(np.mean(by_agent[ONE]))
            if zero < one:
                by_scenario[scenario] = (zero, one)
    return by_scenario


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
            score, error = (row["return_mean"] - zero) / (one - zero), row["return_sem"] / (one - zero)
            row = {**row, "score": score, "score_sem": error}  # type: ignore[typeddict-unknown-key]
        result.append(row)
    return result
