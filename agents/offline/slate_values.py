"""Values of slates: the mean of the values of their items.

Rewards are means over slots, so the value of an item is that of a slate of such items. With one item per step it is
the action value itself.

Shape legend: B rows of a batch, M candidates, S slots of a slate.
"""

import torch


def slate_values(q_values: torch.Tensor, slates: torch.Tensor, is_shown: torch.Tensor) -> torch.Tensor:
    """[B]: mean over slots of `q_values` [B, M] of slates [B, S]; slots that are not `is_shown` [B, S] count as 0."""
    return torch.where(is_shown, q_values.gather(1, slates), 0.0).mean(1)


def best_slate_values(
    ranking: torch.Tensor, q_values: torch.Tensor, candidate_mask: torch.Tensor, slate_size: int
) -> torch.Tensor:
    """[B]: the values `q_values` [B, M] of the slates that have the largest `ranking` [B, M].

    Unavailable candidates (0 in `candidate_mask` [B, M]) count as 0. Double Q-learning (van Hasselt, Guez and Silver,
    2016) ranks by the online network and takes the values from the target network.
    """
    slates = ranking.masked_fill(candidate_mask == 0, -torch.inf).topk(slate_size, 1).indices
    return slate_values(q_values, slates, candidate_mask.gather(1, slates) > 0)
