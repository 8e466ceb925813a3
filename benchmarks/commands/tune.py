"""Search settings for agents, with equal trials for each.

Random search over the values in benchmarks/running/search_spaces.py, with the same number of trials for each agent
(fewer where the grid is smaller), on worlds that are never evaluation worlds. Trial 0 takes the registry's settings.
OUT gets the rows of the trials and AGENT.json with the best settings; the same command resumes an interrupted search.
"""

import argparse
import sys
from pathlib import Path

from agents.terminal import console, path, positive
from benchmarks.running.engines import add_engine_arguments, engine_from


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--agent", action="append", metavar="AGENT", help="repeat for several (default: all)")
    parser.add_argument("--trials", type=positive, default=8, help="trials of each agent")
    parser.add_argument("--scenario", action="append", help="repeat for several (default: Video and News)")
    parser.add_argument("--steps", type=positive, default=50_000, help="user-steps of a trial")
    parser.add_argument("--seeds", type=positive, default=1, help="seeds of each trial")
    parser.add_argument("--out", type=path, default=Path("runs/tuning"), metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--install", action="store_true", help="also write the best settings to benchmarks/tuned, which `run` reads"
    )
    add_engine_arguments(parser)
    parser.add_argument("--allow-stale", action="store_true", help="do not repeat finished trials that are stale")


def tune(parsed: argparse.Namespace) -> int:
    from rich.table import Column, Table

    from benchmarks import suites
    from benchmarks.rows import key_of, provenance, read_rows
    from benchmarks.running.execution import execute, log_finished, log_to
    from benchmarks.running.result_folder import RESULTS, open_results
    from benchmarks.running.search_spaces import SPACES
    from benchmarks.running.suite_runs import checked_scenarios
    from benchmarks.running.tuning import trial_runs, tuning_result, tuning_suite, write_tuned

    screen, agents = console(), tuple(parsed.agent or SPACES)
    scenarios = checked_scenarios(parsed.scenario or ("Video", "News"))
    suite = tuning_suite(agents, scenarios, parsed.steps, parsed.seeds)
    runs = trial_runs(suite, parsed.trials)
    engine = engine_from(parsed)
    with open_results(parsed.out, suite, log_to(screen)) as folder:
        finished = folder.finished(runs, allow_stale=parsed.allow_stale)
        log_finished(runs, finished, log_to(screen))
        execute(folder, runs, finished, provenance(sys.argv[1:]), screen, engine)
        keys = {run.key for run in runs}
        rows = [row for row in read_rows(folder.path / RESULTS) if key_of(row) in keys]
    headings = ("agent", "settings", "score", "score of the registry's")
    table = Table(*(Column(each, overflow="fold") for each in headings), title="Best settings")
    for agent in agents:
        result = tuning_result(agent, rows, suite, parsed.trials)
        for target in (parsed.out, suites.TUNED) if parsed.install else (parsed.out,):
            write_tuned(target, agent, result)
        scores = [trial["score"] for trial in result["search"]["trials"]]
        best = max(score for score in scores if score is not None)
        table.add_row(agent, str(result["settings"]), f"{best:.3f}", str(scores[0]))
    screen.print(table)
    if not parsed.install:
        log_to(screen)(f"written to {parsed.out}; --install makes them the defaults of `run` (benchmarks/tuned)")
    return 0
