"""Print or write the leaderboard of published submissions.

The page has a table for each version of the envs, with the submissions in benchmarks/results/submissions/VERSION
(NAME.zip, NAME.verification.json) and the rows of the suite `submission`. `verify --publish` adds a submission.
"""

import argparse

from agents.terminal import console, path
from benchmarks.committed_results import COMMITTED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--write", type=path, metavar="FILE", help="write the page instead of printing it")


def leaderboard(parsed: argparse.Namespace) -> int:
    from benchmarks.report.submission_board import board
    from benchmarks.running.execution import log_to
    from recsim_env.atomic_file import write_atomically

    page, log = board(COMMITTED), log_to(console())
    if parsed.write:
        write_atomically(parsed.write, page.encode())
        log(f"wrote {parsed.write}")
    else:
        print(page, end="")
    return 0
