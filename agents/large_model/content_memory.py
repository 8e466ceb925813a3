"""What a user's feedback says of items with similar content.

Shape legend: n sessions, k rows of each, K steps of any sessions, M candidates, D content directions, E width of
states, C of candidates, V channels.
"""

import torch
from torch import nn

_DECAYS = (1.0, 0.95)
"""Of half of the channels each, for each row that follows."""


class ContentMemory(nn.Module):
    """Linear attention of candidates to the rows of their session, with the cosine similarity of content as weights.

    A row writes v = W s, of the state s after it, and a candidate c reads

        y(c) = (1 + gate(s)) * sum_r decay^(rows after r) cos(c, r) v(r)

    in the present state s. So a row can count by what it says beyond what was expected: a click on an item that
    everyone clicks says little. As cos(c, r) is a product of directions, the sum is a product of c's direction with a
    matrix [D, V] of the session: "Transformers are RNNs" (Katharopoulos et al. 2020).
    """

    def __init__(self, width: int, candidate_width: int, num_channels: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, num_channels, bias=False)
        self.gate = nn.Linear(width, num_channels)
        self.out = nn.Linear(num_channels, candidate_width, bias=False)
        self.decays: torch.Tensor
        decays = torch.tensor(_DECAYS).repeat_interleave(-(-num_channels // len(_DECAYS)))[:num_channels]
        self.register_buffer("decays", decays, persistent=False)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def after_each_row(self, states: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """[n, 1 + k, D, V] float32: memories before the first and after each of the rows of whole sessions, with the
        states after them [n, k, E] and their directions [n, k, D], 0 where there is no row."""
        with torch.autocast(states.device.type, enabled=False):  # sums need the precision
            powers = self.decays ** torch.arange(states.shape[1], device=states.device)[:, None]  # [k, V]
            values = self.value(states.float()) / powers
            written = torch.einsum("nkd,nkv->nkdv", directions, values).cumsum(1) * powers[:, None]
        return nn.functional.pad(written, (0, 0, 0, 0, 1, 0))

    def after_rows(
        self, memories: torch.Tensor, states: torch.Tensor, directions: torch.Tensor, num_rows: torch.Tensor
    ) -> torch.Tensor:
        """[n, D, V]: `memories` [n, D, V] after the first `num_rows` [n] of some more rows."""
        with torch.autocast(states.device.type, enabled=False):
            later = num_rows[:, None] - 1 - torch.arange(states.shape[1], device=states.device)  # [n, k]
            weights = self.decays ** later.clamp(min=0)[:, :, None] * (later >= 0)[:, :, None]  # [n, k, V]
            old = memories * (self.decays ** num_rows[:, None])[:, None]
            return old + torch.einsum("nkd,nkv->ndv", directions, self.value(states.float()) * weights)

    def read(self, memories: torch.Tensor, directions: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """[K, M, C]: what candidates with `directions` [K, M, D] read of the memories [K, D, V] in states [K, E]."""
        return self.out((directions @ memories) * (1.0 + self.gate(states))[:, None])
