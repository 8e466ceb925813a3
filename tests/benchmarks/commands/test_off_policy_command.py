"""`off-policy`: estimates from a written log, and errors in one line."""

import json

import gymnasium
import numpy as np
import pytest

import agents
from benchmarks.__main__ import main
from recsim_env.logs.simulated.log_writer import LogWriter


def write_log(folder, **arguments):
    options = {"observation": "full", "max_episode_steps": 3, **arguments}
    env = gymnasium.make_vec("recsim_env/Video-v0", 20, vectorization_mode="vector_entry_point", **options)
    LogWriter(env, "random", folder, num_steps=200).write()
    return folder


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("logs") / "log")


def printed(capsys) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]


def test_the_policy_that_wrote_the_log_has_its_mean_return(log, capsys):
    assert main(["off-policy", "--log", str(log), "--policy", "random"]) == 0
    rows = {row[1]: row for row in printed(capsys) if len(row) == 6}
    logged = rows["mean"]
    assert {"IPS", "SNIPS", "WPDIS", "DR", "FQE"} <= set(rows)
    for name in ("IPS", "SNIPS", "IS", "WIS", "PDIS", "WPDIS"):
        assert rows[name][0] == "random"
        assert rows[name][2] == logged[2], name
        assert rows[name][4] == logged[4], name


def test_slates_have_estimates_without_a_model(tmp_path, capsys):
    log = write_log(tmp_path / "slates", slate_size=2)
    assert main(["off-policy", "--log", str(log), "--policy", "random"]) == 0
    names = {row[1] for row in printed(capsys) if len(row) == 6}
    assert "IPS" in names
    assert "DR" not in names


def test_a_trained_agent_is_loaded(log, tmp_path, capsys):
    env = gymnasium.make_vec("recsim_env/Video-v0", 4, vectorization_mode="vector_entry_point", observation="full")
    agent = agents.make("reinforce", env).learn(8)
    agent.save(tmp_path / "mine")
    assert main(["off-policy", "--log", str(log), "--load", str(tmp_path / "mine")]) == 0
    rows = [row for row in printed(capsys) if len(row) == 6 and row[0] == "mine"]
    assert len(rows) == 11
    assert all(np.isfinite(float(row[2])) for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no policy: give --policy NAME or --load FILE"),
        (["--policy", "popularity"], "policy 'popularity': PopularityAgent: has no action probabilities"),
        (["--policy", "pqn"], "policy 'pqn': is not trained; give --load FILE"),
        (["--policy", "myopic-oracle"], "policy 'myopic-oracle': reads the latent state, which is not in a log"),
        (["--policy", "rndom"], "agent 'rndom': unknown; did you mean 'random'?"),
        (["--load", "nowhere"], "--load nowhere: no such file"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments, message, log, capsys):
    assert main(["off-policy", "--log", str(log), *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


def test_a_log_whose_env_cannot_be_made_is_refused_in_one_line(log, tmp_path, capsys):
    manifest = json.loads((log / "manifest.json").read_text())
    manifest["env_arguments"]["no_such_argument"] = 1
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert main(["off-policy", "--log", str(tmp_path), "--policy", "random"]) == 2
    error = capsys.readouterr().err.strip()
    assert "its env cannot be made by this version" in error
    assert "\n" not in error


def test_a_folder_without_a_log_is_refused_in_one_line(tmp_path, capsys):
    assert main(["off-policy", "--log", str(tmp_path), "--policy", "random"]) == 2
    error = capsys.readouterr().err.strip()
    assert "not the folder of a simulated log" in error
    assert "\n" not in error
