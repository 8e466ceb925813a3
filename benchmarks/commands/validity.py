"""Measure whether the simulator ranks agents as real people do.

Agents are trained in a world fitted to 60% of the people of a ratings log. Then they are ranked twice: with held-out
simulated users of that world, and by the real ratings of held-out people of the log (recsim_env/Replay-v0). Kendall's
tau compares the two rankings; in the control, item factors are shuffled among items. Writes OUT/validity.jsonl, a row
for each agent and seed as soon as it is finished (the same command resumes), and OUT/report.md. OUT/worlds has the
fitted worlds, with the ids and titles of the log: do not publish them.
"""

import argparse
import os
import sys
from pathlib import Path

from agents.terminal import console, number_in, path, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log", type=path, metavar="PATH", help="folder of MovieLens or file of ratings (default: RECSIM_DATA)"
    )
    parser.add_argument("--out", type=path, default=Path("runs/validity"), metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--agent",
        action="append",
        default=[],
        metavar="NAME",
        help="rank this agent, a name of the registry or MODULE:CLASS; repeat (default: 14 agents)",
    )
    parser.add_argument("--seeds", type=positive, default=3, metavar="N", help="trainings of each agent")
    parser.add_argument("--steps", type=positive, default=50_000, metavar="N", help="user-steps of each training")
    parser.add_argument(
        "--sessions", type=number_in(int, 2, 100_000), default=400, metavar="N", help="sessions of each evaluation"
    )
    parser.add_argument("--session-length", type=number_in(int, 2, 1_000), default=20, metavar="N", help="steps of one")
    parser.add_argument(
        "--candidates", type=number_in(int, 2, 1_000), default=20, metavar="M", help="items to choose from in a step"
    )
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 1, metavar="N", help="worker processes")


def validity(parsed: argparse.Namespace) -> int:
    from rich.markdown import Markdown

    from benchmarks.experiments.validity import (
        AGENTS,
        RESULTS,
        Sizes,
        ValidityRun,
        execute,
        finished_rows,
        prepare_worlds,
    )
    from benchmarks.report.validity import EVALUATED_IN, report
    from benchmarks.rows import ResultsError, provenance
    from benchmarks.running.execution import log_to
    from recsim_env.atomic_file import write_atomically
    from recsim_env.locked_folder import locked
    from recsim_env.logs import WHERE_TO_GET_DATA, existing_log, find_log

    screen = console()
    say = log_to(screen)
    log = find_log() if parsed.log is None else existing_log(parsed.log)
    if log is None:
        raise ResultsError(f"no ratings log: {WHERE_TO_GET_DATA}")
    names = list(dict.fromkeys(parsed.agent)) or list(AGENTS)
    if len(names) < 3:
        raise ResultsError(f"{len(names)} agents: a ranking needs at least 3")
    sizes = Sizes(
        num_steps=parsed.steps,
        num_sessions=parsed.sessions,
        session_length=parsed.session_length,
        num_candidates=parsed.candidates,
    )
    with locked(parsed.out):
        worlds = parsed.out / "worlds"
        found = prepare_worlds(log, worlds, say)
        runs = [
            ValidityRun(
                agent=name,
                seed=seed,
                trained_in=trained_in,
                log=log.absolute(),
                log_fingerprint=found,
                worlds=worlds.absolute(),
                sizes=sizes,
            )
            for seed in range(parsed.seeds)
            for trained_in in EVALUATED_IN
            for name in names
        ]
        for run in runs:
            run.entry.agent_class()  # an unknown agent is an error before hours of work
        rows = finished_rows(parsed.out / RESULTS, runs)
        num_failed = execute(runs, parsed.out / RESULTS, rows, provenance(sys.argv[1:]), parsed.workers, say)
        if num_failed:
            say(f"{num_failed} of {len(runs)} runs failed; the same command repeats them")
            return 1
        text = report(rows)
        write_atomically(parsed.out / "report.md", text.encode())
    screen.print(Markdown(text))
    screen.print(str(parsed.out / "report.md"), highlight=False)
    return 0
