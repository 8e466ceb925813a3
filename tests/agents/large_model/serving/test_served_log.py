"""The log of a server is read like a simulated one, and evaluates policies off-line."""

import math

import numpy as np
import polars as pl
import pytest
from stand_in_model import DATABASE, begin, catalog_of, client_with, recommend, respond

from agents.large_model.__main__ import main
from agents.large_model.serving.served_log import write_served_log
from agents.off_policy import OffPolicyLog, estimates
from recsim_env import read_events
from recsim_env.logs.simulated.log_folder import read_manifest

EXPLORATION = 0.3


@pytest.fixture(scope="module")
def catalog():
    return catalog_of(slate_size=2)


@pytest.fixture(scope="module")
def served(tmp_path_factory, catalog):
    """A database with two sessions, side by side, of which the second has three steps, one of them without feedback."""
    folder = tmp_path_factory.mktemp("served")
    with client_with(folder, catalog, exploration=EXPLORATION) as client:
        ada, bob = (begin(client, person=name) for name in ("ada", "bob"))
        respond(client, ada, recommend(client, ada), click=1, consumption=0.5, rating=4)
        respond(client, bob, recommend(client, bob, candidates=[3, 70, 41]), follow=1)
        recommend(client, bob)
        respond(client, bob, recommend(client, bob, num_items=3, candidates=[9, 8, 7, 6]), click=1, rating=5)
        respond(client, ada, recommend(client, ada, candidates=[5]), click=0)
        stored = [client.get(f"/sessions/{session}").json()["recommendations"] for session in (ada, bob)]
    return folder / DATABASE, stored


def test_acknowledged_feedback_is_read_back_as_a_log(served, tmp_path):
    database, (ada, bob) = served
    write_served_log(database, tmp_path / "log")
    events = read_events(tmp_path / "log")
    expected = [*ada, bob[0], bob[2]]
    assert events["session"].to_list() == [0, 0, 1, 1]
    assert events["step"].to_list() == [0, 1, 0, 1]
    assert events["truncated"].to_list() == [False, True, False, True]
    assert events["user"].n_unique() == 2
    for row, stored in zip(events.iter_rows(named=True), expected, strict=True):
        shown, candidates = stored["items"], stored["candidates"]
        assert [item for item in row["item"] if item >= 0] == shown
        assert [item for item in row["candidates"] if item >= 0] == candidates
        assert [row["candidates"][place] for place in row["action"] if place >= 0] == shown
        assert row["log_propensity"] == stored["log_propensity"]
        assert row["time"] == stored["time"]
        for name in ("click", "consumption", "rating", "purchase", "follow"):
            assert row[name][: len(shown)] == [each[name] for each in stored["feedback"]]
    assert events.select(pl.col("^reward_(retention|visit|active_day)$")).null_count().row(0) == (4, 4, 4)
    assert read_manifest(tmp_path / "log").env_arguments["slate_size"] == 2


def test_rewards_are_those_of_the_env_for_what_was_observed(served, tmp_path, catalog):
    write_served_log(served[0], tmp_path / "log")
    events, weights = read_events(tmp_path / "log"), catalog.simulator.world.scenario.reward
    assert events["reward_rating"].to_list() == pytest.approx([2.0, 0.0, 0.0, 5.0 / 3.0])
    assert events["reward_click"].to_list() == pytest.approx([0.5, 0.0, 0.0, 1.0 / 3.0])
    rated = np.array([0.5, 0.0, 0.0, 1.0 / 3.0])
    expected = weights.rating * (events["reward_rating"].to_numpy() - weights.neutral_rating * rated)
    for name in ("click", "consumption", "purchase"):
        expected = expected + getattr(weights, name) * events[f"reward_{name}"].to_numpy()
    assert events["reward"].to_list() == pytest.approx(expected.tolist())


def test_the_log_evaluates_the_greedy_policy(served, tmp_path):
    write_served_log(served[0], tmp_path / "log")
    events = read_events(tmp_path / "log")
    log_propensities = events["log_propensity"].to_numpy()
    is_greedy = log_propensities > math.log(1.0 - EXPLORATION)
    log = OffPolicyLog(
        sessions=events["session"].to_numpy(),
        steps=events["step"].to_numpy(),
        rewards=events["reward"].to_numpy(),
        behaviour_log_probabilities=log_propensities,
        evaluation_log_probabilities=np.where(is_greedy, 0.0, -np.inf),
    )
    weights = np.where(is_greedy, np.exp(-log_propensities), 0.0).reshape(2, 2).cumprod(1)
    expected = (weights * log.rewards.reshape(2, 2)).sum(1).mean()
    assert estimates(log)["PDIS"].value == pytest.approx(expected)


def test_a_log_is_written_whole_or_not_at_all(served, tmp_path, capsys):
    out = tmp_path / "log"
    assert main(["served-log", "--database", str(served[0]), "--out", str(out)]) == 0
    assert "4 recommendations with feedback" in capsys.readouterr().out
    assert main(["served-log", "--database", str(served[0]), "--out", str(out)]) == 2
    assert "must not exist" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    missing = ["served-log", "--database", str(tmp_path / "none"), "--out", str(tmp_path / "other")]
    assert main(missing) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "other").exists()


def test_a_server_without_feedback_has_no_log(tmp_path, catalog):
    with client_with(tmp_path, catalog) as client:
        recommend(client, begin(client))
        with pytest.raises(ValueError, match="has no feedback yet"):
            write_served_log(tmp_path / DATABASE, tmp_path / "log")
