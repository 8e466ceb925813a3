"""Provenance of results: command, commit, versions, machine and date."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FIELDS = ("command", "commit", "versions", "machine", "date")
"""The entries of `provenance`."""

_PACKAGES = ("gymnasium", "stable-baselines3", "sb3-contrib", "torch", "numpy", "numba")


def provenance(arguments: Sequence[str] | None = None, module: str | None = None) -> dict[str, Any]:
    """`command`, `commit`, `versions`, `machine` and `date`.

    Args:
        arguments: of the command; None for those of this process.
        module: the module of `python -m module`; None for the script of this process.
    """
    program = [sys.argv[0]] if module is None else ["-m", module]
    return {
        "command": shlex.join(["python", *program, *(sys.argv[1:] if arguments is None else arguments)]),
        "commit": _commit(),
        "versions": versions(),
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on; "none" for a package that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def machine() -> str:
    """Architecture, processor and number of cores."""
    return f"{platform.machine()}, {_processor()}, {os.cpu_count()} cores"


def _commit() -> str:
    """The commit of the checkout, with "-dirty" if tracked files other than results differ; "unknown" without Git."""
    here = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True)

    try:
        commit = git("rev-parse", "--verify", "--short=12", "HEAD").stdout.strip()
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
