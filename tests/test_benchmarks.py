"""The benchmark: rows, scores, intervals, pictures, and commands that fail in one line."""

import dataclasses
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks import throughput
from benchmarks.__main__ import main
from benchmarks.leaderboard import final_rows, half_interval, leaderboard
from benchmarks.plots import draw_learning_curves
from benchmarks.results import REQUIRED, ResultsError, provenance, read_rows, write_rows
from benchmarks.runner import cells, run_cell, with_scores
from benchmarks.suites import AGENTS, ONE, SUITES, ZERO, Suite
from recsim_env.adapter import Adapter
from recsim_env.scenarios import VIDEO

TINY = Suite(
    scenarios=("Video",), agents=(ZERO, ONE, "ppo"), num_seeds=2, num_steps=4_096, num_evaluations=1, num_sessions=16
)


def made_row(agent: str, seed: int, env_steps: int, return_mean: float, scenario: str = "Video") -> dict:
    return {
        "suite": "made",
        "agent": agent,
        "scenario": scenario,
        "seed": seed,
        "env_steps": env_steps,
        "return_mean": return_mean,
        "return_sem": 0.5,
        "session_length_mean": 40.0,
        "churn": 0.25,
        "wall_s": 1.0,
    }


def made_rows() -> list[dict]:
    rows = [made_row(ZERO, seed, 0, 19.0 + seed) for seed in range(3)]
    rows += [made_row(ONE, seed, 0, 60.0) for seed in range(3)]
    rows += [
        made_row("ppo", seed, steps, 20.0 + steps / 100 + seed) for seed in range(3) for steps in (0, 1_000, 2_000)
    ]
    return with_scores(rows)


def test_score_is_zero_for_random_one_for_the_oracle_and_linear_between():
    rows = made_rows()
    by_agent = {agent: np.mean([row["score"] for row in rows if row["agent"] == agent]) for agent in (ZERO, ONE)}
    assert by_agent == {ZERO: pytest.approx(0.0), ONE: pytest.approx(1.0)}
    ppo = next(row for row in rows if row["agent"] == "ppo" and row["env_steps"] == 2_000 and row["seed"] == 0)
    assert ppo["score"] == pytest.approx((40.0 - 20.0) / (60.0 - 20.0))
    assert ppo["score_sem"] == pytest.approx(0.5 / 40.0)


def test_interval_adds_seeds_and_sessions_in_quadrature():
    group = [row for row in made_rows() if row["agent"] == "ppo" and row["env_steps"] == 2_000]
    of_seeds = stats.t.ppf(0.975, 2) * np.std([40.0, 41.0, 42.0], ddof=1) / np.sqrt(3)
    assert half_interval(group, "return") == pytest.approx(np.hypot(of_seeds, 1.96 * 0.5))
    assert half_interval(group[:1], "return") == pytest.approx(1.96 * 0.5)


def test_leaderboard_is_sorted_and_takes_the_last_evaluation():
    rows = made_rows()
    assert {row["env_steps"] for row in final_rows(rows) if row["agent"] == "ppo"} == {2_000}
    table = [line.split("|")[1].strip() for line in leaderboard(rows).splitlines() if line.startswith("| ")]
    assert table == ["agent", ONE, "ppo", ZERO]
    assert "| ppo | 0.53 ± " in leaderboard(rows)


def test_a_cell_gives_the_rows_that_are_promised_and_the_same_ones_again():
    every = cells("tiny", TINY)
    assert len(every) == 6
    ppo = next(cell for cell in every if cell.agent == "ppo")
    rows, again = run_cell(ppo), run_cell(ppo)
    assert [row["env_steps"] for row in rows] == [0, 4_096]
    assert rows[-1]["wall_s"] > 0.0
    timeless = [[{**row, "wall_s": 0.0} for row in each] for each in (rows, again)]
    assert timeless[0] == timeless[1]
    assert set(REQUIRED) - set(rows[0]) == {"score"}


def test_training_and_evaluation_share_no_user_and_no_item():
    from recsim_env.scenarios import RATINGS, VIDEO
    from recsim_env.world import build_world

    for scenario in (VIDEO, RATINGS):
        train, test = (build_world(scenario, 0, split) for split in ("train", "test"))
        assert not np.isin(train.users.interests[:, 0], test.users.interests[:, 0]).any()
        assert not np.isin(train.items.quality, test.items.quality).any()


def test_suites_name_agents_that_exist_and_set_the_scale():
    for suite in SUITES.values():
        assert set(suite.agents) <= set(AGENTS)
        assert {ZERO, ONE} <= set(suite.agents)
    assert SUITES["quick"].num_seeds >= 3


def test_run_leaves_rows_with_provenance_a_table_and_a_picture(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setitem(SUITES, "smoke", dataclasses.replace(TINY, agents=(ZERO, ONE, "popularity"), num_seeds=1))
    out = tmp_path / "results"
    assert main(["run", "--suite", "smoke", "--out", str(out), "--workers", "1"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["leaderboard.md", "learning_curves.png", "results.jsonl"]
    rows = read_rows(out / "results.jsonl")
    assert len(rows) == 3
    for row in rows:
        assert set(REQUIRED) | {"command", "commit", "versions", "machine", "date"} <= set(row)
    assert "popularity" in capsys.readouterr().out


def test_plot_redraws_from_the_rows_alone(tmp_path: Path):
    write_rows(tmp_path / "results.jsonl", [{**row, **provenance([])} for row in made_rows()])
    assert main(["plot", str(tmp_path)]) == 0
    first = (tmp_path / "leaderboard.md").read_bytes(), (tmp_path / "learning_curves.png").read_bytes()
    assert main(["plot", str(tmp_path)]) == 0
    assert ((tmp_path / "leaderboard.md").read_bytes(), (tmp_path / "learning_curves.png").read_bytes()) == first
    assert first[1].startswith(b"\x89PNG")


def test_learning_curves_can_be_drawn_for_several_scenarios_and_a_single_seed(tmp_path: Path):
    rows = [
        made_row(agent, 0, steps, steps + 10.0 * n, scenario)
        for scenario in ("A", "B")
        for n, agent in enumerate((ZERO, ONE, "ppo"))
        for steps in ((0,) if n < 2 else (0, 9))
    ]
    assert draw_learning_curves(tmp_path, with_scores(rows)).stat().st_size > 10_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("", "holds no rows"),
        ("{nonsense", "results.jsonl:1: not JSON"),
        (json.dumps({"suite": "x"}), "results.jsonl:1: not a result row, lacks agent"),
        ("[1]", "results.jsonl:1: not a result row"),
    ],
)
def test_a_bad_results_file_is_refused_in_one_line(content, message, tmp_path: Path, capsys):
    if content is not None:
        (tmp_path / "results.jsonl").write_text(content)
    with pytest.raises(ResultsError, match=message):
        read_rows(tmp_path / "results.jsonl")
    assert main(["plot", str(tmp_path)]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "leaderboard.md").exists()


@pytest.mark.parametrize(
    "arguments",
    [["run", "--suite", "nope", "--out", "x"], ["run", "--suite", "quick"], ["throughput", "--rounds", "0"], []],
)
def test_wrong_arguments_end_with_a_message_and_status_2(arguments, capsys, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_a_ratings_log_ratings_takes_the_place_of_movielens(tmp_path: Path):
    script = (
        "import sys; from rich.console import Console; from benchmarks.__main__ import _scenarios;"
        "from benchmarks.suites import SUITES; suite, world = _scenarios(SUITES['quick'], None, Console());"
        "print(suite.scenarios, world)"
    )
    environment = {**os.environ, "RECSIM_DATA": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "Ratings takes its place" in " ".join(done.stdout.split())
    assert "('Video', 'Ratings') None" in done.stdout


def test_a_world_that_is_not_there_is_refused_in_one_line(tmp_path: Path, capsys):
    assert main(["run", "--suite", "quick", "--out", str(tmp_path / "out"), "--world", str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err.strip()
    assert "none" in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_throughput_measures_every_way_beside_cartpole(monkeypatch):
    ways = {name: throughput.WAYS[name] for name in ("1 lane", "1,024 lanes", "8,192 lanes, 2 threads")}
    monkeypatch.setattr(throughput, "WAYS", ways)
    found = throughput.measure("recsim_env/Video-v0", rounds=1, seconds=0.01)
    names = [each.name for each in found]
    assert names == ["CartPole-v1, single", "CartPole-v1, vector 1,024", "single env", *ways, "SB3 VecEnv, 64 lanes"]
    assert throughput.ratios(found)["CartPole-v1, single"] == 1.0
    assert all(each.median > 0.0 for each in found)
    profile = throughput.profile("recsim_env/Video-v0", "1,024 lanes", rounds=1)
    assert min(profile.step, profile.observe, profile.copy) > 0.0 <= profile.rest
    share, steps_per_second = throughput.ppo_share_in_env("recsim_env/Video-v0", 4_096)
    assert 0.0 < share < 1.0
    assert steps_per_second > 0.0


def test_the_ways_that_are_measured_are_ways_to_make_a_vector_env():
    for lanes, options in throughput.WAYS.values():
        assert lanes >= 1
        assert set(options) <= set(inspect.signature(Adapter.__init__).parameters)
        VIDEO.changed(options.get("changes", {}))
