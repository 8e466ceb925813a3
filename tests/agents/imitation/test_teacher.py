"""Losses against a teacher's scores."""

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import recsim_env  # noqa: F401  (registers the ids)
from agents.imitation import teacher as teachers
from agents.imitation.teacher import spread, teacher_loss, teacher_weights
from recsim_env.sb3.candidate_scorer import MISSING

ROWS = st.lists(st.floats(-10.0, 10.0), min_size=5, max_size=5)
MASKS = st.lists(st.booleans(), min_size=5, max_size=5)


@given(worths=ROWS, teacher=ROWS, mask=MASKS, constant=st.floats(-20.0, 20.0))
@settings(max_examples=100, deadline=None)
def test_a_teachers_scores_count_up_to_a_constant(worths, teacher, mask, constant):
    own, theirs, is_there = torch.tensor([worths]), torch.tensor([teacher]), torch.tensor([mask])
    own = own.masked_fill(~is_there, MISSING)
    found = teacher_loss(own, theirs, is_there)
    torch.testing.assert_close(teacher_loss(own + constant, theirs, is_there), found, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(teacher_loss(own, theirs + constant, is_there), found, atol=1e-3, rtol=1e-3)
    elsewhere = theirs.masked_fill(~is_there, 77.0)
    torch.testing.assert_close(teacher_loss(own, elsewhere, is_there), found)
    differences = [a - b for a, b, there in zip(worths, teacher, mask, strict=True) if there]
    mean = sum(differences) / max(len(differences), 1)
    by_hand = sum((each - mean) ** 2 for each in differences) / max(len(differences), 1)
    assert found.item() == pytest.approx(by_hand, abs=1e-3)


def test_the_spread_of_scores_is_their_standard_deviation_within_steps():
    scores, mask = torch.tensor([[1.0, 3.0, 99.0], [10.0, 10.0, 16.0]]), torch.tensor([[1, 1, 0], [1, 1, 1]]) > 0
    assert spread(scores, mask) == pytest.approx(((1.0 + 8.0) / 2) ** 0.5)


@pytest.mark.parametrize(
    ("gain", "gain_of_largest", "trust"),
    [(0.1, 0.1, 1.0), (1.0, 0.0, 4.0), (1.0, 1.5, 4.0), (1.0, 4.0, 8.0), (0.1, 4.0, 8.0)],
)
def test_a_teachers_weights_are_1_unless_others_are_certainly_better(gain, gain_of_largest, trust, monkeypatch):
    env = gymnasium.make_vec("recsim_env/Video-v0", num_envs=2, observation="compact")
    luck = np.random.default_rng(0).standard_normal((3, 60))
    luck -= luck.mean(1, keepdims=True)
    gains = {1.0: 0.0, 0.0: -1.0, 4.0: gain, 8.0: gain_of_largest}

    def returns_of(oracle, trial, seed):
        assert trial.num_envs == 60
        own = oracle.value_weights.trust
        return SimpleNamespace(returns=10.0 + gains[own] + luck[{4.0: 1, 8.0: 2}.get(own, 0)])

    monkeypatch.setattr(teachers, "evaluate", returns_of)
    weights = teacher_weights(env)
    assert weights.trust == trust
    assert weights.budget == weights.following == 1.0
