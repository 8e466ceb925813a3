"""Losses of the large model: each term by hand, and each trains its own parameters only."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from agents.large_model.losses import LossWeights, SessionLoss, divergence, feedback_loss
from agents.large_model.model import ReturnDistribution, Scores, policy_logits
from agents.large_model.rollout import Sessions
from agents.networks.plackett_luce import slate_log_probabilities
from recsim_env.sb3.candidate_scorer import MISSING

NUM_BINS = 9
CLIP = 0.2


class FixedNetwork(nn.Module):
    """Outputs its weights, so that gradients are those of the outputs."""

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.mask = mask
        for name in ("scores", "clicks", "rewards"):
            setattr(self, name, nn.Parameter(torch.randn(mask.shape, generator=generator)))
        self.values = nn.Parameter(torch.randn(len(mask), NUM_BINS, generator=generator))
        self.temperature = nn.Parameter(torch.tensor(0.5))
        self.value_head = ReturnDistribution(2, 0.0, 10.0, NUM_BINS)

    @property
    def logits(self) -> torch.Tensor:
        return policy_logits(self.scores, self.temperature, self.mask)

    def value(self, logits: torch.Tensor) -> torch.Tensor:
        return self.value_head.mean(logits)

    def forward(self, sessions: Sessions, content: Any) -> Scores:
        return Scores(
            logits=self.logits,
            clicks=self.clicks,
            rewards=self.rewards,
            values=self.values,
            temperature=self.temperature,
        )


def one_step_sessions(slates: list[list[int]], clicked: list[list[bool]], rewards: list[float], mask: Any) -> Sessions:
    """Sessions of one step each, with a teacher who likes later candidates more."""
    is_there = torch.tensor(mask)
    number, num_candidates = is_there.shape
    return Sessions(
        users=torch.zeros(number, 1, 1),
        row_items=torch.zeros(number, 2, dtype=torch.int64),
        row_feedback=torch.zeros(number, 2, 13),
        num_rows=torch.zeros(number, 1, dtype=torch.int64),
        candidates=torch.arange(num_candidates).where(is_there, -1)[:, None],
        dynamics=torch.zeros(number, 1, num_candidates, 6),
        slates=torch.tensor(slates)[:, None],
        log_probabilities=torch.full((number, 1, len(slates[0])), -1.0),
        values=torch.zeros(number, 1),
        rewards=torch.tensor(rewards)[:, None],
        clicked=torch.tensor(clicked)[:, None],
        lengths=torch.ones(number, dtype=torch.int64),
        teacher=torch.arange(float(num_candidates))[:, None].expand(number, 1, -1, 3) * torch.tensor([1.0, 0.2, 0.5]),
    )


MASK = [[True, True, True, True], [True, True, False, True]]
SESSIONS = one_step_sessions([[2, 0], [3, 1]], [[True, False], [False, False]], [1.5, 0.0], MASK)
TARGETS = {
    "advantages": torch.tensor([1.0, -2.0]),
    "returns": torch.tensor([3.0, 7.0]),
    "anchor_logits": torch.zeros(2, 4),
}


def fixed_network() -> FixedNetwork:
    return FixedNetwork(SESSIONS.steps.candidates >= 0)


def loss_of(
    model: Any, targets: dict[str, torch.Tensor] = TARGETS, sessions: Sessions = SESSIONS, **weights: float
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    return SessionLoss(model, CLIP)(sessions, None, LossWeights(**weights), **targets)


def with_ratios(model: FixedNetwork, ratios: list[list[float]]) -> Sessions:
    """The sessions as they would be if each slot's probability had changed by these factors since."""
    now = slate_log_probabilities(model.logits, SESSIONS.steps.slates).detach()
    return replace(SESSIONS, log_probabilities=(now - torch.tensor(ratios).log())[:, None])


def logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def test_feedback_by_hand():
    clicks, rewards = torch.tensor([[0.5, -1.0]]), torch.tensor([[2.0, 9.0]])
    steps = SESSIONS.select(torch.tensor([0])).steps
    chosen = -math.log(logistic(0.5)) + 0.5 * (2.0 - 2 * 1.5) ** 2  # the slate's reward is half of the slot's
    not_chosen = -math.log(1.0 - logistic(-1.0))
    assert feedback_loss(clicks, rewards, steps).tolist() == pytest.approx([(chosen + not_chosen) / 2])


def test_clicked_slots_have_equal_parts_in_the_reward_of_a_slate():
    steps = one_step_sessions([[2, 0]], [[True, True]], [1.5], [[True] * 4]).steps
    clicks, rewards = torch.tensor([[0.5, 0.5]]), torch.tensor([[2.0, 1.0]])
    errors = 0.5 * (2.0 - 1.5) ** 2 + 0.5 * (1.0 - 1.5) ** 2  # the two slots have a sum of 3
    expected = -math.log(logistic(0.5)) + errors / 2
    assert feedback_loss(clicks, rewards, steps).tolist() == pytest.approx([expected])


ONE_LEFT = one_step_sessions([[0, 2]], [[True, False]], [0.5], [[True, False, False]])


def test_empty_slots_have_no_feedback_loss():
    steps = ONE_LEFT.steps
    clicks, rewards = (torch.tensor([[0.5, 3.0]], requires_grad=True) for _ in range(2))
    found = feedback_loss(clicks, rewards, steps)
    assert found.tolist() == pytest.approx([-math.log(logistic(0.5)) + 0.5 * (0.5 - 2 * 0.5) ** 2])
    found.sum().backward()
    assert clicks.grad[0, 1] == rewards.grad[0, 1] == 0.0


def test_empty_slots_have_no_part_in_the_policy_loss():
    model = FixedNetwork(ONE_LEFT.steps.candidates >= 0)
    targets = {"advantages": torch.tensor([1.0]), "returns": torch.tensor([3.0])}
    _, parts = loss_of(model, targets, replace(ONE_LEFT, log_probabilities=torch.zeros(1, 1, 2)), policy=1.0)
    assert parts["policy"].item() == pytest.approx(-1.0)
    assert parts["clip_fraction"] == parts["approx_kl"] == 0.0


def test_the_value_is_learnt_by_cross_entropy_with_the_return():
    model = fixed_network()
    total, parts = loss_of(model, value=0.5)
    by_hand = model.value_head.loss(model.values, TARGETS["returns"]).mean()
    torch.testing.assert_close(total, 0.5 * by_hand)
    torch.testing.assert_close(parts["value"], by_hand.detach())


def test_the_entropy_bonus_is_relative_to_a_uniform_policy():
    model = fixed_network()
    with torch.no_grad():
        model.scores.zero_()
    assert loss_of(model, entropy=0.3)[0].item() == pytest.approx(-0.3)
    with torch.no_grad():
        model.scores[0] = torch.tensor([100.0, 0.0, 0.0, 0.0])  # certain; the other one has three to choose from
    assert loss_of(model, entropy=0.3)[0].item() == pytest.approx(-0.15)


def test_the_policy_loss_by_hand():
    model = fixed_network()
    total, parts = loss_of(model, sessions=with_ratios(model, [[1.1, 1.5], [0.5, 1.1]]), policy=1.0)
    good = -(1.1 + 1.2) / 2  # advantage 1: no more than 1.2 counts
    bad = (0.8 + 1.1) / 2 * 2.0  # advantage -2: no less than 0.8 does
    assert total.item() == pytest.approx((good + bad) / 2, rel=1e-5)
    assert parts["clip_fraction"].item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("advantage", "ratio", "is_clipped"),
    [
        *[(1.0, 1.3, True), (1.0, 1.1, False), (1.0, 0.7, False)],
        *[(-1.0, 0.7, True), (-1.0, 0.9, False), (-1.0, 1.3, False)],
    ],
)
@pytest.mark.parametrize("slot", [0, 1])
def test_clipping_stops_one_slot_and_not_the_other(advantage, ratio, is_clipped, slot):
    model = fixed_network()
    ratios = [[1.0, 1.0], [1.0, 1.0]]
    ratios[0][slot] = ratio
    targets = TARGETS | {"advantages": torch.tensor([advantage, 0.0])}
    total, _ = loss_of(model, targets, with_ratios(model, ratios), policy=1.0)
    total.backward()
    found, model.scores.grad = model.scores.grad[0].clone(), None
    log_probabilities = slate_log_probabilities(model.logits, SESSIONS.steps.slates)[0]
    pushed = [place for place in (0, 1) if not (place == slot and is_clipped)]
    by_hand = -sum(advantage * ratios[0][place] * log_probabilities[place] for place in pushed) / 2 / 2
    by_hand.backward()
    torch.testing.assert_close(found, model.scores.grad[0], atol=1e-6, rtol=1e-5)
    assert found.abs().max() > 1e-3


def test_the_policy_follows_the_advantage():
    model = fixed_network()
    total, _ = loss_of(model, sessions=with_ratios(model, [[1.0, 1.0], [1.0, 1.0]]), policy=1.0)
    total.backward()
    chances = model.logits.detach().softmax(1)
    with torch.no_grad():
        model.scores -= 0.1 * model.scores.grad
    moved = model.logits.detach().softmax(1) - chances
    assert moved[0, 2] > 0.0  # advantage 1
    assert moved[1, 3] < 0.0  # advantage -2


def test_only_disagreement_with_a_teacher_has_a_gradient():
    model = fixed_network()
    with torch.no_grad():
        model.scores[:] = torch.arange(4.0) + 3.0
    total, _ = loss_of(model, teacher=1.0)
    total.backward()
    assert total.item() == pytest.approx(0.0, abs=1e-9)
    torch.testing.assert_close(model.scores.grad, torch.zeros(2, 4), atol=1e-5, rtol=0.0)
    with torch.no_grad():
        model.scores[0, 3] = 0.0  # the teacher's best
    total, _ = loss_of(model, teacher=1.0)
    model.scores.grad = None
    total.backward()
    assert model.scores.grad[0, 3] < 0.0
    assert loss_of(model, sessions=replace(SESSIONS, teacher=None), teacher=1.0)[0] == 0.0


def test_divergence_by_hand():
    anchor, policy = torch.tensor([[math.log(3.0), 0.0, MISSING]]), torch.tensor([[0.0, 0.0, MISSING]])
    by_hand = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert divergence(anchor, policy).tolist() == pytest.approx([by_hand])
    assert divergence(anchor, anchor + 2.0).tolist() == pytest.approx([0.0], abs=1e-6)


def test_the_anchor_draws_the_policy_back():
    model = fixed_network()
    anchored = TARGETS | {"anchor_logits": model.logits.detach()}
    total, _ = loss_of(model, anchored, anchor=1.0)
    total.backward()
    assert total.item() == pytest.approx(0.0, abs=1e-6)
    torch.testing.assert_close(model.scores.grad, torch.zeros(2, 4), atol=1e-6, rtol=0.0)
    with torch.no_grad():
        model.scores[0, 1] += 1.0
    model.scores.grad = None
    total, _ = loss_of(model, anchored, anchor=1.0)
    total.backward()
    assert total.item() > 0.01
    assert model.scores.grad[0, 1] > 0.0


def test_imitation_is_the_divergence_from_the_policy_of_a_teacher():
    model = fixed_network()
    labels = SESSIONS.steps.teacher[:, :, 0].masked_fill(~model.mask, MISSING)
    total, _ = loss_of(model, imitation=2.0)
    torch.testing.assert_close(total, 2.0 * divergence(labels, model.logits).mean())
    assert loss_of(model, sessions=replace(SESSIONS, teacher=None), imitation=1.0)[0] == 0.0


NAMES = ("feedback", "value", "policy", "entropy", "teacher", "imitation", "anchor")
TEACHES = {
    "feedback": {"clicks", "rewards"},
    "value": {"values"},
    **{name: {"scores", "temperature"} for name in ("policy", "entropy", "imitation", "anchor")},
    "teacher": {"scores"},
}


@pytest.mark.parametrize("name", NAMES)
def test_each_loss_term_trains_its_own_outputs_only(name):
    model = fixed_network()
    total, _ = loss_of(model, **{name: 1.0})
    total.backward()
    found = {
        each
        for each, weight in model.named_parameters()
        if not each.startswith("value_head") and weight.grad is not None and weight.grad.abs().max() > 1e-6
    }
    assert found == TEACHES[name]


@given(weights=st.fixed_dictionaries({name: st.sampled_from([0.0, 0.5, 2.0]) for name in NAMES}))
@settings(max_examples=50, deadline=None)
def test_the_loss_is_the_weighted_sum_of_its_terms(weights):
    model = fixed_network()
    total, parts = loss_of(model, **weights)
    expected = sum(weight * parts[name].item() for name, weight in weights.items() if weight > 0.0)
    assert torch.as_tensor(total).item() == pytest.approx(float(expected), rel=1e-4, abs=1e-5)
