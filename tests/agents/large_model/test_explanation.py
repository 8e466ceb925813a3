"""Explanations of scores: what they owe to each item shown before, and to each source of information."""

import gymnasium
import numpy as np
import pytest
import torch

from agents.large_model.agent import LargeModel
from agents.large_model.explanation import CONTENT, SOURCES, explain
from agents.large_model.session_state import ObservationReader, SessionState
from agents.networks.item_content import DYNAMICS
from recsim_env.simulation.observation import FEEDBACK


def model_and_observation(num_steps: int = 5):
    """The pretrained model in a session of Video of that many steps so far."""
    env = gymnasium.make_vec("recsim_env/Video-v0", num_envs=1, split="test", observation="compact")
    model = LargeModel.load("pretrained", env)
    observation, _ = env.reset(seed=2)
    for _ in range(num_steps):
        observation, *_ = env.step(np.zeros(1, np.int64))
    assert (observation["history_items"] >= 0).sum() == num_steps
    return model, observation


def scores_of(model: LargeModel, observation) -> np.ndarray:
    """Scores of the candidates, less their mean."""
    simulator = model.env.simulator
    batch = ObservationReader(simulator, model.network.schema, torch.device("cpu"))(observation)
    with torch.no_grad():
        state = SessionState.of(
            model.network, simulator.config, model.network.content_of(model.env), 1, batch.items.shape[1]
        )
        state.start(batch)
        scores = state.scores(batch)
    values = (scores.logits * scores.temperature)[0].numpy()
    return values - values.mean()


def test_the_effect_of_a_row_is_the_score_less_that_without_it():
    model, observation = model_and_observation()
    found = model.explain(observation, candidate=3)
    whole = scores_of(model, observation)
    assert found.item == observation["candidate_items"][0, 3]
    assert found.score == pytest.approx(whole[3], abs=1e-5)
    assert sorted(reason.row for reason in found.reasons) == [0, 1, 2, 3, 4]
    for row, item, effect, instead in found.reasons:
        place = 4 - row  # observed with the newest first
        feedback = observation["history_feedback"].reshape(1, -1, len(FEEDBACK))
        shorter = {
            **observation,
            "history_items": np.append(np.delete(observation["history_items"], place, 1), [[-1]], 1),
            "history_feedback": np.append(np.delete(feedback, place, 1), 0.0 * feedback[:, :1], 1).reshape(1, -1),
        }
        without = scores_of(model, shorter)
        assert item == observation["history_items"][0, place]
        assert effect == pytest.approx(whole[3] - without[3], abs=1e-5)
        assert instead == observation["candidate_items"][0, without.argmax()]


def test_the_best_candidate_is_explained_by_default_strongest_reasons_first():
    model, observation = model_and_observation()
    found = model.explain(observation)
    assert found.item == observation["candidate_items"][0, scores_of(model, observation).argmax()]
    effects = [abs(reason.effect) for reason in found.reasons]
    assert effects == sorted(effects, reverse=True)
    assert effects[0] > 0.0


def test_a_source_that_the_network_does_not_read_contributes_nothing():
    model, observation = model_and_observation()
    with torch.no_grad():
        for name in SOURCES["statistics"]:
            model.network.candidate_dynamics.weight[:, DYNAMICS.index(name)] = 0.0
    found = model.explain(observation, candidate=0)
    assert set(found.sources) == {*SOURCES, CONTENT}
    assert found.sources["statistics"] == pytest.approx(0.0, abs=1e-6)
    assert abs(found.sources["platform's prediction"]) > 1e-3


def test_a_session_without_history_has_sources_and_no_reasons():
    model, observation = model_and_observation(num_steps=0)
    found = model.explain(observation)
    assert found.reasons == ()
    assert np.isfinite(list(found.sources.values())).all()


def test_a_model_that_reads_no_history_is_explained_without_it():
    model, observation = model_and_observation()
    blind = LargeModel.load("pretrained", model.env, reads_history=False)
    found = blind.explain(observation, candidate=3)
    assert found.reasons == ()
    assert found.score != pytest.approx(model.explain(observation, candidate=3).score, abs=1e-4)


def test_what_cannot_be_explained_is_named():
    model, observation = model_and_observation()
    by_feedback = LargeModel.load("pretrained", model.env, ranking="supervised")
    with pytest.raises(ValueError, match="ranking='supervised': must be 'policy', whose scores are explained"):
        by_feedback.explain(observation)
    with pytest.raises(ValueError, match="candidate=20: must be one of the 20 candidates, from 0"):
        model.explain(observation, candidate=20)
    two = {name: np.repeat(part, 2, 0) for name, part in observation.items()}
    with pytest.raises(ValueError, match="observations: 2 sessions, must be 1"):
        explain(model.network, model.env.simulator, model.network.content_of(model.env), two)
