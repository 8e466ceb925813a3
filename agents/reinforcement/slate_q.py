"""SlateQ: the long-term value of a slate, from that of its items.

Ie et al., "SlateQ: a tractable decomposition for reinforcement learning with recommendation sets", IJCAI 2019: as at
most one item i of a slate A is chosen, Q(s, A) = P(none | s, A) q(s, none) + sum_{i in A} P(i | s, A) q(s, i), with P
from a choice model and q(s, i), the value if i is chosen, learned from the steps in which it was.

Shape legend: B rows of a batch, M candidates, S slots of a slate.
"""

from dataclasses import dataclass

import torch
from torch import nn

from agents.networks.torch_learner import Tensors
from agents.reinforcement.pqn import PQN
from agents.reinforcement.slate_optimizers import OPTIMIZERS, ChoiceValues
from recsim_env.config import choice
from recsim_env.sb3.candidate_scorer import CandidateScorer, ScorerSizes


class SlateQNetwork(nn.Module):
    """`"full"` observations to utilities [B, M], values of the items if chosen [B, M], and of choosing none [B].

    Utilities and values come from separate networks.
    """

    def __init__(self, sizes: ScorerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.choice, self.worth = CandidateScorer(sizes), CandidateScorer(sizes)
        self.value = nn.Linear(sizes.width, 1)
        self.none = nn.Linear(sizes.width, 1)

    def forward(self, observations: Tensors) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        _, utilities = self.choice(observations)
        state, scores = self.worth(observations)
        value = self.value(state)
        return utilities, scores + value, (self.none(state) + value).squeeze(1)


@dataclass(kw_only=True, eq=False, repr=False)
class SlateQ(PQN):
    """PQN's training (lambda-returns, no target network) of the values of items, given that they are chosen.

    If the slate was A and c was chosen (an item, or none), the target of q(s, c) is the return

        r + gamma ((1 - lambda) max_A' Q(s', A') + lambda G')

    with the *next* state s' and its return G'. When nothing is chosen the reward is 0, but the session goes on and the
    user loses patience, so q(s, none) is learned like the others (the paper sets it to 0, which is right only if a skip
    has no consequences). P is the conditional logit of the utilities on the slate against 0 for none, fitted by maximum
    likelihood; positions have no effect. Exploration is epsilon-greedy over slates. The network learns
    (1 - gamma) S q, since the reward is a mean over the slots, all but one of which are 0.
    """

    optimizer: str = choice("lp", *OPTIMIZERS)
    """Finds max_A Q(s, A): a name in `slate_optimizers.OPTIMIZERS`."""

    def make_network(self, sizes: ScorerSizes) -> nn.Module:
        return SlateQNetwork(sizes)

    def check_sizes(self) -> None:
        if self.layout.history_length < self.slate_size:
            raise ValueError(
                f"history_length={self.layout.history_length}: must be at least slate_size={self.slate_size}, "
                "for SlateQ to see clicks"
            )

    def choice_values(self, observations: Tensors) -> ChoiceValues:
        """What determines the values of slates."""
        utilities, item_values, none_values = self.network(observations)
        scale = (1.0 - self.gamma) * self.slate_size
        return ChoiceValues(
            utilities=utilities,
            item_values=item_values / scale,
            none_values=none_values / scale,
            mask=observations["candidate_mask"],
        )

    def rank(self, observations: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
        values = self.choice_values(observations)
        scores = OPTIMIZERS[self.optimizer](values, self.slate_size)
        return scores, values.of(scores.topk(self.slate_size).indices).float()

    def loss(self, batch: Tensors) -> torch.Tensor:
        """Mean of ((1 - gamma) S (q(s, c) - target))^2 - log P(c | s, A)."""
        slates, chosen = batch["slates"], (batch["clicked"] + 1).unsqueeze(1)
        values = self.choice_values(batch)
        logits = torch.cat([torch.zeros_like(chosen), values.utilities.gather(1, slates)], 1)
        each = torch.cat([values.none_values.unsqueeze(1), values.item_values.gather(1, slates)], 1)
        errors = each.gather(1, chosen).squeeze(1) - batch["targets"]
        surprise = nn.functional.cross_entropy(logits, chosen.squeeze(1))
        return ((1.0 - self.gamma) * self.slate_size * errors).square().mean() + surprise
