"""`pages`: write the documentation of the scenarios."""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.running.rows import read_rows


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "pages",
        help="write the documentation of the scenarios",
        description="Write a page for each scenario, and README.md that lists them, into the folder OUT: what it is "
        "about, its equations, spaces and numbers, and its headroom ladder, where results.jsonl has it.",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("docs/scenarios"), metavar="DIR", help="folder (default: %(default)s)"
    )
    parser.add_argument(
        "--ladder",
        type=Path,
        default=Path("benchmarks/results/standard"),
        metavar="DIR",
        help="folder that holds results.jsonl with the ladder's agents (default: %(default)s)",
    )
    parser.set_defaults(command=pages)


def pages(parsed: argparse.Namespace) -> int:
    from benchmarks.report.scenario_pages import write_pages

    path = parsed.ladder / "results.jsonl"
    rows = read_rows(path) if path.exists() else []
    written = write_pages(parsed.out, rows)
    measured = ", ".join(dict.fromkeys(row["scenario"] for row in rows)) or "none"
    print(f"{len(written)} pages in {parsed.out}; headroom ladders in {parsed.ladder}: {measured}")
    return 0
