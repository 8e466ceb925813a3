"""`report`: the page, the table and the pictures of a folder of results."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from agents.terminal import console
from benchmarks.running.rows import Row, of_newest_version, read_rows
from benchmarks.running.source_code import of_other_code
from benchmarks.suites import SUITES


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        help="write the report from the rows alone",
        description="Write report.html (one page that needs no network), report.md and the pictures from "
        "DIR/results.jsonl.",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="folder that holds results.jsonl")
    parser.add_argument(
        "--readme",
        type=Path,
        metavar="FILE",
        help="also put the table and pictures between the markers of their suite in FILE",
    )
    parser.add_argument("--tensorboard", type=Path, metavar="DIR", help="also write TensorBoard event files there")
    parser.set_defaults(command=report)


def report(parsed: argparse.Namespace) -> int:
    on = console()

    def tell(words: str) -> None:
        on.print(words, highlight=False, markup=False)

    rows = of_newest_version(read_rows(parsed.directory / "results.jsonl", tell), tell)
    if parsed.readme:
        from benchmarks.report.readme_section import write_readme_section

        write_readme_section(parsed.readme, parsed.directory, rows)
    if parsed.tensorboard:
        from benchmarks.report.tensorboard_export import write_events

        write_events(parsed.tensorboard, rows)
    return write_and_show(parsed.directory, rows, on, of_suite(rows[0]["suite"]))


def of_suite(name: str) -> list[tuple[str, str, int]] | None:
    """The (agent, scenario, seed) that a suite has, so that what is missing can be said; None for an unknown one."""
    if name not in SUITES:
        return None
    suite = SUITES[name]
    return [(agent, task, seed) for agent in suite.agents for task in suite.tasks() for seed in range(suite.num_seeds)]


def write_and_show(
    directory: Path, rows: list[Row], on: Console, expected: list[tuple[str, str, int]] | None = None
) -> int:
    """Write the report and print what it opens with. `expected`: as for `report.write_report`."""
    from benchmarks.report.report import write_report  # here, as Matplotlib takes a second

    if other := of_other_code(rows):
        agents = ", ".join(dict.fromkeys(row["agent"] for row in other))
        words = f"{len(other)} rows were made by other or unknown source code than is here now: {agents}"
        on.print(words, highlight=False, markup=False)
    found = write_report(directory, rows, expected)
    on.print(Markdown(found.answer))
    on.print(f"{directory / 'report.html'}\n{directory / 'report.md'}", highlight=False)
    return 0
