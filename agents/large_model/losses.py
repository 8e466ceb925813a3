"""What is learnt from sessions: answers, values, a teacher's scores, and by reinforcement a policy.

Shape legend: K steps of some sessions, S slots, M candidates.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from agents.large_model.heads import q_values
from agents.large_model.model import LargeModel
from agents.large_model.plackett_luce import entropy, slate_log_probabilities
from agents.large_model.sessions import Sessions, Steps
from agents.networks.item_content import ItemContent
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
    """Divergence KL(anchor, policy) from a policy that should not be left far behind, in nats."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What reinforcement makes of sessions."""

    advantages: torch.Tensor
    """[K]: normalised."""
    returns: torch.Tensor
    """[K]: what each state turned out to be worth."""
    anchor_logits: torch.Tensor | None = None
    """[K, M]: of the policy that is the anchor."""


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
        self,
        sessions: Sessions,
        content: ItemContent,
        targets: Targets,
        weights: LossWeights,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The weighted sum, and its parts and what else is worth watching, each a mean over steps."""
        scores, steps = self.model(sessions, content), sessions.steps
        mask = steps.candidates >= 0
        clicks, rewards = (x.gather(1, steps.slates) for x in (scores.clicks, scores.rewards))  # [K, S]
        spread = entropy(scores.logits) / mask.sum(1).clamp(min=2).log()
        parts = {
            "answers": answer_loss(clicks, rewards, steps),
            "value": self.model.value_head.loss(scores.values, targets.returns),
            "entropy": -spread,
        }
        if weights.q_value > 0.0:
            values = self.model.value(scores.values).detach()
            found = q_values(values, scores.logits, scores.temperature, mask)
            parts["q_value"] = (over_slots(found.gather(1, steps.slates), steps) - targets.returns).square()
        if weights.teacher > 0.0 and steps.teacher is not None:
            parts["teacher"] = teacher_loss(scores.logits * scores.temperature, steps.teacher, mask)
        if weights.anchor > 0.0 and targets.anchor_logits is not None:
            parts["anchor"] = divergence(targets.anchor_logits, scores.logits)
        if weights.policy > 0.0:
            log_ratios = slate_log_probabilities(scores.logits, steps.slates) - steps.log_probabilities  # [K, S]
            ratios, advantages = log_ratios.exp(), targets.advantages[:, None]
            clipped = ratios.clamp(1.0 - self.clip, 1.0 + self.clip)
            parts["policy"] = -over_slots(torch.minimum(ratios * advantages, clipped * advantages), steps)
            parts["moved"] = over_slots(ratios - 1.0 - log_ratios, steps)  # never below 0; on average the divergence
            parts["share_clipped"] = over_slots(((ratios - 1.0).abs() > self.clip).float(), steps)
        means = {name: part.mean() for name, part in parts.items()} | {"temperature": scores.temperature}
        total = sum(getattr(weights, name) * mean for name, mean in means.items() if getattr(weights, name, 0.0) > 0.0)
        return total, {name: mean.detach() for name, mean in means.items()}  # type: ignore[return-value]


def divergence(anchor_logits: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """[K]: KL(anchor, policy) = sum anchor log(anchor / policy) over the candidates [K, M], in nats."""
    anchor = anchor_logits.log_softmax(1)
    return (anchor.exp() * (anchor - logits.log_softmax(1))).sum(1)


def answer_loss(clicks: torch.Tensor, rewards: torch.Tensor, steps: Steps) -> torch.Tensor:
    """[K]: minus the log-likelihood of each slot's answer, mean over slots: chosen or not, and if so the reward.

    A slate's reward is the mean over its slots, and one of them is chosen at most; so S times the reward is that
    slot's.
    """
    num_slots = steps.slates.shape[1]
    was_chosen = steps.clicked.float()
    each = binary_cross_entropy_with_logits(clicks, was_chosen, reduction="none")
    error = rewards - num_slots * steps.rewards[:, None]
    return over_slots(each + 0.5 * was_chosen * error.square(), steps)


def over_slots(each: torch.Tensor, steps: Steps) -> torch.Tensor:
    """[K]: mean of [K, S] over the slots that a candidate was left for."""
    is_shown = steps.candidates.gather(1, steps.slates) >= 0
    return each.where(is_shown, 0.0).sum(1) / is_shown.sum(1).clamp(min=1)


def teacher_loss(worths: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[K]: squared error of worths [K, M] against a teacher's, both less their mean over the candidates.

    The least of it is the teacher's scores averaged over all that the state leaves open: what a player does who
    knows the rules but not the person.
    """
    number = mask.sum(1, keepdim=True).clamp(min=1)
    difference = (worths - teacher).masked_fill(~mask, 0.0)
    centred = (difference - difference.sum(1, keepdim=True) / number).masked_fill(~mask, 0.0)
    return centred.square().sum(1) / number[:, 0]
