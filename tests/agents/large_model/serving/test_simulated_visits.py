"""Visits of simulated users: sessions of the env, of which nothing is stored."""

import numpy as np
import pytest
from made_log import write_log
from stand_in_model import DATABASE, SMALL, StandInModel, begin, catalog_of, client_with, recommend, respond

from agents.large_model.env import make_env
from agents.large_model.serving.catalog import ServedCatalog


@pytest.fixture(scope="module")
def catalog():
    return catalog_of()


@pytest.fixture
def client(tmp_path, catalog):
    with client_with(tmp_path, catalog, max_simulated_visits=3) as client:
        yield client


def visit_of(client, **request) -> dict:
    answer = client.post("/simulated-visits", json=request)
    assert answer.status_code == 201, answer.text
    return answer.json()


def step(client, visit: dict) -> dict:
    answer = client.post(f"/simulated-visits/{visit['visit']}/step")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_visit_is_a_session_of_the_env(client):
    env = make_env("recsim_env/Video-v0", 1, catalog_seed=5, overrides=SMALL, slate_size=2, num_candidates=200)
    observation, _ = env.reset(seed=7)
    visit = visit_of(client, agent="platform", num_items=2, seed=7)
    for number in range(8):
        relevance = observation["candidate_relevance"].reshape(200, 3)[:, 0]
        is_there = observation["candidate_items"][0] >= 0
        slate = np.argsort(np.where(is_there, -relevance, np.inf), kind="stable")[:2]
        expected = observation["candidate_items"][0][slate].tolist()
        observation, *_ = env.step(slate[None])
        found = step(client, visit)
        assert found["step"] == number
        assert [each["item"] for each in found["items"]] == expected
        ratings = observation["history_feedback"].reshape(-1, 7)[:2][::-1, 4] * 5.0
        assert [each["rating"] for each in found["items"]] == pytest.approx(ratings.tolist())
        latent = env.latent_state()
        assert found["user"]["trust"] == pytest.approx(latent["trust"][0])
        assert found["user"]["patience"] == pytest.approx(latent["patience"][0])


@pytest.mark.parametrize("agent", ["large-model", "platform"])
def test_visits_side_by_side_do_not_disturb_each_other(client, agent):
    alone = visit_of(client, agent=agent, num_items=3, seed=1)
    expected = [step(client, alone) for _ in range(4)]
    one, other = visit_of(client, agent=agent, num_items=3, seed=1), visit_of(client, agent=agent, num_items=3, seed=2)
    for each in expected:
        assert step(client, one) == each
        assert step(client, other) != each


def test_a_visit_ends_and_takes_no_more_steps(client):
    visit = visit_of(client, seed=3)
    steps = [step(client, visit)]
    while not steps[-1]["is_over"]:
        steps.append(step(client, visit))
    assert len(steps) <= visit["num_steps"]
    assert steps[-1]["has_left"] == (steps[-1]["user"]["patience"] <= 0.0)
    answer = client.post(f"/simulated-visits/{visit['visit']}/step")
    assert (answer.status_code, answer.json()["detail"]) == (409, "visit: is over")


def test_a_visit_longer_than_the_model_reads_is_read_anew(client, monkeypatch):
    starts, start = [], StandInModel.start
    monkeypatch.setattr(StandInModel, "max_tokens", 4)
    monkeypatch.setattr(StandInModel, "start", lambda *arguments: starts.append(1) or start(*arguments))
    visit, num_steps = visit_of(client, seed=3), 1
    while not step(client, visit)["is_over"]:
        num_steps += 1
    assert num_steps > 4
    assert len(starts) > 1


def test_nothing_of_a_visit_is_stored(tmp_path, catalog):
    with client_with(tmp_path, catalog) as client:
        session = begin(client)
        respond(client, session, recommend(client, session), click=1)
        before, stored = (tmp_path / DATABASE).read_bytes(), client.get(f"/sessions/{session}").json()
        wal = (tmp_path / f"{DATABASE}-wal").read_bytes()
        visit = visit_of(client)
        for _ in range(3):
            step(client, visit)
        assert client.get(f"/sessions/{visit['visit']}").status_code == 404
        assert client.get(f"/sessions/{session}").json() == stored
        assert ((tmp_path / DATABASE).read_bytes(), (tmp_path / f"{DATABASE}-wal").read_bytes()) == (before, wal)


def test_the_oldest_visits_are_forgotten(client):
    visits = [visit_of(client, seed=seed) for seed in range(4)]
    assert client.post(f"/simulated-visits/{visits[0]['visit']}/step").status_code == 404
    assert all(step(client, visit)["step"] == 0 for visit in visits[1:])
    assert client.delete(f"/simulated-visits/{visits[1]['visit']}").status_code == 204
    assert client.post(f"/simulated-visits/{visits[1]['visit']}/step").status_code == 404


def test_interests_and_beliefs_have_the_same_topics(client, catalog):
    visit = visit_of(client)
    found = step(client, visit)
    assert list(found["beliefs"]) == list(visit["user"]["interests"]) == list(catalog.about_items.topics)
    assert any(value != 0.0 for value in found["beliefs"].values())


def test_a_catalogue_without_users_has_no_visits(client, monkeypatch):
    monkeypatch.setattr(ServedCatalog, "has_users", False)
    answer = client.post("/simulated-visits", json={})
    assert answer.status_code == 404
    assert "no users" in answer.json()["detail"]
    assert client.get("/catalog").json()["has_simulated_users"] is False


def test_people_who_are_replayed_are_not_simulated(tmp_path):
    env = make_env("recsim_env/Replay-v0", 1, world=str(write_log(tmp_path)), split="train")
    assert not ServedCatalog(env.simulator, "recsim_env/Replay-v0", {}).has_users


def test_visits_are_of_known_agents_with_slates_of_the_env(client):
    for request in ({"agent": "blind"}, {"num_items": 11}, {"num_items": 0}, {"seed": -1}, {"user": 3}):
        assert client.post("/simulated-visits", json=request).status_code == 422
