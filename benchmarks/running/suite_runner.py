"""Runs the cells of a suite that are not finished yet, in worker processes, and keeps their rows."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from agents.registry import Entry, entry_named, nearest
from benchmarks.running.resuming import ResultFolder
from benchmarks.running.rows import ResultsError, Row
from benchmarks.running.run import Cell, run_cell
from benchmarks.running.workers import Failure, run_in_processes
from benchmarks.suites import SUITES, Suite
from recsim_env.scenarios import SCENARIOS

_LIKELY_SECONDS = {"rule": 2.0, "bandit": 5.0, "logged": 20.0, "reference": 30.0}
"""That a cell takes, for the time left, until cells of the same agent have been measured."""


def suite_named(name: str) -> Suite:
    """The suite of that name; `ResultsError` with the nearest names if there is none."""
    if name not in SUITES:
        raise ResultsError(f"suite {name!r}: unknown{nearest(name, SUITES)}")
    return SUITES[name]


def checked_scenarios(names: Sequence[str]) -> tuple[str, ...]:
    """The names, all of them of scenarios; `ResultsError` with the nearest names otherwise."""
    for name in names:
        if name not in SCENARIOS:
            raise ResultsError(f"scenario {name!r}: unknown{nearest(name, SCENARIOS)}")
    return tuple(names)


def narrowed(
    suite: Suite,
    *,
    scenarios: Sequence[str] = (),
    only: Sequence[str] = (),
    own_agents: Sequence[str] = (),
    num_seeds: int | None = None,
) -> Suite:
    """The suite with some of its scenarios, agents and seeds, and with agents of one's own."""
    checked_scenarios(scenarios)
    for agent in (*only, *own_agents):
        entry_named(agent).agent_class()  # raises if there is none
    agents = (*(only or suite.agents), *own_agents)
    return dataclasses.replace(
        suite,
        scenarios=tuple(scenarios) or suite.scenarios,
        agents=tuple(dict.fromkeys(agents)),
        num_seeds=num_seeds or suite.num_seeds,
    )


def suite_entry(suite: Suite, agent: str) -> Entry:
    """The agent's entry with what the suite changes of its settings."""
    entry = entry_named(agent)
    return dataclasses.replace(entry, settings={**entry.settings, **suite.settings.get(agent, {})})


def cells(suite_name: str, suite: Suite, world: str | None = None, **folders: Path | None) -> list[Cell]:
    """The cells of a suite, one seed after the other: whenever a run is stopped, what it has is balanced.

    `folders` are `keep` and `trained` of each `Cell`.
    """
    entries = {agent: suite_entry(suite, agent) for agent in suite.agents}
    return [
        Cell(
            suite_name=suite_name,
            suite=suite,
            agent=agent,
            entry=entry,
            task=task,
            scenario=scenario,
            changes=changes,
            seed=seed,
            world=world,
            **folders,
        )
        for seed in range(suite.num_seeds)
        for task, (scenario, changes) in suite.tasks().items()
        for agent, entry in entries.items()
    ]


def run_suite(
    folder: ResultFolder, todo: list[Cell], costs: "Costs", origin: Row, num_workers: int, num_threads: int = 1
) -> Iterator[tuple[Cell, list[Row]]]:
    """Run cells, the dearest of each seed first, and add their rows to the folder; yields each with its rows."""
    ordered = sorted(todo, key=lambda cell: (cell.seed, -costs.of(cell)))
    for cell, found in run_in_processes(ordered, run_cell, num_workers, num_threads):
        rows = [cell.failed(found.reason)] if isinstance(found, Failure) else found
        rows = [{**row, **origin} for row in rows]
        folder.add(rows)
        yield cell, rows


class Costs:
    """What cells are likely to cost, for a progress bar that tells the time left."""

    def __init__(self, every: Iterable[Cell], rows: Iterable[Row] = ()) -> None:
        self._likely = {cell.agent: _LIKELY_SECONDS.get(cell.entry.family, 60.0) for cell in every}
        self._seen: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            self.learn(row["agent"], row)

    def learn(self, agent: str, row: Row) -> None:
        """Take a final row into account."""
        if row.get("cell_s"):
            self._seen[agent].append(row["cell_s"])

    def of(self, cell: Cell) -> float:
        """Seconds."""
        seen = self._seen.get(cell.agent)
        return float(np.median(seen)) if seen else self._likely.get(cell.agent, 60.0)
