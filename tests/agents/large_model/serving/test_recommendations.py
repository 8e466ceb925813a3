"""Sessions, recommendations and feedback over HTTP, with a stand-in for the model."""

import json
import math

import numpy as np
import pytest
from stand_in_model import begin, catalog_of, client_with, recommend, respond

from agents.large_model.serving.slates import BestSlate, draw_slate

GREEDY = {"exploration": 0.0}


@pytest.fixture(scope="module")
def catalog():
    return catalog_of()


@pytest.fixture
def client(tmp_path, catalog):
    with client_with(tmp_path, catalog) as client:
        yield client


def test_a_person_gets_the_best_items_in_order(tmp_path, catalog):
    with client_with(tmp_path, catalog, **GREEDY) as client:
        session = begin(client)
        shown = recommend(client, session, num_items=5)["items"]
        given = recommend(client, session, candidates=[each["item"] for each in shown[::-1]], num_items=5)["items"]
    scores = [each["score"] for each in shown]
    assert scores == sorted(scores, reverse=True)
    assert [each["item"] for each in shown] == [each["item"] for each in given]
    assert sum(each["probability"] for each in given) == pytest.approx(1.0)
    assert all(each["title"] == catalog.title(each["item"]) for each in shown)


def test_recommendations_depend_on_feedback_profile_and_earlier_sessions(tmp_path, catalog):
    with client_with(tmp_path, catalog, **GREEDY) as client:
        sessions = [begin(client, person="ada"), begin(client, person="bob"), begin(client, profile={"profile 1": 1.0})]
        first = [recommend(client, session, candidates=[3, 70, 41]) for session in sessions]
        scores = [each["items"][0]["score"] for each in first]
        assert scores[0] == scores[1] != scores[2]
        respond(client, sessions[0], first[0], click=1, rating=5)
        later = [recommend(client, session, num_items=2) for session in sessions[:2]]
        assert later[0]["items"] != later[1]["items"]
        again = [recommend(client, begin(client, person=name), candidates=[3]) for name in ("ada", "bob")]
        assert again[0]["items"][0]["score"] != again[1]["items"][0]["score"]


def test_feedback_counts_exactly_once(client):
    session = begin(client)
    shown = recommend(client, session, num_items=2)
    answers = [respond(client, session, shown, click=True, rating=4.0) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert [answer.json()["is_new"] for answer in answers] == [True, False, False]
    other = respond(client, session, shown, click=True, rating=3.0)
    assert other.status_code == 409
    (stored,) = client.get(f"/sessions/{session}").json()["recommendations"]
    assert [each["rating"] for each in stored["feedback"]] == [4.0, 0.0]


def test_feedback_needs_a_recommended_item(client):
    session = begin(client)
    shown = recommend(client, session, candidates=[3, 70])
    for item, reason in ((41, "was not recommended"), (4_000, "must be a whole number"), ("x", "whole number")):
        request = {"recommendation": shown["recommendation"], "items": [{"item": item}]}
        answer = client.post(f"/sessions/{session}/feedback", json=request)
        assert answer.status_code == 422
        assert reason in answer.json()["detail"]
    twice = {"recommendation": 0, "items": [{"item": shown["items"][0]["item"]}] * 2}
    assert "more than once" in client.post(f"/sessions/{session}/feedback", json=twice).json()["detail"]
    missing = client.post(f"/sessions/{session}/feedback", json={"recommendation": 1, "items": []})
    assert missing.status_code == 404
    assert client.get(f"/sessions/{session}").json()["recommendations"][0]["feedback"] is None


def test_consumed_items_are_not_candidates_any_more(tmp_path, catalog):
    with client_with(tmp_path, catalog) as client:
        session = begin(client)
        for left in (3, 2, 1):
            shown = recommend(client, session, candidates=[3, 70, 41], num_items=3)
            assert len(shown["items"]) == left
            respond(client, session, shown, click=1)
        answer = client.post(f"/sessions/{session}/recommendations", json={"candidates": [3, 70, 41]})
    assert answer.status_code == 422
    assert "consumed all of them" in answer.json()["detail"]


def test_an_explanation_names_items_shown_before(client):
    session = begin(client)
    shown = recommend(client, session, num_items=2)
    respond(client, session, shown, click=1)
    explained = recommend(client, session, num_items=3, explain=True)["items"]
    before = {each["item"] for each in shown["items"]}
    assert all({reason["item"] for reason in each["why"]} == before for each in explained)
    effects = [reason["effect"] for reason in explained[0]["why"]]
    assert [abs(effect) for effect in effects] == sorted(map(abs, effects), reverse=True)


def test_a_download_has_everything_of_the_session_alone(client):
    sessions = [begin(client, person=name, profile={"profile 2": 0.5}) for name in ("ada", "bob")]
    shown = [recommend(client, session, candidates=[3, 70, 41]) for session in sessions]
    respond(client, sessions[0], shown[0], consumption=0.25, follow=-1)
    found = client.get(f"/sessions/{sessions[0]}").json()
    assert (found["person"], found["profile"]) == ("ada", {"profile 2": 0.5})
    assert found["recommendations"][0]["candidates"] == [3, 70, 41]
    assert found["recommendations"][0]["feedback"][0]["consumption"] == 0.25
    assert "bob" not in json.dumps(found)
    assert sessions[1] not in json.dumps(found)


def test_propensities_are_the_frequencies_of_slates():
    scores, number = np.array([0.1, 0.9, 0.5]), 6_000
    slates = [draw_slate([BestSlate(scores)], 2, 0.4, 0, "session", step) for step in range(number)]
    counts: dict = {}
    for slate in slates:
        counts.setdefault(tuple(slate.places.tolist()), []).append(slate.log_propensity)
    assert len(counts) == 6
    for slate, log_propensities in counts.items():
        assert len(set(log_propensities)) == 1
        expected = 0.6 * (slate == (1, 2)) + 0.4 / 6
        assert math.exp(log_propensities[0]) == pytest.approx(expected)
        assert len(log_propensities) / number == pytest.approx(expected, abs=0.03)


def test_a_slate_is_a_function_of_seed_session_and_step():
    scores = np.linspace(0.0, 1.0, 50)

    def places(*key) -> list[int]:
        return draw_slate([BestSlate(scores)], 3, 1.0, *key).places.tolist()

    assert places(0, "one", 4) == places(0, "one", 4)
    others = [places(0, "one", 4), places(1, "one", 4), places(0, "two", 4), places(0, "one", 5)]
    assert len(set(map(tuple, others))) == 4


def test_items_have_a_title_features_and_a_picture(client, catalog):
    found = client.get("/items/7").json()
    assert found["title"] == catalog.title(7)
    assert found["features"]["quality cue"] == pytest.approx(catalog.features(7)["quality cue"])
    picture = client.get(found["image"])
    assert picture.headers["content-type"] == "image/png"
    assert found["audio"] is None
    assert client.get("/items/7/audio.wav").status_code == 404
    assert client.get("/items/400").status_code == client.get("/items/x").status_code == 404


def test_operators_see_health_and_metrics(client):
    session = begin(client)
    recommend(client, session)
    assert client.get("/healthz").json() == {"status": "ok", "model": "stand-in"}
    text = client.get("/metrics").text
    assert 'recsim_requests_total{route="/sessions/{session}/recommendations",status="200"} 1.0' in text
    assert "recsim_batch_sessions_count 1.0" in text
    assert "recsim_cached_sessions 1.0" in text
    assert 'recsim_model_info{version="stand-in"} 1.0' in text
    assert "recsim_model_swaps_total 0.0" in text
    assert session not in text


def test_the_schema_of_the_requests_is_served(client):
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]["/sessions/{session}/recommendations"]["post"]["responses"]) >= {"200", "404", "422"}
    assert schema["components"]["schemas"]["RecommendationRequest"]["examples"]
    assert client.get("/docs").status_code == 404  # would need a content delivery network
