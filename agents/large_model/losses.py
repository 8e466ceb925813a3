"""What is learnt from sessions: answers, values, a teacher's scores, and by reinforcement a policy.

Shape legend: B sessions, T steps, S slots, M candidates, R rows, i items that occur.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from agents.large_model.heads import q_values
from agents.large_model.item_content import ItemContent
from agents.large_model.model import LargeModel, Scores
from agents.large_model.plackett_luce import entropy, slate_log_probabilities
from agents.large_model.sessions import Sessions
from recsim_env.config import Checked, number


@dataclass(frozen=True, kw_only=True)
class LossWeights(Checked):
    """How much each part of the loss counts; 0 leaves it out."""

    answers: float = number(0.0, 0.0, 1e3)
    """Whether a slot is chosen, and for what reward."""
    value: float = number(0.0, 0.0, 1e3)
    """Cross-entropy of the distribution of returns."""
    q_value: float = number(0.0, 0.0, 1e3)
    """Squared error of Q of what was shown, in units of squared reward."""
    policy: float = number(0.0, 0.0, 1e3)
    """Proximal policy optimisation."""
    entropy: float = number(0.0, 0.0, 1e3)
    """Bonus for a policy that varies, in units of log(M)."""
    teacher: float = number(0.0, 0.0, 1e3)
    """Squared error of what a teacher makes of all candidates, up to a constant."""
    anchor: float = number(0.0, 0.0, 1e3)
    """Divergence from the policy that drew the slates, of the slates drawn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What reinforcement makes of sessions."""

    advantages: torch.Tensor
    """[B, T]: normalised."""
    returns: torch.Tensor
    """[B, T]: what each state turned out to be worth."""


class SessionLoss(nn.Module):
    """The loss of some sessions of one catalogue, as a module: what wraps it sees one forward pass.

    Args:
        model: what learns.
        clip: how far a slot's probability may move from what it was, as a ratio.
    """

    def __init__(self, model: LargeModel, clip: float = 0.2) -> None:
        super().__init__()
        self.model, self.clip = model, clip

    def forward(
        self, sessions: Sessions, content: ItemContent, targets: Targets, weights: LossWeights
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The weighted sum, and its parts and what else is worth watching, each a mean over steps."""
        scores = score_sessions(self.model, sessions, content)
        is_step = sessions.is_step
        parts = {}

        def mean(values: torch.Tensor, where: torch.Tensor = is_step) -> torch.Tensor:
            return (values * where).sum() / where.sum().clamp(min=1)

        shown = {name: getattr(scores, name).gather(2, sessions.slates) for name in ("clicks", "rewards")}  # [B, T, S]
        parts["answers"] = mean(answer_loss(shown["clicks"], shown["rewards"], sessions))
        parts["value"] = mean(self.model.value_head.loss(scores.values, targets.returns))
        mask = sessions.candidates >= 0
        if weights.q_value > 0.0:
            values = self.model.value(scores.values).detach()
            found = q_values(values, scores.logits, self.model.temperature, mask)
            q_of_slate = found.gather(2, sessions.slates).mean(2)
            parts["q_value"] = mean((q_of_slate - targets.returns).square())
        if weights.teacher > 0.0 and sessions.teacher is not None:
            parts["teacher"] = mean(teacher_loss(scores.logits * self.model.temperature, sessions.teacher, mask))
        if weights.policy > 0.0 or weights.anchor > 0.0:
            log_probabilities = slate_log_probabilities(scores.logits, sessions.slates)
            log_ratios = log_probabilities - sessions.log_probabilities  # [B, T, S]
            ratios = log_ratios.exp()
            gains = ratios * targets.advantages[:, :, None]
            clipped = ratios.clamp(1.0 - self.clip, 1.0 + self.clip) * targets.advantages[:, :, None]
            parts["policy"] = -mean(torch.minimum(gains, clipped).mean(2))
            divergence = mean((ratios - 1.0 - log_ratios).mean(2))  # >= 0, and its mean is that of the divergence
            parts["anchor"] = divergence
            parts["share_clipped"] = mean(((ratios - 1.0).abs() > self.clip).float().mean(2)).detach()
        spread = mean(entropy(scores.logits) / mask.sum(2).clamp(min=2).log())
        parts["entropy"] = -spread
        total = sum(getattr(weights, name) * parts[name] for name in parts if getattr(weights, name, 0.0) > 0.0)
        return total, {name: value.detach() for name, value in parts.items()}  # type: ignore[return-value]


def score_sessions(model: LargeModel, sessions: Sessions, content: ItemContent) -> Scores:
    """Scores [B, T, ...] of all candidates of whole sessions, in one pass."""
    occurring, places = torch.unique(
        torch.cat([sessions.row_items.flatten(), sessions.candidates.flatten()]).clamp(min=0), return_inverse=True
    )
    as_rows, as_candidates = model.item_tables(content, occurring)  # [i, E], [i, C]
    num_rows = sessions.row_items.numel()
    rows = model.row_tokens(as_rows[places[:num_rows].view_as(sessions.row_items)], sessions.row_answers)
    domain = torch.full((len(sessions),), content.domain, device=rows.device)
    states = model.states(model.first_tokens(sessions.users[:, 0], domain), rows)  # [B, 1 + R, E]
    before = sessions.num_rows.clamp(max=rows.shape[1])[:, :, None].expand(-1, -1, states.shape[2])
    return model.score(
        states.gather(1, before),
        sessions.users,
        as_candidates[places[num_rows:].view_as(sessions.candidates)],
        sessions.dynamics,
        sessions.candidates >= 0,
    )


def answer_loss(clicks: torch.Tensor, rewards: torch.Tensor, sessions: Sessions) -> torch.Tensor:
    """[B, T]: minus the log-likelihood of each slot's answer, mean over slots: chosen or not, and if so the reward.

    A slate's reward is the mean over its slots, and one of them is chosen at most; so S times the reward is that
    slot's.
    """
    num_slots = sessions.slates.shape[2]
    was_chosen = sessions.clicked.float()
    each = binary_cross_entropy_with_logits(clicks, was_chosen, reduction="none")
    error = rewards - num_slots * sessions.rewards[:, :, None]
    return (each + 0.5 * was_chosen * error.square()).mean(2)


def teacher_loss(worths: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[B, T]: squared error of worths [B, T, M] against a teacher's, both less their mean over the candidates.

    The least of it is the teacher's scores averaged over all that the state leaves open: what a player does who
    knows the rules but not the person.
    """
    there = mask.float()
    number = there.sum(2, keepdim=True).clamp(min=1.0)
    difference = (worths - teacher) * there
    centred = (difference - difference.sum(2, keepdim=True) / number) * there
    return centred.square().sum(2) / number[:, :, 0]
