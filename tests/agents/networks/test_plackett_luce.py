"""Slates without replacement: probabilities by enumeration, frequencies of draws, and what is missing."""

import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from agents.networks.plackett_luce import best_slates, draw_slates, entropy, slate_log_probabilities
from recsim_env.sb3.candidate_scorer import MISSING

LOGITS = torch.tensor([0.5, -1.0, 1.5, 0.0])
NUMBERS = st.floats(-4.0, 4.0, width=32)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def probability_by_hand(logits: list[float], slate: tuple[int, ...]) -> float:
    """Slot after slot, exp(logit) over the sum of what is left."""
    left, product = list(range(len(logits))), 1.0
    for item in slate:
        product *= math.exp(logits[item]) / sum(math.exp(logits[other]) for other in left)
        left.remove(item)
    return product


def probabilities(logits: torch.Tensor, slates: list[tuple[int, ...]]) -> torch.Tensor:
    """[slates]: of whole slates from among [M]."""
    every = torch.tensor(slates)
    return slate_log_probabilities(logits.expand(len(slates), -1), every).sum(1).exp()


@given(logits=st.lists(NUMBERS, min_size=4, max_size=4), num_slots=st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_probabilities_by_hand_sum_to_one_over_all_slates(logits, num_slots):
    slates = list(itertools.permutations(range(4), num_slots))
    found = probabilities(torch.tensor(logits), slates)
    by_hand = torch.tensor([probability_by_hand(logits, slate) for slate in slates])
    torch.testing.assert_close(found, by_hand, atol=1e-6, rtol=1e-4)
    assert found.sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("num_slots", [1, 2, 3])
def test_slates_are_drawn_with_their_probabilities(num_slots):
    slates = list(itertools.permutations(range(4), num_slots))
    drawn = draw_slates(LOGITS.expand(20_000, -1), num_slots, generator())
    counts = Counter(map(tuple, drawn.tolist()))
    expected = 20_000 * probabilities(LOGITS, slates).double()
    observed = [counts[slate] for slate in slates]
    assert sum(observed) == 20_000
    assert chisquare(observed, (expected / expected.sum() * 20_000).numpy()).pvalue > 0.01


def test_draws_with_other_probabilities_are_detected():
    slates = list(itertools.permutations(range(4), 2))
    drawn = Counter(map(tuple, draw_slates(1.1 * LOGITS.expand(20_000, -1), 2, generator()).tolist()))
    expected = 20_000 * probabilities(LOGITS, slates).double()
    assert chisquare([drawn[slate] for slate in slates], expected / expected.sum() * 20_000).pvalue < 0.01


@given(
    logits=st.lists(NUMBERS, min_size=6, max_size=6),
    mask=st.lists(st.booleans(), min_size=6, max_size=6),
    num_slots=st.integers(1, 6),
    seed=st.integers(0, 1_000),
)
@settings(max_examples=100, deadline=None)
def test_no_candidate_is_shown_twice_and_missing_ones_come_last(logits, mask, num_slots, seed):
    is_there = torch.tensor(mask)
    masked = torch.tensor(logits).masked_fill(~is_there, MISSING).expand(16, -1)
    for slates in (draw_slates(masked, num_slots, generator(seed)), best_slates(masked, num_slots)):
        assert slates.shape == (16, num_slots)
        assert (slates.sort(1).values.diff(dim=1) > 0).all()
        num_real = min(int(is_there.sum()), num_slots)
        assert is_there[slates[:, :num_real]].all()
        assert not is_there[slates[:, num_real:]].any()


def test_empty_slots_have_no_gradient():
    masked = torch.tensor([[0.3, MISSING, 1.2, MISSING, MISSING]], requires_grad=True)
    slates = torch.tensor([[2, 0, 1, 4]])
    found = slate_log_probabilities(masked, slates)
    torch.testing.assert_close(found[0, 0], -torch.tensor(1.0 + math.exp(0.3 - 1.2)).log())
    assert found[0, 1:].tolist() == [0.0, 0.0, 0.0]
    found.sum().backward()
    assert masked.grad.isfinite().all()
    torch.testing.assert_close(masked.grad[0, [0, 2]].sum(), torch.tensor(0.0))


def test_a_slate_of_one_is_a_draw_of_the_softmax():
    slates = torch.arange(4)[:, None]
    found = slate_log_probabilities(LOGITS.expand(4, -1), slates)[:, 0]
    torch.testing.assert_close(found, LOGITS.log_softmax(0))
    assert best_slates(LOGITS[None], 1).tolist() == [[2]]


def test_the_best_slate_is_in_the_order_of_the_logits():
    logits = torch.stack([LOGITS, -LOGITS]).expand(3, 2, 4)
    assert best_slates(logits, 4)[1].tolist() == [[2, 0, 3, 1], [1, 3, 0, 2]]
    assert draw_slates(logits, 2, generator()).shape == (3, 2, 2)
    assert slate_log_probabilities(logits, best_slates(logits, 2)).shape == (3, 2, 2)


def test_the_same_seed_draws_the_same_slates():
    first, again, other = (draw_slates(LOGITS.expand(50, -1), 3, generator(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_entropy_of_uniform_distributions():
    logits = torch.tensor([[1.0, 1.0, 1.0, 1.0], [2.0, MISSING, 2.0, MISSING], [0.0, MISSING, MISSING, MISSING]])
    torch.testing.assert_close(entropy(logits), torch.tensor([4.0, 2.0, 1.0]).log())
