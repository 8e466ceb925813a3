"""Verify a submission: its hashes, a sample of its runs, and its scores in worlds that nobody has seen.

Repeats a sample of the public runs, whose digits must be equal, and runs the agent in other worlds, which follow from a
secret seed. A score that is significantly lower there means that the agent is fitted to the public worlds. This
executes the code in the submission, with your rights and without a sandbox, and needs --trust-code; without it only the
hashes and the schema are checked. OUT holds the runs, and the same command resumes them. The exit status is 0 if the
submission is verified, 1 if it is not, and 2 if it is damaged, of another version, or its code is not trusted.
"""

import argparse
import os
import sys
from pathlib import Path

from agents.terminal import console, not_negative, number_in, path, positive

RESULTS = Path(__file__).parents[1] / "results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("submission", type=path, metavar="ZIP", help="file that `submit` wrote")
    parser.add_argument("--out", type=path, metavar="DIR", help="folder for the runs (default: ZIP-verified)")
    parser.add_argument("--trust-code", action="store_true", help="execute the code in the submission")
    parser.add_argument(
        "--sample", type=number_in(float, 0.0, 1.0), default=0.1, metavar="X", help="share of the public runs to repeat"
    )
    parser.add_argument(
        "--seed",
        type=not_negative,
        metavar="N",
        help="from which the sample and the other worlds follow (default: drawn, and stated in the record)",
    )
    parser.add_argument(
        "--hidden-seeds", type=number_in(int, 2), metavar="N", help="seeds in other worlds (default: as in public)"
    )
    parser.add_argument(
        "--publish", action="store_true", help="if it is verified, add it to the leaderboard's committed submissions"
    )
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 1, help="worker processes")


def verify(parsed: argparse.Namespace) -> int:
    from benchmarks.report.submission_table import show_verification
    from benchmarks.rows import ResultsError
    from benchmarks.running.execution import log_to
    from benchmarks.submission.archive import read_submission
    from benchmarks.submission.published import publish
    from benchmarks.submission.verification import verified

    screen = console()
    log = log_to(screen)
    submission = read_submission(parsed.submission)
    manifest = submission.manifest
    log(f"{manifest.name} by {', '.join(manifest.authors)}, {manifest.licence}: hashes and schema are in order")
    if not parsed.trust_code:
        raise ResultsError(
            f"{parsed.submission}: the rest executes {manifest.agent} with your rights: read it, then add --trust-code"
        )
    out = parsed.out or parsed.submission.with_name(f"{parsed.submission.stem}-verified")
    record = verified(
        submission,
        parsed.submission,
        out,
        seed=parsed.seed,
        share=parsed.sample,
        num_hidden_seeds=parsed.hidden_seeds,
        committed=RESULTS,
        arguments=sys.argv[1:],
        screen=screen,
        num_workers=parsed.workers,
    )
    show_verification(screen, record)
    if record.verdict != "verified":
        return 1
    if parsed.publish:
        log(f"published: {publish(parsed.submission, submission, record, RESULTS)}")
        log("next: python -m benchmarks leaderboard --write docs/leaderboard.md")
    return 0
