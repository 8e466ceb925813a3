"""The description of a log in words: its facts, notes and problems."""

import polars as pl

from recsim_env.atomic_file import printable
from recsim_env.logs.reading.ratings_reader import LogContent
from recsim_env.logs.reading.table_files import Problem

_LABEL_WIDTH = 16
_MAX_CELL = 24


def description(content: LogContent) -> str:
    """The file, its columns, rating scale, first rows, notes and problems, as lines of text."""
    columns = [
        f"{role}: {name}" if not name.isdecimal() else f"{role}: column {name}"
        for role, name in content.columns.items()
    ]
    facts = {"file": printable(str(content.path)), "format": content.layout, "columns": ", ".join(columns)}
    facts |= {"rows": f"{content.num_rows:,}", "rating scale": content.scale, "times": content.times}
    if content.log is not None:
        log = content.log
        num_users, num_items, num_ratings = len(log.user_ids), len(log.item_ids), len(log.ratings)
        facts["users"] = f"{num_users:,}, {num_ratings / num_users:.1f} ratings each"
        facts["items"] = f"{num_items:,}, {num_ratings / num_items:.1f} ratings each"
        facts["mean rating"] = f"{log.ratings.mean():.2f}"
    facts["repeats"] = (
        f"{content.num_repeats:,} rows repeat a user-item pair ({_share(content.num_repeats, content.num_rows)})"
    )
    lines = [f"{label:<{_LABEL_WIDTH}}{text}" for label, text in facts.items()]
    lines += ["", *_table(content.preview), ""]
    lines += [f"note: {note}" if not note.startswith("warning: ") else note for note in content.notes]
    lines += [f"problem: {_problem(problem)}" for problem in content.problems]
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{part / max(whole, 1):.0%}"


def _problem(problem: Problem) -> str:
    if not problem.lines:
        return problem.text
    if problem.num_rows == 1:
        return f"line {problem.lines[0]}: {problem.text}"
    more = ", ..." if problem.num_rows > len(problem.lines) else ""
    lines = ", ".join(str(line) for line in problem.lines)
    return f"{problem.num_rows:,} rows (lines {lines}{more}), the first: {problem.text}"


def _table(frame: pl.DataFrame) -> list[str]:
    """The rows of a frame as aligned columns of text."""
    cells = [frame.columns, *([cell or "" for cell in row] for row in frame.rows())]
    shown = [
        [printable(cell if len(cell) <= _MAX_CELL else f"{cell[: _MAX_CELL - 3]}...") for cell in row] for row in cells
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*shown, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]
