"""How large a model is, and presets named for their number of parameters."""

from dataclasses import asdict, dataclass
from typing import Any

from recsim_env.config import Checked, count


@dataclass(frozen=True, kw_only=True)
class ModelSizes(Checked):
    """The numbers that shape a model."""

    width: int = count(64, 8, 65_536)
    """E of tokens and states, a multiple of `num_heads`."""
    num_layers: int = count(2, 1, 1_000)
    """Blocks of the trunk."""
    num_heads: int = count(2, 1, 1_024)
    """A, heads of each attention; E / A is even."""
    num_key_heads: int = count(2, 1, 1_024)
    """Heads of keys and values; fewer than A share them in groups (Ainslie et al. 2023), so A is a multiple."""
    hidden_width: int = count(192, 8, 262_144)
    """Of the network in each block."""
    item_width: int = count(64, 8, 65_536)
    """V of what is made of an item's content."""
    candidate_width: int = count(64, 8, 65_536)
    """C of a candidate: its content, its statistics and what the session has to do with it."""
    num_candidate_layers: int = count(0, 0, 100)
    """Layers in which candidates attend to the session and to each other before they are scored."""
    num_word_buckets: int = count(1_024, 16, 10_000_000)
    """Embeddings that all words share, by a hash."""
    word_width: int = count(16, 4, 65_536)
    """Of a word's embedding."""
    num_value_bins: int = count(101, 5, 10_001)
    """Bins of the distribution of returns."""
    max_tokens: int = count(1_024, 8, 1_000_000)
    """Longest session: 1 for the profile, and one for each item shown."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % (2 * self.num_heads):
            raise ValueError(f"ModelSizes.width={self.width}: must be a multiple of twice num_heads={self.num_heads}")
        if self.num_heads % self.num_key_heads:
            raise ValueError(
                f"ModelSizes.num_heads={self.num_heads}: must be a multiple of num_key_heads={self.num_key_heads}"
            )

    def as_settings(self) -> dict[str, Any]:
        """As JSON can hold them; `ModelSizes(**settings)` brings them back."""
        return asdict(self)


def _preset(width: int, num_layers: int, num_heads: int, num_key_heads: int, **others: int) -> ModelSizes:
    """SwiGLU's three matrices of 8/3 E x E are as large as two of 4 E x E."""
    wide = {"hidden_width": -(-8 * width // 24) * 8, "item_width": width, "candidate_width": min(width, 256)}
    numbers = {**wide, **others}
    return ModelSizes(width=width, num_layers=num_layers, num_heads=num_heads, num_key_heads=num_key_heads, **numbers)


PRESETS = {
    "micro": _preset(32, 2, 2, 2, num_word_buckets=512),
    "tiny": _preset(64, 2, 2, 2, num_word_buckets=512),
    "small": _preset(96, 3, 3, 3, num_word_buckets=512),
    "1m": _preset(128, 4, 4, 4, num_word_buckets=1_024, item_width=96),
    "10m": _preset(320, 7, 5, 5, num_word_buckets=4_096, word_width=64),
    "30m": _preset(512, 9, 8, 8, num_word_buckets=8_192, word_width=64),
    "100m": _preset(768, 15, 12, 4, num_word_buckets=16_384, word_width=128),
    "300m": _preset(1_024, 26, 16, 4, num_word_buckets=16_384, word_width=128),
    "1b": _preset(2_048, 22, 16, 4, num_word_buckets=32_768, word_width=256),
}
"""Sizes by name; those without a number are for a CPU. Millions of parameters (`model.count_parameters`) where there
are 10 content features and 10 numbers of a user, without and with pictures and sounds: micro .05 .07, tiny .16 .20,
small .45 .51, 1m .96 1.01, 10m 9.9 10.0, 30m 31.0 31.2, 100m 100.6 101.0, 300m 295.7 296.2, 1b 1,002 1,003. All
scenarios together add .1 to 1m, 1 to 1b."""


def sizes_named(name: str) -> ModelSizes:
    """The preset of that name; `ValueError` naming the known ones if there is none."""
    if name not in PRESETS:
        raise ValueError(f"preset={name!r}: must be one of {', '.join(PRESETS)}")
    return PRESETS[name]
