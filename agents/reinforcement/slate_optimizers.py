"""The best slate, given what each item is worth if it is chosen and how likely the choice is.

Ie et al., "SlateQ: a tractable decomposition for reinforcement learning with recommendation sets", IJCAI 2019: one
item of a slate A is chosen, or none, with chances in proportion to v_i = exp(utility of i), and v_0 = 1 for none. So

    Q(A) = (v_0 q_0 + sum_{i in A} v_i q_i) / (v_0 + sum_{i in A} v_i),

which three optimisers maximise over all slates of S items: `top_k` and `greedy` roughly, `exact` exactly.

Shape legend: B batch, M candidates, S slots of a slate.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class ChoiceValues:
    """What a slate's value depends on, for a batch of states. Positions on the slate make no difference."""

    utilities: torch.Tensor
    """[B, M]: logits of choosing an item against choosing none."""
    item_values: torch.Tensor
    """[B, M]: q_i, the value if item i is chosen."""
    none_values: torch.Tensor
    """[B]: q_0, the value if nothing is chosen."""
    mask: torch.Tensor
    """[B, M]: 0 for a missing candidate, which is never chosen and stands last on a slate."""

    def of(self, slates: torch.Tensor) -> torch.Tensor:
        """[B] float64: Q(A) of slates [B, S] of different candidates."""
        weights, none_weights = self.weights
        chosen = weights.gather(1, slates)
        total = none_weights + chosen.sum(1)
        return (none_weights * self.none_values + (chosen * self.item_values.gather(1, slates)).sum(1)) / total

    @property
    def weights(self) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, M] and [B] float64: v_i and v_0, both divided by the largest of them in each row."""
        utilities = self.utilities.double().masked_fill(self.mask == 0, -torch.inf)
        largest = utilities.max(1).values.clamp(min=0.0)
        return (utilities - largest[:, None]).exp(), (-largest).exp()

    def gains(self, over: torch.Tensor) -> torch.Tensor:
        """[B, M] float64: v_i (q_i - over) for a value `over` [B]; -inf for a missing candidate."""
        gains = self.weights[0] * (self.item_values - over[:, None])
        return gains.masked_fill(self.mask == 0, -torch.inf)


Optimizer = Callable[[ChoiceValues, int], torch.Tensor]
"""From values and S to scores [B, M] float64, by which the S highest make the slate, best on top."""


def top_k(values: ChoiceValues, slate_size: int) -> torch.Tensor:
    """Items by v_i (q_i - q_0), as if no item took a chance from another."""
    return values.gains(values.none_values.double())


def greedy(values: ChoiceValues, slate_size: int) -> torch.Tensor:
    """Slot by slot, the item that makes the slate so far worth most; what is left over scores 0."""
    weights, total = values.weights
    worth = total * values.none_values
    scores = torch.zeros_like(weights)
    is_free = values.mask != 0
    for slot in range(slate_size):
        each = (worth[:, None] + weights * values.item_values) / (total[:, None] + weights)
        chosen = each.masked_fill(~is_free, -torch.inf).argmax(1, keepdim=True)
        scores.scatter_(1, chosen, float(slate_size - slot))
        is_free = is_free.scatter(1, chosen, False)
        weight = weights.gather(1, chosen)[:, 0]
        total, worth = total + weight, worth + weight * values.item_values.gather(1, chosen)[:, 0]
    return scores.masked_fill(values.mask == 0, -torch.inf)


def exact(values: ChoiceValues, slate_size: int) -> torch.Tensor:
    """The optimum of the paper's linear program, by the method of Dinkelbach (1967).

    No slate is worth more than L if and only if no slate has sum_{i in A} v_i (q_i - L) + v_0 (q_0 - L) > 0; and the
    slate that makes this sum largest is the S items of highest v_i (q_i - L). So: take L from a slate, the best slate
    for that L, L from that slate, and so on. L rises strictly, so it ends, with a slate than which none is better.
    """
    best = values.of(top_k(values, slate_size).topk(slate_size).indices)
    while True:
        scores = values.gains(best)
        found = values.of(scores.topk(slate_size).indices)
        if not (found > best).any():
            return scores
        best = torch.maximum(best, found)


OPTIMIZERS: dict[str, Optimizer] = {"top-k": top_k, "greedy": greedy, "lp": exact}
"""By the names that the paper gives them."""
