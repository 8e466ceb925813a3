"""Verify the committed results: the provenance of their rows, and whether a sample of runs gives the same digits again.

For each file of rows under benchmarks/results, counts the rows from the tagged commit, from a checkout with uncommitted
changes (dirty), without a commit, and from another version of the envs. Then repeats a random sample of the short runs
in results.jsonl files, those of the current version that took at most --max-seconds, and compares all digits except
timings. Rows of experiments, which have other schemas, are counted but not repeated. The exit status is 1 unless all
rows come from the commit and all repeated runs are equal, at least one unless --sample is 0.
"""

import argparse
import os
import subprocess

from agents.terminal import console, not_negative, number_in, path, positive
from benchmarks.committed_results import COMMITTED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    expected = parser.add_mutually_exclusive_group()
    expected.add_argument("--tag", help="tag of the commit that all rows must come from (default: the newest tag)")
    expected.add_argument("--commit", help="commit that all rows must come from, instead of a tag")
    parser.add_argument("--results", type=path, default=COMMITTED, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--sample",
        type=number_in(float, 0.0, 1.0),
        default=0.02,
        metavar="X",
        help="share of the short runs to repeat, at least one; 0 repeats none",
    )
    parser.add_argument(
        "--max-seconds",
        type=number_in(float, 0.0),
        default=30.0,
        metavar="X",
        help="longest duration of a short run",
    )
    parser.add_argument("--seed", type=not_negative, default=0, metavar="N", help="seed of the sample")
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 1, help="worker processes")


def verify_results(parsed: argparse.Namespace) -> int:
    from rich.table import Table

    import recsim_env
    from benchmarks.analysis.commit_counts import commit_counts
    from benchmarks.rows import ResultsError, read_objects
    from benchmarks.running.committed_runs import repeatable_runs, row_files
    from benchmarks.running.execution import log_to
    from benchmarks.running.reproduction import repeated, sampled

    screen = console()
    log = log_to(screen)
    commit, tag = _expected(parsed.commit, parsed.tag)
    files = row_files(parsed.results)
    if not files:
        raise ResultsError(f"{parsed.results}: no files of rows (*.jsonl)")
    log(f"expected: commit {commit[:12]}{f' ({tag})' if tag else ''}, version {recsim_env.__version__}")
    table = Table(title="Provenance of the committed rows")
    for column in ("file", "rows", "from the commit", "dirty", "no commit", "other versions"):
        table.add_column(column, justify="left" if column == "file" else "right")
    counts = {file: commit_counts(read_objects(file), commit, recsim_env.__version__) for file in files}
    for file, each in counts.items():
        numbers = (each.num_rows, each.num_of_commit, each.num_dirty, each.num_without_commit, each.num_stale)
        table.add_row(str(file.relative_to(parsed.results)), *map(str, numbers))
    screen.print(table)
    num_rows = sum(each.num_rows for each in counts.values())
    num_of_commit = sum(each.num_of_commit for each in counts.values())
    log(f"{num_of_commit} of {num_rows} rows ({num_of_commit / max(num_rows, 1):.1%}) are from the commit")

    short, reasons = repeatable_runs(files, parsed.max_seconds)
    for reason, number in reasons.items():
        log(f"not repeated: {number} runs {reason}")
    chosen = sampled(short, parsed.sample, parsed.seed) if parsed.sample else []
    log(f"repeating {len(chosen)} of {len(short)} short runs (seed {parsed.seed})")
    num_equal = 0
    for run, fields, seconds in repeated(chosen, parsed.workers):
        num_equal += not fields
        text = ", ".join(fields) or f"equal ({seconds:.1f} s)"
        log(f"{run.suite.name}: {run.agent} in {run.task}, seed {run.seed}: {text}")
    log(f"{num_equal} of {len(chosen)} repeated runs have the same digits")
    is_sampled = bool(chosen) or not parsed.sample
    if not is_sampled:
        log("no run was repeated, so no digit is verified; --max-seconds X admits longer runs, --sample 0 repeats none")
    return 0 if all(each.is_complete for each in counts.values()) and num_equal == len(chosen) and is_sampled else 1


def _expected(commit: str | None, tag: str | None) -> tuple[str, str | None]:
    """The full hash of the expected commit, and its tag if it was selected by tag."""
    from benchmarks.rows import ResultsError

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", *arguments], cwd=COMMITTED, capture_output=True, text=True)
        return run.stdout.strip() if run.returncode == 0 else ""

    if commit is None and tag is None:
        tag = git("describe", "--tags", "--abbrev=0") or None
        if tag is None:
            raise ResultsError("this checkout has no tag: specify --commit COMMIT")
    wanted = commit if tag is None else f"refs/tags/{tag}"
    found = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{wanted}^{{commit}}")
    if not found:
        raise ResultsError(f"--commit {commit}: no such commit" if tag is None else f"--tag {tag}: no such tag")
    return found, tag
