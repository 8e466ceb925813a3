"""Whether a run, repeated, gives the same digits."""

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import methodcaller
from typing import Any, TypeVar

from benchmarks.rows import Row
from benchmarks.running.run import Run
from benchmarks.running.workers import Failure, run_in_processes

_TIMINGS = {"wall_s", "evaluation_s", "run_s", "steps_per_s", "peak_memory_mib"}
_PROVENANCE = {"command", "commit", "versions", "machine", "date"}
Member = TypeVar("Member")

NOT_COMPARED = {"suite", "loaded_from", *_TIMINGS, *_PROVENANCE}
"""Fields that differ between two equal runs. A reused row has the name of another suite."""


def differences(rows: Sequence[Row], again: Sequence[Row]) -> list[str]:
    """Names of the fields in which the rows of one run differ from those of its repetition; all digits count.

    Metrics that the rows do not have yet are no difference.
    """
    if len(rows) != len(again):
        return [f"{len(again)} evaluations instead of {len(rows)}"]
    return sorted(
        {
            name
            for first, second in zip(rows, again, strict=True)
            for name in first.keys() - NOT_COMPARED
            if not _holds(first.get(name), second.get(name))
        }
    )


def _holds(value: Any, again: Any) -> bool:
    """Whether the second value is the first, or a mapping that holds the same values and further ones."""
    if isinstance(value, Mapping) and isinstance(again, Mapping):
        return all(name in again and _holds(each, again[name]) for name, each in value.items())
    return bool(value == again)


def repeated(
    runs: Iterable[tuple[Run, Sequence[Row]]], num_workers: int
) -> Iterator[tuple[Run, list[str], float | None]]:
    """Repeat runs in worker processes; for each, as it finishes, the fields that differ from its rows, and its seconds.

    A run that fails differs by the reason.
    """
    pairs = {run.digest: (run, rows) for run, rows in runs}
    for run, result in run_in_processes([run for run, _ in pairs.values()], methodcaller("execute"), num_workers):
        if isinstance(result, Failure):
            yield run, [f"failed: {result.reason}"], None
        else:
            yield run, differences(pairs[run.digest][1], result), result[-1].get("run_s")


def sampled(members: Sequence[Member], share: float, seed: int) -> list[Member]:
    """A share of the members, at least one if there are any, drawn by the seed."""
    number = min(max(math.ceil(share * len(members)), 1), len(members))
    return random.Random(f"runs to repeat, seed {seed}").sample(list(members), number)
