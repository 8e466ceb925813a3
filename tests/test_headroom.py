"""The headroom ladder: its rungs stand in order, and its ratios are computed on paired sessions."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import headroom
from benchmarks.__main__ import main
from benchmarks.headroom import CLAIMS, Ladder, climb, finished, ratio_of_gains
from benchmarks.headroom_report import headroom_table, write_headroom
from benchmarks.results import read_rows


@pytest.fixture(scope="module")
def measured():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(headroom, "CARES", ((0.0, 0.0), (4.0, 2.0), (2.0, 0.0)))
        patch.setattr(headroom, "NUM_TUNING_SESSIONS", 200)
        patch.setattr(headroom, "NUM_LOGGED_STEPS", 30_000)
        rows, returns = [], {}
        for row, of_sessions in climb(Ladder(scenario="Video", num_sessions=200, num_futures=2, num_particles=128)):
            rows.append(row)
            returns[row["agent"]] = of_sessions
    return finished(rows, returns), returns


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("random", "linucb"),
        ("linucb", "history-blind"),
        ("popularity", "history-blind"),
        ("history-blind", "myopic-oracle"),
        ("history-blind", "bayes-filter"),
        ("myopic-oracle", "foresight-oracle"),
        ("myopic-oracle", "planning-oracle"),
        ("bayes-filter", "foresight-oracle"),
    ],
)
def test_rungs_of_video_stand_in_order(measured, lower, higher):
    _, returns = measured
    gain = returns[higher] - returns[lower]
    assert gain.mean() > 2.0 * gain.std() / np.sqrt(len(gain))


def test_personalising_remembering_and_planning_pay_in_video(measured):
    rows, _ = measured
    ratios = {claim: ratio for row in rows for claim, (ratio, _, _) in row["claims"].items()}
    assert set(ratios) == set(CLAIMS)
    assert min(ratios.values()) > 1.15


def test_scores_run_from_random_to_the_planning_oracle(measured):
    rows, _ = measured
    scores = {row["agent"]: row["score"] for row in rows}
    assert scores["random"] == pytest.approx(0.0)
    assert scores["planning-oracle"] == pytest.approx(1.0)


def test_ratio_of_gains_is_that_of_means_over_random_with_an_interval_around_it():
    at_random, lower = np.array([1.0, 2.0, 3.0, 2.0]), np.array([3.0, 4.0, 5.0, 4.0])
    assert ratio_of_gains(at_random + 6.0, lower, at_random) == pytest.approx((3.0, 3.0, 3.0))
    upper = at_random + np.array([2.0, 4.0, 6.0, 8.0])
    ratio, low, high = ratio_of_gains(upper, lower, at_random)
    assert ratio == pytest.approx(5.0 / 2.0)
    assert 1.0 <= low < ratio < high <= 4.0


def test_table_and_picture_come_from_the_rows_alone(measured, tmp_path: Path):
    rows, _ = measured
    table = write_headroom(tmp_path, rows)
    assert table == headroom_table(rows) == (tmp_path / "headroom.md").read_text()
    assert "personalising pays: myopic-oracle over history-blind" in table
    assert (tmp_path / "headroom.png").stat().st_size > 10_000


def test_the_command_leaves_rows_a_table_and_a_picture(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(headroom, "CARES", ((2.0, 2.0),))
    monkeypatch.setattr(headroom, "NUM_TUNING_SESSIONS", 10)
    monkeypatch.setattr(headroom, "NUM_LOGGED_STEPS", 4_096)
    out = tmp_path / "ladder"
    arguments = ["headroom", "--scenario", "Ratings", "--sessions", "4", "--futures", "2", "--out", str(out)]
    assert main(arguments) == 0
    assert sorted(path.name for path in out.iterdir()) == ["headroom.jsonl", "headroom.md", "headroom.png"]
    assert {row["scenario"] for row in read_rows(out / "headroom.jsonl")} == {"Ratings"}
    assert "planning-oracle" in capsys.readouterr().out
