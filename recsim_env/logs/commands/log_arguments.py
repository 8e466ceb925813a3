"""Arguments that name a ratings log and say how to read it, and the log that they describe."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_env.atomic_file import printable
from recsim_env.logs.reading.ratings_log import NO_DISTINGUISHING_FEATURES, RatingsLog
from recsim_env.timed_line import timed_line

if TYPE_CHECKING:
    from recsim_env.logs.reading.ratings_reader import LogContent, ReadingOptions

_LOG_HELP = (
    "a MovieLens folder or .zip, a Netflix Prize file, or a file of ratings (delimited text with or without a header, "
    "JSON lines, Parquet; optionally compressed)"
)


def add_log_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the path of the log and an argument for each field of `ReadingOptions`."""
    parser.add_argument("log", metavar="PATH", type=Path, help=_LOG_HELP)
    group = parser.add_argument_group("reading", "facts that the files do not state; `describe` suggests missing ones")
    group.add_argument(
        "--items",
        type=Path,
        metavar="FILE",
        help="item metadata for a single file of ratings: a table with a column of ids; optional: title, genres "
        "(a|b|c), numeric columns",
    )
    group.add_argument(
        "--columns",
        type=comma_separated,
        default=(),
        metavar="A,B,...",
        help="user, item, rating, time in the order of the columns, - to skip one; or user=NAME,item=NAME,...",
    )
    group.add_argument(
        "--scale",
        nargs=2,
        type=float,
        default=(),
        metavar=("LOW", "HIGH"),
        help="ends of the rating scale, unless it is 1 to 5 or half stars",
    )
    group.add_argument(
        "--levels", type=comma_separated, default=(), metavar="WORD,...", help="ratings in words, in ascending order"
    )
    group.add_argument(
        "--feedback",
        default="ratings",
        metavar="KIND",
        help="ratings, clicks, plays (counts) or watch_ratio (default: ratings)",
    )
    group.add_argument(
        "--missing",
        action="append",
        default=[],
        metavar="VALUE",
        help="value that marks an unrated item, such as 0; repeat for several",
    )
    group.add_argument(
        "--duplicates",
        default="error",
        metavar="KIND",
        help="repeated ratings of an item by the same user: error, last or mean (default: error)",
    )
    group.add_argument("--encoding", default="", help="text encoding (default: UTF-8)")


def add_random_exposure_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--random-exposure`."""
    parser.add_argument(
        "--random-exposure",
        type=Path,
        metavar="FILE",
        help="ratings, by users of the log, of items that were shown to them at random; read with the same options",
    )


def comma_separated(text: str) -> tuple[str, ...]:
    """The parts of an argument, as an argparse type."""
    return tuple(text.split(","))


def log_content(parsed: argparse.Namespace) -> "LogContent":
    """The content of the log, with its problems."""
    from recsim_env.logs.reading.ratings_reader import read_content

    with timed_line(f"reading {printable(parsed.log)}"):
        return read_content(parsed.log, parsed.items, _reading_options(parsed))


def ratings_log(parsed: argparse.Namespace) -> RatingsLog:
    """The log; prints notes about it to stderr."""
    from recsim_env.logs.reading.ratings_reader import whole_log

    content = log_content(parsed)
    log = whole_log(content)
    _print_notes(content.notes)
    return log


def random_exposure_log(parsed: argparse.Namespace) -> RatingsLog | None:
    """The ratings under random exposure, if they are given; prints notes about them, with the file, to stderr.

    Features of items are read from the log alone, so a sample without them is no cause for a warning.
    """
    from recsim_env.logs.reading.ratings_reader import read_content, whole_log

    path = parsed.random_exposure
    if path is None:
        return None
    content = read_content(path, None, _reading_options(parsed))
    log = whole_log(content)
    notes = [note for note in content.notes if NO_DISTINGUISHING_FEATURES not in note]
    _print_notes(notes, about=f"{printable(path)}: ")
    return log


def _print_notes(notes: Sequence[str], about: str = "") -> None:
    for note in notes:
        text = note.removeprefix("warning: ")
        print(f"{'note' if text == note else 'warning'}: {about}{text}", file=sys.stderr)


def _reading_options(parsed: argparse.Namespace) -> "ReadingOptions":
    from recsim_env.logs.reading.ratings_reader import ReadingOptions

    names = ("columns", "scale", "levels", "feedback", "missing", "duplicates", "encoding")
    values: dict[str, Any] = {name: getattr(parsed, name) for name in names}
    for name in ("scale", "missing"):
        values[name] = tuple(values[name])
    return ReadingOptions(**values)
