"""Tune the settings of agents, with the same number of trials for each.

Trial 0 uses the registry's settings; the others are sampled by Optuna's tree-structured Parzen estimator from the
ranges in benchmarks/running/search_spaces.toml. A trial is evaluated in one scenario after the other, in worlds that
evaluation never uses, and pruned when it is significantly worse than the best trial so far. OUT receives the rows of
the trials, and AGENT.json with the best settings and all trials. The same command resumes an interrupted search with
the same result; a larger --trials continues it. The exit status is 1 if all trials of an agent have failed.
"""

import argparse
import sys
from pathlib import Path

from agents.terminal import console, path, positive
from benchmarks.running.engines import add_engine_arguments, engine_from


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--agent", action="append", metavar="AGENT", help="agent to tune; repeat for several (default: all)"
    )
    parser.add_argument("--trials", type=positive, default=20, help="trials of each agent")
    parser.add_argument(
        "--scenario", action="append", help="repeat for several (default: the seven with single visits)"
    )
    parser.add_argument("--steps", type=positive, default=50_000, help="user-steps of each run")
    parser.add_argument("--seeds", type=positive, default=1, help="seeds of each trial in each scenario")
    parser.add_argument(
        "--spaces", type=path, metavar="FILE", help="TOML file of search spaces (default: search_spaces.toml)"
    )
    parser.add_argument("--world", metavar="PATH", help="fitted world (.npz), MovieLens-100K folder or ratings CSV")
    parser.add_argument("--out", type=path, default=Path("runs/tuning"), metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--install", action="store_true", help="also write the best settings to benchmarks/tuned, which `run` reads"
    )
    add_engine_arguments(parser)
    parser.add_argument("--allow-stale", action="store_true", help="do not repeat finished trials that are stale")


def tune(parsed: argparse.Namespace) -> int:
    from rich.table import Column, Table

    from benchmarks import suites
    from benchmarks.analysis.run_times import measured_seconds
    from benchmarks.committed_results import COMMITTED
    from benchmarks.rows import ResultsError, Row, key_of, provenance, read_rows
    from benchmarks.running.execution import execute, log_finished, log_to
    from benchmarks.running.result_folder import RESULTS, final_rows_in, open_results
    from benchmarks.running.run import Run
    from benchmarks.running.search_spaces import SPACES, read_spaces
    from benchmarks.running.suite_runs import checked_scenarios, with_ratings_log
    from benchmarks.running.tuning import (
        best_of,
        expected_cost,
        reference_runs,
        search,
        search_all,
        space_of,
        tuning_result,
        tuning_suite,
        write_tuned,
    )
    from recsim_env.scenarios import SCENARIOS

    screen = console()
    log = log_to(screen)
    spaces = read_spaces(parsed.spaces or SPACES)
    agents = tuple(dict.fromkeys(parsed.agent or spaces))
    scenarios = checked_scenarios(parsed.scenario or tuple(SCENARIOS))
    suite = tuning_suite(agents, scenarios, parsed.steps, parsed.seeds)
    suite, world = with_ratings_log(suite, parsed.world, log)
    searches = {agent: search(agent, space_of(agent, spaces), suite, parsed.trials, world) for agent in agents}
    log(expected_cost(suite, parsed.trials, measured_seconds(final_rows_in(COMMITTED), parsed.steps)))
    engine, rows_of = engine_from(parsed, agents), dict[str, list[Row]]()
    with open_results(parsed.out, suite, log) as folder:
        origin = provenance(sys.argv[1:])

        def rows_of_runs(runs: list[Run]) -> list[Row]:
            finished, keys = folder.finished(runs, allow_stale=parsed.allow_stale), {run.key for run in runs}
            if keys - {key_of(row) for row in finished}:
                log_finished(runs, finished, log)
                execute(folder, runs, finished, origin, screen, engine)
            rows = [row for row in read_rows(folder.path / RESULTS) if key_of(row) in keys]
            for row in rows:
                rows_of.setdefault(row["agent"], []).append(row)
            return rows

        found = search_all(searches, reference_runs(suite, world), rows_of_runs)
    headings = ("agent", "settings", "score", "score of trial 0", "pruned", "failed")
    table = Table(*(Column(each, overflow="fold") for each in headings), title="Best settings")
    failures: list[str] = []
    for agent, trials in found.items():
        try:
            best = best_of(agent, trials)
        except ResultsError as error:
            failures.append(str(error))
            continue
        result = tuning_result(agent, trials, suite, rows_of[f"{agent}#{best.number}"][-1])
        for target in (parsed.out, suites.TUNED) if parsed.install else (parsed.out,):
            write_tuned(target, agent, result)
        counts = [str(sum(trial.state == state for trial in trials)) for state in ("pruned", "failed")]
        of_registry = f"{trials[0].score:.3f}" if trials[0].state == "complete" else trials[0].state
        table.add_row(agent, str(best.settings or "the registry's"), f"{best.score:.3f}", of_registry, *counts)
    screen.print(table)
    if not parsed.install and len(failures) < len(found):
        log(f"written to {parsed.out}; --install makes them the defaults of `run` (benchmarks/tuned)")
    for failure in failures:
        log(failure)
    return 1 if failures else 0
