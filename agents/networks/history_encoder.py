"""The history of a session as states: one before its first row, and one after each row.

After Kang and McAuley, "Self-attentive sequential recommendation" (SASRec), ICDM 2018, with content and feedback in
place of item ids, so that new items are understood at once.

Shape legend: B batch, L rows, T features of a row, P features of the profile, E width.
"""

import torch
from torch import nn

from agents.networks.transformer import Transformer


class HistoryEncoder(nn.Module):
    """A profile [B, P] and rows [B, L, T], oldest first, to states [B, L + 1, E].

    State n depends on the profile, which is the first token, and on the first n rows, on no later ones. Padding stands
    at the end.

    Args:
        profile: P.
        row: T.
        width: E, a multiple of twice `num_heads`.
        num_layers: blocks.
        num_heads: of attention.
        max_rows: the largest L.
    """

    def __init__(self, *, profile: int, row: int, width: int, num_layers: int, num_heads: int, max_rows: int) -> None:
        super().__init__()
        self.profile, self.row = nn.Linear(profile, width), nn.Linear(row, width)
        self.transformer = Transformer(
            width=width,
            num_layers=num_layers,
            num_heads=num_heads,
            num_key_heads=num_heads,
            hidden_width=8 * width // 3,  # as many weights as 4 x width without a gate
            max_tokens=1 + max_rows,
        )

    def forward(self, profile: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return self.transformer(torch.cat([self.profile(profile).unsqueeze(1), self.row(rows)], 1))
