"""The software of this process: equal software gives equal rows."""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from agents.provenance import versions

PACKAGES = ("recsim_env", "agents", "benchmarks")
"""The packages of the project."""


@cache
def software() -> dict[str, str]:
    """Versions of Python and of packages, and a hash of the source of each of `PACKAGES`."""
    return {**versions(), **{f"source of {name}": _source_digest(folder_of(name)) for name in PACKAGES}}


def folder_of(package: str) -> Path:
    """The folder from which a package is imported."""
    return Path(import_module(package).__path__[0])


def first_difference(own: Mapping[str, str], other: Mapping[str, str]) -> str | None:
    """The first difference between two results of `software()`, as "NAME OTHER instead of OWN"; None if equal."""
    for name, value in own.items():
        if (found := other.get(name, "none")) != value:
            return f"{name} {found} instead of {value}"
    return None


def _source_digest(folder: Path) -> str:
    """Hash of the Python files in a package."""
    digest = hashlib.blake2b(digest_size=6)
    for file in sorted(folder.rglob("*.py")):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(folder).as_posix()} {len(content)} ".encode() + content)
    return digest.hexdigest()
