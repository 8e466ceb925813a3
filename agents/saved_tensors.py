"""What an agent has learnt, as a file that holds tensors and words and can run nothing when it is read.

A safetensors file; its metadata hold the name of the agent that wrote it and its settings as JSON.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from recsim_env.atomic_file import write_atomically


def save_tensors(path: Path, agent: str, tensors: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> None:
    """Write arrays and settings (what JSON can hold), whole or not at all."""
    metadata = {"agent": agent, "settings": json.dumps(dict(settings))}
    contiguous = {name: np.require(tensor, requirements="C") for name, tensor in tensors.items()}
    write_atomically(Path(path), safetensors.numpy.save(contiguous, metadata))


def load_tensors(path: Path, agent: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and settings that `save_tensors` wrote for this agent.

    Raises:
        ValueError: the file is missing, damaged, or another agent's; one line that says which.
    """
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path}: not a file of saved tensors ({error})") from None
    if metadata.get("agent") != agent:
        raise ValueError(f"{path}: was written by {metadata.get('agent')!r}, must be {agent!r}")
    return tensors, json.loads(metadata["settings"])


def saved_by(path: Path) -> str:
    """Which agent wrote a file of saved tensors; `ValueError` if it is missing or damaged."""
    return _metadata(path).get("agent", "")


def saved_settings(path: Path) -> dict[str, Any]:
    """The keyword arguments of the agent that wrote a file; `ValueError` if it is missing or damaged."""
    return json.loads(_metadata(path).get("settings", "{}")).get("settings", {})


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            return file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path}: not a file of saved tensors ({error})") from None
