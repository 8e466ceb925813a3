"""Where committed rows come from: how many are of one commit, of a checkout with changes, or of another version."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_SHORTEST = 7
"""Digits of the shortest abbreviation of a commit."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Numbers of rows of one file."""

    num_rows: int
    num_of_commit: int
    """Of the expected commit, from a checkout without changes."""
    num_dirty: int
    num_without: int
    """That state no commit."""
    num_stale: int
    """Of another version of the envs; rows of some experiments state none, or that of a model."""

    @property
    def is_whole(self) -> bool:
        """Whether all rows are of the expected commit and of the present version."""
        return self.num_of_commit == self.num_rows and self.num_stale == 0


def provenance_of(rows: Iterable[Mapping[str, Any]], commit: str, tag: str | None, version: str) -> Provenance:
    """Counts of rows, of any schema, whose fields `commit` and `version` say where they come from.

    Args:
        rows: with these fields.
        commit: the expected one, all 40 digits; rows have abbreviations.
        tag: its tag, which `git describe` writes in its place.
        version: of the envs.
    """
    rows = list(rows)
    commits = [str(row.get("commit") or "unknown") for row in rows]
    return Provenance(
        num_rows=len(rows),
        num_of_commit=sum(_is_of(each, commit, tag) for each in commits),
        num_dirty=sum(each.endswith("-dirty") for each in commits),
        num_without=sum(each == "unknown" for each in commits),
        num_stale=sum(_is_version(row.get("version")) and row["version"] != version for row in rows),
    )


def _is_version(stated: Any) -> bool:
    return isinstance(stated, str) and re.fullmatch(r"\d+\.\d+\.\d+", stated) is not None


def _is_of(stated: str, commit: str, tag: str | None) -> bool:
    return stated == tag or (len(stated) >= _SHORTEST and commit.startswith(stated))
