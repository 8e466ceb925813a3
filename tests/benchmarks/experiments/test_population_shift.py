"""The population shift: its rows, its figure, and its errors."""

import json

import numpy as np
import pytest
from small_large_models import env_of, small_config

from agents.large_model.agent import LargeModel
from agents.large_model.model import LargeModelNetwork
from agents.networks.schema import Schema
from agents.saved_tensors import save_tensors
from benchmarks.experiments import population_shift
from benchmarks.report.figures.experiments import population_shift as population_shift_figure

SMALL = ["--rounds", "1", "--visits", "6", "--deploy-every", "1", "--evaluation-sessions", "6"]


@pytest.fixture
def kept(tmp_path):
    schema = Schema.of([env_of("single items", 1).simulator], False, False)
    agent = LargeModel.from_network(LargeModelNetwork(small_config(num_layers=1), schema))
    agent.save(tmp_path / "kept.safetensors")
    return tmp_path / "kept.safetensors"


def test_all_policies_play_the_same_sessions_before_and_after_the_change(kept, tmp_path):
    out = tmp_path / "out"
    assert population_shift.main(["--model", str(kept), "--out", str(out), *SMALL]) == 0
    rows = [json.loads(line) for line in (out / "population_shift.jsonl").read_text().splitlines()]
    found = {(row["policy"], row["population"]): [] for row in rows}
    for row in rows:
        found[row["policy"], row["population"]].append(row)
    policies = ("published", "learning", "frozen")
    assert {key: len(own) for key, own in found.items()} == {
        (policy, people): 2 for policy in policies for people in ("home", "other")
    }
    for people in ("home", "other"):
        steps = [[row["live_steps"] for row in found[policy, people]] for policy in policies]
        assert steps[0] == steps[1] == steps[2]
        assert len({row["return_mean"] for row in found["frozen", people]}) == 1  # the same policy in the same sessions
    assert len({found[policy, "home"][0]["return_mean"] for policy in policies}) == 1
    rounds = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert [each["population"] for each in rounds] == ["home", "other"]
    assert all(each["num_sessions"] > 0 and each["decision"] in ("wait", "refuse") for each in rounds)
    assert (out / "population_shift.svg").exists()
    assert {"command", "commit", "machine", "date"} <= set(rows[0])
    assert population_shift.main(["--model", str(kept), "--out", str(out), *SMALL]) == 2  # it has versions


def test_the_picture_names_the_policies_the_change_and_publications():
    rows = [
        {"policy": policy, "population": people, "live_steps": steps, "return_mean": 50.0, "return_sem": 2.0}
        for policy in ("published", "learning", "frozen")
        for people, steps in (("home", 0), ("home", 1_000), ("other", 1_000), ("other", 2_000))
    ]
    axes = population_shift_figure(rows, [{"live_steps": 1_000, "decision": "publish"}]).axes[0]
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == ["published", "learning", "frozen", "population changes", "publication"]


def test_a_file_of_another_agent_is_refused_in_one_line(tmp_path, capsys):
    save_tensors(tmp_path / "kept", "LinUCB", {"weights": np.zeros(3, np.float32)}, {})
    assert population_shift.main(["--model", str(tmp_path / "kept"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "was written by 'LinUCB', must be 'agents.large_model.agent:LargeModel'" in error
    assert len(error.splitlines()) == 1


def test_a_missing_model_is_refused_in_one_line(tmp_path, capsys):
    assert population_shift.main(["--model", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("population_shift: ")
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()
