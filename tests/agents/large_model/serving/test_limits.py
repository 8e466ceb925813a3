"""Who may ask, how often, and how much."""

import numpy as np
import pytest
from stand_in_model import begin, catalog_of, client_with, recommend

from agents.large_model.serving.limits import RateLimit, is_loopback
from recsim_env.simulation.observation import FEEDBACK


@pytest.fixture(scope="module")
def catalog():
    return catalog_of()


def test_a_token_is_required_where_there_is_one(tmp_path, catalog):
    with client_with(tmp_path, catalog, token="secret", loopback_only=False) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}):
            answer = client.post("/sessions", json={}, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert client.get("/metrics", headers=headers).status_code == 401
        assert client.get("/healthz").status_code == 200
        allowed = {"authorization": "Bearer secret", "host": "recommender.example"}
        assert client.post("/sessions", json={}, headers=allowed).status_code == 201


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example:8000", 400),
        ("", 400),
    ],
)
def test_only_names_of_this_machine_reach_a_loopback_server(tmp_path, catalog, host, status):
    with client_with(tmp_path, catalog) as client:
        assert client.get("/healthz", headers={"host": host}).status_code == status


def test_loopback_addresses_are_recognised():
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.8.9.1", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "10.0.0.1", "::", "example.org", "")))


def test_no_website_may_read_the_answers(tmp_path, catalog):
    with client_with(tmp_path, catalog) as client:
        headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
        answer = client.options("/sessions", headers=headers)
        assert answer.status_code == 405
        assert not any(name.startswith("access-control") for name in answer.headers)
        form = client.post("/sessions", content="{}", headers={"content-type": "text/plain"})
        assert form.status_code == 422


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_is_too_long_is_refused(tmp_path, catalog, is_chunked):
    body = b'{"person": "' + b"a" * 3_000 + b'"}'
    with client_with(tmp_path, catalog, max_body=2_000) as client:
        content = iter([body[:1_500], body[1_500:]]) if is_chunked else body
        answer = client.post("/sessions", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert "at most 2000 bytes" in answer.json()["detail"]


def test_an_address_that_asks_too_often_has_to_wait(tmp_path, catalog):
    with client_with(tmp_path, catalog, requests_per_second=2) as client:
        answers = [client.get("/healthz") for _ in range(8)]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert answers[0].status_code == 200
        assert answers[-1].headers["retry-after"] == "1"


def test_addresses_have_rates_of_their_own_which_recover():
    now = [0.0]
    limit = RateLimit(10.0, lambda: now[0])
    assert [limit.seconds_to_wait("a") for _ in range(20)] == [0.0] * 20
    assert limit.seconds_to_wait("a") == pytest.approx(0.1)
    assert limit.seconds_to_wait("b") == 0.0
    now[0] = 0.25
    assert [limit.seconds_to_wait("a") > 0.0 for _ in range(3)] == [False, False, True]


def test_sessions_are_bounded_in_number_and_length(tmp_path, catalog):
    limits = {"max_sessions": 3, "max_sessions_of_person": 2, "max_session_length": 2}
    with client_with(tmp_path, catalog, **limits) as client:
        sessions = [begin(client, person="ada") for _ in range(2)]
        assert "has 2 sessions" in client.post("/sessions", json={"person": "ada"}).json()["detail"]
        begin(client)
        answer = client.post("/sessions", json={})
        assert answer.status_code == 429
        assert "there are 3" in answer.json()["detail"]
        assert client.delete(f"/sessions/{sessions[0]}").status_code == 204
        begin(client, person="ada")
        for _ in range(2):
            recommend(client, sessions[1])
        assert client.post(f"/sessions/{sessions[1]}/recommendations", json={}).status_code == 429


def test_candidates_are_bounded_in_number(tmp_path, catalog):
    with client_with(tmp_path, catalog, max_candidates=5) as client:
        session = begin(client)
        answer = client.post(f"/sessions/{session}/recommendations", json={"candidates": [1, 2, 3, 4, 5, 6]})
        assert answer.status_code == 422
        recommend(client, session)
        (stored,) = client.get(f"/sessions/{session}").json()["recommendations"]
    observations = catalog.observations
    available = observations.available(stored["time"])
    nothing = available[:0], np.zeros((0, len(FEEDBACK))), available[:0]
    predicted = observations.relevance(*nothing, available, stored["time"])[:, 0]
    assert set(stored["candidates"]) == set(available[np.argsort(-predicted)[:5]].tolist())
