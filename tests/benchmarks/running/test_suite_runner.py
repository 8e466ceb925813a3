"""Suites: the rows of a run, resuming after kills, failing agents, and the arguments of `run`."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from conftest import CHECKOUT, SCENARIO_NAMES

from agents.registry import FAMILIES, REGISTRY, make
from benchmarks.__main__ import main
from benchmarks.analysis.metrics import BIN_STARTS
from benchmarks.rows import key_of, read_rows
from benchmarks.running.result_folder import open_results
from benchmarks.running.run import Run
from benchmarks.running.suite_runs import suite_runs, with_ratings_log
from benchmarks.suites import HELD_OUT, LADDER, ONE, SUITES, TUNING, ZERO, Suite
from recsim_env.scenarios import scenario_named

TINY = Suite(
    name="tiny",
    scenarios=("Video",),
    agents=(ZERO, "ppo"),
    num_seeds=2,
    num_steps=4_096,
    num_evaluations=1,
    num_sessions=16,
)
TIMINGS = {"wall_s", "evaluation_s", "run_s", "steps_per_s", "peak_memory_mib", "command", "date"}
"""Fields that differ between two runs with the same seed."""


def timeless(rows: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key not in TIMINGS} for row in rows]


def run_of(agent: str, **others) -> Run:
    return next(run for run in suite_runs(dataclasses.replace(TINY, **others)) if run.agent == agent)


def test_a_run_gives_a_row_for_each_evaluation_and_the_same_rows_again():
    run = run_of("eb-linucb", agents=("eb-linucb",))
    rows, again = run.execute(), run.execute()
    assert [row["env_steps"] for row in rows] == [0, 4_096]
    assert [row["is_final"] for row in rows] == [False, True]
    assert rows[-1]["wall_s"] > 0.0
    assert timeless(rows) == timeless(again)
    last = rows[-1]
    assert sum(last["returns"]) / 16 == pytest.approx(last["return_mean"])
    assert last["steps_per_s"] > 0.0
    assert last["peak_memory_mib"] > 50.0
    assert last["run_s"] >= last["wall_s"] + last["evaluation_s"]
    assert last["metrics"]["churn"] == last["churn"]
    assert len(last["curves"]["by_item_age"]["reward"]) == len(BIN_STARTS)
    assert json.loads(json.dumps(last, allow_nan=False)) == last


def test_evaluation_is_paired_and_moves_with_the_seed():
    agents = (ZERO, "popularity", "linucb")
    of = {(run.agent, run.seed): run for run in suite_runs(dataclasses.replace(TINY, agents=agents))}
    envs = {key: run.evaluation_env(run.agent_class) for key, run in of.items()}
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
        assert all(suite.entry(agent) for agent in suite.agents)
        assert set(suite.variants) <= set(suite.agents)
        assert ZERO in suite.agents
        assert ONE in suite.agents or suite.name == "slate"  # it shows one item a step
        assert suite.num_sessions < suite.worlds.sessions_apart
    assert set(LADDER) <= set(SUITES["standard"].agents)
    families = {entry.family for entry in REGISTRY.values()} - {"offline"}
    assert {REGISTRY[agent].family for agent in SUITES["standard"].agents} == families
    assert SUITES["standard"].num_seeds == 10
    assert set(SUITES["all-agents"].agents) == set(REGISTRY)


@pytest.mark.parametrize("name", [suite.name for suite in SUITES.values() if len(suite.grid) > 1])
def test_the_first_run_of_each_suite_with_variants_succeeds(name):
    suite = SUITES[name]
    small = {"scenarios": suite.scenarios[:1], "num_seeds": 1, "num_steps": 256, "num_evaluations": 1}
    suite = dataclasses.replace(suite, **small, agents=("popularity",), num_sessions=4)
    for run in suite_runs(suite):
        scenario_named(run.scenario).override(run.overrides)  # refuses unknown fields
    last = suite_runs(suite)[0].execute()[-1]
    assert last["status"] == "ok"
    assert last["scenario"] == f"{suite.scenarios[0]} {next(iter(suite.grid))}"


def test_with_held_out_structures_each_seed_has_one_of_its_own():
    suite = dataclasses.replace(SUITES["generalisation"], scenarios=("Video",), agents=("popularity",), num_sessions=2)
    runs = {(run.task.removeprefix("Video "), run.seed): run for run in suite_runs(suite) if run.seed < 2}
    worlds = {key: (run.training_env(), run.evaluation_env()) for key, run in runs.items()}
    clusters = {
        (key, part): env.simulator.world.users.interests.mean(0).tobytes()
        for key, pair in worlds.items()
        for part, env in zip(("training", "evaluation"), pair, strict=True)
    }
    arguments = [worlds["held-out structures", 1][part].arguments for part in (0, 1)]
    assert [(each["structure_split"], each["world_seed"]) for each in arguments] == [("train", 1), ("test", 1)]
    assert worlds["training structures", 1][1].arguments["structure_split"] == "train"
    assert len(set(clusters.values())) >= 4
    plain = dataclasses.replace(suite, structure_splits={})
    assert runs["held-out structures", 0].digest not in {run.digest for run in suite_runs(plain)}


def test_a_variant_is_an_agent_of_the_registry_with_other_settings():
    suite = dataclasses.replace(TINY, agents=("greedy",), variants={"greedy": ("eb-linucb", {"alpha": 0.0})})
    entry, other = suite.entry("greedy"), suite.entry("eb-linucb")
    assert (entry.path, entry.num_envs) == (other.path, other.num_envs)
    assert entry.settings == {**other.settings, "alpha": 0.0}


@pytest.mark.parametrize("name", REGISTRY)
def test_every_agent_of_the_registry_is_constructed_with_its_settings(name):
    run = run_of(name, agents=(name,), num_seeds=1)
    if "contrib" in run.entry.path:
        pytest.importorskip("sb3_contrib")
    agent, env = run._agent_and_evaluation_env()
    assert run.entry.family in FAMILIES
    assert run.entry.reads_evaluation_catalog == getattr(agent, "reads_evaluation_catalog", False)
    assert type(agent).__doc__
    env.close()


def test_another_setting_size_or_world_is_another_run():
    run = run_of("eb-linucb", agents=("eb-linucb",))
    others = [
        dataclasses.replace(run, seed=1),
        dataclasses.replace(run, entry=dataclasses.replace(run.entry, settings={"alpha": 9.0})),
        dataclasses.replace(run, suite=dataclasses.replace(run.suite, num_steps=8_192)),
        dataclasses.replace(run, suite=dataclasses.replace(run.suite, grid={"": {"catalog": {"new_item_share": 0.5}}})),
        dataclasses.replace(run, suite=dataclasses.replace(run.suite, worlds=TUNING)),
    ]
    assert len({run.digest, *(other.digest for other in others)}) == 6
    assert dataclasses.replace(run, suite=dataclasses.replace(run.suite, name="other")).digest == run.digest


def test_committed_rows_match_the_current_runs():
    rows = read_rows(CHECKOUT / "benchmarks" / "results" / "standard" / "results.jsonl")
    digests = {run.key: run.digest for run in suite_runs(SUITES["standard"]) if "MovieLens" not in run.task}
    shared = [row for row in rows if key_of(row) in digests]
    assert len(shared) > 100
    assert all(row["run"] == digests[key_of(row)] for row in shared)


def test_training_steps_are_ignored_for_agents_that_do_not_learn():
    run = run_of("linucb", agents=("linucb",))
    assert dataclasses.replace(run, suite=dataclasses.replace(run.suite, num_steps=8_192)).digest == run.digest


@pytest.mark.parametrize("agent", ["popularity", "linucb"])
def test_a_committed_result_is_the_run_of_the_same_seed(agent):
    rows = read_rows(CHECKOUT / "benchmarks" / "results" / "standard" / "results.jsonl")
    suite = dataclasses.replace(SUITES["standard"], scenarios=("Video",), agents=(agent,), num_seeds=1)
    (run,) = suite_runs(suite)
    (committed,) = (row for row in rows if row["run"] == run.digest)
    assert run.execute()[-1]["returns"] == committed["returns"]


def test_results_of_one_ratings_log_are_not_taken_for_those_of_another(tmp_path: Path, monkeypatch):
    paths = [tmp_path / name / "log.csv" for name in ("first", "copy", "other")]
    for path, rating in zip(paths, (5, 5, 4), strict=True):
        path.parent.mkdir()
        path.write_text(f"user,item,rating,timestamp\n1,1,{rating},1\n")
    suite = dataclasses.replace(TINY, scenarios=("MovieLens", "Video"), agents=(ZERO,), num_seeds=1)
    first, copy, other = (suite_runs(suite, str(path)) for path in paths)
    assert first[0].digest == copy[0].digest != other[0].digest
    assert first[0].identity()["log"] != other[0].identity()["log"]
    assert first[1].digest == other[1].digest
    assert "log" not in first[1].identity()
    monkeypatch.setenv("RECSIM_DATA", str(paths[2]))
    assert suite_runs(suite)[0].digest == other[0].digest


@pytest.mark.skipif("MovieLens" not in SCENARIO_NAMES, reason="no ratings log")
def test_rows_of_movielens_100k_need_not_name_their_log():
    (run,) = suite_runs(dataclasses.replace(TINY, scenarios=("MovieLens",), agents=(ZERO,), num_seeds=1))
    assert "log" not in run.identity()


def run_as_process(out: Path, *arguments: str) -> subprocess.Popen:
    paths = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests")])
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "run",
        "--suite",
        "smoke",
        "--out",
        str(out),
        "--no-report",
        "--no-reuse",
    ]
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


def test_a_command_killed_twice_and_resumed_gives_the_same_rows(tmp_path: Path):
    arguments = ("--only", "random", "--agent", "own_agents:Slow", "--seeds", "3")
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
    output = run_as_process(tmp_path / "killed", *arguments, "--workers", "1").communicate()[0]
    assert "the last line is incomplete" in output
    assert "3 of 6 runs are finished already" in output or "4 of 6 runs are finished already" in output
    assert whole.wait() == 0
    rows, undisturbed = read_rows(results), read_rows(tmp_path / "whole" / "results.jsonl")
    assert len(rows) == 6
    assert timeless(rows) == timeless(undisturbed)


def test_saved_models_are_evaluated_without_training(tmp_path: Path):
    models, only = tmp_path / "models", ("--only", "eb-linucb", "--seeds", "1")
    first = run_as_process(tmp_path / "first", *only, "--save-models", str(models))
    assert first.wait() == 0, first.communicate()[0]
    (file,) = models.iterdir()
    assert file.name == "eb-linucb-Video-seed0.safetensors"
    again = run_as_process(tmp_path / "again", *only, "--load-models", str(models))
    assert again.wait() == 0, again.communicate()[0]
    single = run_as_process(tmp_path / "single", "--only", "random", "--seeds", "1", "--model", str(file))
    assert single.wait() == 0, single.communicate()[0]
    trained, loaded, model = (read_rows(tmp_path / name / "results.jsonl") for name in ("first", "again", "single"))
    assert len(loaded) == 1
    assert loaded[0]["returns"] == trained[-1]["returns"] == model[-1]["returns"]
    assert (loaded[0]["env_steps"], loaded[0]["loaded_from"]) == (0, str(file))
    assert loaded[0]["run"] != trained[-1]["run"]
    assert (model[-1]["agent"], model[-1]["family"]) == (file.stem, "own")


def test_a_failing_agent_is_a_row_with_a_traceback_and_the_others_go_on(tmp_path: Path):
    own = ["Raises", "Exits", "Dies", "ReportsFloat32", "ReportsNaN", "Slow", "Counts"]
    arguments = [f"--agent=own_agents:{name}" for name in own]
    command = run_as_process(tmp_path, "--only", "random", *arguments, "--seeds", "1", "--workers", "1")
    output = command.communicate()[0]
    assert command.returncode == 1, output
    rows = {row["agent"].split(":")[-1]: row for row in read_rows(tmp_path / "results.jsonl")}
    assert {name for name, row in rows.items() if row["status"] == "ok"} == {"random", "Slow", "Counts"}
    assert rows["Raises"]["error"] == "ValueError: no idea what to show ?"
    assert "own_agents.py" in rows["Raises"]["traceback"]
    assert rows["Exits"]["error"] == "SystemExit: enough"
    assert "ended without a result" in rows["Dies"]["error"]
    assert "float32 is not JSON serializable" in rows["ReportsFloat32"]["error"]
    assert "not JSON compliant" in rows["ReportsNaN"]["error"]
    assert "failed: ValueError" in output
    assert output.splitlines()[-1].startswith("5 of 8 runs failed (traceback in results.jsonl)")
    assert "Traceback" not in output
    again = run_as_process(tmp_path, "--only", "random", "--seeds", "1")
    assert again.wait() == 0, again.communicate()[0]  # no requested run has failed


def test_finished_runs_of_the_suite_are_reused_when_an_agent_is_added(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.commands.run.COMMITTED", tmp_path / "committed")
    arguments = ["run", "--suite", "smoke", "--only", "random", "--seeds", "1", "--no-report"]
    assert main([*arguments, "--out", str(tmp_path / "committed" / "first")]) == 0
    assert "next: python -m benchmarks report" in capsys.readouterr().out
    assert main([*arguments, "--agent", "linucb", "--out", str(tmp_path / "mine")]) == 0
    assert "1 of 2 runs are finished already, 1 of them in other folders" in capsys.readouterr().out
    first, mine = (read_rows(tmp_path / name / "results.jsonl") for name in ("committed/first", "mine"))
    assert mine[0] == first[0]
    assert main([*arguments, "--no-reuse", "--out", str(tmp_path / "other")]) == 0
    assert "in other folders" not in capsys.readouterr().out


def test_a_stale_run_that_is_kept_is_not_reused_from_another_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("benchmarks.commands.run.COMMITTED", tmp_path / "committed")
    suite = dataclasses.replace(SUITES["smoke"], agents=("random",), num_seeds=1)
    (present,) = suite_runs(suite)[0].execute()
    for name, row in (("committed", present), ("mine", {**present, "run": "0123456789abcdef"})):
        with open_results(tmp_path / name, suite, print) as folder:
            folder.add([row])
    arguments = ["run", "--suite", "smoke", "--only", "random", "--seeds", "1", "--no-report"]
    assert main([*arguments, "--allow-stale", "--out", str(tmp_path / "mine")]) == 0
    assert [row["run"] for row in read_rows(tmp_path / "mine" / "results.jsonl")] == ["0123456789abcdef"]
    assert main([*arguments, "--out", str(tmp_path / "mine")]) == 0
    assert [row["run"] for row in read_rows(tmp_path / "mine" / "results.jsonl")] == [present["run"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "quik"], "suite 'quik': unknown; did you mean 'quick'?"),
        (["--suite", "smoke", "--scenario", "Vidoe"], "scenario 'Vidoe': unknown; did you mean 'Video'"),
        (["--suite", "smoke", "--scenario", "MUSIC"], "scenario 'MUSIC': unknown; did you mean 'Music'?"),
        (["--suite", "smoke", "--only", "PPO"], "agent 'PPO': unknown; did you mean 'ppo'?"),
        (["--suite", "smoke", "--only", "popularty"], "agent 'popularty': unknown; did you mean 'popularity'"),
        (["--suite", "smoke", "--agent", "nowhere:Agent"], "agent 'nowhere:Agent': cannot be imported"),
        (["--suite", "smoke", "--agent", "own_agents:NoAgent"], "is not a class that extends"),
        (["--suite", "smoke", "--agent", "..x:Agent"], "agent '..x:Agent': cannot be imported (TypeError"),
        (["--suite", "quick", "--world", "nothing.npz", "--scenario", "MovieLens"], "nothing.npz"),
        (["--suite", "quick", "--world", "nothing.npz"], "--world: none of the scenarios is MovieLens"),
        (["--suite", "smoke", "--load-models", "nowhere"], "nowhere: no such folder"),
        (["--suite", "smoke", "--reuse", "nowhere"], "nowhere: no such folder"),
        (["--suite", "smoke", "--model", "nothing.safetensors"], "--model nothing.safetensors: no such file"),
        (["--suite", "smoke", "--model", __file__], "not a file of saved tensors"),
    ],
)
def test_unknown_names_are_refused_in_one_line_and_nothing_is_written(arguments, message, tmp_path: Path, capsys):
    assert main(["run", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_a_damaged_model_is_refused_before_the_first_run(tmp_path: Path, capsys):
    file, arguments = tmp_path / "model.zip", ["run", "--suite", "smoke", "--out", str(tmp_path / "out")]
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data", "garbage")
    assert main([*arguments, "--model", str(file)]) == 2
    warning, error = capsys.readouterr().err.splitlines()
    assert "can execute code" in warning
    assert error.startswith(f"benchmarks: --model {file}: not a model of Stable-Baselines3 or sb3-contrib (")
    assert main([*arguments, "--model", str(tmp_path)]) == 2
    assert f"--model {tmp_path}: has no large model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_with_the_name_of_another_agent_is_refused(tmp_path: Path, capsys):
    (tmp_path / "other").mkdir()
    files = [tmp_path / "random.safetensors", tmp_path / "a.safetensors", tmp_path / "other" / "a.safetensors"]
    for file in files:
        make("popularity", "recsim_env/Video-v0").save(file)
    arguments = ["run", "--suite", "smoke", "--only", "random", "--out", str(tmp_path / "out")]
    for only in ("random", "popularity"):  # reports take any agent of that name for the reference
        assert main([*arguments[:4], only, *arguments[5:], "--model", str(files[0])]) == 2
        assert capsys.readouterr().err.endswith("an agent is named 'random' already; rename the file\n")
    assert main([*arguments, "--model", str(files[1]), "--model", str(files[2])]) == 2
    assert capsys.readouterr().err.endswith("an agent is named 'a' already; rename the file\n")


def test_an_agent_whose_module_fails_is_refused_in_one_line(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    for name, content in (("wrong_syntax", "def ("), ("divides_by_zero", "1 / 0"), ("exits", "raise SystemExit(0)")):
        (tmp_path / f"{name}.py").write_text(content)
        assert main(["run", "--suite", "smoke", "--agent", f"{name}:Agent", "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err.strip()
        assert f"agent '{name}:Agent': cannot be imported (" in error
        assert "\n" not in error


def test_the_report_leaves_out_rows_of_other_versions(tmp_path: Path, capsys):
    agents = ("linucb", "random")  # the first is not in the suite, so that its present digest is unknown
    old, new = suite_runs(dataclasses.replace(SUITES["smoke"], agents=agents, num_seeds=1))
    with open_results(tmp_path, SUITES["smoke"], print) as folder:
        folder.add([{**row, "date": "2026-01-01", "version": "0.0.1", "run": "old"} for row in old.execute()])
        folder.add([{**row, "date": "2026-01-02"} for row in new.execute()])
    assert main(["run", "--suite", "smoke", "--only", "random", "--seeds", "1", "--out", str(tmp_path)]) == 0
    assert "rows of another version (0.0.1) are left out" in " ".join(capsys.readouterr().out.split())
    assert "| linucb |" not in (tmp_path / "report.md").read_text()
    assert "linucb" in (tmp_path / "results.jsonl").read_text()


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


def test_other_steps_than_those_of_the_suite_are_stated_in_the_folder(tmp_path: Path, capsys):
    command = ["run", "--suite", "smoke", "--only", "random", "--no-reuse", "--no-report", "--workers", "1"]
    command += ["--seeds", "1", "--out", str(tmp_path)]
    assert main([*command, "--steps", "123"]) == 0
    assert json.loads((tmp_path / "suite.json").read_text())["num_steps"] == 123
    assert main([*command, "--steps", "123"]) == 0
    assert "1 of 1 runs are finished already" in capsys.readouterr().out
    assert main(command) == 2
    assert "holds suite 'smoke' (num_steps 123" in " ".join(capsys.readouterr().err.split())


def test_agents_and_suites_are_listed(capsys):
    assert main(["agents"]) == 0
    output = capsys.readouterr().out
    assert all(name in output for name in (*REGISTRY, *SUITES))


def test_without_a_ratings_log_ratings_takes_the_place_of_movielens(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("RECSIM_DATA", str(tmp_path))
    monkeypatch.setattr("recsim_env.logs.find_log", lambda: None)
    monkeypatch.setattr("benchmarks.running.suite_runs.find_log", lambda: None)
    messages: list[str] = []
    suite, world = with_ratings_log(dataclasses.replace(TINY, scenarios=("Video", "MovieLens")), None, messages.append)
    assert suite.scenarios == ("Video", "Ratings")
    assert world is None
    assert "Ratings takes its place" in messages[0]
