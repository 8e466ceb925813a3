"""Write the report of a folder of results.

Writes report.html (one page that needs no network), report.md and the figures from DIR/results.jsonl.
"""

import argparse
from pathlib import Path
from typing import Any

from agents.terminal import console, path
from agents.tracking.copies import add_track_argument, check_copies


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=path, metavar="DIR", help="folder that holds results.jsonl")
    add_track_argument(parser, "learning curves")
    parser.add_argument(
        "--track-to", type=path, metavar="DIR", help="folder for the trackers' files (default: the same DIR)"
    )


def report(parsed: argparse.Namespace) -> int:
    from benchmarks.report.tracked_rows import track_rows
    from benchmarks.rows import of_newest_version, read_rows
    from benchmarks.running.execution import log_to
    from benchmarks.suites import SUITES

    screen = console()
    log = log_to(screen)
    check_copies(parsed.track)
    rows = of_newest_version(read_rows(parsed.directory / "results.jsonl", log), log)
    suite, expected = SUITES.get(rows[0]["suite"]), None
    if suite:
        seeds = range(suite.num_seeds)
        expected = [(agent, task, seed) for agent in suite.agents for task in suite.tasks() for seed in seeds]
    write_and_show(parsed.directory, rows, screen, expected)
    if parsed.track:
        track_rows(parsed.track_to or parsed.directory, rows, parsed.track, log)
    return 0


def write_and_show(directory: Path, rows: Any, screen: Any, expected: list[tuple[str, str, int]] | None) -> None:
    """Write the report and print its summary; `rows` and `expected` as for `report.write_report`."""
    from rich.markdown import Markdown

    from benchmarks.report.report import write_report

    screen.print(Markdown(write_report(directory, rows, expected)))
    screen.print(f"{directory / 'report.html'}\n{directory / 'report.md'}", highlight=False)
