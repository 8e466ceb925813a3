"""Action values: candidates' scores, plus a state value that all of them share.

Shape legend: B rows of a batch, M candidates.
"""

import torch
from torch import nn

from recsim_env.sb3.candidate_scorer import CandidateScorer, ScorerSizes


class QNetwork(nn.Module):
    """`"full"` observations to [B, M]: a candidate's score, plus a state value that all candidates share."""

    def __init__(self, sizes: ScorerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.scorer = CandidateScorer(sizes)
        self.value = nn.Linear(sizes.width, 1)

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        state, scores = self.scorer(observations)
        return scores + self.value(state)
