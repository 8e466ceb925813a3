"""Scores: returns on the scale from random, 0, to the planning oracle, 1, so that scenarios can be averaged."""

from collections.abc import Iterable

import numpy as np

from benchmarks.results import Row
from benchmarks.suites import ONE, ZERO


def final_rows(rows: Iterable[Row]) -> list[Row]:
    """The last evaluation of each agent x scenario x seed that did not fail; of a run made twice, the later one."""
    last: dict[tuple[str, str, int], Row] = {}
    for row in rows:
        if row["status"] == "ok" and row["is_final"]:
            last[row["agent"], row["scenario"], row["seed"]] = row
    return list(last.values())


def scales(rows: Iterable[Row]) -> dict[str, tuple[float, float]]:
    """For each scenario, in the order of the rows, the mean final returns of random and of the planning oracle.

    A scenario that lacks one of them, or where the oracle is not above random, has no scale and so no scores.
    """
    returns: dict[str, dict[str, list[float]]] = {}
    for row in final_rows(rows):
        returns.setdefault(row["scenario"], {}).setdefault(row["agent"], []).append(row["return_mean"])
    found = {}
    for scenario, by_agent in returns.items():
        if ZERO in by_agent and ONE in by_agent:
            zero, one = float(np.mean(by_agent[ZERO])), float(np.mean(by_agent[ONE]))
            if zero < one:
                found[scenario] = (zero, one)
    return found


def scored(rows: Iterable[Row]) -> list[Row]:
    """Rows with `score` = (return_mean - random) / (planning oracle - random) and `score_sem` on the same scale.

    Failed rows, and rows of a scenario without both references, come back as they are.
    """
    rows = list(rows)
    by_scenario = scales(rows)
    found = []
    for row in rows:
        if row["status"] == "ok" and row["scenario"] in by_scenario:
            zero, one = by_scenario[row["scenario"]]
            score, error = (row["return_mean"] - zero) / (one - zero), row["return_sem"] / (one - zero)
            row = {**row, "score": score, "score_sem": error}
        found.append(row)
    return found
