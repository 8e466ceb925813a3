"""Verify a submission: its hashes, a sample of its runs, and its scores in hidden worlds.

Repeats a sample of the public runs, which must give the same digits, and runs the agent in hidden worlds, which follow
from a secret seed. A significantly lower score there means that the agent is overfitted to the public worlds. This
executes the code in the submission with your permissions and without a sandbox, and requires --trust-code; without it,
only hashes and schema are checked. Runs are kept in OUT, and the same command resumes them until the verification is
finished; then it starts again, with another seed. The exit status is 0 if the submission is verified, 1 if it is not,
and 2 if it is damaged, from another version, or its code is not trusted.
"""

import argparse
import os
import sys

from agents.terminal import console, not_negative, number_in, path, positive
from benchmarks.committed_results import COMMITTED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("submission", type=path, metavar="ZIP", help="file written by `submit`")
    parser.add_argument("--out", type=path, metavar="DIR", help="folder for the runs (default: ZIP-verified)")
    parser.add_argument("--trust-code", action="store_true", help="execute the code in the submission")
    parser.add_argument(
        "--sample",
        type=number_in(float, 0.0, 1.0),
        default=0.1,
        metavar="X",
        help="share of the public runs to repeat, at least one in each scenario",
    )
    parser.add_argument(
        "--seed",
        type=not_negative,
        metavar="N",
        help="seed of the sample and the hidden worlds (default: random; stated in the record)",
    )
    parser.add_argument(
        "--hidden-seeds",
        type=number_in(int, 2),
        metavar="N",
        help="seeds in the hidden worlds (default: those of the suite)",
    )
    parser.add_argument(
        "--publish", action="store_true", help="add the submission to the committed ones if it is verified"
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
    log(f"{manifest.name} by {', '.join(manifest.authors)}, {manifest.licence}: hashes and schema are valid")
    if not parsed.trust_code:
        raise ResultsError(
            f"{parsed.submission}: the next steps execute {manifest.agent} with your permissions: "
            "review it, then add --trust-code"
        )
    out = parsed.out or parsed.submission.with_name(f"{parsed.submission.stem}-verified")
    record = verified(
        submission,
        parsed.submission,
        out,
        seed=parsed.seed,
        share=parsed.sample,
        num_hidden_seeds=parsed.hidden_seeds,
        committed=COMMITTED,
        arguments=sys.argv[1:],
        screen=screen,
        num_workers=parsed.workers,
    )
    show_verification(screen, record)
    if record.verdict != "verified":
        return 1
    if parsed.publish:
        log(f"published: {publish(parsed.submission, submission, record, COMMITTED)}")
        log("next: python -m benchmarks leaderboard --write docs/leaderboard.md")
    return 0
