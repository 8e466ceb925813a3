"""Learning curves in trackers: those of the rows, once for each run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_rows import failed, final_row, made_rows
from tracker_readers import pairs, read_tensorboard

from agents.tracking.run_description import RunDescription
from agents.tracking.tracker import Record
from benchmarks.__main__ import main
from benchmarks.analysis.scores import scored
from benchmarks.report import tracked_rows
from benchmarks.report.tracked_rows import track_rows
from benchmarks.rows import ResultsError, write_rows

ROWS = made_rows(("random", "planning-oracle", "ppo-gru"), ("Video", "News"), 2, num_sessions=10)
STEPS = [0, 10_000, 20_000, 30_000, 40_000, 50_000]


class ListedCopies:
    """A stand-in for a tracker."""

    def __init__(self) -> None:
        self.runs: list[tuple[RunDescription, list[Record]]] = []

    def open(self, name: str, folder: Path, run: RunDescription, records: list[Record]) -> "ListedCopies":
        self.runs.append((run, records))
        return self

    def close(self) -> None: ...


@pytest.fixture
def copies(monkeypatch) -> ListedCopies:
    listed = ListedCopies()
    monkeypatch.setattr(tracked_rows, "open_copy", listed.open)
    return listed


def test_each_run_is_written_against_user_steps(tmp_path, copies):
    track_rows(tmp_path, [*ROWS, failed(final_row("ppo", 0.0))], ["tensorboard"], print)
    by_name = {run.name: (run, records) for run, records in copies.runs}
    assert len(by_name) == len(copies.runs) == 3 * 2 * 2
    run, records = by_name["Video/ppo-gru/seed-1"]
    assert [record.step for record in records] == STEPS
    last = next(row for row in scored(ROWS) if row["run"] == "ppo-gru-Video-1" and row["is_final"])
    metrics = records[-1].metrics
    assert metrics["return"] == last["return_mean"]
    assert metrics["score"] == last["score"]
    assert metrics["metrics/novelty"] == last["metrics"]["novelty"]
    assert "metrics/regret" not in metrics, "missing metrics are left out"
    assert run.config["agent"] == "ppo-gru"
    assert run.provenance["commit"] == last["commit"]


def test_runs_in_a_tracker_are_written_again_only_if_they_change(tmp_path, copies):
    said: list[str] = []
    without_oracle = [row for row in ROWS if row["agent"] != "planning-oracle"]
    for rows in (without_oracle, without_oracle, ROWS):  # the oracle gives scores to all
        copies.runs.clear()
        track_rows(tmp_path, rows, ["tensorboard"], said.append)
    assert [line.partition(" runs")[0] for line in said] == [
        "tensorboard: 8 of 8",
        "tensorboard: 0 of 8",
        "tensorboard: 12 of 12",
    ]


def test_names_in_rows_cannot_leave_the_folder(tmp_path, copies):
    row: Any = {**final_row("ppo", 1.0), "agent": "../../x", "scenario": "/etc"}
    track_rows(tmp_path, [row], ["tensorboard"], print)
    ((run, _),) = copies.runs
    assert run.subfolder == f"_etc/____x/seed-{row['seed']}"


def test_the_report_command_writes_learning_curves(tmp_path, capsys):
    pytest.importorskip("tensorboard")
    write_rows(tmp_path / "results.jsonl", ROWS)
    target = tmp_path / "curves"
    assert main(["report", str(tmp_path), "--track", "tensorboard", "--track-to", str(target)]) == 0
    curves = read_tensorboard(target / "tensorboard" / "News" / "ppo-gru" / "seed-0")
    own = sorted((row for row in ROWS if row["run"] == "ppo-gru-News-0"), key=lambda row: row["env_steps"])
    assert pairs(curves["return"]) == [(row["env_steps"], float(np.float32(row["return_mean"]))) for row in own]
    assert len(json.loads((target / "tracked.json").read_text())["tensorboard"]) == 12


def test_an_unknown_tracker_is_refused_before_anything_is_done(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", "--suite", "quick", "--out", str(out), "--track", "wanb"]) == 2
    assert "track='wanb': unknown; did you mean 'wandb'" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("content", [b'{"tensorboard": {', b"[]", b'{"tensorboard": 1}', b"\xff"])
def test_a_damaged_list_of_tracked_runs_is_named(tmp_path: Path, copies, content):
    (tmp_path / "tracked.json").write_bytes(content)
    with pytest.raises(ResultsError, match=r"tracked.json: is damaged"):
        track_rows(tmp_path, ROWS, ["tensorboard"], print)
    assert copies.runs == []
