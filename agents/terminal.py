"""What commands share of the terminal: its width, a progress bar, and how numbers are read from arguments."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def run_command(
    name: str,
    description: str,
    modules: Sequence[Any],
    arguments: Sequence[str],
    refusals: tuple[type[Exception], ...],
) -> int:
    """Run one of the commands of `python -m name`, which modules add by `add_to`; its exit status.

    An error that is one of the `refusals` ends in one line and status 2.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=description)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in modules:
        module.add_to(commands)
    parsed = parser.parse_args(arguments)
    try:
        return parsed.command(parsed)
    except refusals as error:
        print(f"{name.split('.')[-1]}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name.split('.')[-1]}: stopped; what is finished is kept, the same command goes on", file=sys.stderr)
        return 130


def console() -> Console:
    """The terminal; where there is none (a pipe, a log), wide enough for the tables."""
    return Console() if sys.stdout.isatty() else Console(width=150)


def warn(words: str) -> None:
    """Say something in one line on the standard error, where it is in nobody's way who reads the output."""
    print(words, file=sys.stderr)


def progress_bar(on: Console, *more: ProgressColumn) -> Progress:
    """A bar with the time taken and the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), *more, TimeElapsedColumn(), TimeRemainingColumn())
    # Cells take from a second to minutes: the speed that tells the time left is that of the last half hour.
    return Progress(*columns, console=on, speed_estimate_period=1_800.0)


def positive(text: str) -> int:
    """A whole number of at least 1, as an argparse type."""
    return _whole(text, 1)


def not_negative(text: str) -> int:
    """A whole number of at least 0, as an argparse type."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        number = int(text.replace("_", ""))
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number of at least {least}")
    return number
