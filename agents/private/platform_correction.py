"""A correction of the platform's ranking, which is learned from a log; the ranking itself is computed without it.

Shape legend: B batch, M candidates, E width of the embeddings.
"""

import torch
from torch import nn

from recsim_env.sb3.candidate_scorer import MISSING, CandidateScorer, ScorerSizes
from recsim_env.simulation.observation import CANDIDATE_COLUMNS

_RELEVANCE = CANDIDATE_COLUMNS.index("relevance") - len(CANDIDATE_COLUMNS)


class PlatformCorrection(nn.Module):
    """`"full"` observations to the user's state [B, E] and a score for each candidate [B, M]: `platform_weight` times
    the platform's prediction, plus a correction by a `CandidateScorer`, which is 0 at first."""

    def __init__(self, sizes: ScorerSizes, platform_weight: float) -> None:
        super().__init__()
        self.sizes, self._platform_weight = sizes, platform_weight
        self.correction = CandidateScorer(sizes)
        for layer in (self.correction.score, self.correction.match_of_candidate):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, observations: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        mask = observations["candidate_mask"]
        relevance = observations["candidates"].reshape(*mask.shape, -1)[:, :, _RELEVANCE]
        state, corrections = self.correction(observations)
        scores = self._platform_weight * relevance + corrections
        return state, scores.masked_fill(mask == 0, MISSING)
