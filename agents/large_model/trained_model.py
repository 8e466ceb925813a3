"""From a folder that `train` wrote to a model that plays."""

from collections.abc import Callable
from pathlib import Path

import torch

from agents.large_model.checkpoint import Checkpoint, CheckpointError, checkpoints_in, load_checkpoint, load_latest
from agents.large_model.making import remade
from agents.large_model.model import LargeModel
from agents.large_model.training_run import CHECKPOINTS


def model_of(checkpoint: Checkpoint, language_model: str = "") -> LargeModel:
    """The model that a checkpoint holds; `language_model` as for `remade`."""
    return remade(checkpoint.state, checkpoint.model, language_model)


def load_trained(path: Path, tell: Callable[[str], None]) -> Checkpoint:
    """The checkpoint at `path`, or the last usable one of the training that wrote into `path`.

    Raises:
        CheckpointError: there is none, or none that can be used.
    """
    for folder in (path, path / CHECKPOINTS):
        if checkpoints_in(folder):
            found = load_latest(folder, tell)
            assert found is not None
            return found
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such folder; must be one that `train --out` wrote, or a checkpoint in it")
    return load_checkpoint(path)


def load_model(path: Path, device: str, tell: Callable[[str], None], language_model: str = "") -> LargeModel:
    """The model of `load_trained` on a device."""
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={device!r}: PyTorch sees no GPU here")
    return model_of(load_trained(path, tell), language_model).to(device).eval()
