"""Frozen agents in held-out structures: rows, resuming, and the table."""

import json

import pytest

from benchmarks.experiments import held_out_structures
from benchmarks.experiments.held_out_structures import STRUCTURES, table

SMALL = ["--scenario", "News", "--steps", "256", "--seeds", "1", "--sessions", "8"]


@pytest.fixture
def quick_agents(monkeypatch):
    monkeypatch.setattr(held_out_structures, "AGENTS", ("popularity",))


def rows_in(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "structures.jsonl").read_text().splitlines()]


def test_agents_are_evaluated_in_the_structures_of_training_and_in_held_out_ones(quick_agents, tmp_path):
    assert held_out_structures.main(["--out", str(tmp_path), *SMALL]) == 0
    rows = rows_in(tmp_path)
    assert [row["agent"] for row in rows] == ["random", "lookahead-oracle", "popularity"]
    for row in rows:
        assert set(row["return_mean"]) == set(STRUCTURES)
        assert row["return_mean"]["training"] != row["return_mean"]["held-out"]
        assert {"command", "commit", "machine", "date", "version"} <= set(row)
    assert (tmp_path / "structures.md").read_text() == table(rows)


def test_a_second_run_adds_only_what_is_missing(quick_agents, tmp_path):
    assert held_out_structures.main(["--out", str(tmp_path), *SMALL]) == 0
    finished, file = rows_in(tmp_path), tmp_path / "structures.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2]) + lines[2][:20])  # killed while it wrote the last row
    assert held_out_structures.main(["--out", str(tmp_path), *SMALL]) == 0
    resumed = rows_in(tmp_path)
    assert resumed[:2] == finished[:2]
    assert resumed[2]["return_mean"] == finished[2]["return_mean"]


def test_a_score_is_the_share_of_the_lookahead_oracles_gain():
    returns = {"random": (1.0, 2.0), "lookahead-oracle": (5.0, 6.0), "ppo": (3.0, 3.0)}
    rows = [
        {"scenario": "News", "agent": agent, "seed": 0, "return_mean": dict(zip(STRUCTURES, values, strict=True))}
        for agent, values in returns.items()
    ]
    assert "| News | ppo | 0.50 | 0.25 | -0.25 | 1 |" in table(rows)


def test_a_seed_without_a_scale_in_one_of_the_structures_is_named_and_not_counted():
    returns = {"random": [(1.0, 2.0), (1.0, 2.0)], "lookahead-oracle": [(5.0, 6.0), (5.0, 2.0)]}
    returns["ppo"] = [(3.0, 3.0), (5.0, 9.0)]
    rows = [
        {"scenario": "News", "agent": agent, "seed": seed, "return_mean": dict(zip(STRUCTURES, values, strict=True))}
        for agent, of_seeds in returns.items()
        for seed, values in enumerate(of_seeds)
    ]
    text = table(rows)
    assert "| News | ppo | 0.50 | 0.25 | -0.25 | 1 |" in text
    assert text.endswith("\nWithout scores, as lookahead-oracle does not return more than random: News, seed 1.\n")
