"""Result rows: what one holds, how they are written and read back."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from recsim_env.atomic_file import write_atomically

Row = dict[str, Any]

REQUIRED = ("suite", "agent", "scenario", "seed", "env_steps", "return_mean", "score", "wall_s")
"""Keys that every row has. `wall_s` is the time spent learning until then, without the evaluations."""

_PACKAGES = ("recsim-env", "gymnasium", "stable-baselines3", "torch", "numpy", "numba")


class ResultsError(ValueError):
    """A results file that cannot be used; the message says where and why."""


def provenance(arguments: list[str]) -> Row:
    """Where rows come from: command, commit, versions, machine, date."""
    return {
        "command": " ".join(["python", "-m", "benchmarks", *arguments]),
        "commit": _commit(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "machine": f"{platform.machine()}, {_processor()}, {os.cpu_count()} cores",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _commit() -> str:
    here = Path(__file__).resolve().parent.parent
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=here, capture_output=True, text=True
        )
    except OSError:
        return "unknown"
    return commit.stdout.strip() or "unknown"


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


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON lines."""
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def read_rows(path: Path) -> list[Row]:
    """Rows of a results file; `ResultsError` in one line if it is missing, empty or not made of rows."""
    if not path.is_file():
        raise ResultsError(f"{path}: no such file; `python -m benchmarks run --out {path.parent}` makes it")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ResultsError(f"{path}:{number}: not JSON ({error.msg})") from None
        missing = [key for key in REQUIRED if not isinstance(row, dict) or key not in row]
        if missing:
            raise ResultsError(f"{path}:{number}: not a result row, lacks {', '.join(missing)}")
        rows.append(row)
    if not rows:
        raise ResultsError(f"{path}: holds no rows")
    return rows
