"""Items of a table are recommended by their own ids, to people alone."""

import json

import pytest
from stand_in_model import begin, client_with, recommend, respond

from agents.large_model.__main__ import main
from agents.large_model.env import items_env
from agents.large_model.serving.catalog import ServedCatalog

ROWS = """item,title,genres,impressions,clicks,num_ratings,mean_rating
a1,Amazing football,sports,100,20,10,4
b2,Cooking slowly,food|home,50,3,0,
c3,New,food,,,,
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text(ROWS)
    return path


def catalog_of_table(path):
    return ServedCatalog(items_env(path, slate_size=2).simulator, "Items", {"world": str(path)})


def test_a_person_is_served_items_by_their_ids(tmp_path, table):
    with client_with(tmp_path, catalog_of_table(table)) as client:
        session = begin(client)
        shown = recommend(client, session)
        assert len(shown["items"]) == 2
        assert {each["item"] for each in shown["items"]} <= {"a1", "b2", "c3"}
        assert respond(client, session, shown, click=1, rating=5).status_code == 200
        (only,) = recommend(client, session, candidates=["c3"], num_items=1)["items"]
        assert (only["item"], only["title"]) == ("c3", "New")
        assert client.get("/items/b2").json()["title"] == "Cooking slowly"
        assert client.get("/items/d4").status_code == 404
        assert client.post("/simulated-visits", json={}).status_code == 404  # nobody is simulated


def test_items_of_a_table_are_ranked_from_the_command_line(tmp_path, table, capsys):
    person = tmp_path / "person.json"
    person.write_text(json.dumps({"history": [{"item": "b2"}]}))
    assert main(["recommend", "--items", str(table), "--json", str(person)]) == 0
    ranked = json.loads(capsys.readouterr().out)
    assert sorted(row["item"] for row in ranked) == ["a1", "b2", "c3"]
    assert ranked[0]["item"] == "a1"


def test_a_table_that_does_not_exist_is_named(tmp_path, capsys):
    person = tmp_path / "person.json"
    person.write_text('{"history": []}')
    assert main(["recommend", "--items", str(tmp_path / "none.csv"), str(person)]) == 2
    assert "none.csv: no such file; must be a table of items with a column of ids" in capsys.readouterr().err
