"""Trackers during the training of any agent."""

from typing import Any

import gymnasium
import pytest
from conftest import CHECKOUT  # noqa: F401  (sets what threads may do)

import agents
from agents.rollouts.evaluation import evaluate
from agents.rollouts.tracked_training import TrackedTraining
from agents.tracking import tracked_run
from agents.tracking.metrics_log import read_metrics

SMALL_PPO = {"n_steps": 16, "batch_size": 32}


def envs(observation: str) -> tuple[Any, Any]:
    name = "recsim_env/Video-v0"
    train = gymnasium.make_vec(name, num_envs=8, split="train", observation=observation)
    return train, train.remake(num_envs=16, split="test", catalog_seed=1)


def test_evaluations_are_recorded_with_the_returns_of_the_agent(tmp_path):
    train, test = envs("full")
    agent = agents.make("ppo", train, **SMALL_PPO)
    with tracked_run(tmp_path) as tracker:
        agent.learn(512, TrackedTraining(tracker, 256, test, seed=5))
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["num_steps"] for line in lines] == [0, 256, 512]
    found = evaluate(agent, test, seed=5)
    assert lines[-1]["return"] == found.returns.mean()
    assert lines[-1]["session_length"] == found.lengths.mean()
    assert lines[-1]["churn"] == found.has_left.mean()
    assert 0.0 < lines[-1]["return_sem"] < lines[-1]["session_length"]


def test_a_single_session_has_a_return_without_a_standard_error():
    _, test = envs("full")
    found = evaluate(agents.make("random", test.remake(num_envs=1)), test.remake(num_envs=1), seed=5)
    assert found.mean_return == found.returns[0]
    assert found.return_sem is None


def test_a_training_that_is_continued_is_recorded_once(tmp_path):
    train, test = envs("full")
    agent = agents.make("ppo", train, **SMALL_PPO)
    for _ in range(2):
        with tracked_run(tmp_path, last_step=agent.num_timesteps) as tracker:
            agent.learn(256, TrackedTraining(tracker, 0, test))
    assert [line["num_steps"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [0, 256, 512]


@pytest.mark.parametrize(
    ("name", "settings", "metric"),
    [
        ("ppo", SMALL_PPO, "training/train/value_loss"),
        ("dqn", {"learning_starts": 32}, "training/train/loss"),
        ("large-model", {"num_validations": 0}, "training/gradient_norm"),
    ],
)
def test_losses_of_learners_are_recorded(tmp_path, name, settings, metric):
    train, _ = envs("compact" if name == "large-model" else "full")
    with tracked_run(tmp_path) as tracker:
        agents.make(name, train, **settings).learn(512, TrackedTraining(tracker, 256))
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert isinstance(lines[-1][metric], float)
    assert lines[-1]["num_steps"] >= 512
