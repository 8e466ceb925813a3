"""Resume points: the state of sessions and policy at the start of a shard, from which a killed writer continues."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsim_env.atomic_file import printable, write_atomically

_FILE = "resume.npz"
_SHARD, _POLICY, _SIMULATOR = "shard", "policy", "simulator."


@dataclass(frozen=True, kw_only=True, eq=False)
class ResumePoint:
    """A state of the simulator and the logging policy."""

    shard: int
    """Number of the shard that starts here, from 0."""
    simulator: dict[str, np.ndarray]
    """See `Simulator.state`."""
    policy: dict[str, Any]
    """See `LoggingPolicy.state`."""


def write_resume_point(folder: Path, point: ResumePoint) -> None:
    """Replace the resume point in the folder; the file contains no pickle."""
    content = io.BytesIO()
    arrays: dict[str, Any] = {f"{_SIMULATOR}{name}": array for name, array in point.simulator.items()}
    arrays |= {_SHARD: np.array(point.shard), _POLICY: np.array(json.dumps(point.policy))}
    np.savez(content, **arrays)
    write_atomically(folder / _FILE, content.getvalue())


def read_resume_point(folder: Path) -> ResumePoint | None:
    """The resume point in the folder, or None; `ValueError` if it is damaged."""
    file = folder / _FILE
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as arrays:
            simulator = {name: arrays[name] for name in arrays.files if name.startswith(_SIMULATOR)}
            return ResumePoint(
                shard=int(arrays[_SHARD]),
                simulator={name.removeprefix(_SIMULATOR): array for name, array in simulator.items()},
                policy=json.loads(str(arrays[_POLICY])),
            )
    except Exception:  # damaged bytes can raise anything
        raise ValueError(f"{printable(file)}: damaged; delete it to start over") from None


def delete_resume_point(folder: Path) -> None:
    """Delete the resume point of a complete log."""
    (folder / _FILE).unlink(missing_ok=True)
