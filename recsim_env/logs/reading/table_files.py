"""Tables in common file formats - delimited text, JSON lines, Parquet - as string columns with line numbers."""

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from recsim_env.atomic_file import printable

LINE = "line of the file"
"""The column of line numbers, from 1; row numbers for a Parquet file."""

SEPARATORS = {"::": "::", "\t": "tab", ";": ";", "|": "|", ",": ",", " ": "space"}
"""Recognised separators and their names."""

AnyPath = Path | zipfile.Path
"""A file or folder, or a member of a .zip."""

_NUM_SNIFFED_LINES = 50
_NO_SEPARATOR = "\x1f"  # so that a line is one cell
_CHUNK_ROWS = 500_000


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A reason why some rows, or a whole file, cannot be read."""

    text: str
    """The first occurrence: the value, and what is allowed."""
    lines: tuple[int, ...] = ()
    """The first few affected lines; empty if the whole file is affected."""
    num_rows: int = 0
    """Number of affected rows."""

    def at(self, path: AnyPath) -> str:
        """One line: file, line, text."""
        place = f"{printable(str(path))}:{self.lines[0]}" if self.lines else printable(str(path))
        return f"{place}: {self.text}"


def problem_in(rows: pl.DataFrame, text: str) -> Problem:
    """A problem that affects `rows`; they have a column `LINE` and are not empty."""
    return Problem(text=text, lines=tuple(rows[LINE].head(5).to_list()), num_rows=len(rows))


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """The content of a file."""

    path: AnyPath
    layout: str
    """Format, separator, encoding, compression and header, in words."""
    has_header: bool
    """Whether the file names its columns; otherwise they are named "1", "2", ..."""
    frame: pl.DataFrame
    """Columns of stripped strings, null where empty, and `LINE`; blank lines are skipped."""
    separator: str = ""
    """For delimited text."""
    problems: tuple[Problem, ...] = ()
    """Rows with a wrong number of fields, which are not in `frame`."""

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in their order."""
        return [name for name in self.frame.columns if name != LINE]


@dataclass(frozen=True, kw_only=True)
class _Text:
    """Lines of text before they are split."""

    path: AnyPath
    content: bytes
    """UTF-8, without a byte order mark."""
    layout: str
    """Encoding and compression, in words."""
    head: Sequence[str] = field(default_factory=list)
    """The first lines that are not blank."""


def read_table(path: AnyPath, *, encoding: str = "", has_header: bool | None = None) -> TableFile:
    """Read a table; the format is detected from the content.

    Formats are delimited text (`SEPARATORS`, quotes as in RFC 4180), JSON lines, a JSON array of objects, Parquet, and
    Netflix Prize files, optionally compressed by gzip, bzip2 or xz.

    Args:
        path: the file.
        encoding: text encoding; by default UTF-8, or UTF-16 if there is a byte order mark.
        has_header: whether the first line of delimited text names the columns; by default, whether
            none of its cells is a number, a date or empty.

    Raises:
        ValueError: the file is not such a table.
    """
    content, compression = _decompressed(path)
    if content[:4] == b"PAR1":
        return _read_parquet(path, content)
    text = _decoded(path, content, compression, encoding)
    first = text.head[0].lstrip() if text.head else ""
    if not first:
        raise ValueError(f"{printable(str(path))}: the file is empty")
    if first[0] in "{[":
        return _read_json(text, first[0] == "{")
    if re.fullmatch(r"\d+:", first):
        return _read_netflix(text)
    return _read_delimited(text, has_header)


def _decompressed(path: AnyPath) -> tuple[bytes, str]:
    """The content of the file, and its compression in words."""
    content = path.read_bytes()
    formats = {
        b"\x1f\x8b": ("gzip", gzip.decompress),
        b"BZh": ("bzip2", bz2.decompress),
        b"\xfd7zXZ": ("xz", lzma.decompress),
    }
    for start, (name, decompress) in formats.items():
        if content.startswith(start):
            try:
                return decompress(content), f", {name}"
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise ValueError(f"{printable(str(path))}: damaged {name} file ({error})") from error
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        raise ValueError(f"{printable(str(path))}: compressed by Zstandard, not supported; decompress it first")
    return content, ""


def _decoded(path: AnyPath, content: bytes, compression: str, encoding: str) -> _Text:
    if not encoding:
        encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        text = content.decode(encoding)
    except LookupError as error:
        raise ValueError(f"encoding={encoding!r}: unknown; common ones are utf-8, latin-1, cp1252, utf-16") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{printable(str(path))}:{line}: not {encoding} text; specify its encoding, such as --encoding latin-1"
        ) from error
    for character, name in (("\0", "null"), (_NO_SEPARATOR, "control")):
        if character in text:
            line = text.count("\n", 0, text.index(character)) + 1
            raise ValueError(f"{printable(str(path))}:{line}: contains a {name} character; not a text file, or UTF-16")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    head = [line for line in text[: 1000 * _NUM_SNIFFED_LINES].split("\n")[:_NUM_SNIFFED_LINES] if line.strip()]
    return _Text(path=path, content=text.encode(), layout=f"{encoding.upper()}{compression}", head=head)


# Formats


def _read_parquet(path: AnyPath, content: bytes) -> TableFile:
    try:
        frame = pl.read_parquet(io.BytesIO(content))
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{printable(str(path))}: damaged Parquet file ({_first_line(error)})") from error
    return TableFile(path=path, layout="Parquet", has_header=True, frame=_as_text(frame.with_row_index(LINE, 1)))


def _read_json(text: _Text, is_lines: bool) -> TableFile:
    layout = f"{'JSON lines' if is_lines else 'JSON array'}, {text.layout}"
    try:
        source = io.BytesIO(text.content)
        frame = pl.read_ndjson(source, infer_schema_length=None) if is_lines else pl.read_json(source)
    except pl.exceptions.PolarsError as error:
        raise ValueError(_json_error(text, is_lines) or f"{text.path}: not JSON ({_first_line(error)})") from error
    lines = np.arange(1, len(frame) + 1)
    if is_lines and b"\n\n" in text.content:
        lines = np.flatnonzero([bool(line.strip()) for line in text.content.split(b"\n")]) + 1
    return TableFile(
        path=text.path, layout=layout, has_header=True, frame=_as_text(frame.with_columns(pl.Series(LINE, lines)))
    )


def _json_error(text: _Text, is_lines: bool) -> str:
    if is_lines:
        for number, line in enumerate(text.content.decode().split("\n"), 1):
            try:
                if line.strip():
                    json.loads(line)
            except ValueError as error:
                quotes = "; JSON needs double quotes" if line.startswith("{'") else ""
                place = f"{printable(str(text.path))}:{number}"
                return f"{place}: not a valid line of JSON lines ({error}{quotes})"
    return ""


def _as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The scalar columns as strings, without nested columns."""
    columns = [
        pl.col(name).cast(pl.String).str.strip_chars().replace("", None)
        for name, kind in frame.schema.items()
        if name != LINE and not kind.is_nested() and kind != pl.Binary
    ]
    return frame.select(*columns, pl.col(LINE).cast(pl.Int64))


def _lines(text: _Text) -> pl.DataFrame:
    """A row for each line that is not blank: its stripped text, and `LINE`."""
    frame = pl.read_csv(
        io.BytesIO(text.content),
        has_header=False,
        separator=_NO_SEPARATOR,
        quote_char=None,
        infer_schema=False,
        new_columns=["text"],
    )
    return (
        frame.with_row_index(LINE, 1)
        .with_columns(pl.col(LINE).cast(pl.Int64), pl.col("text").str.strip_chars(" "))
        .filter(pl.col("text").str.len_bytes() > 0)
    )


def _read_netflix(text: _Text) -> TableFile:
    lines = _lines(text).with_columns(
        pl.col("text").str.extract(r"^(\d+):$").forward_fill().alias("item"),
        pl.col("text").str.extract_groups(r"^(?<user>\d+),(?<rating>\d+),(?<time>[^,]+)$").alias("parts"),
    )
    lines = lines.filter(~pl.col("text").str.ends_with(":")).unnest("parts")
    is_broken = pl.col("user").is_null()
    broken = lines.filter(is_broken)
    problems = [problem_in(broken, f"{broken['text'][0]!r}: must be user,rating,date")] if len(broken) else []
    return TableFile(
        path=text.path,
        layout=f"Netflix Prize (lines `movie:`, then user,rating,date), {text.layout}",
        has_header=True,
        frame=lines.filter(~is_broken).select("user", "item", "rating", "time", LINE),
        problems=tuple(problems),
    )


def _read_delimited(text: _Text, has_header: bool | None) -> TableFile:
    separator = _separator(text.head)
    first = (
        next(csv.reader([text.head[0]], delimiter=separator)) if len(separator) == 1 else text.head[0].split(separator)
    )
    names = [name.strip() for name in first]
    has_header = _is_header(names) if has_header is None else has_header
    if not has_header:
        names = [str(position) for position in range(1, len(names) + 1)]
    elif len(set(names)) < len(names) or "" in names:
        raise ValueError(f"{printable(str(text.path))}:1: must name each column once; got {','.join(names)}")
    frame, problems = _split(text, separator, names) if b'"' not in text.content else _parse(text, separator, names)
    layout = (
        f"text separated by {SEPARATORS[separator]!r}, {text.layout}, {'with' if has_header else 'without'} a header"
    )
    return TableFile(
        path=text.path,
        layout=layout,
        has_header=has_header,
        frame=frame.slice(1) if has_header else frame,
        separator=separator,
        problems=tuple(problems),
    )


def _separator(head: Sequence[str]) -> str:
    """The separator with the same number of fields in each line, the largest if several qualify; "," if none does."""
    plain = [re.sub(r'"[^"]*"', "", line) for line in head]
    # Spaces between the words of a title, and | between genres, may be equally many in each line by chance.
    for group in (("::",), ("\t",), (";", "|", ","), (" ",)):
        counts = {separator: {line.count(separator) for line in plain} for separator in group}
        same = {separator: max(each) for separator, each in counts.items() if len(each) == 1 and max(each) > 0}
        if same:
            return max(same, key=lambda separator: same[separator])
    # Lines with another number of fields are reported later.
    return next((each for each in SEPARATORS if each != " " and all(each in line for line in plain)), ",")


def _is_header(cells: Sequence[str]) -> bool:
    """Whether a first line has names only: no numbers, no dates, no empty cells."""
    return not any(
        re.fullmatch(r"|[-+]?[\d.,]+(e[-+]?\d+)?|\d+/\d+|\d{4}-\d\d-\d\d.*", cell, re.IGNORECASE) for cell in cells
    )


def _split(text: _Text, separator: str, names: Sequence[str]) -> tuple[pl.DataFrame, list[Problem]]:
    """Rows of text without quotes, split by Polars."""
    num_fields = len(names)
    lines = _lines(text).with_columns(pl.col("text").str.count_matches(separator, literal=True).alias("separators"))
    is_whole = pl.col("separators") == num_fields - 1
    broken = lines.filter(~is_whole)
    problems = (
        [problem_in(broken, f"has {broken['separators'][0] + 1} fields, must have {num_fields}")] if len(broken) else []
    )
    lines = lines.filter(is_whole)
    parts = lines["text"].str.split_exact(separator, num_fields - 1).struct.rename_fields(list(names)).struct.unnest()
    cells = [pl.col(name).str.strip_chars().replace("", None) for name in names]
    return parts.select(cells).with_columns(lines[LINE]), problems


def _parse(text: _Text, separator: str, names: Sequence[str]) -> tuple[pl.DataFrame, list[Problem]]:
    """Rows of text with quotes, whose cells may contain separators and line breaks."""
    if len(separator) > 1:
        raise ValueError(
            f"{printable(str(text.path))}: quotes together with the separator {separator!r} are not supported"
        )
    reader = csv.reader(io.StringIO(text.content.decode(), newline=""), delimiter=separator, strict=True)
    chunks, rows = [], []
    broken: list[int] = []
    num_broken, fields = 0, 0
    schema = {**dict.fromkeys(names, pl.String), LINE: pl.Int64}
    line = 1
    try:
        for row in reader:
            if len(row) == len(names):
                rows.append([*(cell.strip() or None for cell in row), line])
            elif row:
                broken, num_broken, fields = [*broken, line][:5], num_broken + 1, fields or len(row)
            line = reader.line_num + 1
            if len(rows) == _CHUNK_ROWS:
                chunks.append(pl.DataFrame(rows, schema, orient="row"))
                rows = []
    except csv.Error as error:
        raise ValueError(f"{printable(str(text.path))}:{reader.line_num}: not well-formed ({error})") from error
    chunks.append(pl.DataFrame(rows, schema, orient="row"))
    text_of = f"has {fields} fields, must have {len(names)}"
    return pl.concat(chunks), [Problem(text=text_of, lines=tuple(broken), num_rows=num_broken)] if broken else []


def _first_line(error: Exception) -> str:
    return printable(str(error).strip().split("\n", 1)[0])
