"""Checkpoints of a training, and networks made from them.

A checkpoint is a folder with `model.safetensors`, `optimizer.safetensors`, `state.json` (configuration, schema,
counters) and `manifest.json` (sha256 of the others); no pickle. It is written under a temporary name, flushed, and then
renamed, so that it is complete or absent.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch

from agents.large_model.config import LanguageConfig, ModelConfig
from agents.large_model.distributed import device_named
from agents.large_model.model import INPUT_VERSION, LargeModelNetwork
from agents.networks.schema import Schema
from agents.saved_tensors import load_tensors
from recsim_env.atomic_file import write_atomically

FORMAT = 2
"""Version of this layout; other versions are refused."""

FOLDER = "checkpoints"
"""Where a training's folder holds its checkpoints."""

SAVED_BY = "agents.large_model.agent:LargeModel"
"""The agent whose files `load_network` reads."""

T = TypeVar("T")

_MODEL, _OPTIMIZER, _STATE, _MANIFEST = "model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"
_NAME = re.compile(r"steps-(\d{12})")
_NUM_KEPT = 2


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message has its path and the reason, in one line."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a training."""

    model: dict[str, torch.Tensor]
    state: dict[str, Any]
    """`model`, `schema`, `config`, `num_steps`, `iteration`, ..."""
    optimizer: dict[str, torch.Tensor] | None = None


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint named for its steps into `folder`, and remove older ones, except for the last.

    Checkpoints of more steps, which were refused when this training started, are renamed `refused-...`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"steps-{checkpoint.state['num_steps']:012d}"
    temporary = folder / f".{path.name}.{secrets.token_hex(4)}.tmp"
    temporary.mkdir()
    try:
        contents = {
            _MODEL: safetensors.torch.save(_contiguous(checkpoint.model)),
            _OPTIMIZER: safetensors.torch.save(_contiguous(checkpoint.optimizer or {})),
            _STATE: json.dumps({"format": FORMAT, **checkpoint.state}, indent=1).encode(),
        }
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        for name, content in {**contents, _MANIFEST: json.dumps(digests, indent=1).encode()}.items():
            write_atomically(temporary / name, content)
        if path.exists():  # the same steps again, after a restart
            shutil.rmtree(path)
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    paths = checkpoints_in(folder)
    number = paths.index(path) + 1
    for refused in paths[number:]:
        renamed = refused.with_name(f"refused-{refused.name}")
        shutil.rmtree(renamed, ignore_errors=True)
        os.replace(refused, renamed)
    for old in paths[: max(number - _NUM_KEPT, 0)]:
        shutil.rmtree(old, ignore_errors=True)
    remove_temporary(folder)
    return path


def remove_temporary(folder: Path) -> None:
    """Remove temporary files and folders that killed processes have left in `folder`."""
    for path in folder.glob(".*.tmp"):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def checkpoints_in(folder: Path) -> list[Path]:
    """Complete checkpoints in a folder, the oldest first."""
    return sorted(path for path in folder.glob("steps-*") if _NAME.fullmatch(path.name) and path.is_dir())


def load_checkpoint(path: Path, has_optimizer: bool = False) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        CheckpointError: it is missing, damaged, or of another format.
    """
    names = (_STATE, _MODEL, _OPTIMIZER) if has_optimizer else (_STATE, _MODEL)
    try:
        digests = json.loads((path / _MANIFEST).read_bytes())
        contents = {name: (path / name).read_bytes() for name in names}
    except OSError as error:
        raise CheckpointError(f"{path}: not a checkpoint ({error.strerror}: {Path(error.filename).name})") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path}: damaged ({_MANIFEST} is not valid JSON)") from None
    for name, content in contents.items():
        if not isinstance(digests, dict) or digests.get(name) != hashlib.sha256(content).hexdigest():
            raise CheckpointError(f"{path}: damaged (the checksum of {name} is wrong)")
    try:
        state = json.loads(contents[_STATE])
        version = state.get("format") if isinstance(state, dict) else None
        if version != FORMAT:
            raise CheckpointError(f"{path}: has format {version!r}, must be {FORMAT}")
        return Checkpoint(
            model=safetensors.torch.load(contents[_MODEL]),
            state=state,
            optimizer=safetensors.torch.load(contents[_OPTIMIZER]) if has_optimizer else None,
        )
    except CheckpointError:
        raise
    except (ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: damaged ({error})") from None


def load_latest(
    folder: Path, warn: Callable[[str], None], use: Callable[[Checkpoint], T], has_optimizer: bool = False
) -> T | None:
    """The result of `use` for the latest checkpoint that can be used; None if there are no checkpoints.

    `warn` is called for each checkpoint that is refused: it cannot be read, or `use` raises an error.

    Raises:
        CheckpointError: there are checkpoints, but none can be used; the message has the reason for the latest.
    """
    refused: list[str] = []
    for path in reversed(checkpoints_in(folder)):
        try:
            checkpoint = load_checkpoint(path, has_optimizer)
            try:
                result = use(checkpoint)
            except KeyError as error:
                raise CheckpointError(f"{path}: not of this version ({error} is missing)") from None
            except (ValueError, TypeError, RuntimeError) as error:  # wrong sizes, names or shapes
                raise CheckpointError(f"{path}: {' '.join(str(error).split())}") from None
        except CheckpointError as error:
            refused.append(str(error))
            continue
        for reason in refused:
            warn(f"{reason}: using the checkpoint before it")
        return result
    if refused:
        others = f" (and {len(refused) - 1} older ones cannot be used either)" if len(refused) > 1 else ""
        raise CheckpointError(f"{refused[0]}{others}")
    return None


def _contiguous(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


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
            version.
    """
    check_inputs(settings)
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


def check_inputs(settings: Mapping[str, Any]) -> None:
    """`ValueError` unless weights with these settings were trained with the present inputs."""
    version = settings.get("input_version", 1)
    if version != INPUT_VERSION:
        raise ValueError(f"the weights were trained with inputs of version {version}, must be {INPUT_VERSION}: retrain")


def check_weights(network: LargeModelNetwork, weights: Mapping[str, torch.Tensor]) -> None:
    """`ValueError` unless there are finite weights for all trained parameters, in their shapes, and no others."""
    expected = network.trained_weights()
    for problem, names in (("missing", set(expected) - set(weights)), ("unknown", set(weights) - set(expected))):
        if names:
            raise ValueError(
                f"the weights do not belong to this network: {min(names)} is {problem} ({len(names)} such)"
            )
    for name, weight in expected.items():
        shape = list(weights[name].shape)
        if shape != list(weight.shape):
            raise ValueError(
                f"the weights do not belong to this network: {name} has shape {shape}, must have {list(weight.shape)}"
            )
        if not weights[name].isfinite().all():
            raise ValueError(f"the weights cannot be used: {name} has values that are not finite")


def load_network(
    path: Path | str, device: str = "cpu", warn: Callable[[str], None] = lambda words: None, language_model: str = ""
) -> LargeModelNetwork:
    """The network of a training's folder (its latest usable checkpoint), of one checkpoint, or of a saved agent.

    Raises:
        ValueError: there is none, or it cannot be used; one line.
    """
    where, path = device_named(device), Path(path)
    if path.is_file():
        weights, kept = load_tensors(path, SAVED_BY)
        tensors = {name: torch.as_tensor(weight) for name, weight in weights.items()}
        try:
            network = rebuild(kept["learned"]["network"], tensors, language_model)
        except (KeyError, TypeError):
            raise ValueError(f"{path}: not a large model of this version") from None
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    else:
        network = load_trained(
            path, warn, lambda checkpoint: rebuild(checkpoint.state, checkpoint.model, language_model)
        )
    return network.to(where).eval()


def load_trained(path: Path, warn: Callable[[str], None], use: Callable[[Checkpoint], T]) -> T:
    """The result of `use` for the checkpoint at `path`, or for the latest usable one of the training in that folder.

    Raises:
        CheckpointError: there is none, or none can be used.
    """
    for folder in (path, path / FOLDER):
        result = load_latest(folder, warn, use)
        if result is not None:
            return result
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such file or folder; must be written by `train --out` or by `save`")
    return use(load_checkpoint(path))
