"""Explanations of the scores of agents: what they owe to each item shown before."""

import gymnasium
import numpy as np
import pytest

import agents
from agents.explanation import candidate_mask, relative_scores, without_rows


def agent_and_observation(name: str, num_steps: int = 4, **settings):
    """An agent in a session of Video of that many steps so far."""
    env = gymnasium.make_vec("recsim_env/Video-v0", num_envs=1, split="test", observation="full")
    agent = agents.make(name, env.unwrapped.remake(num_envs=8, split="train"), **settings)
    if hasattr(agent, "training_env"):
        agent.learn(512)
    agent.set_env(env)
    observation, _ = env.reset(seed=3)
    for _ in range(num_steps):
        observation, *_ = env.step(np.zeros(1, np.int64))
    return agent, observation


def without_row(agent, observation, row: int):
    """The observation without the item that was shown in step `row`."""
    history = agent.history(observation)[0]
    rows = np.delete(history, int(history[:, -7].sum()) - 1 - row, 0)
    padded = np.concatenate([rows, np.zeros_like(rows[:1])])
    return {**observation, "history": padded.reshape(1, -1)}


@pytest.mark.parametrize(
    ("name", "settings"), [("linucb", {}), ("eb-linucb", {}), ("ppo", {"n_steps": 32, "n_epochs": 1}), ("dqn", {})]
)
def test_the_effect_of_a_row_is_the_score_less_that_without_it(name, settings):
    agent, observation = agent_and_observation(name, **settings)
    found = agent.explain(observation, candidate=5)
    scores = agent.candidate_scores(observation)[0]
    assert found.score == pytest.approx(scores[5] - scores.mean(), abs=1e-5)
    assert sorted(reason.row for reason in found.reasons) == [0, 1, 2, 3]
    for reason in found.reasons:
        without = agent.candidate_scores(without_row(agent, observation, reason.row))[0]
        assert reason.effect == pytest.approx(found.score - (without[5] - without.mean()), abs=1e-5)
        assert reason.instead == without.argmax()
    assert max(abs(reason.effect) for reason in found.reasons) > 1e-6


@pytest.mark.parametrize("name", ["eb-linucb", "ppo"])
def test_scores_rank_as_the_agent_recommends(name):
    agent, observation = agent_and_observation(name, **({"n_steps": 32, "n_epochs": 1} if name == "ppo" else {}))
    action, _ = agent.predict(observation)
    assert agent.candidate_scores(observation)[0].argmax() == action[0]
    assert agent.explain(observation).candidate == action[0]


def test_an_item_that_was_skipped_counts_for_less_than_the_same_item_liked():
    agent, observation = agent_and_observation("eb-linucb", num_steps=1)
    first = agent.layout.num_content_features
    effects = []
    for click, rating in ((0.0, 0.0), (1.0, 1.0)):  # a rating of 5, divided by 5
        history = agent.history(observation).copy()
        history[0, 0, first + 2], history[0, 0, first + 4] = click, rating
        history[0, 0, :first] = agent.candidates(observation)[0, 2, :first]
        changed = {**observation, "history": history.reshape(1, -1)}
        effects.append(agent.explain(changed, candidate=2).reasons[0].effect)
    assert effects[0] < effects[1]


def test_rows_are_removed_from_every_part_of_an_observation():
    agent, observation = agent_and_observation("linucb")
    none, all_rows = without_rows(observation, np.array([[False] * 4, [True] * 4]), agent.layout), observation
    assert not none["history"][0].any()
    np.testing.assert_array_equal(none["history"][1], all_rows["history"][0])
    np.testing.assert_array_equal(none["candidates"][0], all_rows["candidates"][0])
    assert np.isfinite(relative_scores(agent.candidate_scores(none), candidate_mask(none))).all()


def test_agents_without_scores_say_so():
    for name in ("random", "thompson"):
        agent, observation = agent_and_observation(name)
        with pytest.raises(NotImplementedError, match=type(agent).__name__):
            agent.explain(observation)


def test_what_cannot_be_explained_is_named():
    agent, observation = agent_and_observation("linucb")
    with pytest.raises(ValueError, match="candidate=20: must be one of the 20 candidates, from 0"):
        agent.explain(observation, candidate=20)
    two = {name: np.repeat(part, 2, 0) for name, part in observation.items()}
    with pytest.raises(ValueError, match="observations: 2 sessions, must be 1"):
        agent.explain(two)
