"""Checkpoints: folders of tensors and words that can run nothing when they are read, each whole or not there at all.

A checkpoint has `model.safetensors`, `optimizer.safetensors`, `state.json` (sizes, schema, config, counters, versions)
and `manifest.json` (the sha256 of the others). It is written under another name, flushed, and then renamed.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch

from recsim_env.atomic_file import write_atomically

FORMAT = 1
"""Number of this layout; other ones are refused."""

T = TypeVar("T")

_MODEL, _OPTIMIZER, _STATE, _MANIFEST = "model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"
_NAME = re.compile(r"steps-(\d{12})")
_NUM_KEPT = 2


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says which, and why, in one line."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a training goes on from, and what a model is made of."""

    model: dict[str, torch.Tensor]
    state: dict[str, Any]
    """`sizes`, `schema`, `config`, `num_steps`, `iteration`, ..."""
    optimizer: dict[str, torch.Tensor] | None = None


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint into `folder`, named for its steps, and remove all before it but the last.

    Those of more steps were refused when this training was begun again, or it would have gone on from them: they are
    put aside under another name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"steps-{checkpoint.state['num_steps']:012d}"
    unfinished = folder / f".{name}.{secrets.token_hex(4)}.tmp"
    unfinished.mkdir()
    try:
        contents = {
            _MODEL: safetensors.torch.save(_contiguous(checkpoint.model)),
            _OPTIMIZER: safetensors.torch.save(_contiguous(checkpoint.optimizer or {})),
            _STATE: json.dumps({"format": FORMAT, **checkpoint.state}, indent=1).encode(),
        }
        sums = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
        for file, content in {**contents, _MANIFEST: json.dumps(sums, indent=1).encode()}.items():
            write_atomically(unfinished / file, content)
        if (folder / name).exists():  # the same steps again, after a restart
            shutil.rmtree(folder / name)
        os.replace(unfinished, folder / name)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    every = checkpoints_in(folder)
    number = every.index(folder / name) + 1
    for refused in every[number:]:
        aside = refused.with_name(f"refused-{refused.name}")
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(refused, aside)
    for old in every[: max(number - _NUM_KEPT, 0)]:
        shutil.rmtree(old, ignore_errors=True)
    for unfinished in folder.glob(".steps-*.tmp"):  # of runs that were killed
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder / name


def checkpoints_in(folder: Path) -> list[Path]:
    """Finished checkpoints in a folder, the oldest first."""
    return sorted(path for path in folder.glob("steps-*") if _NAME.fullmatch(path.name) and path.is_dir())


def load_checkpoint(path: Path, has_optimizer: bool = False) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        CheckpointError: it is missing, damaged, or of another format.
    """
    wanted = (_STATE, _MODEL, _OPTIMIZER) if has_optimizer else (_STATE, _MODEL)
    try:
        sums = json.loads((path / _MANIFEST).read_bytes())
        contents = {file: (path / file).read_bytes() for file in wanted}
    except OSError as error:
        raise CheckpointError(f"{path}: not a checkpoint ({error.strerror}: {Path(error.filename).name})") from None
    except ValueError:
        raise CheckpointError(f"{path}: damaged ({_MANIFEST} is not JSON)") from None
    for file, content in contents.items():
        if not isinstance(sums, dict) or sums.get(file) != hashlib.sha256(content).hexdigest():
            raise CheckpointError(f"{path}: damaged (the checksum of {file} is wrong)")
    try:
        state = json.loads(contents[_STATE])
        found = state.get("format") if isinstance(state, dict) else None
        if found != FORMAT:
            raise CheckpointError(f"{path}: of format {found!r}, must be {FORMAT}")
        return Checkpoint(
            model=safetensors.torch.load(contents[_MODEL]),
            state=state,
            optimizer=safetensors.torch.load(contents[_OPTIMIZER]) if has_optimizer else None,
        )
    except (ValueError, safetensors.SafetensorError) as error:
        raise error if isinstance(error, CheckpointError) else CheckpointError(f"{path}: damaged ({error})") from None


def load_latest(
    folder: Path, tell: Callable[[str], None], use: Callable[[Checkpoint], T], has_optimizer: bool = False
) -> T | None:
    """What `use` makes of the last checkpoint that can be used; None if there is none at all.

    `tell` is told of each that is refused, with the reason: it cannot be read, or `use` raises an error.

    Raises:
        CheckpointError: there are checkpoints, and none of them can be used; says why the last one cannot.
    """
    refused: list[str] = []
    for path in reversed(checkpoints_in(folder)):
        try:
            found = load_checkpoint(path, has_optimizer)
            try:
                used = use(found)
            except KeyError as error:
                raise CheckpointError(f"{path}: not of this program ({error} is missing)") from None
            except (ValueError, TypeError, RuntimeError) as error:  # sizes, names, shapes of something foreign
                raise CheckpointError(f"{path}: {' '.join(str(error).split())}") from None
        except CheckpointError as error:
            refused.append(str(error))
            continue
        for reason in refused:
            tell(f"{reason}: going back to the one before")
        return used
    if refused:
        others = f" (nor can the {len(refused) - 1} before it)" if len(refused) > 1 else ""
        raise CheckpointError(f"{refused[0]}{others}")
    return None


def _contiguous(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
