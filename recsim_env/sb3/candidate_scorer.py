"""A network that scores candidates from a user's history and each candidate's features.

A plain network over flattened candidates has to learn the same function for each position. Here the score of a
candidate depends on its own features, on the user's state, and on the feedback on similar items (target attention, as
in Zhou et al., "Deep interest network for click-through rate prediction", KDD 2018).

Shape legend: B batch, M candidates, G features of a candidate, H rows of the history, T features of a row, P features
of the user, E width of the embeddings, D width of the attention.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from recsim_env.sb3.network_units import with_network_units
from recsim_env.simulation.observation import FEEDBACK, ObservationLayout

MISSING = -1e9
"""Score of a missing candidate: far below any other, and finite, so that entropies and gradients are finite."""


@dataclass(frozen=True, kw_only=True)
class ScorerSizes:
    """Sizes of the observations that a scorer reads, and its width."""

    user: int
    """P."""
    row: int
    """T."""
    candidate: int
    """G."""
    width: int = 64
    """E, a multiple of 4."""
    has_layer_norm: bool = False
    """Whether to use layer normalisation (Ba, Kiros and Hinton, 2016), which stabilises Q-learning without a target."""

    @classmethod
    def of(cls, layout: ObservationLayout, **others: Any) -> Self:
        """For the observations of an env."""
        return cls(user=layout.user_size, row=layout.history_shape[1], candidate=layout.candidates_shape[1], **others)


class CandidateScorer(nn.Module):
    """`"full"` observations to the user's state [B, E] and a score for each candidate [B, M].

    The history is a set: one network embeds each row, the mean over rows is the memory, and each candidate attends to
    the rows. With state h, candidate c and attended feedback a, the score is
    (w' relu(U h + V c + A a) + (P h)'(Q c)) / sqrt(D).
    """

    def __init__(self, sizes: ScorerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width, narrow = sizes.width, sizes.width // 4

        def layer(size: int) -> nn.Module:
            return nn.Sequential(nn.Linear(size, width), nn.LayerNorm(width) if sizes.has_layer_norm else nn.Identity())

        self.rows = nn.Sequential(layer(sizes.row), nn.ReLU(), layer(width), nn.ReLU())
        self.state = nn.Sequential(layer(sizes.user + width + 1), nn.ReLU(), nn.Linear(width, width), nn.Tanh())
        self.query = nn.Linear(sizes.candidate, narrow)
        self.key = nn.Linear(width, narrow)
        self.answer = nn.Linear(width, narrow)
        self.hidden_of_state = nn.Linear(width, width)
        self.hidden_of_candidate = nn.Linear(sizes.candidate, width, bias=False)
        self.hidden_of_answers = nn.Linear(narrow, width, bias=False)
        self.score = nn.Linear(width, 1)
        self.match_of_state = nn.Linear(width, narrow)
        self.match_of_candidate = nn.Linear(sizes.candidate, narrow)

    def forward(self, observations: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        mask = observations["candidate_mask"]
        rows = observations["history"].reshape(len(mask), -1, self.sizes.row)  # [B, H, T]
        is_shown = rows[:, :, -len(FEEDBACK)].unsqueeze(2)  # [B, H, 1]
        num_shown = is_shown.sum(1)  # [B, 1]
        embedded = self.rows(rows) * is_shown  # [B, H, E]
        memory = embedded.sum(1) / num_shown.clamp(min=1.0)  # [B, E]
        state = self.state(torch.cat([observations["user"], memory, num_shown / rows.shape[1]], 1))  # [B, E]
        observed = observations["candidates"].reshape(*mask.shape, self.sizes.candidate)  # [B, M, G]
        candidates = with_network_units(observed)
        similarity = torch.sigmoid(self.query(candidates) @ self.key(embedded).transpose(1, 2) / 2.0)  # [B, M, H]
        attended = similarity @ (self.answer(embedded) * is_shown) / 4.0  # [B, M, D]
        hidden = torch.relu(
            self.hidden_of_state(state).unsqueeze(1)
            + self.hidden_of_candidate(candidates)
            + self.hidden_of_answers(attended)
        )  # [B, M, E]
        match = (self.match_of_candidate(candidates) * self.match_of_state(state).unsqueeze(1)).sum(2)  # [B, M]
        scores = (self.score(hidden).squeeze(2) + match) / self.query.out_features**0.5
        return state, scores.masked_fill(mask == 0, MISSING)
