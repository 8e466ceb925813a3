"""Rows of files of delimited text, with their places for error messages."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Rows = Iterator[tuple[str, dict[str, str]]]
"""`path:line` and the cells by column, without spaces around them, for each row that is not empty."""


def read_csv(path: Path, required: Sequence[str]) -> Rows:
    """Rows of a CSV in UTF-8 whose first line names the columns, among them the `required` ones in any case.

    Raises:
        ValueError: wrong encoding, a missing column or one that appears twice, unmatched quotes, or a row with another
            number of fields; names the file and the line.
    """
    reader = csv.reader(_decoded(path, "utf-8"), strict=True)
    names = [name.strip() for name in next(reader, [])]
    names = [name.lower() if name.lower() in required else name for name in names]
    if not set(required) <= set(names) or len(set(names)) < len(names):
        got = ",".join(names) or "an empty line"
        raise ValueError(f"{path}:1: must name each column once, among them {','.join(required)}; got {got}")
    return _rows(path, reader, names)


def read_delimited(path: Path, delimiter: str, names: Sequence[str]) -> Rows:
    """Rows of a file in Latin-1 with columns of these names, and neither a header nor quotes; errors as above."""
    return _rows(path, csv.reader(_decoded(path, "latin-1"), delimiter=delimiter, quoting=csv.QUOTE_NONE), names)


def finite_number(cell: str) -> float:
    """NaN unless the cell is a finite number."""
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _decoded(path: Path, encoding: str) -> io.StringIO:
    content = path.read_bytes()
    try:
        return io.StringIO(content.decode(encoding).removeprefix("\ufeff"), newline="")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}:{line}: not {encoding} text") from error


def _rows(path: Path, reader: Any, names: Sequence[str]) -> Rows:
    try:
        for row in reader:
            if len(row) not in (0, len(names)):
                raise ValueError(f"{path}:{reader.line_num}: has {len(row)} fields, must have {len(names)}")
            if row:
                yield f"{path}:{reader.line_num}", dict(zip(names, map(str.strip, row), strict=True))
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: not well-formed ({error})") from error
