"""Checkpoints of a training, and networks made from them.

A checkpoint is a file as `LargeModel.save` writes it, with the optimizer's moments and the training's counters besides.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from agents.large_model.config import INPUT_VERSION, LanguageConfig, ModelConfig, located
from agents.large_model.model import LargeModelNetwork
from agents.networks.device import device_named
from agents.networks.schema import Schema
from agents.saved_tensors import load_tensors, save_tensors

FOLDER = "checkpoints"
"""Where a training's folder holds its checkpoints."""

MOMENTS = "optimizer/"
"""The start of the names of the optimizer's moments in a checkpoint."""

SAVED_BY = "agents.large_model.agent:LargeModel"

T = TypeVar("T")

_NAME = re.compile(r"steps-\d{12}\.safetensors")
_NUM_KEPT = 2


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a training."""

    model: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    """Moments, named `WEIGHT.PART`; empty in the file of an agent."""
    state: dict[str, Any]
    """`network` (`LargeModelNetwork.settings`), `iteration`; and of a training `num_steps`, `config`, ..."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint named for its steps into `folder`, and remove older ones, except for the last.

    Checkpoints of more steps, which were refused when this training started, are renamed `refused-...`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    num_steps = checkpoint.state["num_steps"]
    path = folder / f"steps-{num_steps:012d}.safetensors"
    tensors = checkpoint.model | {f"{MOMENTS}{name}": tensor for name, tensor in checkpoint.optimizer.items()}
    _save(path, tensors, checkpoint.state, num_steps)
    paths = checkpoints_in(folder)
    number = paths.index(path) + 1
    for refused in paths[number:]:
        refused.replace(refused.with_name(f"refused-{refused.name}"))
    for old in paths[:number][:-_NUM_KEPT]:
        old.unlink()
    return path


def save_network(path: Path, network: LargeModelNetwork) -> None:
    """Write a network alone, for `load_network`."""
    _save(path, network.trained_weights(), {"network": network.settings()}, 0)


def _save(path: Path, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any], num_steps: int) -> None:
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    agent = {"settings": {}, "layout": None, "slate_size": 1, "num_timesteps": num_steps, "learned": state}
    save_tensors(path, SAVED_BY, arrays, agent)


def checkpoints_in(folder: Path) -> list[Path]:
    """Checkpoints in a folder, the oldest first."""
    return sorted(path for path in folder.glob("steps-*") if _NAME.fullmatch(path.name) and path.is_file())


def load_checkpoint(path: Path, use: Callable[[Checkpoint], T]) -> T:
    """The result of `use` for the checkpoint, or the file of an agent, at `path`.

    Raises:
        ValueError: it is missing, damaged, or not of this version, or `use` raises an error; one line.
    """
    arrays, agent = load_tensors(path, SAVED_BY)
    tensors = {name: torch.as_tensor(array) for name, array in arrays.items()}
    model = {name: tensor for name, tensor in tensors.items() if not name.startswith(MOMENTS)}
    moments = {name.removeprefix(MOMENTS): tensor for name, tensor in tensors.items() if name not in model}
    try:
        return use(Checkpoint(model=model, optimizer=moments, state=agent["learned"]))
    except KeyError as error:
        raise ValueError(f"{path}: not of this version ({error} is missing)") from None
    except (ValueError, TypeError, RuntimeError) as error:  # wrong sizes, names or shapes
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None


def load_latest(folder: Path, warn: Callable[[str], None], use: Callable[[Checkpoint], T]) -> T | None:
    """The result of `use` for the latest checkpoint that can be used; None if there are no checkpoints.

    `warn` is called for each checkpoint that is refused: it cannot be read, or `use` raises an error.

    Raises:
        ValueError: there are checkpoints, but none can be used; the message has the reason for the latest.
    """
    refused: list[str] = []
    for path in reversed(checkpoints_in(folder)):
        try:
            result = load_checkpoint(path, use)
        except ValueError as error:
            refused.append(str(error))
            continue
        for reason in refused:
            warn(f"{reason}: using the checkpoint before it")
        return result
    if refused:
        others = f" (and {len(refused) - 1} older ones cannot be used either)" if len(refused) > 1 else ""
        raise ValueError(f"{refused[0]}{others}")
    return None


def load_network(
    path: Path | str, device: str = "cpu", warn: Callable[[str], None] = warnings.warn, language_model: str = ""
) -> LargeModelNetwork:
    """The network of a training's folder (its latest usable checkpoint), of one checkpoint, or of a saved agent;
    `"pretrained"` is the generalist that comes with the package.

    `warn` is called for each later checkpoint that cannot be used.

    Raises:
        ValueError: there is none, or it cannot be used; one line.
    """
    where, path = device_named(device), located(path)

    def network_of(checkpoint: Checkpoint) -> LargeModelNetwork:
        return rebuild(checkpoint.state["network"], checkpoint.model, language_model)

    network: LargeModelNetwork | None
    if path.is_file():
        network = load_checkpoint(path, network_of)
    else:
        network = load_latest(path / FOLDER if (path / FOLDER).is_dir() else path, warn, network_of)
    if network is None:
        raise ValueError(f"{path}: has no large model; must be written by `train --out` or by `save`")
    return network.to(where).eval()


def make_network(config: ModelConfig, schema: Schema, language: LanguageConfig | None = None) -> LargeModelNetwork:
    """An untrained network, with a Transformer or a language model as the backbone.

    Raises:
        ValueError: there is no such language model, or a package is missing.
    """
    if language is None:
        return LargeModelNetwork(config, schema)
    try:
        from agents.large_model.language import LanguageBackbone
    except ModuleNotFoundError as error:
        raise ValueError(
            f"language_model={language.name!r}: needs the package {error.name}: pip install 'recsim-env[llm]'"
        ) from None
    return LargeModelNetwork(config, schema, LanguageBackbone(language))


def rebuild(
    settings: Mapping[str, Any], weights: Mapping[str, torch.Tensor], language_model: str = ""
) -> LargeModelNetwork:
    """The network with these settings (`LargeModelNetwork.settings`) and weights (`trained_weights`).

    `language_model` is where its language model is now, if it has been moved.

    Raises:
        ValueError: the language model is missing or differs; or settings or weights do not belong to a network of this
            version; or a language model is given for a network without one.
    """
    check_inputs(settings)
    if language_model and not settings.get("language_model"):
        raise ValueError(f"language_model={language_model!r}: must not be given, as the network has none")
    language = None
    try:
        if settings.get("language_model"):
            values = settings["language_model"]
            language = LanguageConfig(**{**values, "lora_targets": tuple(values["lora_targets"])})
            language = replace(language, name=language_model or language.name)
        config, schema = ModelConfig(**settings["model"]), Schema.from_settings(settings["schema"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the settings are not those of a network of this version: {error}") from None
    network = make_network(config, schema, language)
    check_weights(network, weights)
    network.load_state_dict(dict(weights), strict=False)
    return network


def digest_of(network: LargeModelNetwork) -> str:
    """Hexadecimal sha256 of a network's settings and weights."""
    digest = hashlib.sha256(json.dumps(network.settings(), sort_keys=True).encode())
    for name, weight in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def check_inputs(settings: Mapping[str, Any]) -> None:
    """`ValueError` unless weights with these settings were trained with the present inputs."""
    version = settings.get("input_version", 1)
    if version != INPUT_VERSION:
        raise ValueError(f"the weights were trained with inputs of version {version}, must be {INPUT_VERSION}: retrain")


def check_weights(network: LargeModelNetwork, weights: Mapping[str, torch.Tensor]) -> None:
    """`ValueError` unless there are finite weights for all trained parameters, in their shapes, and no others."""
    expected = network.trained_weights()
    for name in sorted({*weights, *expected}):
        problem = ""
        if name not in weights:
            problem = "is missing"
        elif name not in expected:
            problem = "is unknown"
        elif weights[name].shape != expected[name].shape:
            problem = f"has shape {list(weights[name].shape)}, must have {list(expected[name].shape)}"
        elif not weights[name].isfinite().all():
            raise ValueError(f"the weights cannot be used: {name} has values that are not finite")
        if problem:
            raise ValueError(f"the weights do not belong to this network: {name} {problem}")
