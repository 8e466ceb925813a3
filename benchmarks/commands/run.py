"""Train and evaluate the agents of a suite.

Agents are evaluated on held-out users and held-out catalogues, each run (agent x scenario x seed) in a worker process.
Finished runs are added to OUT/results.jsonl: the same command resumes an interrupted comparison, and repeats only runs
whose version, world, settings or sizes have changed. Equal runs that are finished in benchmarks/results are reused, so
that adding an agent takes no longer than its own runs. At the end the report is written (report.html, report.md and
figures); the exit status is 1 if runs have failed. MovieLens needs its ratings log (RECSIM_DATA or --world); without it
the scenario Ratings takes its place.
"""

import argparse
import sys

from agents.terminal import console, path, positive
from agents.tracking.copies import add_track_argument, check_copies
from benchmarks.committed_results import COMMITTED
from benchmarks.running.engines import add_engine_arguments, engine_from


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--suite", default="quick", help="`python -m benchmarks agents` lists the suites")
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--scenario", action="append", default=[], help="run only this scenario; repeat for several")
    parser.add_argument(
        "--only", action="append", default=[], metavar="AGENT", help="run only this agent of the suite; repeat"
    )
    parser.add_argument(
        "--agent",
        action="append",
        default=[],
        metavar="NAME",
        help="add an agent: MODULE:CLASS that extends agents.agent.Agent, sb3:ALGORITHM of Stable-Baselines3 or "
        "sb3-contrib with its default policy, or a name of the registry; repeat",
    )
    parser.add_argument(
        "--model",
        action="append",
        type=path,
        default=[],
        metavar="FILE",
        help="add a trained agent: a file that Agent.save wrote, or the .zip of a Stable-Baselines3 model, which can "
        "execute code when it is loaded; repeat",
    )
    parser.add_argument("--seeds", type=positive, metavar="N", help="seeds 0 .. N - 1 (default: those of the suite)")
    parser.add_argument("--steps", type=positive, metavar="N", help="user-steps of training (default: the suite's)")
    parser.add_argument("--world", metavar="PATH", help="fitted world (.npz), MovieLens-100K folder or ratings CSV")
    add_engine_arguments(parser)
    parser.add_argument("--retry-failed", action="store_true", help="repeat failed runs")
    parser.add_argument("--allow-stale", action="store_true", help="do not repeat finished runs that are stale")
    parser.add_argument(
        "--reuse", action="append", type=path, metavar="DIR", help="also reuse equal runs from this folder; repeat"
    )
    parser.add_argument("--no-reuse", action="store_true", help="execute every run")
    parser.add_argument(
        "--save-models",
        type=path,
        metavar="DIR",
        help="save each trained agent in this folder; finished runs without a file are repeated",
    )
    parser.add_argument(
        "--load-models",
        type=path,
        metavar="DIR",
        help="evaluate agents saved by --save-models instead of training them; those without a file are trained, and "
        "named",
    )
    parser.add_argument("--no-report", action="store_true", help="do not write the report")
    add_track_argument(parser, "learning curves")


def run(parsed: argparse.Namespace) -> int:
    from benchmarks.commands.report import write_and_show
    from benchmarks.report.tracked_rows import track_rows
    from benchmarks.rows import ResultsError, key_of, of_newest_version, provenance
    from benchmarks.running.execution import execute, log_finished, log_to
    from benchmarks.running.result_folder import open_results, reusable_rows
    from benchmarks.running.suite_runs import (
        log_trained,
        model_entries,
        selected,
        suite_named,
        suite_runs,
        with_ratings_log,
    )

    screen = console()
    log = log_to(screen)
    check_copies(parsed.track)
    models = model_entries(parsed.model, parsed.agent)
    suite = selected(
        suite_named(parsed.suite),
        scenarios=parsed.scenario,
        only=parsed.only,
        own_agents=parsed.agent,
        num_seeds=parsed.seeds,
        num_steps=parsed.steps,
    )
    suite, world = with_ratings_log(suite, parsed.world, log)
    for folder in (parsed.load_models, *(parsed.reuse or ())):
        if folder and not folder.is_dir():
            raise ResultsError(f"{folder}: no such folder")
    runs = suite_runs(suite, world, parsed.save_models, parsed.load_models, models)
    if parsed.load_models:
        log_trained(runs, parsed.load_models, log)
    if parsed.save_models:
        parsed.save_models.mkdir(parents=True, exist_ok=True)
    whole = suite_runs(selected(suite_named(parsed.suite), num_steps=parsed.steps), world)
    engine = engine_from(parsed, parsed.agent)
    with open_results(parsed.out, suite, log) as results:
        rows = results.finished(runs, whole=whole, retry_failed=parsed.retry_failed, allow_stale=parsed.allow_stale)
        reused = []
        if not (parsed.no_reuse or parsed.save_models):
            present = {key_of(row) for row in rows}  # with --allow-stale, rows of other digests as well
            missing = [run for run in runs if run.key not in present]
            reused = reusable_rows(missing, [COMMITTED, *(parsed.reuse or ())], log)
            results.add(reused)
            rows += reused
        log_finished(runs, rows, log, len({row["run"] for row in reused}))
        execute(results, runs, rows, provenance(sys.argv[1:]), screen, engine)
        rows = of_newest_version(results.sort(), log)
    if not parsed.no_report:
        write_and_show(parsed.out, rows, screen, [run.key for run in runs])
    if parsed.track:
        track_rows(parsed.out, rows, parsed.track, log)
    digests = {run.digest for run in runs}
    num_failed = sum(row["status"] == "failed" and row["run"] in digests for row in rows)
    if num_failed:
        log(f"{num_failed} of {len(runs)} runs failed (traceback in results.jsonl); --retry-failed repeats them")
    elif parsed.no_report:
        log(f"next: python -m benchmarks report {parsed.out}")
    else:
        log(f"next: open {parsed.out / 'report.html'}; compare an agent of your own by --agent MODULE:CLASS")
    return 1 if num_failed else 0
