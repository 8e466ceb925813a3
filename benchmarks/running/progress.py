"""Executes runs with a progress bar that shows the time left, and prints a line for each."""

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import ProgressColumn, Task

from agents.terminal import progress_bar
from benchmarks.rows import Row
from benchmarks.running.result_folder import ResultFolder, key_of
from benchmarks.running.run import Run
from benchmarks.running.suite_runner import Costs, run_suite

Log = Callable[[str], None]


def log_to(console: Console) -> Log:
    """Prints messages as they are, without markup and colours."""
    return lambda message: console.print(message, highlight=False, markup=False)


class _Counter(ProgressColumn):
    """Number of finished runs; the bar itself measures seconds."""

    def render(self, task: Task) -> str:
        return f"{task.fields['num_done']}/{task.fields['num_all']}"


def execute(
    folder: ResultFolder,
    runs: list[Run],
    finished: list[Row],
    origin: dict[str, Any],
    console: Console,
    num_workers: int,
    num_threads: int = 1,
) -> None:
    """Execute the runs that are not among the finished rows, and add their rows to the folder."""
    done, costs = {key_of(row) for row in finished}, Costs(runs, finished)
    todo = [run for run in runs if run.key not in done]
    if len(todo) < len(runs):
        log_to(console)(f"{len(runs) - len(todo)} of {len(runs)} runs are finished already")
    left = list(todo)
    with progress_bar(console, _Counter()) as bar:
        task = bar.add_task(runs[0].suite_name, total=None, num_done=0, num_all=len(todo))
        for run, rows in run_suite(folder, todo, costs, origin, num_workers, num_threads):
            log_to(bar.console)(in_one_line(rows[-1]))
            left.remove(run)
            costs.update(rows[-1])
            seconds_left = sum(map(costs.of, left))
            seconds = sum(map(costs.of, todo))
            bar.update(task, completed=seconds - seconds_left, total=seconds, num_done=len(todo) - len(left))


def in_one_line(row: Row) -> str:
    """A final row, for the terminal."""
    name = f"{row['scenario']:>10} {row['agent']:<18} seed {row['seed']}"
    if row["status"] == "failed":
        return f"{name}  failed: {row['error']}"
    evaluating = (row.get("run_s") or row["wall_s"]) - row["wall_s"]
    training = f"{row['env_steps']:>9,} steps in {row['wall_s']:.0f} s, " if row["env_steps"] else ""
    return f"{name}  return {row['return_mean']:7.2f}  {training}evaluation {evaluating:.0f} s"
