"""A pretrained language model as the trunk: its weights stay as they are, adapters beside them learn.

What a person was shown and answered goes in as embeddings, in the place of words; low-rank adapters (LoRA, Hu et al.
2022) on its linear layers (all of them, as in Dettmers et al. 2023) teach it to read them.

Shape legend: N sessions that are kept, n that are read, k tokens of each, L most tokens of a session, E width, B heads
of keys and values, D width of a head, i texts.
"""

import inspect
import warnings
from dataclasses import replace
from itertools import chain
from typing import Any

import peft
import torch
from torch import nn
from torch.nn.functional import embedding_bag, rms_norm
from transformers.cache_utils import Cache, DynamicLayer

from agents.large_model.backbone import Places
from agents.large_model.language_model import fingerprint, load_language_model
from agents.large_model.language_settings import LanguageSettings
from agents.large_model.sizes import ModelSizes

_NUM_TOGETHER = 4_096  # texts that are looked up at once
_MOST_TOKENS = 1_000_000
_TOLERANCE = 1e-3  # of states, whose mean square is 1


class _SessionLayer(DynamicLayer):
    """Keys and values of one layer, each token in its session's next place; other layers of the library's append to
    all sessions alike, and would leave gaps."""

    def __init__(self, cache: "SessionCache") -> None:
        super().__init__()
        self._cache = cache

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.keys, self.values = self._cache.room_for(key_states), self._cache.room_for(value_states)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put [n, B, k, D] into [N, L, B, D] each; returns [n, B, end, D] each, old and new."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        places = self._cache.places
        keys, values = (
            places.extended(kept, new.transpose(1, 2)).to(new.dtype).transpose(1, 2)
            for kept, new in ((self.keys, key_states), (self.values, value_states))
        )
        return keys, values

    def get_seq_length(self) -> int:
        return self._cache.places.end - self._cache.places.num_new

    def get_mask_sizes(self, *args: Any) -> tuple[int, int]:
        return self._cache.places.end, 0


class SessionCache(Cache):
    """What a language model keeps of N sessions, in the manner of `trunk.KeyValueCache`.

    Args:
        num_sessions: N.
        max_tokens: L.
        device: where it lies.
        dtype: of keys and values.
    """

    def __init__(self, num_sessions: int, max_tokens: int, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(layer_class_to_replicate=lambda: _SessionLayer(self))
        self.lengths = torch.zeros(num_sessions, dtype=torch.int64, device=device)
        self._max_tokens, self._dtype = max_tokens, dtype
        self.places = Places(self.lengths, 0, None)

    def room_for(self, states: torch.Tensor) -> torch.Tensor:
        """[N, L, B, D] of zeros for states [n, B, k, D]: layers may differ in their heads."""
        shape = (len(self.lengths), self._max_tokens, states.shape[1], states.shape[3])
        return torch.zeros(shape, device=states.device, dtype=self._dtype)

    def keep(self, which: torch.Tensor) -> None:
        """Only these sessions go on."""
        self.lengths = self.lengths[which]
        for layer in self.layers:
            layer.keys, layer.values = layer.keys[which], layer.values[which]


class LanguageTrunk(nn.Module):
    """Tokens to states by a language model, as `trunk.Trunk` does; and texts to vectors by its vocabulary.

    Args:
        settings: which language model; with a fingerprint, it must be that of its weights.
    """

    def __init__(self, settings: LanguageSettings) -> None:
        super().__init__()
        base, self._tokenizer = load_language_model(settings.name)
        found = fingerprint(base, self._tokenizer)
        if settings.fingerprint not in ("", found):
            raise ValueError(
                f"language_model={settings.name!r}: is another one (sha256 {found[:12]}) than what the adapters were "
                f"trained for ({settings.fingerprint[:12]}): must be the same weights and vocabulary"
            )
        self.settings = replace(settings, fingerprint=found)
        self.base = base.requires_grad_(False)
        embeddings = base.get_input_embeddings()
        self.width: int = embeddings.embedding_dim
        self.norm = nn.RMSNorm(self.width)
        sample = embeddings(torch.arange(min(embeddings.num_embeddings, _NUM_TOGETHER)))
        self.token_scale = float(sample.square().mean().sqrt())
        limits = ("max_position_embeddings", "sliding_window", "window_size")  # masks that are made here have no window
        self.max_tokens: int = min(getattr(base.config, limit, None) or _MOST_TOKENS for limit in limits)
        self._cache_argument = (
            "cache" if "cache" in inspect.signature(type(base).forward).parameters else "past_key_values"
        )
        self._check_it_goes_on()
        _add_adapters(base, settings)

    @property
    def blocks(self) -> nn.ModuleList:
        """Its layers, one after the other."""
        number = self.base.config.num_hidden_layers
        return next(part for part in self.base.modules() if isinstance(part, nn.ModuleList) and len(part) == number)

    @property
    def num_multiplied(self) -> int:
        """As `Trunk.num_multiplied`."""
        looked_up = sum(part.weight.numel() for part in self.base.modules() if isinstance(part, nn.Embedding))
        return sum(weight.numel() for weight in self.base.parameters() if weight.ndim > 1) - looked_up

    def sizes(self, others: ModelSizes) -> ModelSizes:
        """Sizes of a model with this trunk: width, layers and longest session are the language model's, and what is
        said of heads means nothing."""
        num_layers = self.base.config.num_hidden_layers
        its_own = {"width": self.width, "num_layers": num_layers, "max_tokens": self.max_tokens}
        return replace(others, **its_own, num_heads=1, num_key_heads=1)

    def train(self, mode: bool = True) -> "LanguageTrunk":
        """The language model is never in training mode: its dropout would make what is learnt from differ from what
        was played, and whole passes from those that go on."""
        super().train(mode)
        self.base.eval()
        return self

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """As `Trunk.forward`."""
        self._check_length(tokens.shape[1])
        return self._states(tokens, use_cache=False)

    def make_cache(self, num_sessions: int, max_tokens: int, device: torch.device, dtype: torch.dtype) -> SessionCache:
        """As `Trunk.make_cache`."""
        self._check_length(max_tokens)
        return SessionCache(num_sessions, max_tokens, device, dtype)

    def extend(
        self, tokens: torch.Tensor, num_new: torch.Tensor, cache: SessionCache, which: torch.Tensor | None = None
    ) -> torch.Tensor:
        """As `Trunk.extend`."""
        places = cache.places = Places(cache.lengths, tokens.shape[1], which)
        shape = (len(tokens), 1, tokens.shape[1], places.end)
        mask = torch.zeros(shape, device=tokens.device)  # is added to products, so that it suits all kinds of attention
        if places.mask is not None:
            mask = mask.masked_fill(~places.mask, torch.finfo(mask.dtype).min)
        states = self._states(
            tokens,
            attention_mask=mask,
            position_ids=places.positions,
            use_cache=True,
            **{self._cache_argument: cache},
        )
        if which is None:
            cache.lengths += num_new
        else:
            cache.lengths[which] += num_new
        return states

    @torch.no_grad()
    def describe(self, texts: list[str]) -> torch.Tensor:
        """[i, E]: texts as the mean of the embeddings of their words, with a mean square of 1.

        The vocabulary is the part of the language model that can be had for a look-up a word: a catalogue of any size
        is described at once and for good, as these weights do not change. To run the model over each text costs as
        much as thousands of steps of sessions, and what its last layer says is about the next word, with a few large
        directions that drown the rest (Ethayarajh 2019). The order of words is lost, but what order tells here, which
        number belongs to which name, the dense features say exactly; what is left to words is which items are alike,
        in worlds whose names were never trained on, too.
        """
        embeddings = self.base.get_input_embeddings().weight
        found = []
        for begin in range(0, len(texts), _NUM_TOGETHER):
            tokens = self._tokenizer(texts[begin : begin + _NUM_TOGETHER], add_special_tokens=False)["input_ids"]
            lengths = torch.tensor([0, *map(len, tokens)], device=embeddings.device)
            flat = torch.tensor(list(chain.from_iterable(tokens)), dtype=torch.int64, device=embeddings.device)
            found.append(embedding_bag(flat, embeddings, lengths.cumsum(0)[:-1], mode="mean"))
        return rms_norm(torch.cat(found) - embeddings.mean(0), (self.width,))

    def _states(self, tokens: torch.Tensor, **more: Any) -> torch.Tensor:
        """Tokens are made as large as its words are, and states as large as those of our own trunk."""
        words = rms_norm(tokens, (self.width,)) * self.token_scale
        return self.norm(self.base(inputs_embeds=words, **more).last_hidden_state).to(tokens.dtype)

    def _check_length(self, num_tokens: int) -> None:
        if num_tokens > self.max_tokens:
            raise ValueError(
                f"language_model={self.settings.name!r}: reads {self.max_tokens} tokens at most, a session has up to "
                f"{num_tokens}: session_length times slate_size plus history_length must be less than that"
            )

    @torch.no_grad()
    def _check_it_goes_on(self) -> None:
        """`ValueError` unless states depend on what came before alone, and are the same if they are made bit by bit.

        Some models look ahead, and some count places in ways that sessions of different lengths do not go with.
        """
        tokens = torch.randn(2, 5, self.width, generator=torch.Generator().manual_seed(0))
        lengths = torch.tensor([3, 1])
        try:
            whole, begun = self(tokens), self(tokens[:, :3])
            cache = self.make_cache(2, 7, tokens.device, tokens.dtype)
            first = self.extend(tokens[:, :3], lengths, cache)
            later = torch.stack([torch.cat([tokens[0, 3:], tokens[0, :2]]), tokens[1, 1:]])  # of the first two count
            second = self.extend(later, torch.tensor([2, 4]), cache)
        except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, NotImplementedError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise self._refusal(f"cannot be read session by session ({reason})") from None
        if (whole[:, :3] - begun).abs().max() > _TOLERANCE:
            raise self._refusal("looks ahead")
        pairs = ((whole[0, :3], first[0]), (whole[1, 0], first[1, 0]), (whole[0, 3:], second[0, :2]))
        if max((a - b).abs().max() for a, b in (*pairs, (whole[1, 1:], second[1]))) > _TOLERANCE:
            raise self._refusal("cannot go on with sessions of different lengths")

    def _refusal(self, reason: str) -> ValueError:
        return ValueError(
            f"language_model={self.settings.name!r}: {self.base.config.model_type} {reason}; must be a causal model "
            "with keys, values and numbered places, such as GPT-2, Llama or Qwen"
        )


def _add_adapters(base: Any, settings: LanguageSettings) -> None:
    config = peft.LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        target_modules=list(settings.lora_targets) or "all-linear",
        lora_dropout=0.0,
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="fan_in_fan_out")  # it finds out for itself how GPT-2's lie
            peft.inject_adapter_in_model(config, base)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"lora_targets={settings.lora_targets!r}: must be names of linear layers ({reason})") from None
