"""Wrong envs, observations, states and callbacks are refused in one line, by the base class of all agents."""

import re

import gymnasium
import numpy as np
import pytest

from agents import make as make_agent
from agents.bandits.linear_bandits import LinUCB
from agents.registry import REGISTRY
from agents.rules.popularity import PopularityAgent
from agents.rules.random_agent import RandomAgent


def make(num_envs=3, name="Video", **arguments):
    return gymnasium.make_vec(f"recsim_env/{name}-v0", num_envs, **{"observation": "full", **arguments})


@pytest.fixture(scope="module")
def observations():
    return make().reset(seed=0)[0]


def refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize("agent_class", [RandomAgent, PopularityAgent, LinUCB])
def test_observations_of_another_kind_or_shape_are_refused(agent_class, observations):
    agent, name = agent_class(make()), agent_class.__name__
    known = f"a dict of {', '.join(make().single_observation_space)}"
    flat = make(observation="flat").reset(seed=0)[0]
    refused(lambda: agent.predict(flat), f"observations without names: {name} reads 'full', {known}")
    refused(
        lambda: agent.predict({"user": observations["user"]}),
        f"observations with user: {name} reads 'full', {known}",
    )
    more = make(num_candidates=30).reset(seed=0)[0]
    length = observations["candidates"].shape[1]
    refused(
        lambda: agent.predict({**observations, "candidates": more["candidates"]}),
        f"observations['candidates'] of shape {more['candidates'].shape}: must be of shape (3, {length})",
    )
    for wrong in (observations["user"][:2], observations["user"][None], None):
        refused(
            lambda: agent.predict({**observations, "candidate_mask": wrong}),  # noqa: B023
            f"observations['candidate_mask'] of shape {np.shape(wrong)}: must be of shape (3, 20)",
        )


def test_a_state_of_another_agent_or_of_other_sessions_is_refused(observations):
    agent = LinUCB(make())
    _, state = agent.predict(observations)
    for wrong in (3, {}, np.random.default_rng(0)):
        kind = type(wrong).__name__
        refused(
            lambda: agent.predict(observations, wrong),  # noqa: B023
            f"state of type {kind}: must be None, or what predict() returned before",
        )
    two = {name: part[:2] for name, part in observations.items()}
    refused(lambda: agent.predict(two, state), "state of 3 sessions: must be of as many as the observations, 2")
    refused(lambda: agent.predict(observations, state, np.zeros(2, bool)), "episode_start of shape (2,): must be (3,)")


def test_an_agent_without_an_env_is_refused(observations):
    refused(lambda: RandomAgent().predict(observations), "RandomAgent: has no env; call set_env(env)")


@pytest.mark.parametrize("name", ["random", "popularity", "linucb", "pqn", "reinforce", "ppo", "large-model"])
@pytest.mark.parametrize("variant", ["Content", "Catalog"])
def test_agents_that_choose_candidates_refuse_envs_that_take_points(name, variant):
    entry = REGISTRY[name]
    observation, _ = entry.agent_class().env_requirements(**entry.settings)
    env = make(2, f"Video{variant}", observation=observation)
    with pytest.raises(ValueError, match=r"^env: \w+ chooses candidates; make the env with action='candidate'$"):
        make_agent(name, env)


@pytest.mark.parametrize("callback", [3, 0, "callback", [print]])
def test_a_callback_that_cannot_be_called_is_refused(callback):
    with pytest.raises(TypeError, match=r"^callback=.*: must be a Callback, a function of the agent, or None$"):
        RandomAgent(make()).learn(0, callback=callback)
