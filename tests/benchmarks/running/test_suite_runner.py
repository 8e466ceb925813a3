"""Runs: what a cell leaves, that a killed run goes on, and that an agent that fails stops nobody else."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.running.resuming import ResultFolder
from conftest import CHECKOUT, SCENARIO_NAMES

from agents.registry import FAMILIES, REGISTRY, Entry, entry_named
from agents.terminal import console
from benchmarks.__main__ import main
from benchmarks.analysis.metrics import BIN_STARTS
from benchmarks.commands.run import with_ratings_log
from benchmarks.running.rows import REQUIRED, read_rows
from benchmarks.running.run import Cell, make_agent, run_cell, takes_device
from benchmarks.running.suite_runner import cells
from benchmarks.suites import HELD_OUT, LADDER, ONE, SUITES, TUNING, ZERO, Suite

TINY = Suite(
    scenarios=("Video",), agents=(ZERO, "ppo"), num_seeds=2, num_steps=4_096, num_evaluations=1, num_sessions=16
)
TIMINGS = {"wall_s", "cell_s", "steps_per_s", "peak_memory_mib", "command", "date"}
"""What may differ between two runs with one seed."""


def timeless(rows: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key not in TIMINGS} for row in rows]


def cell_of(agent: str, **others) -> Cell:
    return next(cell for cell in cells("tiny", dataclasses.replace(TINY, **others)) if cell.agent == agent)


def test_a_cell_gives_the_rows_that_are_promised_and_the_same_ones_again():
    cell = cell_of("ppo")
    rows, again = run_cell(cell), run_cell(cell)
    assert [row["env_steps"] for row in rows] == [0, 4_096]
    assert [row["is_final"] for row in rows] == [False, True]
    assert rows[-1]["wall_s"] > 0.0
    assert timeless(rows) == timeless(again)
    for row in rows:
        assert set(REQUIRED) <= set(row)
    last = rows[-1]
    assert sum(last["returns"]) / 16 == pytest.approx(last["return_mean"])
    assert last["steps_per_s"] > 0.0
    assert last["peak_memory_mib"] > 50.0
    assert last["metrics"]["churn"] == last["churn"]
    assert len(last["ramps"]["by_item_age"]["reward"]) == len(BIN_STARTS)
    assert json.loads(json.dumps(last, allow_nan=False)) == last


def test_evaluation_is_paired_and_moves_with_the_seed():
    agents = (ZERO, "popularity", "linucb")
    of = {(cell.agent, cell.seed): cell for cell in cells("tiny", dataclasses.replace(TINY, agents=agents))}
    envs = {key: cell.evaluation_env(make_agent(cell.entry)) for key, cell in of.items()}
    first = {key: env.reset(seed=of[key].sessions_seed)[0]["user"].tobytes() for key, env in envs.items()}
    assert len({first[agent, 0] for agent in agents}) == 1
    assert first[ZERO, 0] != first[ZERO, 1]
    features = [envs[ZERO, seed].catalog_features.tobytes() for seed in (0, 1)]
    assert features[0] != features[1]


def test_training_tuning_and_evaluation_share_no_item_and_evaluation_no_user():
    from recsim_env.scenarios import RATINGS, VIDEO
    from recsim_env.world.world import build_world

    for scenario in (VIDEO, RATINGS):
        train = build_world(scenario, HELD_OUT.training_catalog_seed, "train")
        tuning = build_world(scenario, TUNING.catalog_seed, TUNING.split)
        test = build_world(scenario, HELD_OUT.catalog_seed, HELD_OUT.split)
        for seen in (train, tuning):
            assert not set(seen.users.interests[:, 0]) & set(test.users.interests[:, 0])
            assert not set(seen.items.quality) & set(test.items.quality)
        assert not set(train.items.quality) & set(tuning.items.quality)


def test_suites_name_agents_that_exist_and_set_the_scale():
    for suite in SUITES.values():
        assert set(suite.agents) <= set(REGISTRY)
        assert {ZERO, ONE} <= set(suite.agents)
        assert suite.num_sessions < suite.worlds.sessions_apart
    assert set(LADDER) <= set(SUITES["standard"].agents)
    assert set(SUITES["standard"].agents) == set(REGISTRY)
    assert SUITES["standard"].num_seeds >= 5


@pytest.mark.parametrize("name", REGISTRY)
def test_every_agent_of_the_roster_can_be_made_with_its_settings(name):
    entry = entry_named(name)
    if "contrib" in entry.path:
        pytest.importorskip("sb3_contrib")
    agent = make_agent(entry)
    assert entry.family in FAMILIES
    assert entry.reads_evaluation_catalog == getattr(agent, "reads_evaluation_catalog", False)
    assert type(agent).__doc__
    assert takes_device(type(agent)) == hasattr(agent, "device")


def test_a_cell_of_another_setting_version_or_size_is_another_cell():
    cell = cell_of("ppo")
    others = [
        dataclasses.replace(cell, seed=1),
        dataclasses.replace(cell, entry=Entry(path=cell.entry.path, family="library", settings={})),
        dataclasses.replace(cell, suite=dataclasses.replace(TINY, num_steps=8_192)),
        dataclasses.replace(cell, overrides={"catalog": {"new_item_share": 0.5}}),
        dataclasses.replace(cell, suite=dataclasses.replace(TINY, worlds=TUNING)),
    ]
    assert len({cell.digest, *(other.digest for other in others)}) == 6
    assert dataclasses.replace(cell).digest == cell.digest


def test_results_of_one_ratings_log_are_not_taken_for_those_of_another(tmp_path: Path, monkeypatch):
    paths = [tmp_path / name / "log.csv" for name in ("first", "copy", "other")]
    for path, rating in zip(paths, (5, 5, 4), strict=True):
        path.parent.mkdir()
        path.write_text(f"user,item,rating,timestamp\n1,1,{rating},1\n")
    suite = dataclasses.replace(TINY, scenarios=("MovieLens", "Video"), agents=(ZERO,), num_seeds=1)
    first, copy, other = (cells("tiny", suite, str(path)) for path in paths)
    assert first[0].digest == copy[0].digest != other[0].digest
    assert first[0].identity()["log"] != other[0].identity()["log"]
    assert first[1].digest == other[1].digest
    assert "log" not in first[1].identity()
    monkeypatch.setenv("RECSIM_DATA", str(paths[2]))
    assert cells("tiny", suite)[0].digest == other[0].digest


@pytest.mark.skipif("MovieLens" not in SCENARIO_NAMES, reason="no ratings log")
def test_rows_of_movielens_100k_need_not_name_their_log():
    (cell,) = cells("tiny", dataclasses.replace(TINY, scenarios=("MovieLens",), agents=(ZERO,), num_seeds=1))
    assert "log" not in cell.identity()


def run_as_process(out: Path, *arguments: str) -> subprocess.Popen:
    paths = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests")])
    command = [sys.executable, "-m", "benchmarks", "run", "--suite", "smoke", "--out", str(out), "--no-report"]
    return subprocess.Popen(
        [*command, *arguments],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_run_killed_twice_and_resumed_gives_the_rows_of_an_undisturbed_one(tmp_path: Path):
    arguments = ("--only", "random", "--agent", "agents_of_ones_own:Slow", "--seeds", "3")
    whole = run_as_process(tmp_path / "whole", *arguments, "--workers", "2")
    results = tmp_path / "killed" / "results.jsonl"
    for num_finished in (1, 3):
        running = run_as_process(tmp_path / "killed", *arguments, "--workers", "1")
        while num_lines(results) < num_finished and running.poll() is None:
            time.sleep(0.01)
        assert running.poll() is None, running.communicate()[0]
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert num_finished <= num_lines(results) < 6
    with results.open("ab") as file:
        file.write(b'{"suite": "smoke", "agent": "ra')  # the machine stopped in the middle of a line
    said = run_as_process(tmp_path / "killed", *arguments, "--workers", "1").communicate()[0]
    assert "the last line is cut off" in said
    assert "3 of 6 cells are finished already" in said or "4 of 6 cells are finished already" in said
    assert whole.wait() == 0
    rows, undisturbed = read_rows(results), read_rows(tmp_path / "whole" / "results.jsonl")
    assert len(rows) == 6
    assert timeless(rows) == timeless(undisturbed)


def test_a_learner_that_was_kept_is_evaluated_elsewhere_as_it_is_and_not_trained_again(tmp_path: Path):
    kept, only = tmp_path / "kept", ("--only", "pqn", "--seeds", "1")
    first = run_as_process(tmp_path / "first", *only, "--keep", str(kept))
    assert first.wait() == 0, first.communicate()[0]
    assert [path.name for path in kept.iterdir()] == ["pqn-Video-seed0.learnt"]
    again = run_as_process(tmp_path / "again", *only, "--trained", str(kept))
    assert again.wait() == 0, again.communicate()[0]
    trained, loaded = (read_rows(tmp_path / name / "results.jsonl") for name in ("first", "again"))
    assert len(loaded) == 1
    assert loaded[0]["returns"] == trained[-1]["returns"]
    assert (loaded[0]["env_steps"], loaded[0]["trained"]) == (0, str(kept / "pqn-Video-seed0.learnt"))
    assert loaded[0]["cell"] != trained[-1]["cell"]
    missing = run_as_process(tmp_path / "missing", *only, "--trained", str(tmp_path / "nowhere"))
    said = missing.communicate()[0]
    assert (missing.returncode, len(said.splitlines())) == (2, 1)
    assert "nowhere: no such folder" in said.replace("\n", "")


def test_an_agent_that_fails_is_a_row_and_the_others_go_on(tmp_path: Path):
    own = [f"--agent=agents_of_ones_own:{name}" for name in ("Raises", "Dies", "SaysFloat32", "SaysNaN", "Slow")]
    done = run_as_process(tmp_path, "--only", "random", *own, "--seeds", "1", "--workers", "1")
    said = done.communicate()[0]
    assert done.returncode == 1, said
    rows = {row["agent"].split(":")[-1]: row for row in read_rows(tmp_path / "results.jsonl")}
    assert {name: row["status"] for name, row in rows.items()} == {
        "random": "ok",
        "Raises": "failed",
        "Dies": "failed",
        "SaysFloat32": "failed",
        "SaysNaN": "failed",
        "Slow": "ok",
    }
    assert rows["Raises"]["error"] == "ValueError: no idea what to show"
    assert "ended without a result" in rows["Dies"]["error"]
    assert "float32 is not JSON serializable" in rows["SaysFloat32"]["error"]
    assert "not JSON compliant" in rows["SaysNaN"]["error"]
    assert "failed: ValueError" in said
    assert said.splitlines()[-1] == "4 of 6 cells failed; --retry-failed tries them again"
    assert "Traceback" not in said
    again = run_as_process(tmp_path, "--only", "random", "--seeds", "1")
    assert again.wait() == 0, again.communicate()[0]  # of what it was asked for nothing has failed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "quik"], "suite 'quik': unknown; did you mean quick?"),
        (["--suite", "smoke", "--scenario", "Vidoe"], "scenario 'Vidoe': unknown; did you mean Video"),
        (["--suite", "smoke", "--scenario", "MUSIC"], "scenario 'MUSIC': unknown; did you mean Music?"),
        (["--suite", "smoke", "--only", "PPO"], "agent 'PPO': unknown; did you mean ppo or"),
        (["--suite", "smoke", "--only", "popularty"], "agent 'popularty': unknown; did you mean popularity"),
        (["--suite", "smoke", "--agent", "nowhere:Agent"], "agent 'nowhere:Agent': cannot be imported"),
        (["--suite", "smoke", "--agent", "agents_of_ones_own:NoAgent"], "is not a class that extends"),
        (["--suite", "smoke", "--agent", "..x:Agent"], "agent '..x:Agent': cannot be imported (TypeError"),
        (["--suite", "quick", "--world", "nothing.npz", "--scenario", "MovieLens"], "nothing.npz"),
        (["--suite", "quick", "--world", "nothing.npz"], "--world: none of the scenarios is MovieLens"),
    ],
)
def test_what_is_unknown_is_refused_in_one_line_and_nothing_is_written(arguments, message, tmp_path: Path, capsys):
    assert main(["run", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_an_agent_whose_module_fails_is_refused_in_one_line(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    for name, content in (("syntax_of_ones_own", "def ("), ("zero_of_ones_own", "1 / 0")):
        (tmp_path / f"{name}.py").write_text(content)
        assert main(["run", "--suite", "smoke", "--agent", f"{name}:Agent", "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err.strip()
        assert f"agent '{name}:Agent': cannot be imported (" in error
        assert "\n" not in error


def test_what_a_run_reports_is_of_one_version_and_the_rest_is_said_to_be_kept_apart(tmp_path: Path, capsys):
    agents = ("linucb", "random")  # the first is not in the suite, so that its present settings are not known
    old, new = cells("smoke", dataclasses.replace(SUITES["smoke"], agents=agents, num_seeds=1))
    with ResultFolder(tmp_path, "smoke", SUITES["smoke"], print) as folder:
        folder.add([{**row, "date": "2026-01-01", "version": "0.0.1", "cell": "old"} for row in run_cell(old)])
        folder.add([{**row, "date": "2026-01-02"} for row in run_cell(new)])
    assert main(["run", "--suite", "smoke", "--only", "random", "--seeds", "1", "--out", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "rows of another version (0.0.1) are kept apart" in said
    assert "| linucb |" not in (tmp_path / "report.md").read_text()
    assert "linucb" in (tmp_path / "results.jsonl").read_text()


def test_rows_of_other_settings_leave_the_board_although_nobody_asks_for_their_cells(tmp_path: Path, capsys):
    old, new = cells("smoke", dataclasses.replace(SUITES["smoke"], agents=("popularity", "random"), num_seeds=1))
    with ResultFolder(tmp_path, "smoke", SUITES["smoke"], print) as folder:
        folder.add([{**row, "cell": "old"} for row in run_cell(old)] + run_cell(new))
    assert main(["run", "--suite", "smoke", "--only", "random", "--seeds", "1", "--out", str(tmp_path)]) == 0
    assert "1 rows of another version or other settings are kept apart" in capsys.readouterr().out
    assert "| popularity |" not in (tmp_path / "report.md").read_text()
    assert "popularity" in (tmp_path / "kept_apart.jsonl").read_text()


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "--out", "x", "--seeds", "0"], ["throughput", "--rounds", "no"], ["nope"], []]
)
def test_wrong_arguments_end_with_a_message_and_status_2(arguments, capsys, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_agents_are_listed_with_what_they_are(capsys):
    assert main(["agents"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in (*REGISTRY, *SUITES))


def test_without_a_ratings_log_ratings_takes_the_place_of_movielens(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("RECSIM_DATA", str(tmp_path))
    monkeypatch.setattr("recsim_env.logs.find_log", lambda: None)
    monkeypatch.setattr("benchmarks.commands.run.find_log", lambda: None)
    suite, world = with_ratings_log(dataclasses.replace(TINY, scenarios=("Video", "MovieLens")), None, console())
    assert suite.scenarios == ("Video", "Ratings")
    assert world is None
    assert "Ratings takes its place" in " ".join(capsys.readouterr().out.split())
