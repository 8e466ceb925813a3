"""Every agent of the registry trains, plays under Stable-Baselines3, and survives saving."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor

from agents import registry
from agents.agent import Agent, NotFittedError
from agents.callbacks import EveryNSteps
from agents.references.value_weights import ModelBasedReference
from agents.registry import REGISTRY
from agents.rollouts.evaluation import evaluate
from recsim_env.sb3.vec_env import make_sb3_vec_env

NUM_STEPS, NUM_ENVS = 512, 8
OFF_POLICY = {"learning_starts": 256, "batch_size": 32, "gradient_steps": 1}
SMALL = {
    "history-blind": {"num_users": 16, "temperatures": (0.3,)},
    "bayes-filter": {"num_particles": 32},
    "bayes-filter-observed": {"num_particles": 32, "num_catalogs": 1, "num_epochs": 1},
    "planning-oracle": {"num_value_steps": 1, "num_search_rounds": 0},
    "sequence-model": {"num_epochs": 1, "width": 16},
    "neural-linear": {"num_epochs": 1, "width": 16},
    **{
        name: {"num_updates": 8, "batch_size": 16, "num_fitting_steps": 64}
        for name in ("behavior-cloning", "cql", "iql", "decision-transformer")
    },
    "private-reward-model": {"num_updates": 4, "num_fitting_steps": 64, "epsilon": np.inf},  # noise is not reproducible
    "sharded-reward-model": {"num_updates": 4, "num_fitting_steps": 64, "num_shards": 2},
    **{name: {"num_fitting_steps": 64} for name in ("mixed-behavior", "expert-behavior")},
    "trpo": {"n_steps": 8},
    "recurrent-ppo": {"n_steps": 16, "n_epochs": 2},
    **{name: {"preset": "micro"} for name in ("large-model", "large-model-distilled", "large-model-supervised")},
    "large-model-fine-tuned": {"num_catalogs": 1, "num_validations": 1},
    **{name: {"n_steps": 32, "n_epochs": 1} for name in ("ppo", "ppo-multi-input", "ppo-mlp", "maskable-ppo")},
    **{
        name: OFF_POLICY
        for name in ("dqn", "qr-dqn", "sac", "td3", "ddpg", "wolpertinger-sac", "wolpertinger-td3")
        if name in REGISTRY
    },
}
"""Settings with which the slower ones train in a second or two."""
UNTRAINED = ("random", "popularity", "platform-ranking", "content-match", "linucb", "thompson", "myopic-oracle")
LEARNERS = [name for name in REGISTRY if name not in UNTRAINED]


def new_agent(name: str) -> Agent:
    entry = REGISTRY[name]
    if "contrib" in entry.path:
        pytest.importorskip("sb3_contrib")
    search = {"weight_candidates": (2.0,), "num_tuning_sessions": 8}
    is_reference = issubclass(entry.agent_class(), ModelBasedReference)
    return registry.make(name, None, **(search if is_reference else {}), **SMALL.get(name, {}))


def arguments_for(agent: Agent, split: str = "test") -> tuple[str, dict]:
    """The id and the arguments of an env that fits the agent."""
    users = {"user_split": "train"} if split == "train" and getattr(agent, "reads_evaluation_catalog", False) else {}
    arguments = {"split": "test" if users else split, **users, "catalog_seed": 9, "session_length": 8}
    return f"recsim_env/Video{agent.env_variant}-v0", {"observation": agent.observation, **arguments}


def env_for(agent: Agent, num_envs: int, split: str = "test"):
    env_id, arguments = arguments_for(agent, split)
    return gymnasium.make_vec(env_id, num_envs, **{"observation": "full", **arguments})


def trained(name: str, callback=None) -> Agent:
    agent = new_agent(name)
    agent.set_env(env_for(agent, NUM_ENVS, "train"))
    return agent.learn(NUM_STEPS, callback)


def items_shown(agent: Agent) -> np.ndarray:
    return evaluate(agent, env_for(agent, 4), seed=7).items


@cache
def trained_alone(name: str) -> tuple[Agent, np.ndarray]:
    """A trained agent that was not evaluated while it learned, and the items that it shows."""
    agent = trained(name)
    return agent, items_shown(agent)


def items_shown_by_file(path: Path) -> np.ndarray:
    assert multiprocessing.parent_process() is not None
    return items_shown(registry.load(path))


@pytest.fixture(scope="module")
def other_process():
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("name", REGISTRY)
def test_an_agent_plays_under_sb3_and_plays_the_same_from_its_file(name, other_process, tmp_path: Path):
    agent, items = trained_alone(name)
    agent.save(tmp_path / "agent")
    np.testing.assert_array_equal(other_process.submit(items_shown_by_file, tmp_path / "agent").result(), items)

    env_id, arguments = arguments_for(agent)
    vec_env = VecMonitor(make_sb3_vec_env(env_id, 4, **arguments))
    agent.set_env(vec_env)
    mean, _ = evaluate_policy(agent, vec_env, n_eval_episodes=4)
    assert np.isfinite(mean)

    single = gymnasium.make(env_id, **{"observation": "full", **arguments})
    agent.set_env(single)
    observation, _ = single.reset(seed=3)
    for _ in range(3):
        action, _ = agent.predict(observation)
        assert np.asarray(action).astype(single.action_space.dtype) in single.action_space
        observation, *_ = single.step(action)


@pytest.mark.parametrize("name", LEARNERS)
def test_neither_evaluations_nor_torchs_global_generator_change_what_a_learner_learns(name):
    alone, items = trained_alone(name)
    calls = []

    def evaluate_elsewhere(agent: Agent) -> None:
        calls.append(agent.num_timesteps)
        items_shown(agent)

    torch.manual_seed(1 + torch.initial_seed())
    evaluated = trained(name, EveryNSteps(NUM_STEPS // 2, evaluate_elsewhere))
    assert calls[0] == 0
    assert calls == sorted(set(calls))
    assert calls[-1] >= NUM_STEPS or not evaluated.uses_budget
    np.testing.assert_array_equal(items_shown(evaluated), items)
    tensors, expected = evaluated.learned()[0], alone.learned()[0]
    assert tensors.keys() == expected.keys()
    for each, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, expected[each], each)


@pytest.mark.parametrize("name", [name for name in LEARNERS if "weights" not in REGISTRY[name].settings])
def test_an_untrained_learner_and_a_damaged_file_are_refused_in_one_line(name, tmp_path: Path):
    agent = new_agent(name)
    with pytest.raises(NotFittedError, match="call learn"):
        agent.save(tmp_path / "too early")
    assert not (tmp_path / "too early").exists()
    (tmp_path / "file").write_bytes(b"not a file of tensors")
    for path in ("file", "nothing here"):
        with pytest.raises(ValueError, match=path) as error:
            type(agent).load(tmp_path / path)
        assert "\n" not in str(error.value)
