"""Heads: the histogram keeps the mean of its targets, and the policy agrees with its values."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.large_model.model import ReturnDistribution, policy_logits
from recsim_env.sb3.candidate_scorer import MISSING

WORTHS = st.lists(st.floats(-20.0, 20.0), min_size=1, max_size=8)
TEMPERATURES = st.floats(0.02, 10.0)


@st.composite
def candidates(draw) -> tuple[torch.Tensor, torch.Tensor]:
    """Worths [M] and a mask [M] of them, one of which is there at least."""
    worths = draw(WORTHS)
    mask = draw(st.lists(st.booleans(), min_size=len(worths), max_size=len(worths)))
    mask[draw(st.integers(0, len(worths) - 1))] = True
    return torch.tensor(worths), torch.tensor(mask)


@st.composite
def histograms(draw) -> ReturnDistribution:
    low = draw(st.floats(-100.0, 100.0))
    return ReturnDistribution(4, low, low + draw(st.floats(1.0, 500.0)), draw(st.integers(5, 60)))


@given(head=histograms(), shares=st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=10))
@settings(max_examples=100, deadline=None)
def test_a_target_sums_to_1_and_has_the_mean_of_its_return(head, shares):
    low, high = head.low, head.high
    returns = low + torch.tensor(shares) * (high - low)
    target = head.target(returns)
    assert (target >= 0.0).all()
    torch.testing.assert_close(target.sum(-1), torch.ones(len(shares)))
    mean = head.mean(target.clamp(min=1e-30).log())
    bin_width = float(head.edges[1] - head.edges[0])
    torch.testing.assert_close(mean, returns.clamp(low, high), atol=0.02 * bin_width + 1e-4 * abs(low), rtol=1e-4)


def test_a_target_is_the_normal_distribution_cut_into_bins():
    head = ReturnDistribution(4, 0.0, 6.0, 10)  # bins of 1 from -2 to 8
    torch.testing.assert_close(head.edges, torch.arange(-2.0, 8.5))
    below = [0.5 * (1.0 + math.erf((edge - 2.4) / (0.75 * math.sqrt(2.0)))) for edge in range(-2, 9)]
    by_hand = [(above - under) / (below[-1] - below[0]) for under, above in itertools.pairwise(below)]
    torch.testing.assert_close(head.target(torch.tensor(2.4)), torch.tensor(by_hand))


def test_the_loss_is_the_cross_entropy_with_the_target():
    head = ReturnDistribution(4, 0.0, 6.0, 10)
    logits, returns = torch.randn(3, 10, generator=torch.Generator().manual_seed(0)), torch.tensor([0.0, 2.4, 9.0])
    by_hand = -(head.target(returns) * (logits.exp() / logits.exp().sum(1, keepdim=True)).log()).sum(1)
    torch.testing.assert_close(head.loss(logits, returns), by_hand)
    torch.testing.assert_close(head.target(torch.tensor(9.0)), head.target(torch.tensor(6.0)))  # cut off at the end


@pytest.mark.parametrize("returns", [[1.0, 5.0, 6.0], [0.0, 0.0], [10.0, 10.0, 10.0], [0.0, 10.0]])
def test_a_trained_histogram_has_the_mean_of_the_returns(returns):
    torch.manual_seed(0)
    head, states = ReturnDistribution(2, 0.0, 10.0, 21), torch.ones(len(returns), 2)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        total = head.loss(head(states), torch.tensor(returns)).mean()
        total.backward()
        return total

    optimizer.step(loss)
    assert head.mean(head(states[0])).item() == pytest.approx(sum(returns) / len(returns), abs=0.05)


def test_an_untrained_histogram_is_uniform():
    head = ReturnDistribution(4, 0.0, 10.0, 21)
    torch.nn.init.zeros_(head.logits.bias)
    states = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(head.mean(head(states)), torch.full((5,), 5.0))


@given(given_candidates=candidates(), temperature=TEMPERATURES)
@settings(max_examples=100, deadline=None)
def test_the_policy_is_a_softmax_over_available_candidates(given_candidates, temperature):
    worths, mask = given_candidates
    logits = policy_logits(worths, torch.tensor(temperature), mask)
    there = worths[mask].double() / temperature
    torch.testing.assert_close(logits.softmax(-1)[mask].double(), there.softmax(-1), atol=1e-4, rtol=1e-3)
    assert (logits[~mask] == MISSING).all()
    assert (logits.softmax(-1)[~mask] == 0.0).all()
