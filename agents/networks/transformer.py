"""A causal Transformer that reads whole sessions at once, or decodes token by token with a cache of keys and values.

Blocks as in Llama (Touvron et al. 2023): RMSNorm before each part, rotary position embeddings (Su et al. 2021), SwiGLU
(Shazeer 2020), grouped-query attention (Ainslie et al. 2023), no biases; with normalised queries and keys (Henry et al.
2020) and output projections initialised to zero.

Shape legend: N sessions in the cache, n sessions of a call, k tokens of each, L cached tokens of each, E width, A
heads, B key and value heads, D width of a head.
"""

import torch
from torch import nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

_ROPE_BASE = 10_000.0

LayerCache = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of one layer, [N, L, B, D] each."""


class KeyValueCache:
    """Keys and values of all layers for N sessions, and the number of tokens of each session.

    `shape`: layers, N, the most tokens of a session, B, D.
    """

    def __init__(
        self, shape: tuple[int, int, int, int, int], device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        self.keys, self.values = (
            [torch.zeros(shape[1:], device=device, dtype=dtype) for _ in range(shape[0])] for _ in range(2)
        )
        self.lengths = torch.zeros(shape[1], dtype=torch.int64, device=device)

    def select(self, index: torch.Tensor) -> None:
        """Keep only these sessions."""
        self.keys, self.values = ([layer[index] for layer in part] for part in (self.keys, self.values))
        self.lengths = self.lengths[index]


class CachePositions:
    """The positions of k = `num_new` tokens in a cache with `lengths` [N], and what they attend to.

    `index` [n] are the sessions with new tokens, None for all of them. `capacity` L is needed where
    the calculation is exported.
    """

    def __init__(
        self, lengths: torch.Tensor, num_new: int, index: torch.Tensor | None, capacity: int | None = None
    ) -> None:
        self.num_new, self.index = num_new, index
        starts = lengths if index is None else lengths[index]
        self.positions = starts[:, None] + torch.arange(num_new, device=starts.device)  # [n, k]
        if torch.compiler.is_exporting():  # sizes in a graph must not depend on values: the mask does it all
            assert capacity is not None
            self.end, self._is_aligned = capacity, False
        else:
            self.end = int(starts.max()) + num_new
            self._is_aligned = index is None and bool((starts == starts[0]).all())
            self._start = int(starts[0])
        self.mask = None  # [n, 1, k, end]: earlier tokens and the token itself
        if not (self._is_aligned and num_new == 1):
            self.mask = (torch.arange(self.end, device=starts.device) <= self.positions[:, :, None])[:, None]

    def write(self, cache: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """Write [n, k, B, D] into one layer's [N, L, B, D]; returns [n, end, B, D], old and new."""
        new = new.to(cache.dtype)
        if self._is_aligned:
            cache[:, self._start : self.end] = new
            return cache[:, : self.end]
        rows = torch.arange(cache.shape[0], device=cache.device) if self.index is None else self.index
        cache[rows[:, None], self.positions] = new
        return cache[:, : self.end] if self.index is None else cache[self.index, : self.end]


class Attention(nn.Module):
    """Causal self-attention, [n, k, E] to [n, k, E]."""

    def __init__(self, width: int, num_heads: int, num_key_heads: int) -> None:
        super().__init__()
        self.num_heads, self.num_key_heads = num_heads, num_key_heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * num_key_heads * (width // num_heads), bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self,
        x: torch.Tensor,
        rope: torch.Tensor,
        positions: CachePositions | None = None,
        cache: LayerCache | None = None,
    ) -> torch.Tensor:
        query = self.query(x).unflatten(2, (self.num_heads, -1))  # [n, k, A, D]
        key, value = self.key_value(x).unflatten(2, (2, self.num_key_heads, -1)).unbind(2)  # [n, k, B, D] each
        query, key = (apply_rope(rms_norm(each, (each.shape[-1],)), rope) for each in (query, key))
        mask = None
        if positions is not None and cache is not None:
            key, value = (positions.write(*each).to(query.dtype) for each in zip(cache, (key, value), strict=True))
            mask = positions.mask
        query, key, value = (each.transpose(1, 2) for each in (query, key, value))  # [n, heads, tokens, D] each
        is_causal, has_groups = positions is None, self.num_key_heads != self.num_heads
        attended = scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=is_causal, enable_gqa=has_groups
        )
        return self.out(attended.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """x + attention(norm(x)), then x + network(norm(x)); [n, k, E]."""

    def __init__(self, width: int, num_heads: int, num_key_heads: int, hidden_width: int) -> None:
        super().__init__()
        self.attention_norm, self.network_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention = Attention(width, num_heads, num_key_heads)
        self.gate_and_up = nn.Linear(width, 2 * hidden_width, bias=False)
        self.down = nn.Linear(hidden_width, width, bias=False)

    def forward(
        self,
        x: torch.Tensor,
        rope: torch.Tensor,
        positions: CachePositions | None = None,
        cache: LayerCache | None = None,
    ) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x), rope, positions, cache)
        gate, up = self.gate_and_up(self.network_norm(x)).chunk(2, 2)
        return x + self.down(silu(gate) * up)


class Transformer(nn.Module):
    """Tokens to states: state i depends on the tokens up to i only.

    `width` E is a multiple of twice `num_heads` A; `hidden_width` is that of the feed-forward network in each block,
    `max_tokens` that of a session.
    """

    def __init__(
        self, *, width: int, num_layers: int, num_heads: int, num_key_heads: int, hidden_width: int, max_tokens: int
    ) -> None:
        super().__init__()
        self.max_tokens = max_tokens
        self._cache_shape = num_layers, num_key_heads, width // num_heads
        self.blocks = nn.ModuleList(Block(width, num_heads, num_key_heads, hidden_width) for _ in range(num_layers))
        self.norm = nn.RMSNorm(width)
        self.rope: torch.Tensor
        self.register_buffer("rope", _rope(max_tokens, width // num_heads), persistent=False)
        for block in self.blocks:
            nn.init.zeros_(block.attention.out.weight)  # type: ignore[union-attr, arg-type]
            nn.init.zeros_(block.down.weight)  # type: ignore[union-attr, arg-type]

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[n, k, E] to [n, k, E]: whole sessions from their first token, padded at the end."""
        x, rope = tokens, self.rope[None, : tokens.shape[1]]
        for block in self.blocks:
            x = block(x, rope)
        return self.norm(x)

    @property
    def num_multiplied(self) -> int:
        """Multiplications with weights for each token."""
        return sum(weight.numel() for weight in self.parameters() if weight.ndim > 1)

    def make_cache(self, num_sessions: int, max_tokens: int, device: torch.device, dtype: torch.dtype) -> KeyValueCache:
        """An empty cache for `decode`; `ValueError` if sessions may be too long."""
        if max_tokens > self.max_tokens:
            raise ValueError(
                f"ModelConfig.max_tokens={self.max_tokens}: must be at least {max_tokens}, the longest session: "
                "1 + history_length + session_length times slate_size"
            )
        num_layers, num_key_heads, head_width = self._cache_shape
        return KeyValueCache((num_layers, num_sessions, max_tokens, num_key_heads, head_width), device, dtype)

    def decode(
        self, tokens: torch.Tensor, num_new: torch.Tensor, cache: KeyValueCache, index: torch.Tensor | None = None
    ) -> torch.Tensor:
        """[n, k, E] to [n, k, E]: the next tokens of sessions whose earlier ones are in the cache.

        The first `num_new` [n] of the k tokens count; the others are padding, overwritten by the next call. `index` [n]
        are the rows of the sessions in the cache, None for all of them.
        """
        positions = CachePositions(cache.lengths, tokens.shape[1], index, cache.keys[0].shape[1])
        x, rope = tokens, self.rope[positions.positions]
        for layer, block in enumerate(self.blocks):
            x = block(x, rope, positions, (cache.keys[layer], cache.values[layer]))
        cache.lengths[slice(None) if index is None else index] += num_new
        return self.norm(x)


def _rope(max_tokens: int, head_width: int) -> torch.Tensor:
    """[tokens, 2, D / 2]: cosine and sine of the angle of each pair of features at each position."""
    frequencies = _ROPE_BASE ** (-torch.arange(0, head_width, 2) / head_width)
    angles = torch.arange(max_tokens)[:, None] * frequencies
    return torch.stack([angles.cos(), angles.sin()], 1)


def apply_rope(x: torch.Tensor, rope: torch.Tensor) -> torch.Tensor:
    """[n, k, heads, D] with each pair (i, i + D / 2) rotated by `rope` [n or 1, k, 2, D / 2]."""
    cosine, sine = rope[:, :, None, 0].to(x.dtype), rope[:, :, None, 1].to(x.dtype)  # [n or 1, k, 1, D / 2]
    first, second = x.chunk(2, -1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)
