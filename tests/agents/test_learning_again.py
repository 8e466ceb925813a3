"""A second call of `learn` continues the first: with its networks and its log, in sessions of its own."""

import gymnasium
import numpy as np
import pytest

import agents
from agents.agent import Learner
from agents.callbacks import EveryNSteps

NUM_STEPS = 64


def made(name: str) -> Learner:
    kind = "compact" if name in ("item-knn", "large-model-fine-tuned") else "full"
    env = gymnasium.make_vec("recsim_env/Video-v0", 16, split="train", observation=kind, session_length=4)
    return agents.make(name, env)


def tensors_of(agent: Learner) -> dict[str, np.ndarray]:
    return {name: np.array(tensor) for name, tensor in agent.learned()[0].items()}


@pytest.mark.parametrize("name", ["eb-linucb", "item-knn", "neural-linear"])
def test_the_log_is_continued_in_other_sessions(name):
    agent = made(name).learn(NUM_STEPS).learn(NUM_STEPS)
    log = agent.open_log()
    assert (agent.num_timesteps, len(log)) == (2 * NUM_STEPS, 2 * NUM_STEPS)
    rows = log["items"] if name == "item-knn" else log["items"][:, 0]
    assert (rows[:NUM_STEPS] != rows[NUM_STEPS:]).any()
    assert log["session"][NUM_STEPS:].min() > log["session"][:NUM_STEPS].max()


@pytest.mark.parametrize(
    "name", ["neural-linear", "sequence-model", "distilled-scorer", "pqn", "reinforce", "large-model-fine-tuned"]
)
def test_networks_are_trained_further(name):
    agent, starts = made(name).learn(NUM_STEPS), []
    first = tensors_of(agent)

    def record(learner: Learner) -> None:
        if learner.num_timesteps == NUM_STEPS:
            starts.append(tensors_of(learner))

    agent.learn(NUM_STEPS, EveryNSteps(1, record))
    is_network = [each for each in first if first[each].size and (name != "neural-linear" or "network" in each)]
    assert starts
    assert is_network
    for each in is_network:
        np.testing.assert_array_equal(starts[0][each], first[each])
    assert any((tensors_of(agent)[each] != first[each]).any() for each in is_network)
    assert agent.num_timesteps == 2 * NUM_STEPS


def test_a_log_of_another_catalogue_is_not_continued():
    agent = made("item-knn").learn(NUM_STEPS)
    agent.set_env(agent.env.remake(catalog_seed=7))
    agent.learn(NUM_STEPS)
    assert len(agent.open_log()) == NUM_STEPS
