"""Wrong calls of `agents.make` and of `learn`: one line, before any work is done."""

import gymnasium
import pytest

import agents
from agents.registry import UnknownAgentError


def video(variant: str = "", **arguments):
    return gymnasium.make_vec(f"recsim_env/Video{variant}-v0", 2, **{"observation": "full", **arguments})


@pytest.mark.parametrize(
    ("name", "variant", "settings", "message"),
    [
        (3, "", {}, "agent 3: must be a name, such as 'pqn'"),
        ("PPO", "", {}, "agent 'PPO': unknown; did you mean 'ppo'"),
        ("pqn", "", {"gama": 0.9}, "PQN: argument 'gama': unknown; did you mean 'gamma'"),
        ("pqn", "", {"gamma": 2}, "PQN.gamma=2: must be a number in"),
        ("pqn", "Slate", {}, "slate_size=5: PQN values single items, must be 1"),
        ("ppo", "", {"learning_rte": 1}, "argument 'learning_rte': unknown; did you mean 'learning_rate'"),
        ("sac", "", {}, "env: SB3Learner chooses points in content space; make the env with action='content'"),
        ("dqn", "Slate", {}, "need Discrete, one item a step"),
    ],
)
def test_wrong_arguments_of_make_are_refused_in_one_line(name, variant, settings, message):
    with pytest.raises((UnknownAgentError, TypeError, ValueError)) as error:
        agents.make(name, video(variant), **settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["popularity", "pqn"])
@pytest.mark.parametrize("total_timesteps", [-5, "5000", 1.5])
def test_a_number_of_steps_that_is_not_whole_is_refused(name, total_timesteps):
    with pytest.raises(ValueError, match=r"^total_timesteps=.*: must be a whole number in"):
        agents.make(name, video()).learn(total_timesteps)


def test_an_agent_can_be_saved_under_any_name(tmp_path):
    agents.make("popularity", video(), prior_impressions=3.0).save(tmp_path / "agent.zip")
    assert agents.load(tmp_path / "agent.zip").prior_impressions == 3.0
