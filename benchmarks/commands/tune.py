"""`tune`: find settings for agents, with equal trials for each."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from agents.terminal import console, positive, progress_bar
from benchmarks.commands.cells_done import Counted
from benchmarks.running.resuming import ResultFolder
from benchmarks.running.rows import provenance
from benchmarks.running.search_spaces import SPACES
from benchmarks.running.suite_runner import Costs, checked_scenarios, run_suite


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "tune",
        help="find settings for agents",
        description="Random search over the values of benchmarks/search_spaces.py, with the same number of trials for "
        "each agent (fewer where there are no more settings to try), on worlds that are never evaluation worlds. Trial "
        "0 is what the roster says. The best settings of each agent and how they were found go into "
        "benchmarks/tuned/AGENT.json, which `run` reads. Stopped and started again with the same command, it goes on.",
    )
    parser.add_argument("--agent", action="append", metavar="AGENT", help="repeat for several (default: all)")
    parser.add_argument("--trials", type=positive, default=8, help="for each agent (default: %(default)s)")
    parser.add_argument("--scenario", action="append", help="repeat (default: Video and News)")
    parser.add_argument("--steps", type=positive, default=50_000, help="user-steps a trial (default: %(default)s)")
    parser.add_argument("--seeds", type=positive, default=1, help="seeds of each trial (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/tuning"), metavar="DIR", help="default: %(default)s")
    parser.add_argument(
        "--workers", type=positive, default=os.cpu_count() or 1, help="worker processes (default: %(default)s)"
    )
    parser.add_argument(
        "--any-code",
        action="store_true",
        help="let finished trials stand whose agent, world or evaluation has other source code by now",
    )
    parser.set_defaults(command=tune)


def tune(parsed: argparse.Namespace) -> int:
    from benchmarks.running.tuning import trials, tuning_suite, write_tuned

    on, agents = console(), tuple(parsed.agent or SPACES)
    scenarios = checked_scenarios(parsed.scenario or ("Video", "News"))
    suite = tuning_suite(agents, scenarios, parsed.steps, parsed.seeds)
    every, origin = trials(suite, parsed.trials), provenance(sys.argv[1:])

    def tell(words: str) -> None:
        on.print(words, highlight=False, markup=False)

    with ResultFolder(parsed.out, "tuning", suite, tell) as folder:
        digests = {cell.digest for cell in every}
        rows = [row for row in folder.finished(every, is_any_code=parsed.any_code) if row["cell"] in digests]
        done, costs = {row["cell"] for row in rows}, Costs(every, rows)
        todo = [cell for cell in every if cell.digest not in done]
        with progress_bar(on, Counted()) as bar:
            task = bar.add_task("tuning", total=len(todo), num_done=0, num_all=len(todo))
            for number, (_, found) in enumerate(run_suite(folder, todo, costs, origin, parsed.workers), 1):
                rows += found
                bar.update(task, completed=number, num_done=number)
    table = Table(title="Settings found, in benchmarks/tuned")
    for heading in ("agent", "settings", "score", "score of the roster's"):
        table.add_column(heading, overflow="fold")
    for agent in agents:
        written = write_tuned(agent, rows, suite, parsed.trials)
        tried = [trial["score"] for trial in written["found"]["trials"]]
        best = max(score for score in tried if score is not None)
        table.add_row(agent, str(written["settings"]), f"{best:.3f}", str(tried[0]))
    on.print(table)
    return 0
