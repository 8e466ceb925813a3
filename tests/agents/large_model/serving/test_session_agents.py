"""The agents of a session, blind sessions, and beliefs by topic, with a stand-in for the model."""

import json
import math

import numpy as np
import pytest
from stand_in_model import begin, catalog_of, client_with, recommend, respond

from agents.large_model.serving.slates import BestSlate, draw_slate
from agents.large_model.serving.topics import topic_deviations

NUM_ANSWERS = 30
"""So many that each agent answers some: the server draws them by the id of the session, which is random."""


@pytest.fixture(scope="module")
def catalog():
    return catalog_of()


@pytest.fixture
def client(tmp_path, catalog):
    with client_with(tmp_path, catalog, exploration=0.0) as client:
        yield client


def play(client, session: str, num_steps: int, **feedback) -> list[dict]:
    """Recommendations of one item, each with this feedback."""
    shown = [recommend(client, session, num_items=1)]
    for _ in range(num_steps - 1):
        assert respond(client, session, shown[-1], **feedback).status_code == 200
        shown.append(recommend(client, session, num_items=1))
    assert respond(client, session, shown[-1], **feedback).status_code == 200
    return shown


def test_the_platform_ranks_by_its_prediction_without_the_model(client, catalog):
    session = begin(client, agent="platform")
    shown = recommend(client, session, num_items=3)["items"]
    available = catalog.observations.available(catalog.observations.first_time)
    nothing = np.zeros(0, np.int64), np.zeros((0, 7), np.float32), np.zeros(0, np.int64)
    predicted = catalog.observations.relevance(*nothing, available, catalog.observations.first_time)[:, 0]
    best = available[np.argsort(-predicted, kind="stable")[:3]]
    assert [each["item"] for each in shown] == best.tolist()
    assert shown[0]["score"] == pytest.approx(predicted.max())
    assert shown[0]["probability"] is None
    assert "recsim_batch_sessions_count 0.0" in client.get("/metrics").text


def test_propensities_of_two_agents_are_the_frequencies_of_slates():
    scores, number = np.array([[0.1, 0.9, 0.5], [0.9, 0.1, 0.5]]), 8_000
    policies = [BestSlate(each) for each in scores]
    slates = [draw_slate(policies, 2, 0.4, 0, "session", step) for step in range(number)]
    counts: dict = {}
    for slate in slates:
        counts.setdefault(tuple(slate.places.tolist()), []).append(slate.log_propensity)
    assert len(counts) == 6
    for slate, log_propensities in counts.items():
        assert len(set(log_propensities)) == 1
        expected = 0.3 * (slate in ((1, 2), (0, 2))) + 0.4 / 6
        assert math.exp(log_propensities[0]) == pytest.approx(expected)
        assert len(log_propensities) / number == pytest.approx(expected, abs=0.03)
    assert np.mean([slate.agent for slate in slates]) == pytest.approx(0.5, abs=0.03)


def test_agents_that_agree_have_the_propensity_of_one():
    one, other = (BestSlate(np.array(scores)) for scores in ([0.1, 0.9, 0.5], [0.2, 0.8, 0.6]))
    expected = draw_slate([one], 2, 0.0, 0, "session", 3).log_propensity
    assert draw_slate([one, other], 2, 0.0, 0, "session", 3).log_propensity == expected == 0.0


def test_a_blind_session_does_not_tell_the_agent_until_it_is_compared(client):
    session = begin(client, agent="blind")
    answers = play(client, session, NUM_ANSWERS, click=1, rating=4)
    for item in (each["items"][0] for each in answers):
        assert [item[name] for name in ("score", "probability", "expected_reward", "why")] == [None] * 4
    stored = client.get(f"/sessions/{session}").json()
    assert "platform" not in json.dumps([answers, stored])
    for name in ("agent", "log_propensity"):
        assert {each[name] for each in stored["recommendations"]} == {None}
    client.get(f"/sessions/{session}/comparison")
    told = client.get(f"/sessions/{session}").json()["recommendations"]
    assert {each["agent"] for each in told} == {"large-model", "platform"}
    assert {round(math.exp(each["log_propensity"]), 6) for each in told} <= {0.5, 1.0}


@pytest.mark.parametrize("option", ["explain", "beliefs"])
def test_a_blind_session_refuses_what_would_tell_the_agent(client, option):
    session = begin(client, agent="blind")
    answer = client.post(f"/sessions/{session}/recommendations", json={option: True})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(option)
    assert client.get(f"/sessions/{session}").json()["recommendations"] == []


def test_a_comparison_counts_the_answers_to_each_agent(client):
    session = begin(client, agent="blind")
    play(client, session, NUM_ANSWERS, click=1, rating=4)
    unanswered = recommend(client, session)
    found = client.get(f"/sessions/{session}/comparison").json()
    agents = [each["agent"] for each in client.get(f"/sessions/{session}").json()["recommendations"]]
    for name, result in found["agents"].items():
        assert (
            result["recommendations"] == result["clicks"] == result["ratings"] == agents[:NUM_ANSWERS].count(name) > 0
        )
        assert (result["click_rate"], result["mean_rating"]) == (1.0, 4.0)
    numbers = [each["recommendations"] for each in found["agents"].values()]
    assert f"{numbers[0]} and {numbers[1]}" in found["caveat"]
    assert respond(client, session, unanswered, click=1).status_code == 409
    assert client.get(f"/sessions/{session}/comparison").json() == found


def test_a_compared_session_takes_no_more_recommendations_even_after_a_restart(tmp_path, catalog):
    with client_with(tmp_path, catalog) as client:
        session = begin(client, agent="blind")
        shown = recommend(client, session)
        respond(client, session, shown, click=1)
        found = client.get(f"/sessions/{session}/comparison").json()
        assert client.post(f"/sessions/{session}/recommendations", json={}).status_code == 409
    with client_with(tmp_path, catalog) as client:
        answer = client.post(f"/sessions/{session}/recommendations", json={})
        assert answer.status_code == 409
        assert "compared" in answer.json()["detail"]
        assert respond(client, session, shown, click=1).json()["is_new"] is False
        assert client.get(f"/sessions/{session}/comparison").json() == found


def test_only_blind_sessions_are_compared(client):
    session = begin(client)
    answer = client.get(f"/sessions/{session}/comparison")
    assert answer.status_code == 409
    recommend(client, session)
    assert client.get("/sessions/unknown/comparison").status_code == 404


def test_topic_deviations_by_hand():
    topics = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    found = topic_deviations(np.array([1.0, 5.0, 3.0]), topics)
    spread = np.array([1.0, 5.0, 3.0]).std()
    assert found == pytest.approx(np.array([-2.0 / 1.5, 2.0 / 1.5, 0.0]) / spread)
    assert topic_deviations(np.full(3, 7.0), topics).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("agent", ["large-model", "platform"])
def test_beliefs_name_every_topic_and_follow_feedback(client, catalog, agent):
    session = begin(client, agent=agent)
    before = recommend(client, session, beliefs=True)
    respond(client, session, before, click=1, consumption=1.0, rating=5)
    after = recommend(client, session, beliefs=True)
    assert list(before["beliefs"]) == list(catalog.about_items.topics)
    assert before["beliefs"] != after["beliefs"]
    assert recommend(client, session)["beliefs"] is None


def test_reasons_name_the_answer_they_stand_on(client):
    session = begin(client)
    shown = recommend(client, session, num_items=2)
    respond(client, session, shown, click=1, rating=4)
    explained = recommend(client, session, explain=True)["items"][0]["why"]
    answers = {reason["item"]: (reason["click"], reason["rating"]) for reason in explained}
    assert answers == {shown["items"][0]["item"]: (True, 4.0), shown["items"][1]["item"]: (False, 0.0)}
