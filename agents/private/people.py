"""The people of a log: all steps of a person together, however many sessions they are from.

Shape legend: L logged steps, P people.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from agents.offline.logged_steps import LoggedSteps


@dataclass(frozen=True, kw_only=True)
class People:
    """The people of a log, in the order of their ids."""

    ids: np.ndarray
    """[P] int64: users of the log, ascending."""
    rows: list[np.ndarray]
    """P arrays of int64: the steps of each person in the log, ascending."""

    @classmethod
    def of(cls, log: LoggedSteps) -> "People":
        """All people of a log."""
        ids, num_rows = np.unique(log.users, return_counts=True)
        rows = np.split(np.argsort(log.users, kind="stable"), np.cumsum(num_rows)[:-1]) if len(ids) else []
        return cls(ids=ids.astype(np.int64), rows=rows)

    def __len__(self) -> int:
        """P."""
        return len(self.ids)


def person_hash(person: int, seed: int, purpose: str) -> int:
    """A uniform 64-bit number for a person, which depends on the seed and the purpose, and on nothing else."""
    text = f"{purpose} {person}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, key=seed.to_bytes(8, "little")).digest(), "little")
