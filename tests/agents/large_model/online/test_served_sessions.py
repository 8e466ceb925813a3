"""Sessions of a server's database are learnt from as the model read them."""

import asyncio
import functools

import numpy as np
import pytest
import torch
from conftest import CHECKOUT  # noqa: F401  (sets what threads may do)

from agents.large_model.env import make_env
from agents.large_model.online.config import OnlineConfig
from agents.large_model.online.learner import OnlineLearner
from agents.large_model.online.served_sessions import ServedSessions, read_parts
from agents.large_model.serving.database_file import read_about, reading
from agents.large_model.serving.requests import Feedback, ItemFeedback, NewSession, RecommendationRequest
from agents.large_model.session_state import PolicyRunner
from benchmarks.experiments.served_people import WITHOUT_ARRIVALS, visit
from tests.small_large_models import network_for, perturbed
from tests.stand_in_model import DATABASE, SMALL, catalog_of, recommender_with

NUM_PEOPLE, SEED = 5, 11
IMPATIENT = {"patience_mean": 1.0, **WITHOUT_ARRIVALS["population"]}
OVERRIDES = {
    "population": IMPATIENT,
    "catalog": {**SMALL["catalog"], **WITHOUT_ARRIVALS["catalog"]},
    "behaviour": {"rating_probability": 1.0},  # a server knows no other ratings
}


def arguments_of(**others):
    return {"catalog_seed": 5, "session_length": 7, "history_length": 12, "overrides": OVERRIDES, **others}


@pytest.fixture(scope="module", params=["recsim_env/Video-v0", "recsim_env/VideoSlate-v0"])
def scene(request, tmp_path_factory):
    """People at a server with a stand-in for the model, and the env that they come from."""
    folder, arguments = tmp_path_factory.mktemp("served"), arguments_of()
    recommender = recommender_with(folder, catalog_of(request.param, **arguments))
    env = make_env(request.param, NUM_PEOPLE, **arguments)

    async def run() -> np.ndarray:
        returns = await visit(recommender, env, SEED, "person")
        await recommender.close()
        return returns

    return folder / DATABASE, env, asyncio.run(run())


def about_of(database) -> dict:
    with reading(database) as db:
        return read_about(db)[1]


def parts_of(database, served, **times):
    times = {"since": 0.0, "until": 1e12, "idle": 0.0, **times}
    return read_parts(database, functools.partial(served.new_history, 128), **times)


def test_logits_are_those_of_the_network_in_the_env(scene):
    database, env, returns = scene
    served = ServedSessions(env.simulator, about_of(database))
    parts = sorted(parts_of(database, served), key=lambda part: part.person)
    assert [part.person for part in parts] == [f"person-{lane}" for lane in range(NUM_PEOPLE)]
    network = network_for(env)
    content = network.content_of(env)
    sessions, propensities = served.sessions(parts, network, content)
    logits = network(sessions, content).logits
    assert sessions.lengths.tolist() == [len(part.steps) for part in parts]
    scale = env.simulator.config.reward_scale
    torch.testing.assert_close(sessions.returns * scale, torch.tensor(returns).float(), atol=1e-4, rtol=1e-4)
    runner = PolicyRunner(network, env.simulator, content, NUM_PEOPLE)
    observations, _ = env.reset(seed=SEED)
    starts, steps = np.ones(NUM_PEOPLE, np.bool_), sessions.steps
    firsts = torch.cumsum(sessions.lengths, 0) - sessions.lengths
    for t in range(int(sessions.lengths.max())):
        expected = runner.scores(observations, starts).logits
        starts = np.zeros(NUM_PEOPLE, np.bool_)
        actions = np.zeros((NUM_PEOPLE, env.simulator.config.slate_size), np.int64)
        for lane, part in enumerate(parts):
            if t < len(part.steps):
                row = int(firsts[lane]) + t
                width = expected.shape[1]
                mask = steps.candidates[row, :width] >= 0
                torch.testing.assert_close(
                    logits[row, :width][mask], expected[lane, : len(mask)][mask], atol=2e-4, rtol=1e-4
                )
                actions[lane] = part.steps[t].places
                assert propensities[lane, t] == pytest.approx(part.steps[t].log_propensity)
        observations, *_ = env.step(actions[:, 0] if actions.shape[1] == 1 else actions)


def test_slates_of_different_lengths_are_read_together_as_alone(tmp_path):
    arguments = arguments_of()
    catalog = catalog_of("recsim_env/VideoSlate-v0", **arguments)
    recommender = recommender_with(tmp_path, catalog, exploration=1.0)

    async def run() -> None:
        for num_items, num_steps in ((1, 3), (5, 2), (2, 7)):
            session = (await recommender.create_session(NewSession(person=f"{num_items}"))).session
            for _ in range(num_steps):
                request = RecommendationRequest(candidates=list(range(20 * num_items)), num_items=num_items)
                slate = await recommender.recommend(session, request)
                items = [ItemFeedback(item=slate.items[-1].item, click=True, rating=4.0)]
                await recommender.add_feedback(session, Feedback(recommendation=slate.recommendation, items=items))
        await recommender.close()

    asyncio.run(run())
    env = make_env("recsim_env/VideoSlate-v0", 1, **arguments)
    served = ServedSessions(env.simulator, about_of(tmp_path / DATABASE))
    network = perturbed(network_for(env))
    content = network.content_of(env)
    parts = parts_of(tmp_path / DATABASE, served)
    assert sorted(len(part.steps) for part in parts) == [2, 3, 7]
    together, _ = served.sessions(parts, network, content)
    logits = network(together, content).logits.split(together.lengths.tolist())
    for n, part in enumerate(parts):
        alone, _ = served.sessions([part], network, content)
        expected = network(alone, content).logits
        is_candidate = alone.steps.candidates >= 0
        found = logits[n][:, : expected.shape[1]]
        torch.testing.assert_close(found[is_candidate], expected[is_candidate], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(together.returns[n], alone.returns[0])
    learner = OnlineLearner(network, content, OnlineConfig(max_divergence=100.0))
    assert np.isfinite(learner.learn(together).divergence)
    assert all(weight.isfinite().all() for weight in network.state_dict().values())


def test_parts_are_completed_when_nothing_comes_any_more(scene):
    database, env, _ = scene
    served = ServedSessions(env.simulator, about_of(database))
    ended = sorted(part.ended for part in parts_of(database, served))
    late = parts_of(database, served, until=ended[-1] + 59.0, idle=60.0)
    assert all(len(part.steps) == 7 or part.ended < ended[-1] for part in late)
    assert len(parts_of(database, served, until=ended[-1] + 61.0, idle=60.0)) == NUM_PEOPLE
    assert parts_of(database, served, since=ended[-1]) == []
