"""`run`: train and evaluate the agents of a suite."""

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.terminal import console, positive, progress_bar
from benchmarks.commands.cells_done import Counted
from benchmarks.running.resuming import ResultFolder
from benchmarks.running.rows import ResultsError, of_newest_version, provenance
from benchmarks.running.suite_runner import Costs, cells, narrowed, run_suite, suite_named
from benchmarks.suites import Suite
from recsim_env.logs import find_log, load_or_fit


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "run",
        help="train and evaluate the agents of a suite",
        description="Train and evaluate the agents of a suite on held-out users and held-out catalogues, each cell "
        "(agent x scenario x seed) in a worker process. Rows are added to OUT/results.jsonl as cells are finished: "
        "stopped at any time and started again with the same command, it goes on and repeats only what has other "
        "settings or other source code by now. At its end the report is written (report.html, report.md and pictures); "
        "the exit status is 1 if cells have failed. MovieLens needs its ratings log (RECSIM_DATA or --world); without "
        "it the scenario Ratings takes its place.",
    )
    parser.add_argument("--suite", default="quick", help="what to compare; `agents` lists them (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the results; made if missing"
    )
    parser.add_argument("--scenario", action="append", default=[], help="only this one; repeat for several")
    parser.add_argument("--only", action="append", default=[], metavar="AGENT", help="only this agent; repeat")
    parser.add_argument(
        "--agent",
        action="append",
        default=[],
        metavar="MODULE:CLASS",
        help="put an agent of your own on the board as well, a class that extends agents.agent.Agent; repeat",
    )
    parser.add_argument("--seeds", type=positive, metavar="N", help="seeds 0 .. N - 1 (default: the suite's)")
    parser.add_argument("--world", metavar="PATH", help="fitted world (.npz), MovieLens-100K folder or ratings CSV")
    parser.add_argument(
        "--workers", type=positive, default=os.cpu_count() or 1, help="worker processes (default: %(default)s)"
    )
    parser.add_argument("--threads", type=positive, default=1, help="threads of each worker (default: %(default)s)")
    parser.add_argument("--retry-failed", action="store_true", help="try again what has failed")
    parser.add_argument(
        "--any-code",
        action="store_true",
        help="let finished cells stand whose agent, world or evaluation has other source code by now",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what each learner has learnt in this folder")
    parser.add_argument(
        "--trained",
        type=Path,
        metavar="DIR",
        help="learners that another run has kept there are not trained again, but evaluated as they are",
    )
    parser.add_argument("--no-report", action="store_true", help="leave the report to `report`")
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    on = console()
    suite = narrowed(
        suite_named(parsed.suite),
        scenarios=parsed.scenario,
        only=parsed.only,
        own_agents=parsed.agent,
        num_seeds=parsed.seeds,
    )
    try:
        suite, world = with_ratings_log(suite, parsed.world, on)
    except ValueError as error:
        raise ResultsError(str(error)) from None
    if parsed.trained and not parsed.trained.is_dir():
        raise ResultsError(f"--trained {parsed.trained}: no such folder")
    if parsed.keep:
        parsed.keep.mkdir(parents=True, exist_ok=True)
    every, whole = (
        cells(parsed.suite, each, world, keep=parsed.keep, trained=parsed.trained)
        for each in (suite, suite_named(parsed.suite))
    )
    origin = provenance(sys.argv[1:])

    def tell(words: str) -> None:
        on.print(words, highlight=False, markup=False)

    with ResultFolder(parsed.out, parsed.suite, suite, tell) as folder:
        rows = folder.finished(every, whole=whole, is_retrying=parsed.retry_failed, is_any_code=parsed.any_code)
        done, costs = {row["cell"] for row in rows}, Costs(every, rows)
        todo = [cell for cell in every if cell.digest not in done]
        if len(todo) < len(every):
            tell(f"{len(every) - len(todo)} of {len(every)} cells are finished already")
        with progress_bar(on, Counted()) as bar:
            total = sum(costs.of(cell) for cell in todo)
            task = bar.add_task(f"suite {parsed.suite}", total=total, num_done=0, num_all=len(todo))
            left = list(todo)
            for cell, found in run_suite(folder, todo, costs, origin, parsed.workers, parsed.threads):
                last = found[-1]
                bar.console.print(in_words(last), highlight=False, markup=False)
                left.remove(cell)
                costs.learn(cell.agent, last)
                seconds_left = sum(costs.of(each) for each in left)
                seconds_done = sum(costs.of(each) for each in todo) - seconds_left
                bar.update(
                    task,
                    completed=seconds_done,
                    total=seconds_done + seconds_left,
                    num_done=len(todo) - len(left),
                )
        rows = of_newest_version(folder.sort(), tell)
    if not parsed.no_report:
        from benchmarks.commands.report import write_and_show

        write_and_show(parsed.out, rows, on, [(cell.agent, cell.task, cell.seed) for cell in every])
    digests = {cell.digest for cell in every}
    num_failed = sum(row["status"] == "failed" and row["cell"] in digests for row in rows)
    if num_failed:
        tell(f"{num_failed} of {len(every)} cells failed; --retry-failed tries them again")
    return 1 if num_failed else 0


def with_ratings_log(suite: Suite, world: str | None, on: Console) -> tuple[Suite, str | None]:
    """The suite, with Ratings in place of MovieLens if there is no log; the path of the log or fitted world if so."""
    if "MovieLens" not in suite.scenarios:
        if world is not None:
            raise ResultsError("--world: none of the scenarios is MovieLens")
        return suite, None
    path = Path(world) if world else find_log()
    if path is None:
        on.print("MovieLens: no ratings log found (set RECSIM_DATA); the scenario Ratings takes its place.")
        names = ["Ratings" if name == "MovieLens" else name for name in suite.scenarios]
        return dataclasses.replace(suite, scenarios=tuple(dict.fromkeys(names))), None
    load_or_fit(path)  # once, before the workers ask for it
    return suite, str(path)


def in_words(row: dict[str, Any]) -> str:
    """A final row in one line."""
    name = f"{row['scenario']:>10} {row['agent']:<18} seed {row['seed']}"
    if row["status"] == "failed":
        return f"{name}  failed: {row['error']}"
    return f"{name}  return {row['return_mean']:7.2f}  {row['env_steps']:>9,} steps in {row['wall_s']:.0f} s"
