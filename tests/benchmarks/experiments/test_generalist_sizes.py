"""Generalists of several sizes are trained one after the other, and scored in reserved scenarios."""

import json

import pytest

from agents.large_model.config import PRETRAINING
from benchmarks.experiments import generalist_sizes


def test_the_same_command_draws_the_same_scores_again(tmp_path, monkeypatch):
    for name, value in {"num_envs": 4, "num_sampled_worlds": 2, "num_reader_catalogs": 2}.items():
        monkeypatch.setitem(PRETRAINING, name, value)
    monkeypatch.setattr("agents.large_model.training_worlds._NUM_HELD_OUT", 2)
    arguments = ["--preset", "micro", "--steps", "100", "--sessions", "4", "--out", str(tmp_path)]
    found = []
    for _ in range(2):
        assert generalist_sizes.main(arguments) == 0
        found.append([json.loads(line) for line in (tmp_path / "sizes.jsonl").read_text().splitlines()])
    assert [row["scores"] for row in found[0]] == [row["scores"] for row in found[1]]
    references = json.loads((tmp_path / "references.json").read_text())["returns"]
    for row in found[0]:
        assert row["score"] == pytest.approx(sum(row["scores"].values()) / 2)
        assert set(row["scores"]) == set(references)
    assert (tmp_path / "sizes.png").stat().st_size > 0
