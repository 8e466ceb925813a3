"""What is acknowledged is stored, what is deleted is gone, and a wrong database is refused."""

import sqlite3
from pathlib import Path

import pytest
from killed_server import kill_again_and_again
from stand_in_model import DATABASE, begin, catalog_of, client_with, recommend, respond

from agents.large_model.serving import database as serving_database
from agents.large_model.serving.database import Database
from agents.large_model.serving.database_thread import connect


@pytest.fixture(scope="module")
def catalog():
    return catalog_of()


def test_a_server_that_is_killed_loses_no_acknowledged_feedback(tmp_path):
    rounds = kill_again_and_again(tmp_path, 3)
    assert all(acknowledged > 0 for acknowledged, _ in rounds)
    assert [lost for _, lost in rounds] == [0] * 3


def contents(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("path", ["/people/Ada%20L%C3%B6w/e", "/sessions/{session}"])
def test_nothing_of_a_deleted_person_is_in_any_file(tmp_path, catalog, path):
    with client_with(tmp_path, catalog) as client:
        others = [begin(client, person=f"person {number}") for number in range(30)]
        session = begin(client, person="Ada Löw/e", profile={"profile 1": 0.123456789})
        for name in [*others, session]:
            for _ in range(3):
                consumption = 0.987654321 if name == session else 0.5
                respond(client, name, recommend(client, name, num_items=3), click=1, consumption=consumption)
        secrets = ["Ada Löw/e".encode(), session.encode(), b"0.123456789", b"0.987654321"]
        assert all(secret in contents(tmp_path) for secret in secrets)
        assert client.delete(path.format(session=session)).status_code == 204
        assert not any(secret in contents(tmp_path) for secret in secrets)
        for method, suffix in (("get", ""), ("post", "/recommendations"), ("post", "/feedback"), ("delete", "")):
            request = {"json": {"recommendation": 0, "items": []} if suffix == "/feedback" else {}}
            answer = getattr(client, method)(f"/sessions/{session}{suffix}", **(request if method == "post" else {}))
            assert answer.status_code == 404
        assert client.delete("/people/Ada%20L%C3%B6w/e").status_code == 404
        assert all(client.get(f"/sessions/{name}").status_code == 200 for name in others)
    assert not any(secret in contents(tmp_path) for secret in secrets)


def test_later_sessions_forget_a_session_that_is_deleted(tmp_path, catalog):
    with client_with(tmp_path, catalog, exploration=0.0) as client:
        first = begin(client, person="ada")
        respond(client, first, recommend(client, first), click=1, rating=5)
        later, stranger = begin(client, person="ada"), begin(client)
        request = {"candidates": [3, 70, 41], "num_items": 3}
        before = recommend(client, later, **request)["items"]
        assert before != recommend(client, stranger, **request)["items"]
        client.delete(f"/sessions/{first}")
        assert recommend(client, later, **request)["items"] == recommend(client, stranger, **request)["items"]


def test_a_database_is_readable_by_its_owner_alone(tmp_path, catalog):
    with client_with(tmp_path, catalog) as client:
        begin(client)
        assert {file.stat().st_mode & 0o077 for file in tmp_path.glob(f"{DATABASE}*") if file.suffix != ".lock"} == {0}


def refusal(path: Path, fingerprint: str) -> str:
    with pytest.raises(ValueError, match=path.name) as error:
        Database(path, fingerprint, {})
    assert "\n" not in str(error.value)
    return str(error.value)


def test_other_databases_are_refused_in_one_line(tmp_path, catalog):
    file = tmp_path / "file.sqlite"
    file.write_bytes(b"not a database, but long enough to be taken for one " * 100)
    assert "not a database" in refusal(file, "Video-1")
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE photos (name TEXT)")
    connection.close()
    assert "not a database of this server" in refusal(foreign, "Video-1")
    own = tmp_path / "own.sqlite"
    database = Database(own, "Video-1", {})
    assert "in use by another server" in refusal(own, "Video-1")
    database.close()
    assert "is of the catalogue Video-1, and this is Music-2" in refusal(own, "Music-2")
    with sqlite3.connect(own) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "schema version 99" in refusal(own, "Video-1")


def test_a_database_that_is_refused_is_closed(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(serving_database, "connect", lambda path: opened.append(connect(path)) or opened[-1])
    foreign, own = tmp_path / "foreign.sqlite", tmp_path / "own.sqlite"
    foreign.write_bytes(b"not a database, but long enough to be taken for one " * 100)
    Database(own, "Video-1", {}).close()
    refusal(own, "Music-2")
    refusal(foreign, "Video-1")
    assert len(opened) == 3
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
