"""A causal Transformer over the history of a session: one state before its first row, and one after each row.

Kang and McAuley, "Self-attentive sequential recommendation" (SASRec), ICDM 2018, with content and feedback in place of
item ids, so that new items are understood at once, and with normalisation before each layer (Xiong et al., "On layer
normalization in the Transformer architecture", ICML 2020), which needs no long warm-up.

Shape legend: B batch, L rows, T features of a row, P features of the profile, E width, A heads.
"""

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention


class _Block(nn.Module):
    """x + attention(norm(x)), then x + network(norm(x)); [B, L + 1, E]."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm, self.network_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self.query_key_value(self.attention_norm(x)).unflatten(2, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # [B, A, L + 1, E / A] each
        attended = scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attended(attended.transpose(1, 2).flatten(2))
        return x + self.network(self.network_norm(x))


class HistoryEncoder(nn.Module):
    """A profile [B, P] and rows [B, L, T], oldest first, to states [B, L + 1, E].

    State n depends on the profile, which is the first token, and on the first n rows, on no later ones. Padding stands
    at the end.

    Args:
        profile: P.
        row: T.
        width: E, a multiple of `num_heads`.
        num_layers: blocks.
        num_heads: A.
        max_rows: the largest L.
    """

    def __init__(self, *, profile: int, row: int, width: int, num_layers: int, num_heads: int, max_rows: int) -> None:
        super().__init__()
        self.profile, self.row = nn.Linear(profile, width), nn.Linear(row, width)
        self.position = nn.Parameter(0.02 * torch.randn(max_rows + 1, width))
        self.blocks = nn.ModuleList(_Block(width, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, profile: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        tokens = torch.cat([self.profile(profile).unsqueeze(1), self.row(rows)], 1)
        x = tokens + self.position[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.norm(x)
