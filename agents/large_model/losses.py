"""The loss of sessions: feedback, values, a teacher's scores or policy, and the policy by PPO.

Shape legend: B sessions, T steps, K steps of some sessions, S slots, M candidates.
"""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, pad

from agents.imitation.teacher import spread, teacher_loss
from agents.large_model.config import LossWeights
from agents.large_model.model import LargeModelNetwork
from agents.large_model.rollout import Sessions, Steps
from agents.networks.item_content import ItemContent
from agents.networks.lambda_returns import lambda_returns
from agents.networks.plackett_luce import entropy, slate_log_probabilities
from recsim_env.sb3.candidate_scorer import MISSING


class SessionLoss(nn.Module):
    """The loss of some sessions of one catalogue, as a module with one forward pass, for wrappers such as DDP.

    `clip_range` is PPO's limit on the ratio of a slot's new and old probability.
    """

    def __init__(self, network: LargeModelNetwork, clip_range: float = 0.2) -> None:
        super().__init__()
        self.network, self.clip_range = network, clip_range

    def forward(
        self,
        sessions: Sessions,
        content: ItemContent,
        weights: LossWeights,
        *,
        advantages: torch.Tensor,
        returns: torch.Tensor,
        anchor_logits: torch.Tensor | None = None,
        teacher_scale: torch.Tensor | float = 1.0,
        importance: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The weighted sum, and its terms and other metrics, each a sum over the K steps with `importance` [K] as
        weights, by default the mean.

        `advantages` [K] are normalised; `returns` [K] are lambda-returns; `anchor_logits` [K, M] are those of the
        reference policy; errors about the teacher's scores are in units of `teacher_scale` [K] or [], so that scenarios
        with rare clicks count as much as others.
        """
        scores, steps = self.network(sessions, content), sessions.steps
        mask = steps.candidates >= 0
        clicks, rewards = (x.gather(1, steps.slates) for x in (scores.clicks, scores.rewards))  # [K, S]
        relative_entropy = entropy(scores.logits) / mask.sum(1).clamp(min=2).log()
        if steps.teacher is None:
            feedback = feedback_loss(clicks, rewards, steps)
        else:
            feedback = expected_feedback_loss(scores.clicks, scores.rewards, steps.teacher, mask)
        terms = {
            "feedback": feedback,
            "value": self.network.value_head.loss(scores.values, returns),
            "entropy": -relative_entropy,
        }
        if weights.teacher > 0.0 and steps.teacher is not None:
            own, labels = scores.logits * scores.temperature, steps.teacher[:, :, 0]
            terms["teacher"] = teacher_loss(own, labels, mask) / teacher_scale**2
        if weights.imitation > 0.0 and steps.teacher is not None:
            terms["imitation"] = divergence(steps.teacher[:, :, 0].masked_fill(~mask, MISSING), scores.logits)
        if weights.anchor > 0.0 and anchor_logits is not None:
            terms["anchor"] = divergence(anchor_logits, scores.logits)
        if weights.policy > 0.0:
            log_ratios = slate_log_probabilities(scores.logits, steps.slates) - steps.log_probabilities  # [K, S]
            ratios, gains = log_ratios.exp(), advantages[:, None]
            clipped = ratios.clamp(1.0 - self.clip_range, 1.0 + self.clip_range)
            terms["policy"] = -slot_mean(torch.minimum(ratios * gains, clipped * gains), steps)
            terms["approx_kl"] = slot_mean(ratios - 1.0 - log_ratios, steps)
            terms["clip_fraction"] = slot_mean(((ratios - 1.0).abs() > self.clip_range).float(), steps)
        if importance is None:
            importance = torch.full_like(returns, 1.0 / max(len(returns), 1))
        sums = {name: (importance * term).sum() for name, term in terms.items()}
        sums["temperature"] = importance.sum() * scores.temperature
        total = sum(getattr(weights, name) * each for name, each in sums.items() if getattr(weights, name, 0.0) > 0.0)
        return total, {name: each.detach() for name, each in sums.items()}  # type: ignore[return-value]


def divergence(anchor_logits: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """[K]: KL(anchor, policy) = sum anchor log(anchor / policy) over the candidates [K, M], in nats."""
    anchor = anchor_logits.log_softmax(1)
    return (anchor.exp() * (anchor - logits.log_softmax(1))).sum(1)


def feedback_loss(clicks: torch.Tensor, rewards: torch.Tensor, steps: Steps) -> torch.Tensor:
    """[K]: negative log-likelihood of the feedback, mean over slots: whether it is clicked, and the reward if so.

    A slate's reward is the mean over its slots, so that S times it is the sum over the clicked slots, which have equal
    parts in it.
    """
    num_slots, was_clicked = steps.slates.shape[1], steps.clicked.float()
    rewards_of_clicks = num_slots * steps.rewards[:, None] / was_clicked.sum(1, keepdim=True).clamp(min=1.0)
    click_loss = binary_cross_entropy_with_logits(clicks, was_clicked, reduction="none")
    error = rewards - rewards_of_clicks
    return slot_mean(click_loss + 0.5 * was_clicked * error.square(), steps)


def expected_feedback_loss(
    clicks: torch.Tensor, rewards: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """[K]: the expectation of `feedback_loss` over what a user would have done, mean over all candidates [K, M], from
    the click probabilities and rewards of a teacher [K, M, 3]; up to a constant."""
    probabilities, expected = teacher[:, :, 1], teacher[:, :, 2]
    click_loss = binary_cross_entropy_with_logits(clicks, probabilities, reduction="none")
    loss = click_loss + 0.5 * probabilities * (rewards - expected).square()
    return loss.where(mask, 0.0).sum(1) / mask.sum(1).clamp(min=1)


def slot_mean(values: torch.Tensor, steps: Steps) -> torch.Tensor:
    """[K]: mean of [K, S] over the slots that are not empty."""
    is_shown = steps.candidates.gather(1, steps.slates) >= 0
    return values.where(is_shown, 0.0).sum(1) / is_shown.sum(1).clamp(min=1)


def session_returns(
    rewards: torch.Tensor, values: torch.Tensor, is_step: torch.Tensor, *, gamma: float, gae_lambda: float
) -> torch.Tensor:
    """[B, T]: lambda-returns of whole sessions, with nothing after a session's last step.

    The length of sessions is fixed and the elapsed share is observed, so truncation counts as an end like any other.
    Returns less values are generalised advantage estimates (Schulman et al. 2016).
    """
    is_over = pad(~is_step[:, 1:], (0, 1), value=True)
    next_values = pad(values[:, 1:], (0, 1))
    return lambda_returns(rewards.T, is_over.T, next_values.T, gamma=gamma, lambda_=gae_lambda).T * is_step


def teacher_scale(sessions: Sessions) -> float:
    """Standard deviation of a teacher's scores among the candidates of a step, in units of reward; 1 without one."""
    steps = sessions.steps
    if steps.teacher is None:
        return 1.0
    return spread(steps.teacher[:, :, 0], steps.candidates >= 0)


def scaled_teacher(sessions: Sessions, scale: float) -> Sessions:
    """The same sessions with the teacher's scores in units of `scale`."""
    if sessions.teacher is None:
        return sessions
    scores, others = sessions.teacher.split((1, 2), 3)
    return replace(sessions, teacher=torch.cat([scores / scale, others], 3))


def explained_variance(values: torch.Tensor, returns: torch.Tensor, is_step: torch.Tensor) -> float:
    """1 - Var(returns - values) / Var(returns)."""
    actual, predicted = returns[is_step], values[is_step]
    return float(1.0 - (actual - predicted).var() / actual.var().clamp(min=1e-12))
