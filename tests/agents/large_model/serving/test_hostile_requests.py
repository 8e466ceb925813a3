"""Requests that nobody should send are refused in one line, and never make the server fail."""

import json

import pytest
from hostile_requests import BODIES, PATHS, attack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stand_in_model import begin, catalog_of, client_with, recommend

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with client_with(tmp_path_factory.mktemp("server"), catalog_of(), exploration=0.0) as client:
        client.session = begin(client, person="ada")
        recommend(client, client.session, candidates=[3, 70])
        yield client


def assert_refused(answer) -> None:
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text)
    detail = answer.json()["detail"]
    assert isinstance(detail, str)
    assert detail.isprintable()
    assert 0 < len(detail) < 1_000
    assert "Traceback" not in detail


@pytest.mark.parametrize("path", PATHS)
def test_malformed_bodies_are_refused_in_one_line(client, path):
    for body in BODIES:
        answer = client.post(path.format(session=client.session), content=body, headers=JSON)
        if path.endswith("recommendations") and "unknown" not in path and answer.status_code == 200:
            raise AssertionError(f"{body[:80]!r} was accepted")
        assert_refused(answer)


@pytest.mark.parametrize("path", ["/sessions/unknown", "/people/unknown", "/items/unknown", "/unknown", "/items/-1"])
def test_what_does_not_exist_is_not_found(client, path):
    methods = {"/sessions": ("get", "delete"), "/people": ("delete",)}.get(path.rpartition("/")[0], ("get",))
    for method in methods:
        answer = getattr(client, method)(path)
        assert answer.status_code == 404
        assert_refused(answer)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "OPTIONS", "GET", "NONSENSE"])
def test_other_methods_are_refused(client, method):
    answer = client.request(method, "/sessions")
    assert answer.status_code == 405
    assert_refused(answer)


@pytest.mark.parametrize(
    "path", ["/items/%00", "/items/..%2f..%2fetc", "/sessions/" + "a" * 5_000, "/people/%ff%fe", "/page/..%2fapp.py"]
)
def test_odd_paths_are_refused(client, path):
    assert_refused(client.delete(path) if "people" in path else client.get(path))


def test_sessions_cannot_be_guessed_or_listed(client):
    sessions = {begin(client, person="bob") for _ in range(5)}
    assert len(sessions) == 5
    assert all(len(session) >= 32 for session in sessions)
    for path in ("/sessions", "/people", "/people/bob", "/sessions/", "/sessions/%25", "/sessions/*"):
        assert_refused(client.get(path))


def test_feedback_for_the_recommendation_of_another_person_is_refused(client):
    session = begin(client, person="eve")
    feedback = {"recommendation": 0, "items": [{"item": 3, "rating": 1}]}
    assert client.post(f"/sessions/{session}/feedback", json=feedback).status_code == 404
    (theirs,) = client.get(f"/sessions/{client.session}").json()["recommendations"]
    assert theirs["feedback"] is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
fields = st.sampled_from(
    ["person", "profile", "candidates", "num_items", "explain", "recommendation", "items", "item", "rating", "click"]
)
bodies = st.dictionaries(fields, values | st.lists(st.dictionaries(fields, values, max_size=4), max_size=3), max_size=4)


@given(path=st.sampled_from(PATHS), body=bodies)
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_json_makes_the_server_fail(client, path, body):
    answer = client.post(path.format(session=client.session), content=json.dumps(body).encode(), headers=JSON)
    assert answer.status_code < 500


@given(body=st.binary(max_size=200), content_type=st.sampled_from(["application/json", "text/plain", "", "a/b;c=d"]))
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_make_the_server_fail(client, body, content_type):
    answer = client.post("/sessions", content=body, headers={"content-type": content_type})
    assert answer.status_code < 500


def test_a_server_withstands_clients_that_attack_side_by_side(tmp_path):
    outcome = attack(tmp_path, 600, num_warm_up=200)
    assert outcome.problems == []
    assert outcome.num_own > 10  # what is searched for can be found
    assert {kind for kind, _ in outcome.counts} == {
        "valid",
        "malformed",
        "mistyped",
        "huge",
        "unknown",
        "replayed",
        "raw",
    }
