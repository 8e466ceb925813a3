"""Slate optimisers: the exact one against brute force and the paper's linear program, the others by hand."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from agents.reinforcement.slate_optimizers import OPTIMIZERS, ChoiceValues, exact, greedy, top_k

NUM_SLOTS = 3


def drawn(seed: int, num_rows: int = 40, num_candidates: int = 7) -> ChoiceValues:
    """Values as a user's whom a bad item can drive away: some items are worth less than none, one is missing."""
    random = np.random.default_rng(seed)
    mask = np.ones((num_rows, num_candidates))
    mask[::2, random.integers(num_candidates)] = 0.0
    return ChoiceValues(
        utilities=torch.as_tensor(2.0 * random.standard_normal((num_rows, num_candidates))),
        item_values=torch.as_tensor(20.0 + 5.0 * random.standard_normal((num_rows, num_candidates))),
        none_values=torch.as_tensor(18.0 + 5.0 * random.standard_normal(num_rows)),
        mask=torch.as_tensor(mask),
    )


def by_hand(utilities: list[float], item_values: list[float], none_value: float) -> ChoiceValues:
    return ChoiceValues(
        utilities=torch.tensor([utilities]),
        item_values=torch.tensor([item_values]),
        none_values=torch.tensor([none_value]),
        mask=torch.ones(1, len(utilities)),
    )


def values_of_row(values: ChoiceValues, row: int, num_slates: int) -> ChoiceValues:
    """One state, once for each of some slates."""
    parts = {name: part[row].expand(num_slates, *part.shape[1:]) for name, part in vars(values).items()}
    return ChoiceValues(**parts)


def slates(scores: torch.Tensor, slate_size: int) -> list[list[int]]:
    return scores.topk(slate_size).indices.tolist()


def best_by_brute_force(values: ChoiceValues, row: int, slate_size: int) -> float:
    worth = []
    for slate in itertools.combinations(np.flatnonzero(values.mask[row]), slate_size):
        weights = np.exp([values.utilities[row, i] for i in slate])
        items = np.array([values.item_values[row, i] for i in slate])
        worth.append((weights @ items + float(values.none_values[row])) / (1.0 + weights.sum()))
    return max(worth)


def best_by_linear_program(values: ChoiceValues, row: int, slate_size: int) -> float:
    """Charnes and Cooper (1962): with y_i = x_i t and t = 1 / (v_0 + sum v_i x_i), the fraction is linear in y, t."""
    there = np.flatnonzero(values.mask[row])
    weights, items = np.exp(values.utilities[row, there].numpy()), values.item_values[row, there].numpy()
    num_items, none_value = len(there), float(values.none_values[row])
    solution = linprog(
        -np.append(weights * items, none_value),
        A_eq=[np.append(weights, 1.0), np.append(np.ones(num_items), -slate_size)],
        b_eq=[1.0, 0.0],
        A_ub=np.concatenate([np.eye(num_items), -np.ones((num_items, 1))], 1),
        b_ub=np.zeros(num_items),
    )
    assert solution.success
    return -solution.fun


@pytest.mark.parametrize("slate_size", [1, 2, 5])
def test_the_exact_slate_is_worth_what_the_best_of_all_slates_is(slate_size):
    values = drawn(seed=slate_size)
    found = values.of(exact(values, slate_size).topk(slate_size).indices)
    best = [best_by_brute_force(values, row, slate_size) for row in range(len(found))]
    np.testing.assert_allclose(found, best, rtol=1e-12)


def test_the_exact_slate_is_worth_the_optimum_of_the_linear_program():
    values = drawn(seed=7)
    found = values.of(exact(values, NUM_SLOTS).topk(NUM_SLOTS).indices)
    best = [best_by_linear_program(values, row, NUM_SLOTS) for row in range(len(found))]
    np.testing.assert_allclose(found, best, rtol=1e-6)


def test_approximate_optimizers_never_beat_the_linear_program():
    values = drawn(seed=3, num_rows=500)
    worth = {name: values.of(each(values, NUM_SLOTS).topk(NUM_SLOTS).indices) for name, each in OPTIMIZERS.items()}
    assert (worth["lp"] >= worth["top-k"] - 1e-9).all()
    assert (worth["lp"] >= worth["greedy"] - 1e-9).all()
    assert (worth["lp"] > worth["top-k"] + 1e-6).any()
    assert (worth["lp"] > worth["greedy"] + 1e-6).any()


def test_slate_value_is_the_mean_over_choices_including_no_choice():
    values = by_hand(np.log([3.0, 1.0, 1.0]).tolist(), [1.0, 4.0, 2.0], 0.5)
    # (0.5 + 3 * 1 + 1 * 4) / (1 + 3 + 1) and (0.5 + 1 * 2) / (1 + 1)
    np.testing.assert_allclose(values.of(torch.tensor([[0, 1]])), [1.5], rtol=1e-6)
    np.testing.assert_allclose(values.of(torch.tensor([[2]])), [1.25], rtol=1e-6)


def test_top_k_ignores_that_slots_compete_for_the_choice():
    values = by_hand(np.log([3.0, 1.0, 1.0]).tolist(), [1.0, 4.0, 2.0], 0.0)
    assert slates(top_k(values, 2), 2) == [[1, 0]]  # v q is 3, 4, 2; the slate is worth 7 / 5
    assert slates(greedy(values, 2), 2) == [[1, 2]]  # 4 / 2 alone, then 6 / 3 against 7 / 5
    assert slates(exact(values, 2), 2) == [[1, 2]]


def test_greedy_adds_the_item_that_makes_the_slate_so_far_worth_most():
    values = drawn(seed=11, num_rows=60)
    for row, slate in enumerate(slates(greedy(values, NUM_SLOTS), NUM_SLOTS)):
        for slot in range(NUM_SLOTS):
            others = [i for i in range(7) if values.mask[row, i] and i not in slate[:slot]]
            longer = torch.tensor([[*slate[:slot], i] for i in others])
            worth = values_of_row(values, row, len(longer)).of(longer)
            assert others[int(worth.argmax())] == slate[slot]


def test_greedy_commits_to_the_item_that_is_best_alone():
    # Alone 100 / 101 * 1, 1 / 2 * 1.9, 1 / 2 * 1.9; together 101.9 / 102 against 3.8 / 3.
    values = by_hand(np.log([100.0, 1.0, 1.0]).tolist(), [1.0, 1.9, 1.9], 0.0)
    assert slates(greedy(values, 2), 2)[0][0] == 0
    assert sorted(slates(exact(values, 2), 2)[0]) == [1, 2]


def test_top_k_counts_what_an_item_is_worth_above_not_choosing():
    values = by_hand([1.0, 0.0], [3.0, 5.0], 4.0)
    assert slates(top_k(values, 1), 1) == [[1]]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_missing_candidates_stand_last(name):
    values = drawn(seed=5, num_candidates=4)
    for slate, mask in zip(slates(OPTIMIZERS[name](values, 4), 4), values.mask.tolist(), strict=True):
        there = [mask[candidate] for candidate in slate]
        assert sorted(slate) == [0, 1, 2, 3]
        assert there == sorted(there, reverse=True)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_utilities_too_large_for_exp_give_finite_scores(name):
    values = by_hand([2_000.0, -3_000.0, 1_999.0], [1.0, 3.0, 2.0], 0.0)
    scores = OPTIMIZERS[name](values, 2)
    assert torch.isfinite(scores).all()
    assert torch.isfinite(values.of(scores.topk(2).indices)).all()
