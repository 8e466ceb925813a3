"""Write the report of a folder of results.

Writes report.html (one page that needs no network), report.md and the figures from DIR/results.jsonl.
"""

import argparse
from pathlib import Path
from typing import Any

from agents.terminal import console, path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=path, metavar="DIR", help="folder that holds results.jsonl")
    parser.add_argument("--tensorboard", type=path, metavar="DIR", help="also write TensorBoard event files there")


def report(parsed: argparse.Namespace) -> int:
    from benchmarks.rows import of_newest_version, read_rows
    from benchmarks.running.execution import log_to
    from benchmarks.suites import SUITES

    screen = console()
    log = log_to(screen)
    rows = of_newest_version(read_rows(parsed.directory / "results.jsonl", log), log)
    if parsed.tensorboard:
        from benchmarks.report.tensorboard_export import write_events

        write_events(parsed.tensorboard, rows)
    suite, expected = SUITES.get(rows[0]["suite"]), None
    if suite:
        seeds = range(suite.num_seeds)
        expected = [(agent, task, seed) for agent in suite.agents for task in suite.tasks() for seed in seeds]
    write_and_show(parsed.directory, rows, screen, expected)
    return 0


def write_and_show(directory: Path, rows: Any, screen: Any, expected: list[tuple[str, str, int]] | None) -> None:
    """Write the report and print its summary; `rows` and `expected` as for `report.write_report`."""
    from rich.markdown import Markdown

    from benchmarks.report.report import write_report

    screen.print(Markdown(write_report(directory, rows, expected)))
    screen.print(f"{directory / 'report.html'}\n{directory / 'report.md'}", highlight=False)
