"""`report`: the page, the tables and the figures of a folder of results."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from agents.terminal import add_command, console, path
from benchmarks.rows import Row, of_newest_version, read_rows
from benchmarks.running.execution import log_to
from benchmarks.suites import SUITES


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "report",
        report,
        "write the report of a folder of results",
        "Write report.html (one page that needs no network), report.md and the figures from DIR/results.jsonl.",
    )
    parser.add_argument("directory", type=path, metavar="DIR", help="folder that holds results.jsonl")
    parser.add_argument("--tensorboard", type=path, metavar="DIR", help="also write TensorBoard event files there")


def report(parsed: argparse.Namespace) -> int:
    screen = console()
    log = log_to(screen)
    rows = of_newest_version(read_rows(parsed.directory / "results.jsonl", log), log)
    if parsed.tensorboard:
        from benchmarks.report.tensorboard_export import write_events

        write_events(parsed.tensorboard, rows)
    return write_and_show(parsed.directory, rows, screen, expected_runs(rows[0]["suite"]))


def expected_runs(suite_name: str) -> list[tuple[str, str, int]] | None:
    """(agent, scenario, seed) of every run of a suite, so that the report names missing ones; None if it is unknown."""
    if suite_name not in SUITES:
        return None
    suite = SUITES[suite_name]
    return [(agent, task, seed) for agent in suite.agents for task in suite.tasks() for seed in range(suite.num_seeds)]


def write_and_show(
    directory: Path, rows: list[Row], screen: Console, expected: list[tuple[str, str, int]] | None = None
) -> int:
    """Write the report and print its summary. `expected`: as for `report.write_report`."""
    from benchmarks.report.report import write_report  # Matplotlib takes a second

    screen.print(Markdown(write_report(directory, rows, expected)))
    screen.print(f"{directory / 'report.html'}\n{directory / 'report.md'}", highlight=False)
    return 0
