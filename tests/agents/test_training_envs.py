"""Envs that are made for a training are closed at its end: they may have threads."""

import gymnasium
import pytest

import agents
from agents.agent import Learner
from agents.imitation.teacher import teacher_weights
from agents.large_model.agent import LargeModel
from agents.registry import entry_named
from recsim_env.envs.vector import RecommenderVectorEnv


@pytest.fixture
def made(monkeypatch) -> list[RecommenderVectorEnv]:
    """All vector envs that are made."""
    envs, init = [], RecommenderVectorEnv.__init__

    def noted(self, *arguments, **options):
        envs.append(self)
        init(self, *arguments, **options)

    monkeypatch.setattr(RecommenderVectorEnv, "__init__", noted)
    return envs


def env_for(observation: str) -> RecommenderVectorEnv:
    options = {"session_length": 4, "num_threads": 2, "observation": observation}
    return gymnasium.make_vec("recsim_env/Video-v0", 8, vectorization_mode="vector_entry_point", **options).unwrapped


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("pqn", {"num_catalogs": 2}),
        ("eb-linucb", {}),
        ("distilled-scorer", {"num_catalogs": 2}),
        ("iql", {"num_fitting_steps": 100, "num_updates": 1}),
        ("ppo", {"num_validations": 1}),
        ("lookahead-oracle", {"num_tuning_sessions": 4, "weight_candidates": (0.0,)}),
    ],
)
def test_envs_of_a_training_are_closed_at_its_end(name, settings, made):
    agent_class = entry_named(name).agent_class()
    agent = agents.make(name, env_for(agent_class.observation), **settings).learn(64)
    assert all(env.closed == (env is not agent.env) for env in made)
    assert len(made) > 1


def test_envs_of_the_large_model_are_closed_but_for_its_own(made):
    envs = [env_for("compact"), env_for("compact")]
    settings = {"num_catalogs": 2, "num_envs": 8, "batch_sessions": 2, "num_validations": 1, "preset": "micro"}
    LargeModel(env=envs, **settings).learn(64)
    assert all(env.closed == (env not in envs) for env in made)
    assert len(made) >= 2 + 2 + 2 + 4, "with fewer lanes, of the second catalogue, and for the validation"


def test_they_are_closed_where_a_training_fails(made):
    class Failing(Learner):
        def act(self, *_): ...

        def train(self, total_timesteps, update):
            self.training_env(total_timesteps)
            raise RuntimeError("no more electricity")

    env = env_for("full")
    with pytest.raises(RuntimeError, match="electricity"):
        Failing(env).learn(8)
    assert [each.closed for each in made] == [False, True]


def test_a_trial_of_teachers_is_closed(made):
    env = env_for("compact")
    teacher_weights(env)
    assert [each.closed for each in made] == [False, True]
