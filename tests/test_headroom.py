"""The headroom ladder: its rungs stand in order, and its ratios are computed on paired sessions."""

from pathlib import Path

import numpy as np
import pytest

from agents import foresight
from benchmarks import headroom
from benchmarks.__main__ import main
from benchmarks.headroom import CLAIMS, Ladder, climb, finished, ratio_of_gains
from benchmarks.headroom_report import headroom_table, write_headroom
from benchmarks.results import read_rows

NAMES = ("Ecommerce", "Social", "Music", "Video", "News")
SMALL = {"CARES": (0.0, 3.0), "TEMPERATURES": (0.3,), "NUM_TUNING_SESSIONS": 80, "NUM_LOGGED_STEPS": 20_000}
SIZES = {"num_sessions": 120, "num_futures": 2, "num_particles": 96}
_climbed: dict[str, tuple[list, dict[str, np.ndarray]]] = {}


def climbed(name: str) -> tuple[list, dict[str, np.ndarray]]:
    """Rows and returns of a small ladder; the planning oracle, which takes longest, stands on that of Video alone."""
    if name not in _climbed:
        rows, returns = [], {}
        with pytest.MonkeyPatch.context() as patch:
            for setting, value in SMALL.items():
                patch.setattr(headroom, setting, value)
            patch.setattr(foresight, "_SAMPLED_USERS", 48)
            for row, of_sessions in climb(Ladder(scenario=name, **SIZES)):
                rows.append(row)
                returns[row["agent"]] = of_sessions
                if row["agent"] == "foresight-oracle" and name != "Video":
                    break
        _climbed[name] = rows, returns
    return _climbed[name]


@pytest.fixture(scope="module")
def measured():
    rows, returns = climbed("Video")
    return finished(rows, returns), returns


ORDER = [
    ("random", "popularity"),
    ("random", "linucb"),
    ("linucb", "eb-linucb"),
    ("eb-linucb", "history-blind"),
    ("linucb", "history-blind"),
    ("popularity", "history-blind"),
    ("history-blind", "bayes-filter"),
    ("history-blind", "myopic-oracle"),
    ("bayes-filter", "foresight-oracle"),
]
CLOSE = {("Music", "linucb", "eb-linucb"), ("Music", "eb-linucb", "history-blind")}
"""Rungs that only more sessions tell apart."""

STEPS = [(name, *pair) for name in NAMES for pair in ORDER if (name, *pair) not in CLOSE]


@pytest.mark.parametrize(("name", "lower", "higher"), STEPS)
def test_rungs_of_every_scenario_stand_in_order(name, lower, higher):
    _, returns = climbed(name)
    gain = returns[higher] - returns[lower]
    assert gain.mean() > 1.5 * gain.std() / np.sqrt(len(gain))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rung", ["myopic-oracle", "bayes-filter"])
def test_personalising_and_remembering_pay_in_every_scenario(name, rung):
    _, returns = climbed(name)
    ratio, low, _ = ratio_of_gains(returns[rung], returns["history-blind"], returns["random"])
    assert ratio > 1.15
    assert low > 1.0


@pytest.mark.parametrize("name", ["Video", "News", "Social"])
def test_foresight_pays_where_today_has_consequences(name):
    _, returns = climbed(name)
    ratio, low, _ = ratio_of_gains(returns["foresight-oracle"], returns["myopic-oracle"], returns["random"])
    assert ratio > 1.1
    assert low > 1.0


def test_planning_pays_in_video(measured):
    rows, returns = measured
    ratios = {claim: ratio for row in rows for claim, (ratio, _, _) in row["claims"].items()}
    assert set(ratios) == set(CLAIMS)
    assert min(ratios.values()) > 1.15
    gain = returns["planning-oracle"] - returns["myopic-oracle"]
    assert gain.mean() > 3.0 * gain.std() / np.sqrt(len(gain))


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
    monkeypatch.setattr(headroom, "CARES", (2.0,))
    monkeypatch.setattr(headroom, "NUM_TUNING_SESSIONS", 10)
    monkeypatch.setattr(headroom, "NUM_LOGGED_STEPS", 4_096)
    out = tmp_path / "ladder"
    arguments = ["headroom", "--scenario", "Ratings", "--sessions", "4", "--futures", "2", "--out", str(out)]
    assert main(arguments) == 0
    assert sorted(path.name for path in out.iterdir()) == ["headroom.jsonl", "headroom.md", "headroom.png"]
    assert {row["scenario"] for row in read_rows(out / "headroom.jsonl")} == {"Ratings"}
    assert "planning-oracle" in capsys.readouterr().out
