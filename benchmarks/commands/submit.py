"""Run an agent of your own in the public worlds and pack a submission.

The agent is a class that extends agents.agent.Agent, in a single Python file. It is trained and evaluated in each
scenario of the suite with each seed, beside random and the planning oracle, whose committed rows are reused. The zip
contains the file, the rows, and a manifest with authors, licence, versions, commit and the SHA-256 of each file. Runs
are kept in a folder beside the zip: the same command resumes them, and repeats only runs that are stale after a change
to the file. `python -m benchmarks verify` verifies the zip.
"""

import argparse
import os
import sys
from functools import partial
from typing import Any

from agents.terminal import console, path, positive
from benchmarks.committed_results import COMMITTED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("agent", metavar="FILE.py:CLASS", help="one self-contained file, and the class in it")
    parser.add_argument("--out", type=path, required=True, metavar="ZIP", help="file for the submission")
    parser.add_argument("--name", required=True, help="name on the leaderboard, such as newest-first")
    parser.add_argument("--author", action="append", required=True, metavar="NAME", help="author; repeat for several")
    parser.add_argument("--licence", required=True, metavar="SPDX", help="licence of the file, such as MIT")
    parser.add_argument("--url", help="address of a paper or a repository")
    parser.add_argument(
        "--weights",
        type=path,
        metavar="FILE",
        help="file written by Agent.save, from which the agent is loaded instead of being trained in each run",
    )
    parser.add_argument("--suite", default="submission", help="the leaderboard requires `submission`")
    parser.add_argument("--work", type=path, metavar="DIR", help="folder for the runs (default: ZIP without .zip)")
    parser.add_argument("--no-reuse", action="store_true", help="also execute the references' runs")
    parser.add_argument("--retry-failed", action="store_true", help="repeat failed runs")
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 1, help="worker processes")


def submit(parsed: argparse.Namespace) -> int:
    from benchmarks.report.submission_table import show_scores
    from benchmarks.rows import ResultsError, provenance
    from benchmarks.running.execution import execute, log_finished, log_to
    from benchmarks.running.result_folder import open_results, reusable_rows
    from benchmarks.running.suite_runs import suite_named
    from benchmarks.running.workers import run_in_processes
    from benchmarks.submission.agent_file import check_name, copied
    from benchmarks.submission.archive import checked_manifest, description_of, manifest_of, write_submission
    from benchmarks.submission.submitted_run import submission_runs
    from recsim_env.atomic_file import check_writable

    screen = console()
    log = log_to(screen)
    suite = suite_named(parsed.suite)
    if parsed.out.suffix != ".zip":
        raise ResultsError(f"--out {parsed.out}: must end with .zip")
    work = parsed.work or parsed.out.with_suffix("")
    stated = checked_manifest(
        name=check_name(parsed.name), authors=parsed.author, licence=parsed.licence, url=parsed.url
    )
    parsed.out.parent.mkdir(parents=True, exist_ok=True)
    check_writable(parsed.out)
    with open_results(work, suite, log) as results:
        agent = copied(parsed.agent, parsed.weights, work / "agent")
        own, references = submission_runs(suite, parsed.name, agent)
        description_of(own[0].agent_class)  # raises without a docstring, before anything is run
        runs = sorted([*own, *references], key=lambda run: run.seed)
        rows = results.finished(runs, retry_failed=parsed.retry_failed)
        reused = []
        if not parsed.no_reuse:
            present = {row["run"] for row in rows}
            reused = reusable_rows([run for run in references if run.digest not in present], [COMMITTED], log)
            results.add(reused)
            rows += reused
        log_finished(runs, rows, log, len({row["run"] for row in reused}))
        origin: dict[str, Any] = provenance(sys.argv[1:])
        engine = partial(run_in_processes, num_workers=parsed.workers)
        execute(results, runs, rows, origin, screen, engine)
        digests = {run.digest for run in runs}
        rows = [row for row in results.sort() if row["run"] in digests]
        if failed := [row for row in rows if row["status"] == "failed"]:
            log(f"nothing is packed: {len(failed)} of {len(runs)} runs failed (traceback in {work / 'results.jsonl'})")
            log("next: correct the file, or repeat the failed runs with --retry-failed")
            return 1
        manifest = manifest_of(stated, suite, agent, own, rows)
        manifest = write_submission(parsed.out, manifest, agent, rows)
    show_scores(screen, manifest, rows)
    if any(commit.endswith("-dirty") for commit in manifest.commits):
        log("note: the checkout has uncommitted changes, which the manifest states (-dirty)")
    log(f"{parsed.out}: SHA-256 of the manifest {manifest.digest}")
    log(f"next: python -m benchmarks verify {parsed.out} --trust-code --out {work}-verified")
    return 0
