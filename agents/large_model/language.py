"""A pretrained language model as the backbone: its weights are frozen, low-rank adapters are trained.

Tokens of sessions are passed in as embeddings, in place of words; adapters (LoRA, Hu et al. 2022) on its linear layers
(all of them, as in Dettmers et al. 2023) learn to read them.

Shape legend: N sessions in the cache, n sessions of a call, k tokens of each, L most tokens of a session, E width, B
key and value heads, D width of a head, i texts.
"""

import hashlib
import inspect
import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import huggingface_hub
import peft
import torch
import transformers
from torch import nn
from torch.nn.functional import embedding_bag, rms_norm
from transformers.cache_utils import Cache, DynamicLayer
from transformers.utils import logging as transformers_logging

from agents.large_model.config import LanguageConfig, ModelConfig
from agents.networks.transformer import CachePositions

_BATCH = 4_096  # texts embedded at once
_MAX_TOKENS = 1_000_000
_TOLERANCE = 1e-3  # of states, whose mean square is 1
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_ALLOWED = (
    "must be a folder with config.json, weights in safetensors and a tokenizer, or a name on the Hugging Face hub "
    "like owner/model"
)
_NUM_SAMPLED = 1_024
_TIMEOUT = 10.0  # seconds
_FILES = ["*.json", "*.safetensors", "*.model", "*.txt"]  # neither pickles nor code


class _LayerCache(DynamicLayer):
    """Keys and values of one layer, with each new token at its session's next position; the layers of transformers
    append to all sessions alike, which would leave gaps."""

    def __init__(self, cache: "SessionCache") -> None:
        super().__init__()
        self._cache = cache

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.keys, self.values = self._cache.allocate(key_states), self._cache.allocate(value_states)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write [n, B, k, D] into [N, L, B, D] each; returns [n, B, end, D] each, old and new."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        positions = self._cache.positions
        keys, values = (
            positions.write(cache, new.transpose(1, 2)).to(new.dtype).transpose(1, 2)
            for cache, new in ((self.keys, key_states), (self.values, value_states))
        )
        return keys, values

    def get_seq_length(self) -> int:
        return self._cache.positions.end - self._cache.positions.num_new

    def get_mask_sizes(self, *args: Any) -> tuple[int, int]:
        return self._cache.positions.end, 0


class SessionCache(Cache):
    """Keys and values of a language model for N sessions of at most L tokens, as `transformer.KeyValueCache`."""

    def __init__(self, num_sessions: int, max_tokens: int, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(layer_class_to_replicate=lambda: _LayerCache(self))
        self.lengths = torch.zeros(num_sessions, dtype=torch.int64, device=device)
        self._max_tokens, self._dtype = max_tokens, dtype
        self.positions = CachePositions(self.lengths, 0, None)

    def allocate(self, states: torch.Tensor) -> torch.Tensor:
        """Zeros [N, L, B, D] for states [n, B, k, D]: the heads of layers may differ."""
        shape = (len(self.lengths), self._max_tokens, states.shape[1], states.shape[3])
        return torch.zeros(shape, device=states.device, dtype=self._dtype)

    def select(self, index: torch.Tensor) -> None:
        """Keep only these sessions."""
        self.lengths = self.lengths[index]
        for layer in self.layers:
            layer.keys, layer.values = layer.keys[index], layer.values[index]


class LanguageBackbone(nn.Module):
    """Tokens to states by a language model, with the methods of `transformer.Transformer`; and texts to vectors.

    If the config has a fingerprint, the loaded weights must match it.
    """

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        base, self._tokenizer = load_language_model(config.name)
        digest = fingerprint(base, self._tokenizer)
        if config.fingerprint not in ("", digest):
            raise ValueError(
                f"language_model={config.name!r}: differs (sha256 {digest[:12]}) from the one that the adapters were "
                f"trained for ({config.fingerprint[:12]}): must have the same weights and vocabulary"
            )
        self.config = replace(config, fingerprint=digest)
        self.base = base.requires_grad_(False)
        embeddings = base.get_input_embeddings()
        self.width: int = embeddings.embedding_dim
        self.norm = nn.RMSNorm(self.width)
        sample = embeddings(torch.arange(min(embeddings.num_embeddings, _BATCH)))
        self.token_scale = float(sample.square().mean().sqrt())
        limits = ("max_position_embeddings", "sliding_window", "window_size")  # the masks made here have no window
        self.max_tokens: int = min(getattr(base.config, limit, None) or _MAX_TOKENS for limit in limits)
        parameters = inspect.signature(type(base).forward).parameters
        self._cache_argument = "cache" if "cache" in parameters else "past_key_values"
        self._check_decoding()
        _add_adapters(base, config)

    @property
    def blocks(self) -> nn.ModuleList:
        """Its layers."""
        number = self.base.config.num_hidden_layers
        return next(part for part in self.base.modules() if isinstance(part, nn.ModuleList) and len(part) == number)

    @property
    def num_multiplied(self) -> int:
        """As `Transformer.num_multiplied`."""
        embedded = sum(part.weight.numel() for part in self.base.modules() if isinstance(part, nn.Embedding))
        return sum(weight.numel() for weight in self.base.parameters() if weight.ndim > 1) - embedded

    def adapted(self, config: ModelConfig) -> ModelConfig:
        """The sizes of a network with this backbone: width, layers and longest session are the language model's; heads
        are not used."""
        num_layers = self.base.config.num_hidden_layers
        own = {"width": self.width, "num_layers": num_layers, "max_tokens": self.max_tokens}
        return replace(config, **own, num_heads=1, num_key_heads=1)

    def train(self, mode: bool = True) -> "LanguageBackbone":
        """The language model stays in evaluation mode: dropout would make training differ from play."""
        super().train(mode)
        self.base.eval()
        return self

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """As `Transformer.forward`."""
        self._check_length(tokens.shape[1])
        return self._states(tokens, use_cache=False)

    def make_cache(self, num_sessions: int, max_tokens: int, device: torch.device, dtype: torch.dtype) -> SessionCache:
        """As `Transformer.make_cache`."""
        self._check_length(max_tokens)
        return SessionCache(num_sessions, max_tokens, device, dtype)

    def decode(
        self, tokens: torch.Tensor, num_new: torch.Tensor, cache: SessionCache, index: torch.Tensor | None = None
    ) -> torch.Tensor:
        """As `Transformer.decode`."""
        positions = cache.positions = CachePositions(cache.lengths, tokens.shape[1], index)
        shape = (len(tokens), 1, tokens.shape[1], positions.end)
        mask = torch.zeros(shape, device=tokens.device)  # added to the products, which all kinds of attention support
        if positions.mask is not None:
            mask = mask.masked_fill(~positions.mask, torch.finfo(mask.dtype).min)
        states = self._states(
            tokens,
            attention_mask=mask,
            position_ids=positions.positions,
            use_cache=True,
            **{self._cache_argument: cache},
        )
        cache.lengths[slice(None) if index is None else index] += num_new
        return states

    @torch.no_grad()
    def describe(self, texts: list[str]) -> torch.Tensor:
        """[i, E]: the mean word embedding of each text, centred and with a mean square of 1.

        A look-up per word describes a catalogue of any size at once, and only once, as these weights are frozen.
        Running the model over each text costs as much as thousands of steps of sessions, and the states of its last
        layer are about the next word, dominated by a few large directions (Ethayarajh 2019). The order of words is
        lost, but the numbers of named features are in the dense features anyway; words add which items are alike, also
        in scenarios whose feature names are new.
        """
        embeddings = self.base.get_input_embeddings().weight
        batches = []
        for start in range(0, len(texts), _BATCH):
            tokens = self._tokenizer(texts[start : start + _BATCH], add_special_tokens=False)["input_ids"]
            lengths = torch.tensor([0, *map(len, tokens)], device=embeddings.device)
            flat = torch.tensor(list(chain.from_iterable(tokens)), dtype=torch.int64, device=embeddings.device)
            batches.append(embedding_bag(flat, embeddings, lengths.cumsum(0)[:-1], mode="mean"))
        return rms_norm(torch.cat(batches) - embeddings.mean(0), (self.width,))

    def _states(self, tokens: torch.Tensor, **arguments: Any) -> torch.Tensor:
        """Tokens are scaled to the size of word embeddings, and states to those of a `Transformer`."""
        words = rms_norm(tokens, (self.width,)) * self.token_scale
        return self.norm(self.base(inputs_embeds=words, **arguments).last_hidden_state).to(tokens.dtype)

    def _check_length(self, num_tokens: int) -> None:
        if num_tokens > self.max_tokens:
            raise ValueError(
                f"language_model={self.config.name!r}: reads at most {self.max_tokens} tokens, but sessions have up to "
                f"{num_tokens} (1 + history_length + session_length times slate_size)"
            )

    @torch.no_grad()
    def _check_decoding(self) -> None:
        """`ValueError` unless states depend on earlier tokens only, and are the same when decoded in parts.

        Some models are not causal, and some count positions in ways that do not fit sessions of different lengths.
        """
        tokens = torch.randn(2, 5, self.width, generator=torch.Generator().manual_seed(0))
        lengths = torch.tensor([3, 1])
        try:
            whole, prefix = self(tokens), self(tokens[:, :3])
            cache = self.make_cache(2, 7, tokens.device, tokens.dtype)
            first = self.decode(tokens[:, :3], lengths, cache)
            later = torch.stack([torch.cat([tokens[0, 3:], tokens[0, :2]]), tokens[1, 1:]])  # two of the first count
            second = self.decode(later, torch.tensor([2, 4]), cache)
        except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, NotImplementedError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise self._refusal(f"cannot decode sessions ({reason})") from None
        if (whole[:, :3] - prefix).abs().max() > _TOLERANCE:
            raise self._refusal("is not causal")
        pairs = ((whole[0, :3], first[0]), (whole[1, 0], first[1, 0]), (whole[0, 3:], second[0, :2]))
        if max((a - b).abs().max() for a, b in (*pairs, (whole[1, 1:], second[1]))) > _TOLERANCE:
            raise self._refusal("cannot decode sessions of different lengths")

    def _refusal(self, reason: str) -> ValueError:
        return ValueError(
            f"language_model={self.config.name!r}: {self.base.config.model_type} {reason}; must be a causal model with "
            "a key-value cache and position ids, such as GPT-2, Llama or Qwen"
        )


def _add_adapters(base: Any, config: LanguageConfig) -> None:
    adapters = peft.LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        target_modules=list(config.lora_targets) or "all-linear",
        lora_dropout=0.0,
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="fan_in_fan_out")  # peft corrects it for GPT-2 by itself
            peft.inject_adapter_in_model(adapters, base)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"lora_targets={config.lora_targets!r}: must be names of linear layers ({reason})") from None


def load_language_model(name: str) -> tuple[Any, Any]:
    """The Transformer of a causal language model, without its output layer, and its tokenizer.

    Weights are float32, read from safetensors only; code that comes with a model is not executed.

    Raises:
        ValueError: it cannot be found or loaded; one line.
    """
    path = Path(name).expanduser()
    is_local = path.is_dir()
    if not is_local and not _HUB_NAME.fullmatch(name):
        raise ValueError(f"language_model={name!r}: no such folder; {_ALLOWED}")
    try:
        with _quiet():
            folder = str(path) if is_local else _hub_folder(name)
            model, info = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, local_files_only=True
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # of any library that reads the files
        where = "cannot be loaded from that folder" if is_local else "no such folder, and not found on the hub"
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"language_model={name!r}: {where} ({reason}); {_ALLOWED}") from None
    if info["missing_keys"]:  # they would be initialised at random
        missing = sorted(info["missing_keys"])
        raise ValueError(
            f"language_model={name!r}: {len(missing)} weights are missing, such as {missing[0]}; {_ALLOWED}"
        )
    return model.base_model.eval(), tokenizer


def _hub_folder(name: str) -> str:
    """The folder of a model of the hub, downloaded if necessary; without a network, the one downloaded before."""
    try:
        huggingface_hub.model_info(name, timeout=_TIMEOUT)  # fails at once where a download would retry for a minute
    except Exception as error:
        try:
            return huggingface_hub.snapshot_download(name, local_files_only=True)
        except Exception:
            raise error from None
    return huggingface_hub.snapshot_download(name, allow_patterns=_FILES)


def fingerprint(model: Any, tokenizer: Any) -> str:
    """Hexadecimal sha256 of the model type, the names, shapes and a sample of the weights, and the vocabulary.

    Fine-tuning changes nearly all numbers, so that a thousand of each weight are enough.
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
    """Without progress bars and warnings of transformers: problems are raised."""
    verbosity, has_bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if has_bars:
            transformers_logging.enable_progress_bar()
