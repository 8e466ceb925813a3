"""Repetition of finished runs, to check that they give the same digits again."""

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import methodcaller
from typing import Any, TypeVar

from agents.provenance import FIELDS
from benchmarks.rows import Row
from benchmarks.running.run import Run
from benchmarks.running.workers import Failure, run_in_processes

_TIMINGS = {"wall_s", "evaluation_s", "run_s", "steps_per_s", "peak_memory_mib"}
Member = TypeVar("Member")

NOT_COMPARED = {"suite", "loaded_from", *_TIMINGS, *FIELDS}
"""Fields that may differ between equal runs. A reused row has the name of another suite."""


def differences(rows: Sequence[Row], again: Sequence[Row], *, allow_new: bool = True) -> list[str]:
    """Names of the fields in which the rows of a run and of its repetition differ in any digit.

    Metrics and curves that only the repetition has are ignored: they were added later. So are fields, with `allow_new`.
    """
    if len(rows) != len(again):
        return [f"{len(again)} evaluations instead of {len(rows)}"]
    return sorted(
        {
            name
            for first, second in zip(rows, again, strict=True)
            for name in (first.keys() if allow_new else first.keys() | second.keys()) - NOT_COMPARED
            if not _holds(first.get(name), second.get(name))
        }
    )


def _holds(value: Any, again: Any) -> bool:
    """Whether the values are equal, or the second is a mapping that contains all values of the first."""
    if isinstance(value, Mapping) and isinstance(again, Mapping):
        return all(name in again and _holds(each, again[name]) for name, each in value.items())
    return bool(value == again)


def repeated(
    runs: Iterable[tuple[Run, Sequence[Row]]], num_workers: int, *, allow_new: bool = True
) -> Iterator[tuple[Run, list[str], float | None]]:
    """Repeat runs in worker processes; yields each run as it finishes, with the fields that differ and its seconds.

    For a run that fails, the reason takes the place of the fields, and the seconds are None. `allow_new` is that of
    `differences`.
    """
    pairs = {run.digest: (run, rows) for run, rows in runs}
    for run, result in run_in_processes([run for run, _ in pairs.values()], methodcaller("execute"), num_workers):
        if isinstance(result, Failure):
            yield run, [f"failed: {result.reason}"], None
        else:
            fields = differences(pairs[run.digest][1], result, allow_new=allow_new)
            yield run, fields, result[-1].get("run_s")


def sampled(members: Sequence[Member], share: float, seed: int) -> list[Member]:
    """A random share of the members, at least one if there are any, determined by the seed."""
    number = min(max(math.ceil(share * len(members)), 1), len(members))
    return random.Random(f"runs to repeat, seed {seed}").sample(list(members), number)


def sampled_by_scenario(runs: Sequence[Run], share: float, seed: int) -> list[Run]:
    """A random share of the runs in each scenario, at least one, determined by the seed."""
    by_scenario = defaultdict[str, list[Run]](list)
    for run in sampled(runs, 1.0, seed):  # in random order
        by_scenario[run.task].append(run)
    return [run for each in by_scenario.values() for run in each[: max(math.ceil(share * len(each)), 1)]]
