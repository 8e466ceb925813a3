"""Coverage of off-policy intervals: a small version of the study, and its files."""

import json

import numpy as np
import pytest

from benchmarks.experiments import off_policy_coverage
from benchmarks.experiments.off_policy_coverage import TARGETED, Bandit, coverage


def test_intervals_of_ips_snips_and_dr_cover_the_value():
    rows = {row["estimator"]: row for row in coverage(2_000, 300, seed=0)}
    for name in TARGETED:
        assert 0.91 <= rows[name]["coverage"] <= 0.985, name
        assert rows[name]["mean_width"] / 2 == pytest.approx(1.96 * rows[name]["standard_deviation"], rel=0.15)
        assert abs(rows[name]["bias"]) < 3.0 * rows[name]["standard_deviation"] / 300**0.5
    assert rows["DR"]["mean_width"] < rows["IPS"]["mean_width"]


def test_the_value_is_that_of_playing_the_evaluation_policy():
    generator = np.random.default_rng(1)
    bandit = Bandit.draw(generator)
    played = Bandit(
        contexts=bandit.contexts,
        mean_rewards=bandit.mean_rewards,
        behaviour=bandit.evaluation,
        evaluation=bandit.evaluation,
    )
    log, _, _ = played.log(200_000, generator)
    assert log.rewards.mean() == pytest.approx(bandit.value, abs=4.0 * log.rewards.std() / 200_000**0.5)


def test_the_study_writes_rows_and_a_table(tmp_path):
    assert off_policy_coverage.main(["--out", str(tmp_path), "--rows", "200", "--repetitions", "3"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "off_policy_coverage.jsonl").read_text().splitlines()]
    assert {row["estimator"] for row in rows} >= set(TARGETED)
    assert all(row["num_repetitions"] == 3 and "commit" in row for row in rows)
    assert "| SNIPS |" in (tmp_path / "off_policy_coverage.md").read_text()
