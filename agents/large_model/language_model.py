"""Loads a pretrained causal language model and its tokenizer, and says which one it is."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers
from transformers.utils import logging as transformers_logging

_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_ALLOWED = (
    "must be a folder with config.json, weights in safetensors and a tokenizer, or a name on the Hugging Face hub "
    "like owner/model"
)
_NUM_SAMPLED = 1_024
_TIMEOUT = 10.0  # seconds
_FILES = ["*.json", "*.safetensors", "*.model", "*.txt"]  # neither pickles nor code


def load_language_model(name: str) -> tuple[Any, Any]:
    """The transformer of a causal language model, without the layer that names the next word, and its tokenizer.

    Weights are float32 and are read from safetensors only, and no code that comes with a model is run.

    Raises:
        ValueError: there is none, or none of this kind; one line.
    """
    path = Path(name).expanduser()
    is_local = path.is_dir()
    if not is_local and not _HUB_NAME.fullmatch(name):
        raise ValueError(f"language_model={name!r}: no such folder; {_ALLOWED}")
    try:
        with _quiet():
            folder = str(path) if is_local else _folder_of(name)
            whole, found = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, local_files_only=True
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever other libraries make of files that they cannot read
        where = "cannot be read from that folder" if is_local else "no such folder, and not found on the hub either"
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"language_model={name!r}: {where} ({reason}); {_ALLOWED}") from None
    if found["missing_keys"]:  # they would be drawn at random
        missing = sorted(found["missing_keys"])
        raise ValueError(
            f"language_model={name!r}: lacks {len(missing)} of its weights, {missing[0]} first; {_ALLOWED}"
        )
    return whole.base_model.eval(), tokenizer


def _folder_of(name: str) -> str:
    """Where a model of the hub lies, downloaded if need be; without a network, what was downloaded before."""
    try:
        huggingface_hub.model_info(name, timeout=_TIMEOUT)  # fails at once where a download would try for a minute
    except Exception as error:
        try:
            return huggingface_hub.snapshot_download(name, local_files_only=True)
        except Exception:
            raise error from None
    return huggingface_hub.snapshot_download(name, allow_patterns=_FILES)


def fingerprint(model: Any, tokenizer: Any) -> str:
    """Hexadecimal sha256 of the kind, of the weights' names, shapes and some numbers of each, and of the vocabulary.

    What was tuned further differs in nearly all numbers, so a thousand tell it apart without reading all of them.
    """
    digest = hashlib.sha256(model.config.model_type.encode())
    for name, weight in sorted(model.state_dict().items()):
        sample = weight.detach().flatten()[:: max(weight.numel() // _NUM_SAMPLED, 1)]
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(sample.float().cpu().numpy().tobytes())
    digest.update(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    return digest.hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no warnings of the library's: what matters is raised."""
    verbosity, has_bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if has_bars:
            transformers_logging.enable_progress_bar()
