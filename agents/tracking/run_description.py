"""What a run is: its identity, its settings, and where its results come from."""

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
    """What trackers record once for each run."""

    id: str
    """The same whenever the run goes on, and different from those of all other runs."""
    name: str
    """For people; may have slashes."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Settings by name; may be nested."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """See `agents.provenance`: command, commit, versions, machine, date."""
    subfolder: str = ""
    """Of this run in a folder of several runs; empty in a folder of its own."""

    def flat(self) -> dict[str, str]:
        """Config and provenance as text by name; names of nested settings are joined by dots."""
        return {**_flat({"config": self.config}), **_flat({"provenance": self.provenance})}


def described_in(folder: Path, name: str, config: Mapping[str, Any], provenance: Mapping[str, Any]) -> RunDescription:
    """The description in the folder's `run.json`, written when the run first starts.

    When it goes on, id, name and provenance remain those of the first start; the config is the present one, as a
    training may go on with more steps.

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
