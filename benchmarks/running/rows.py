"""Result rows: what one holds, where it comes from, how rows are written and read back."""

import json
import os
import platform
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from recsim_env.atomic_file import write_atomically

Row = dict[str, Any]

_TEXT, _STATUS, _FLAG, _OBJECT = "text", "ok or failed", "true or false", "an object"
_COUNT, _NUMBER, _MAYBE = "a whole number from 0", "a finite number", "a finite number or null"
_RETURNS = "finite numbers, one or more"

REQUIRED = {
    **dict.fromkeys(("suite", "agent", "family", "scenario", "cell", "version"), _TEXT),
    **dict.fromkeys(("seed", "env_steps"), _COUNT),
    "wall_s": _NUMBER,
    "status": _STATUS,
    "is_final": _FLAG,
}
"""Keys that every row has, and what their values are. `status` is "ok" or "failed" (then `error` says why); `is_final`
marks the last row of an agent x scenario x seed; `wall_s` is the time spent learning until then, without the
evaluations."""

_OF_OK, _OF_LAST = {"return_mean": _NUMBER, "return_sem": _NUMBER}, {"returns": _RETURNS, "settings": _OBJECT}
"""Keys that every row has besides whose status is "ok", and those of the last of them."""

_OF_SOME = {
    **dict.fromkeys(("date", "error", "code", "world_code"), _TEXT),
    **dict.fromkeys(("metrics", "ramps", "versions"), _OBJECT),
    **dict.fromkeys(("session_length_mean", "churn"), _NUMBER),
    **dict.fromkeys(("steps_per_s", "peak_memory_mib", "cell_s"), _MAYBE),
}
"""Keys that are checked where they are."""

_PACKAGES = ("recsim-env", "gymnasium", "stable-baselines3", "sb3-contrib", "torch", "numpy", "numba")


class ResultsError(ValueError):
    """Something that is asked of the benchmark and cannot be done; the message says what and why in one line."""


def provenance(arguments: list[str], module: str = "benchmarks") -> Row:
    """Where rows come from: command (of `python -m module`), commit, versions, machine, date."""
    return {
        "command": " ".join(["python", "-m", module, *arguments]),
        "commit": _commit(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "machine": f"{platform.machine()}, {_processor()}, {os.cpu_count()} cores",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _commit() -> str:
    """The commit of the checkout, "-dirty" if a file that is no result differs from it; "unknown" without Git."""
    here = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True)

    try:
        commit = git("describe", "--always", "--abbrev=12").stdout.strip()
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results").stdout.strip()
    except OSError:
        return "unknown"
    return f"{commit}-dirty" if commit and changed else commit or "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"


def as_lines(rows: Iterable[Row]) -> bytes:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()


def from_lines(lines: bytes) -> list[Row]:
    """The rows that `as_lines` was given, as a results file gives them back."""
    return [json.loads(line) for line in lines.splitlines()]


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a results file, whole or not at all."""
    write_atomically(path, as_lines(rows))


def append_rows(path: Path, rows: Iterable[Row]) -> None:
    """Add rows to the end of a results file in one piece, and see that they are on the disk.

    A machine that stops in the middle leaves a last line without its end, which `read_rows` skips.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        content = as_lines(rows)
        while content:
            content = content[os.write(handle, content) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def read_rows(path: Path, tell: Callable[[str], None] | None = None) -> list[Row]:
    """Rows of a results file. A last line that is broken is skipped, and `tell` is told so in one line.

    Raises:
        ResultsError: the file is missing, empty or not made of rows; one line that says which.
    """
    if not path.is_file():
        raise ResultsError(f"{path}: no such file; `python -m benchmarks run --out {path.parent}` makes it")
    lines = path.read_text(encoding="utf-8", errors="replace").rstrip("\n").split("\n")
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line, parse_constant=_refuse)
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ResultsError(f"{path}:{number}: not JSON ({error.msg})") from None
            if line and tell:
                tell(f"{path}:{number}: the last line is cut off; it is skipped")
            break
        except (ValueError, RecursionError) as error:  # a number that is none or too long, lists in lists without end
            raise ResultsError(f"{path}:{number}: not a result row, {error}") from None
        if fault := _fault(row):
            raise ResultsError(f"{path}:{number}: not a result row, {fault}")
        rows.append(row)
    if not rows:
        raise ResultsError(f"{path}: holds no rows")
    return rows


def _refuse(constant: str) -> None:
    """NaN and the infinities are no JSON, although Python reads them."""
    raise ValueError(f"{constant} is not a number")


def _fault(row: Any) -> str:
    """What keeps something read from being a row; empty if nothing does."""
    if not isinstance(row, dict):
        return f"lacks {', '.join(REQUIRED)}"
    is_ok, is_last = row.get("status") == "ok", bool(row.get("is_final"))
    wanted = {**REQUIRED, **(_OF_OK if is_ok else {}), **(_OF_LAST if is_ok and is_last else {})}
    if missing := [key for key in wanted if key not in row]:
        return f"lacks {', '.join(missing)}"
    for key, kind in {**wanted, **_OF_SOME}.items():
        if key in row and not _IS[kind](row[key]):
            return f"{key}={textwrap.shorten(json.dumps(row[key]), 60)}: must be {kind}"
    return ""


def _is_number(value: Any) -> bool:
    """Whether it is a finite number; true and false are none, nor is what no float holds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


_IS: dict[str, Callable[[Any], bool]] = {
    _TEXT: lambda value: isinstance(value, str),
    _STATUS: lambda value: value in ("ok", "failed"),
    _FLAG: lambda value: isinstance(value, bool),
    _COUNT: lambda value: _is_number(value) and isinstance(value, int) and value >= 0,
    _NUMBER: _is_number,
    _MAYBE: lambda value: value is None or _is_number(value),
    _RETURNS: lambda value: isinstance(value, list) and len(value) > 0 and all(map(_is_number, value)),
    _OBJECT: lambda value: isinstance(value, dict),
}
"""What each kind of value asks for."""


def of_newest_version(rows: list[Row], tell: Callable[[str], None] | None = None) -> list[Row]:
    """The rows of the version that the newest row has; `tell` is told of the others, which are left out."""
    newest = max(rows, key=lambda row: row.get("date", ""))["version"]
    kept = [row for row in rows if row["version"] == newest]
    if len(kept) < len(rows) and tell:
        others = ", ".join(sorted({row["version"] for row in rows} - {newest}))
        tell(f"{len(rows) - len(kept)} rows of another version ({others}) are kept apart: shown is {newest}")
    return kept
