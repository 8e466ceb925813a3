"""Files of trained agents: tensors and text, no pickle.

A safetensors file; its metadata hold the class of the agent that wrote it, its settings as JSON, and a checksum.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from recsim_env.atomic_file import write_atomically


def save_tensors(path: Path, agent: str, tensors: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> None:
    """Write arrays, and settings that JSON can hold, whole or not at all."""
    contiguous = {name: np.require(tensor, requirements="C") for name, tensor in tensors.items()}
    text = json.dumps(dict(settings))
    metadata = {"agent": agent, "settings": text, "sha256": _checksum(contiguous, text)}
    write_atomically(Path(path), _with_ordered_metadata(safetensors.numpy.save(contiguous, metadata)))


def is_zip(path: Path) -> bool:
    """Whether a file begins as zip files do, such as those of Stable-Baselines3, which can execute code.

    `zipfile.is_zipfile` also accepts files that only contain a zip file, which tensors can be made to do.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def load_tensors(path: Path, agent: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and settings that `save_tensors` wrote for this agent.

    Raises:
        ValueError: the file is missing, damaged, of another agent, or has no checksum or weights that are not finite;
            one line that says which.
    """
    with _opened(path) as (file, metadata):
        if metadata.get("agent") != agent:
            raise ValueError(f"{path}: was written by {metadata.get('agent')!r}, must be {agent!r}")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        settings = json.loads(metadata["settings"])
        checksum = _checksum(tensors, metadata["settings"])
    if "sha256" not in metadata:
        raise ValueError(f"{path}: not a file of saved tensors (it has no checksum)")
    if metadata["sha256"] != checksum:
        raise ValueError(f"{path}: damaged (its checksum is wrong)")
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: not a file of saved tensors (its settings are not a JSON object)")
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise ValueError(f"{path}: cannot be used: {name} has values that are not finite")
    return tensors, settings


def saved_by(path: Path) -> str:
    """The agent that wrote a file; `ValueError` if it is missing or damaged."""
    with _opened(path) as (_, metadata):
        return metadata.get("agent", "")


def _with_ordered_metadata(content: bytes) -> bytes:
    """The file with its metadata in alphabetical order. (The library's order differs from call to call.)

    The format: the length of the header in 8 bytes; the header as JSON, padded with spaces to a multiple of 8; data.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def _checksum(tensors: Mapping[str, np.ndarray], settings: str) -> str:
    digest = hashlib.sha256(settings.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """The file and its metadata."""
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            yield file, file.metadata() or {}
    except (OSError, safetensors.SafetensorError, KeyError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not a file of saved tensors ({error})") from None
