"""What the scores of the large model owe to each item shown before, and to each source of information."""

import gymnasium
import numpy as np
import pytest
import torch

from agents.large_model.agent import LargeModel
from agents.large_model.score_sources import CONTENT, SOURCES
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
    assert found.candidate == 3
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
        assert instead == without.argmax()


def test_the_best_candidate_is_explained_by_default_strongest_reasons_first():
    model, observation = model_and_observation()
    found = model.explain(observation)
    assert found.candidate == scores_of(model, observation).argmax()
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
    assert [reason.effect for reason in found.reasons] == [0.0] * 5
    assert found.score != pytest.approx(model.explain(observation, candidate=3).score, abs=1e-4)


def test_a_model_that_ranks_by_the_supervised_heads_is_explained_without_sources():
    model, observation = model_and_observation()
    by_feedback = LargeModel.load("pretrained", model.env, ranking="supervised")
    found = by_feedback.explain(observation, candidate=3)
    assert found.sources == {}
    assert len(found.reasons) == 5
    assert found.score != pytest.approx(model.explain(observation, candidate=3).score, abs=1e-4)


def test_explaining_leaves_later_samples_as_they_are():
    first, second = model_and_observation()[0], model_and_observation()
    second[0].explain(second[1])
    sampled = [model.predict(second[1], deterministic=False)[0] for model in (first, second[0])]
    np.testing.assert_array_equal(*sampled)
