"""Numbers of rows by origin: from one commit, from a checkout with uncommitted changes, or from another version."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_SHORTEST = 7
"""Length of the shortest abbreviation of a commit."""


@dataclass(frozen=True, kw_only=True)
class CommitCounts:
    """Numbers of rows in one file."""

    num_rows: int
    num_of_commit: int
    """Rows from the expected commit without uncommitted changes."""
    num_dirty: int
    """Rows from a checkout with uncommitted changes."""
    num_without_commit: int
    """Rows that state no commit."""
    num_stale: int
    """Rows from another version of the envs; rows of some experiments state none, or the version of a model."""

    @property
    def is_complete(self) -> bool:
        """Whether all rows are from the expected commit and the current version."""
        return self.num_of_commit == self.num_rows and self.num_stale == 0


def commit_counts(rows: Iterable[Mapping[str, Any]], commit: str, version: str) -> CommitCounts:
    """Count rows of any schema by their fields `commit` and `version`.

    Args:
        rows: the rows.
        commit: the expected commit, as a full hash of 40 digits; rows have abbreviations.
        version: the expected version of the envs.
    """
    rows = list(rows)
    commits = [str(row.get("commit") or "unknown") for row in rows]
    return CommitCounts(
        num_rows=len(rows),
        num_of_commit=sum(_is_of(each, commit) for each in commits),
        num_dirty=sum(each.endswith("-dirty") for each in commits),
        num_without_commit=sum(each == "unknown" for each in commits),
        num_stale=sum(_is_version(row.get("version")) and row["version"] != version for row in rows),
    )


def _is_version(stated: Any) -> bool:
    return isinstance(stated, str) and re.fullmatch(r"\d+\.\d+\.\d+", stated) is not None


def _is_of(stated: str, commit: str) -> bool:
    return len(stated) >= _SHORTEST and commit.startswith(stated)
