"""Trackers hold the same numbers as `metrics.jsonl`, however often the run is killed and resumed."""

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import CHECKOUT
from tracker_readers import check_copy, curves_in, pairs

from agents.tracking import tracked_run
from agents.tracking.copies import COPIES
from agents.tracking.metrics_log import read_metrics

INSTALLED = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"needs the extra {name}"))
    for name in COPIES
]

PROGRAM = """
import os, signal, sys
from agents.tracking import tracked_run

folder, track, start, end, killed_at = sys.argv[1], sys.argv[2].split(), *map(int, sys.argv[3:])
with tracked_run(folder, track, config={"gamma": 0.9, "nested": {"lr": 1e-3}}, last_step=start) as tracker:
    for step in range(start + 10, end + 10, 10):
        tracker.log(step, {"loss": step / 3.0, "return/Video": -step / 7.0, "stage": "ppo", "mfu": None, "clock": %s})
        if step == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
"""
"""A training with a checkpoint at `start`."""


def train(folder: Path, track: str, start: int, end: int, killed_at: int = 0, clock: float = 1.0) -> None:
    arguments = [str(folder), track, *map(str, (start, end, killed_at))]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "MLFLOW_"))}
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM % clock, *arguments],
        env=environment,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    assert program.returncode == (-signal.SIGKILL if killed_at else 0), program.stderr


@pytest.mark.parametrize("name", INSTALLED)
def test_a_killed_and_resumed_run_is_like_an_uninterrupted_one(tmp_path, name):
    killed = tmp_path / "killed"
    train(killed, name, 0, 100, killed_at=70, clock=1.5)
    train(killed, name, 50, 100, killed_at=90, clock=2.5)  # from a checkpoint before what was recorded last
    identity = (killed / "run.json").read_bytes()
    train(killed, name, 90, 100)
    expected = {
        "loss": [(step, step / 3.0) for step in range(10, 110, 10)],
        "return/Video": [(step, -step / 7.0) for step in range(10, 110, 10)],
        "clock": [(step, 1.5 if step <= 50 else 2.5 if step <= 90 else 1.0) for step in range(10, 110, 10)],
    }
    assert {name: pairs(curve) for name, curve in curves_in(killed).items()} == expected
    check_copy(killed, name)
    assert (killed / "run.json").read_bytes() == identity


@pytest.mark.parametrize("name", INSTALLED)
def test_a_tracker_that_is_added_later_gets_the_whole_run(tmp_path, name):
    train(tmp_path, "", 0, 30)
    train(tmp_path, name, 30, 50)
    assert len(curves_in(tmp_path)["loss"]) == 5
    check_copy(tmp_path, name)


@pytest.mark.parametrize("name", INSTALLED)
def test_the_name_and_the_settings_of_a_run_are_recorded(tmp_path, name):
    train(tmp_path / "my-run", name, 0, 10)
    run = json.loads((tmp_path / "my-run" / "run.json").read_text())
    assert run["name"] == "my-run"
    assert run["config"] == {"gamma": 0.9, "nested": {"lr": 1e-3}}
    assert run["provenance"]["command"].startswith("python -c ")
    assert {"commit", "versions", "machine", "date"} < set(run["provenance"])
    words = b"".join(path.read_bytes() for path in (tmp_path / "my-run").rglob("*") if path.is_file())
    assert b"my-run" in words
    assert b"nested" in words
    assert run["id"].encode() in words


@pytest.mark.parametrize("name", COPIES)
def test_a_missing_package_is_named_with_the_extra(tmp_path, name, monkeypatch):
    monkeypatch.setattr("agents.tracking.copies.find_spec", lambda package: None)
    words = rf"needs the package {name}: pip install 'recsim-env\[{name}\]'$"
    with pytest.raises(ValueError, match=words), tracked_run(tmp_path / "run", [name]):
        pass
    assert not (tmp_path / "run").exists()


def test_an_unknown_tracker_is_refused_with_the_nearest_name(tmp_path):
    words = "track='tensorbord': unknown; did you mean 'tensorboard'"
    with pytest.raises(ValueError, match=words), tracked_run(tmp_path / "run", ["tensorbord"]):
        pass


def test_a_damaged_description_is_refused_in_one_line(tmp_path):
    (tmp_path / "run.json").write_text("{")
    words = r"run\.json: is damaged; delete it to give the run a new identity"
    with pytest.raises(ValueError, match=words), tracked_run(tmp_path):
        pass


class FailingTracker:
    def __init__(self, *arguments: object) -> None:
        pass

    def log(self, *arguments: object) -> None:
        raise OSError("no space left")

    def close(self) -> None:
        raise AssertionError("it has been dropped")


def test_a_tracker_that_fails_is_dropped_and_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules["agents.tracking.copies"]._COPIES, "tensorboard", FailingTracker)
    said: list[str] = []
    with tracked_run(tmp_path, ["tensorboard"], log=said.append) as tracker:
        tracker.log(1, {"x": 1.0})
        tracker.log(2, {"x": 2.0})
    assert [line["x"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1.0, 2.0]
    assert said == ["tensorboard: stopped (no space left); missing records are added when the run is resumed"]
