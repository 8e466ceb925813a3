"""A version of the model as a server uses it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class ServedModel:
    """An `ExportedModel`, or an object like it, with its tables of the server's catalogue."""

    model: Any
    tables: Any

    @classmethod
    def of(cls, model: Any, simulator: Any) -> "ServedModel":
        """With tables of the simulator's catalogue, whose items are encoded here.

        Raises:
            ValueError: the model cannot read the catalogue.
        """
        return cls(model, model.catalog(simulator))

    @property
    def version(self) -> str:
        """A short digest of its weights."""
        return self.model.version

    @property
    def max_tokens(self) -> int:
        """Longest session: 1 token for the profile, and one for each item shown."""
        return self.model.max_tokens
