"""Coverage of the report's intervals in simulated results."""

import json

import numpy as np
import pytest

import recsim_env
from benchmarks.experiments import interval_coverage
from benchmarks.experiments.interval_coverage import drawn_scores


def test_the_same_command_writes_the_same_coverages_and_resumes(tmp_path):
    arguments = ["--repetitions", "4", "--design", "1 x 3", "--out", str(tmp_path)]
    file = tmp_path / "interval_coverage.jsonl"
    assert interval_coverage.main(arguments) == 0
    first = file.read_bytes()
    rows = [json.loads(line) for line in first.splitlines()]
    assert [row["distribution"] for row in rows] == ["normal", "skewed", "heavy-tailed"]
    assert all(0.0 <= share <= 1.0 for row in rows for share in row["coverage"].values())
    file.write_bytes(b"\n".join(first.splitlines()[:1]) + b'\n{"design": "1 x')
    assert interval_coverage.main(arguments) == 0
    again = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["coverage"] for row in again] == [row["coverage"] for row in rows]
    assert (tmp_path / "interval_coverage.md").read_text().startswith("| scenarios x seeds | score | lead |")


def test_rows_with_other_settings_or_of_another_version_are_set_aside(tmp_path, capsys):
    arguments = ["--design", "1 x 3", "--out", str(tmp_path), "--repetitions"]
    file, stale = tmp_path / "interval_coverage.jsonl", tmp_path / "stale.jsonl"
    assert interval_coverage.main([*arguments, "4"]) == 0
    four = file.read_bytes()
    assert not stale.exists()
    assert interval_coverage.main([*arguments, "5"]) == 0
    assert stale.read_bytes() == four
    assert f"{file}: 3 rows of another version or other settings are moved to stale.jsonl" in capsys.readouterr().err
    old = file.read_bytes().replace(recsim_env.__version__.encode(), b"0.0.1")
    file.write_bytes(old)
    assert interval_coverage.main([*arguments, "5"]) == 0
    assert stale.read_bytes() == four + old


@pytest.mark.parametrize("distribution", interval_coverage.DISTRIBUTIONS)
def test_drawn_scores_have_the_stated_means_and_spreads(distribution):
    generator = np.random.default_rng(0)
    found = drawn_scores((2, 50_000, 2), distribution, {"a": 0.5, "b": 0.6}, generator)
    assert [runs.shape for runs in found.values()] == [(4, 50_000)] * 2
    assert found["a"].mean(1) == pytest.approx([0.4, 0.4, 0.6, 0.6], abs=0.002)
    variance = interval_coverage.SPREAD**2 + interval_coverage.SPREAD_OF_VARIANTS**2
    assert found["a"].std(1) == pytest.approx((variance + interval_coverage.SPREAD_OF_SEEDS**2) ** 0.5, rel=0.03)
    assert (found["a"] - found["b"]).std(1) == pytest.approx((2.0 * variance) ** 0.5, rel=0.03)
