"""Returns within a session: rows, resuming, and the table."""

import json

import pytest

from benchmarks.experiments import in_context
from benchmarks.experiments.in_context import AGENTS, RIVAL, table

SMALL = ["--scenario", "News", "--steps", "256", "--sessions", "6"]


def rows_in(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "in_context.jsonl").read_text().splitlines()]


def test_returns_so_far_and_their_differences_are_of_the_same_sessions(tmp_path):
    assert in_context.main(["--out", str(tmp_path), *SMALL]) == 0
    (row,) = rows_in(tmp_path)
    assert set(row["returns"]) == set(AGENTS)
    assert set(row["differences"]) == set(AGENTS) - {RIVAL}
    for name, steps in row["differences"].items():
        assert len(steps) == len(row["returns"][name])
        for (mean, low, high), own, rival in zip(steps, row["returns"][name], row["returns"][RIVAL], strict=True):
            assert mean == pytest.approx(own - rival, abs=1e-3)
            assert low <= mean <= high
    assert (tmp_path / "in_context.md").read_text() == table([row])
    assert (tmp_path / "in_context.png").stat().st_size > 0
    assert in_context.main(["--out", str(tmp_path), *SMALL]) == 0
    assert rows_in(tmp_path) == [row]


def test_the_table_shows_the_step_and_the_end():
    returns = {name: [1.0, 2.0, 3.0, 3.5, 4.0, 4.0, 4.0, 4.0, 4.0, 5.0, 6.0] for name in AGENTS}
    differences = {name: [[0.1 * n, 0.0, 0.2 * n] for n in range(1, 12)] for name in AGENTS if name != RIVAL}
    text = table([{"scenario": "News", "returns": returns, "differences": differences}])
    assert "| News | eb-linucb: return so far | 1.00 | 2.00 | 4.00 | 5.00 | 6.00 |" in text
    assert "| News | large model | +0.10 (+0.00 to +0.20) |" in text
    assert "| +1.10 (+0.00 to +2.20) |" in text
