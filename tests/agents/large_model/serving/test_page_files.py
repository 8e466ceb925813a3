"""The files of the page, and their headers."""

import re

import pytest
from stand_in_model import catalog_of, client_with

from agents.large_model.serving.page_files import FOLDER


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with client_with(tmp_path_factory.mktemp("server"), catalog_of("recsim_env/Music-v0"), token="secret") as client:
        yield client


def test_the_page_needs_no_token_and_runs_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert client.get("/catalog").status_code == 401


def test_every_file_that_the_page_names_is_served(client):
    named = set(re.findall(r'(?:src|href)="/page/([\w.]+)"', client.get("/").text))
    assert {"page.css", "page.js"} <= named
    modules = [path for path in FOLDER.iterdir() if path.suffix == ".js"]
    named |= {name for path in modules for name in re.findall(r'from "\./([\w.]+)"', path.read_text())}
    assert {path.name for path in FOLDER.iterdir()} == named | {"index.html"}
    for name in named:
        answer = client.get(f"/page/{name}")
        assert answer.status_code == 200
        assert "content-security-policy" in answer.headers


def test_the_page_names_no_other_server():
    for path in FOLDER.iterdir():
        text = path.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://|//[\w-]+\.\w+/| style=|<script>|<style", text), path.name


@pytest.mark.parametrize("name", ["app.py", "..%2fapp.py", "../app.py", "%00"])
def test_no_other_file_is_served(client, name):
    assert client.get(f"/page/{name}").status_code in (401, 404)


def test_clients_learn_what_is_recommended(client):
    headers = {"authorization": "Bearer secret"}
    about = client.get("/catalog", headers=headers).json()
    assert about["items"] == 400
    assert about["has_simulated_users"] is True
    item = client.get("/items/7", headers=headers).json()
    assert set(item["topics"]) <= set(about["topics"])
    assert all(weight > 0.0 for weight in item["topics"].values())
    assert item["audio"] == "/items/7/audio.wav"
