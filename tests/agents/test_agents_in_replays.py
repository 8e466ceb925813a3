"""Agents act for real people as they do for simulated users; those that plan with the user model are refused."""

import gymnasium
import pytest
from made_log import write_log

from agents import registry
from agents.rollouts.evaluation import evaluate
from recsim_env.logs import fit_ratings, read_log
from recsim_env.world.replayed_log import train_log

ACTING = ("random", "popularity", "platform-ranking", "content-match", "linucb", "thompson", "myopic-oracle")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("made") / "films")


def make(log, num_envs, name="Replay", **arguments):
    return gymnasium.make_vec(
        f"recsim_env/{name}-v0",
        num_envs,
        vectorization_mode="vector_entry_point",
        **{"world": log, "num_candidates": 4, "observation": "full", **arguments},
    )


def mean_rating(agent, env) -> float:
    evaluation = evaluate(agent, env, seed=0)
    return float(evaluation.returns.sum() / evaluation.lengths.sum())


def test_agents_without_training_act_and_learn_from_real_people(log):
    env = make(log, 400, session_length=8)
    ratings = {name: mean_rating(registry.make(name, env), env) for name in ACTING}
    assert max(ratings, key=ratings.__getitem__) == "myopic-oracle"
    assert ratings["platform-ranking"] > ratings["random"] + 0.2
    assert ratings["linucb"] > ratings["random"] + 0.1


@pytest.mark.parametrize("name", ["item-knn", "eb-linucb"])
def test_agents_trained_in_a_fitted_world_act_in_the_replay(log, tmp_path, name):
    fitted, entry = tmp_path / "world.npz", registry.entry_named(name)
    fit_ratings(train_log(read_log(log))).save(fitted)
    observation, _ = entry.agent_class().env_requirements(**entry.settings)
    training_env = make(fitted, 16, "MovieLens", observation=observation)
    agent = registry.make(name, training_env).learn(256)
    evaluation = evaluate(agent, make(log, 20, observation=observation), seed=0)
    assert evaluation.is_clicked[0].all()


@pytest.mark.parametrize("name", ["bayes-filter", "lookahead-oracle"])
def test_agents_that_plan_with_the_user_model_are_refused(log, name):
    env = make(log, 4, observation="compact")

    def play() -> None:
        evaluate(registry.make(name, env).learn(0), env, seed=0)

    with pytest.raises(ValueError, match=r"^Replay: has no user model"):
        play()
