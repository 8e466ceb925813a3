"""The scorer that learns from a teacher."""

import gymnasium
import numpy as np
import pytest
import torch

import recsim_env  # noqa: F401  (registers the ids)
from agents.imitation.distilled_scorer import DistilledScorer

SHORT = {"session_length": 12, "split": "train", "observation": "full"}


def make_env(**arguments):
    return gymnasium.make_vec("recsim_env/Video-v0", num_envs=32, **SHORT | arguments)


def error_in_new_sessions(learner: DistilledScorer) -> float:
    """Of the scores against the teacher's, whose spread has the error 1."""
    env, observations, _ = learner.start_training(1_000_000)
    generator = torch.Generator().manual_seed(0)
    steps, _ = learner.roll_out(env, observations, 12, 1.0, generator)
    with torch.no_grad():
        return learner.loss(steps).item()


def test_its_scores_approach_those_of_the_teacher():
    learner = DistilledScorer(make_env())
    learner.learn(32)
    before = error_in_new_sessions(learner)
    learner.learn(6_000)
    assert error_in_new_sessions(learner) < 0.9 * before


def test_the_unit_of_its_scores_is_saved_with_the_weights(tmp_path):
    learner = DistilledScorer(make_env()).learn(32)
    learner.save(tmp_path / "scorer.safetensors")
    loaded = DistilledScorer.load(tmp_path / "scorer.safetensors", make_env())
    assert loaded.network.unit == learner.network.unit > 0.0


def test_the_same_seed_gives_the_same_weights():
    first, second = (DistilledScorer(make_env(), seed=3).learn(64) for _ in range(2))
    for mine, theirs in zip(first.learned()[0].values(), second.learned()[0].values(), strict=True):
        assert np.array_equal(mine, theirs)


def test_slates_are_refused_at_once():
    with pytest.raises(ValueError, match="slate_size=3: the teacher shows one item a step, must be 1"):
        DistilledScorer(make_env(slate_size=3))
