"""Executes runs, shows a progress bar with the time left, and prints a line for each run."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import TextColumn

from agents.provenance import machine
from agents.terminal import progress_bar
from benchmarks.rows import Row, checked, key_of
from benchmarks.running.result_folder import ResultFolder
from benchmarks.running.run import Run
from benchmarks.running.workers import Engine, Failure

Log = Callable[[str], None]
_LIKELY_SECONDS = {"rule": 2.0, "bandit": 5.0, "supervised": 20.0, "reference": 30.0}
"""Seconds of a run by family, until a run of the same agent has been measured; 60 for other families."""


def log_to(console: Console) -> Log:
    """Prints messages as they are, without markup and colours."""
    return lambda message: console.print(message, highlight=False, markup=False)


def log_finished(runs: list[Run], finished: list[Row], log: Log, num_reused: int = 0) -> None:
    """Log how many of the runs are finished already, and how many of these are reused from other folders."""
    num_finished = len({run.key for run in runs} & {key_of(row) for row in finished})
    reused = f", {num_reused} of them in other folders (the report lists their commits; --no-reuse repeats them)"
    if num_finished:
        log(f"{num_finished} of {len(runs)} runs are finished already{reused if num_reused else ''}")


def execute(
    folder: ResultFolder,
    runs: list[Run],
    finished: list[Row],
    origin: dict[str, Any],
    console: Console,
    engine: Engine,
) -> None:
    """Execute the runs that are not among the finished rows, the longest of each seed first, and add their rows to the
    folder.
    """
    done, seconds_of = {key_of(row) for row in finished}, defaultdict[str, list[float]](list)

    def measure(row: Row) -> None:
        if seconds := row.get("run_s"):
            seconds_of[row["agent"]].append(seconds)

    def expected_seconds(run: Run) -> float:
        return float(np.median(seconds_of[run.agent] or _LIKELY_SECONDS.get(run.entry.family, 60.0)))

    for row in finished:
        measure(row)
    todo = [run for run in runs if run.key not in done]
    todo.sort(key=lambda run: (run.seed, -expected_seconds(run)))
    left = list(todo)
    counter = TextColumn("{task.fields[num_done]}/{task.fields[num_all]}")  # the bar itself measures seconds
    with progress_bar(console, counter) as bar:
        task = bar.add_task(folder.suite.name, total=None, num_done=0, num_all=len(todo))
        for run, result in engine(todo, _rows_of):
            rows = [run.failed(result.reason, result.traceback)] if isinstance(result, Failure) else result
            rows = [checked({**origin, **row}) for row in rows]
            folder.add(rows)
            log_to(bar.console)(in_one_line(rows[-1]))
            left.remove(run)
            measure(rows[-1])
            total, remaining = (sum(map(expected_seconds, each)) for each in (todo, left))
            bar.update(task, completed=total - remaining, total=total, num_done=len(todo) - len(left))


def _rows_of(run: Run) -> list[dict[str, Any]]:
    """The rows of a run, with the machine that executed it."""
    return [{**row, "machine": machine()} for row in run.execute()]


def in_one_line(row: Row) -> str:
    """A final row, for the terminal."""
    name = f"{row['scenario']:>10} {row['agent']:<18} seed {row['seed']}"
    if row["status"] == "failed":
        return f"{name}  failed: {row['error']}"
    evaluating = (row.get("run_s") or row["wall_s"]) - row["wall_s"]
    training = f"{row['env_steps']:>9,} steps in {row['wall_s']:.0f} s, " if row["env_steps"] else ""
    return f"{name}  return {row['return_mean']:7.2f}  {training}evaluation {evaluating:.0f} s"
