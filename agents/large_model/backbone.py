"""The trunk: a causal Transformer that is run over a whole session at once, or goes on from what it has kept.

Blocks as in Llama (Touvron et al. 2023): normalisation by the root mean square before each part, rotary positions (Su
et al. 2021), SwiGLU (Shazeer 2020), grouped keys and values (Ainslie et al. 2023), no biases; queries and keys are
normalised (Henry et al. 2020), and what each part adds is zero at the start.

Shape legend: N sessions that are kept, n that are read, k tokens of each, L tokens that are kept of each, E width, A
heads, B heads of keys and values, D width of a head.
"""

import torch
from torch import nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from agents.large_model.sizes import ModelSizes

_ROTARY_BASE = 10_000.0

Kept = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of one layer, [N, L, B, D] each."""


class KeyValueCache:
    """What a trunk keeps of n sessions: keys and values of each layer, and how many tokens each session has.

    Args:
        sizes: of the trunk.
        num_sessions: n.
        max_tokens: most tokens of a session.
        device: where it lies.
        dtype: of keys and values.
    """

    def __init__(
        self,
        sizes: ModelSizes,
        num_sessions: int,
        max_tokens: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        head_width = sizes.width // sizes.num_heads
        shape = (sizes.num_layers, num_sessions, max_tokens, sizes.num_key_heads, head_width)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.lengths = torch.zeros(num_sessions, dtype=torch.int64, device=device)

    def keep(self, which: torch.Tensor) -> None:
        """Only these sessions go on."""
        self.keys, self.values, self.lengths = self.keys[:, which], self.values[:, which], self.lengths[which]


class Places:
    """Where the new tokens of some sessions stand in a cache, and what they may see of it.

    Args:
        lengths: [N] tokens that each session has in the cache.
        num_new: k.
        which: [n] sessions that get new ones, None for all of them.
    """

    def __init__(self, lengths: torch.Tensor, num_new: int, which: torch.Tensor | None) -> None:
        self.num_new, self.which = num_new, which
        begins = lengths if which is None else lengths[which]
        self.positions = begins[:, None] + torch.arange(num_new, device=begins.device)  # [n, k]
        self.end = int(begins.max()) + num_new
        self._is_level = which is None and bool((begins == begins[0]).all())
        self._begin = int(begins[0])
        seen = torch.arange(self.end, device=begins.device)
        self.mask = None  # [n, 1, k, end]: all that stands before, and itself
        if not (self._is_level and num_new == 1):
            self.mask = (seen <= self.positions[:, :, None])[:, None]

    def extended(self, kept: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """Put [n, k, B, D] into one layer's [N, L, B, D]; returns [n, end, B, D], old and new."""
        new = new.to(kept.dtype)
        if self._is_level:
            kept[:, self._begin : self.end] = new
            return kept[:, : self.end]
        rows = torch.arange(len(kept), device=kept.device) if self.which is None else self.which
        kept[rows[:, None], self.positions] = new
        return kept[:, : self.end] if self.which is None else kept[self.which, : self.end]


class Attention(nn.Module):
    """Tokens [n, k, E] to what they take from those before them and from themselves [n, k, E]."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.num_heads, self.num_key_heads = sizes.num_heads, sizes.num_key_heads
        head_width = sizes.width // sizes.num_heads
        self.query = nn.Linear(sizes.width, sizes.width, bias=False)
        self.key_value = nn.Linear(sizes.width, 2 * sizes.num_key_heads * head_width, bias=False)
        self.out = nn.Linear(sizes.width, sizes.width, bias=False)

    def forward(
        self, x: torch.Tensor, turns: torch.Tensor, places: Places | None = None, kept: Kept | None = None
    ) -> torch.Tensor:
        query = self.query(x).unflatten(2, (self.num_heads, -1))  # [n, k, A, D]
        key, value = self.key_value(x).unflatten(2, (2, self.num_key_heads, -1)).unbind(2)  # [n, k, B, D] each
        query, key = rotated(_normed(query), turns), rotated(_normed(key), turns)
        mask = None
        if places is not None and kept is not None:
            key = places.extended(kept[0], key).to(query.dtype)
            value = places.extended(kept[1], value).to(query.dtype)
            mask = places.mask
        query, key, value = (each.transpose(1, 2) for each in (query, key, value))  # [n, heads, tokens, D] each
        is_causal, has_groups = places is None, self.num_key_heads != self.num_heads
        attended = scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=is_causal, enable_gqa=has_groups
        )
        return self.out(attended.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """x + attention(norm(x)), then x + network(norm(x)); [n, k, E]."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.attention_norm, self.network_norm = nn.RMSNorm(sizes.width), nn.RMSNorm(sizes.width)
        self.attention = Attention(sizes)
        self.gate_and_up = nn.Linear(sizes.width, 2 * sizes.hidden_width, bias=False)
        self.down = nn.Linear(sizes.hidden_width, sizes.width, bias=False)

    def forward(
        self, x: torch.Tensor, turns: torch.Tensor, places: Places | None = None, kept: Kept | None = None
    ) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x), turns, places, kept)
        gate, up = self.gate_and_up(self.network_norm(x)).chunk(2, 2)
        return x + self.down(silu(gate) * up)


class Trunk(nn.Module):
    """Tokens to states: state i is made of the tokens up to i and of nothing later."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self._sizes = sizes
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.num_layers))
        self.norm = nn.RMSNorm(sizes.width)
        self.register_buffer("turns", _turns(sizes.max_tokens, sizes.width // sizes.num_heads), persistent=False)
        for block in self.blocks:
            nn.init.zeros_(block.attention.out.weight)  # type: ignore[union-attr, arg-type]
            nn.init.zeros_(block.down.weight)  # type: ignore[union-attr, arg-type]

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[n, k, E] to [n, k, E]: whole sessions, each from its first token. Missing tokens stand at the end."""
        x = tokens
        turns = self.turns[None, : tokens.shape[1]]  # type: ignore[index]
        for block in self.blocks:
            x = block(x, turns)
        return self.norm(x)

    @property
    def num_multiplied(self) -> int:
        """Numbers that each token is multiplied with."""
        return sum(weight.numel() for weight in self.parameters() if weight.ndim > 1)

    def make_cache(self, num_sessions: int, max_tokens: int, device: torch.device, dtype: torch.dtype) -> KeyValueCache:
        """What `extend` goes on from, of sessions that have not begun; `ValueError` if they may be too long."""
        if max_tokens > self._sizes.max_tokens:
            raise ValueError(
                f"ModelSizes.max_tokens={self._sizes.max_tokens}: must be at least {max_tokens}, as many as a session "
                "may have: 1 + history_length + session_length times slate_size"
            )
        return KeyValueCache(self._sizes, num_sessions, max_tokens, device, dtype)

    def extend(
        self, tokens: torch.Tensor, num_new: torch.Tensor, cache: KeyValueCache, which: torch.Tensor | None = None
    ) -> torch.Tensor:
        """[n, k, E] to [n, k, E]: the next tokens of sessions whose earlier ones are in the cache.

        `num_new` [n] of the k tokens count; the others stand after them, and are overwritten by the next call.
        `which` [n] are the sessions' places in the cache, None for all of them.
        """
        places = Places(cache.lengths, tokens.shape[1], which)
        x, turns = tokens, self.turns[places.positions]  # type: ignore[index]
        for layer, block in enumerate(self.blocks):
            x = block(x, turns, places, (cache.keys[layer], cache.values[layer]))
        if which is None:
            cache.lengths += num_new
        else:
            cache.lengths[which] += num_new
        return self.norm(x)


def _normed(x: torch.Tensor) -> torch.Tensor:
    return rms_norm(x, (x.shape[-1],))


def _turns(max_tokens: int, head_width: int) -> torch.Tensor:
    """[tokens, 2, D / 2]: cosine and sine of the angle by which each pair of numbers is turned at each position."""
    frequencies = _ROTARY_BASE ** (-torch.arange(0, head_width, 2) / head_width)
    angles = torch.arange(max_tokens)[:, None] * frequencies
    return torch.stack([angles.cos(), angles.sin()], 1)


def rotated(x: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """[n, k, heads, D] with each pair (i, i + D / 2) turned by `turns` [n or 1, k, 2, D / 2]."""
    cosine, sine = turns[:, :, None, 0].to(x.dtype), turns[:, :, None, 1].to(x.dtype)  # [n or 1, k, 1, D / 2]
    first, second = x.chunk(2, -1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)
