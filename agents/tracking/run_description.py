"""The description of a run: identity, settings and provenance."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from recsim_env.atomic_file import write_atomically

RUN = "run.json"
"""The file's name in the folder of a run."""


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """The facts that trackers record once per run."""

    id: str
    """Unique to the run, and unchanged when it is resumed."""
    name: str
    """The displayed name; may contain slashes."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Settings by name; values may be nested mappings."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """See `agents.provenance`: command, commit, versions, machine, date."""
    subfolder: str = ""
    """Subfolder of this run in a folder of several runs; empty if the run has the folder to itself."""

    def flat(self) -> dict[str, str]:
        """Config and provenance as text by name; names of nested settings are joined by dots."""
        return {**_flat({"config": self.config}), **_flat({"provenance": self.provenance})}


def described_in(folder: Path, name: str, config: Mapping[str, Any], provenance: Mapping[str, Any]) -> RunDescription:
    """The description in the folder's `run.json`, which is written when the run first starts.

    When a run is resumed, id, name and provenance remain those of the first start. The config is updated, as a training
    run may be resumed with more steps.

    Raises:
        ValueError: the file is damaged.
        OSError: it cannot be written.
    """
    path, config = folder / RUN, json.loads(json.dumps(config, default=str))
    run = RunDescription(id=uuid.uuid4().hex[:16], name=name, config=config, provenance=dict(provenance))
    if path.exists():
        try:
            run = replace(RunDescription(**json.loads(path.read_bytes())), config=config)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: is damaged; delete it to give the run a new identity ({error})") from None
    write_atomically(path, json.dumps(asdict(run), indent=1).encode() + b"\n")
    return run


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return found
