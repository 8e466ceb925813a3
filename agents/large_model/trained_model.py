"""From a folder that `train` wrote, or a file in which an agent was kept, to a model that plays."""

from collections.abc import Callable
from pathlib import Path

import torch

from agents.large_model.checkpoint import Checkpoint, CheckpointError, load_checkpoint, load_latest
from agents.large_model.distributed import device_named
from agents.large_model.factory import remade
from agents.large_model.model import LargeModel
from agents.large_model.training_run import CHECKPOINTS
from agents.saved_tensors import load_tensors

KEPT_BY = "LargeModelAgent"
"""The agent that files hold."""


def load_trained(path: Path, tell: Callable[[str], None], language_model: str = "") -> LargeModel:
    """The model of the checkpoint at `path`, or of the last usable one of the training that wrote into `path`;
    `language_model` as for `remade`.

    Raises:
        CheckpointError: there is none, or none that can be used.
    """

    def made(checkpoint: Checkpoint) -> LargeModel:
        return remade(checkpoint.state, checkpoint.model, language_model)

    for folder in (path, path / CHECKPOINTS):
        model = load_latest(folder, tell, made)
        if model is not None:
            return model
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such folder; must be one that `train --out` wrote, or a checkpoint in it")
    return made(load_checkpoint(path))


def load_kept(path: Path, language_model: str = "") -> LargeModel:
    """The model of a `LargeModelAgent` that was saved in a file; `ValueError` if none was."""
    weights, settings = load_tensors(path, KEPT_BY)
    return remade(settings, {name: torch.as_tensor(weight) for name, weight in weights.items()}, language_model)


def load_model(path: Path, device: str, tell: Callable[[str], None], language_model: str = "") -> LargeModel:
    """The model of `load_trained`, or of `load_kept` if `path` is a file, on a device."""
    where = device_named(device)
    model = load_kept(path, language_model) if path.is_file() else load_trained(path, tell, language_model)
    return model.to(where).eval()
