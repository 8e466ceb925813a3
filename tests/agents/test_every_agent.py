"""What every agent of the board can do: learn, be saved and loaded, and recommend for one observation."""

import dataclasses
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401
from agents.agent import Learner, NotFittedError
from agents.references.value_weights import ModelBasedReference
from agents.registry import REGISTRY, entry_named
from agents.rollouts.evaluation import evaluate
from benchmarks.running.run import make_agent

SMALL = {
    "history-blind": {"num_people": 16, "temperatures": (0.3,)},
    "bayes-filter": {"num_particles": 32},
    "bayes-filter-observed": {"num_particles": 32, "num_catalogs": 1, "num_epochs": 1},
    "planning-oracle": {"num_futures": 2, "num_options": 2},
    "trpo": {"n_steps": 8},
    "recurrent-ppo": {"n_steps": 16, "n_epochs": 2},
}
"""What makes the slowest of them learn and act in a second or two."""
SEARCH = {"weight_candidates": (2.0,), "num_tuning_sessions": 16}
NUM_STEPS = 2_048

LEARNERS = [name for name, entry in REGISTRY.items() if entry.is_learner]


def made(name: str):
    entry = entry_named(name)
    if "contrib" in entry.path:
        pytest.importorskip("sb3_contrib")
    search = SEARCH if issubclass(entry.agent_class(), ModelBasedReference) else {}
    return make_agent(dataclasses.replace(entry, settings=entry.settings | search | SMALL.get(name, {})))


def env_of(agent, num_envs: int = 0, **options):
    env_id = f"recsim_env/Video{agent.env_variant}-v0"
    options = {"observation": agent.observation, "split": "test", "catalog_seed": 9, **options}
    return gymnasium.make_vec(env_id, num_envs, **options) if num_envs else gymnasium.make(env_id, **options)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_learns_is_saved_and_comes_back_the_same(name, tmp_path: Path):
    agent, env_id = made(name), f"recsim_env/Video{made(name).env_variant}-v0"
    assert isinstance(agent, Learner)
    with pytest.raises(NotFittedError):
        agent.save(tmp_path / "too early")
    assert not (tmp_path / "too early").exists()
    reported = []
    catalog = {"split": "test", "user_split": "train"} if agent.reads_evaluation_catalog else {"split": "train"}
    options = {**catalog, "catalog_seed": 9}
    # The learner is evaluated while it learns, which must not disturb it.
    test = env_of(agent, 4)
    agent.learn(
        env_id,
        options,
        NUM_STEPS,
        0,
        lambda steps: reported.append((steps, evaluate(agent, test, 7).returns.tolist())),
        NUM_STEPS // 2,
    )
    assert reported[-1][0] >= NUM_STEPS or reported[-1][0] == 0
    assert [steps for steps, _ in reported] == sorted(steps for steps, _ in reported)
    agent.save(tmp_path / "learnt")
    again = made(name)
    again.load(tmp_path / "learnt")
    assert evaluate(again, test, 7).returns.tolist() == reported[-1][1]
    unevaluated = made(name)
    unevaluated.learn(env_id, options, NUM_STEPS, 0)
    assert evaluate(unevaluated, test, 7).returns.tolist() == reported[-1][1]
    assert_recommends(again)


@pytest.mark.parametrize("name", [name for name in REGISTRY if name not in LEARNERS])
def test_an_agent_that_need_not_learn_recommends_at_once(name):
    assert_recommends(made(name))


def assert_recommends(agent) -> None:
    """One observation is enough, at the start of a session and later, and it says the same each time."""
    env = env_of(agent)
    agent.begin(env, 3)
    observation, _ = env.reset(seed=3)
    for step in range(4):
        shown = agent.recommend(observation)
        assert np.asarray(shown).astype(env.action_space.dtype) in env.action_space
        if step == 3:
            break
        observation, *_ = env.step(shown)
    env.close()


@pytest.mark.parametrize("name", LEARNERS)
def test_a_file_of_another_agent_or_none_is_refused_in_one_line(name, tmp_path: Path):
    agent, path = made(name), tmp_path / "file"
    path.write_bytes(b"not what it wrote")
    with pytest.raises(ValueError, match="file") as refusal:
        agent.load(path)
    assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match="nothing here"):
        agent.load(tmp_path / "nothing here")
