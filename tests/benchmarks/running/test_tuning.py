"""Tuning: equal trials for each agent, on worlds of its own, and settings with their provenance."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from agents.registry import REGISTRY, Entry
from benchmarks import suites
from benchmarks.__main__ import main
from benchmarks.rows import ResultsError
from benchmarks.running.search_spaces import SPACES
from benchmarks.running.tuning import (
    ONE,
    ZERO,
    trial_params,
    trial_runs,
    trial_scores,
    tuning_result,
    tuning_suite,
    write_tuned,
)
from benchmarks.suites import SUITES, TUNING

SUITE = tuning_suite(("linucb", "ppo"), ("Video", "News"), 1_000, 2)


def made_row(agent: str, scenario: str, return_mean: float, **others) -> dict:
    origin = dict.fromkeys(("command", "commit", "version", "machine", "date"), "?")
    values = {"agent": agent, "scenario": scenario, "return_mean": return_mean, "is_final": True, "status": "ok"}
    return {**values, **origin, **others}


def scale() -> list[dict]:
    levels = {"Video": (10.0, 20.0), "News": (100.0, 300.0)}
    return [
        made_row(name, of, level) for of, pair in levels.items() for name, level in zip((ZERO, ONE), pair, strict=True)
    ]


def test_every_agent_has_the_same_number_of_trials_in_the_same_worlds():
    runs = trial_runs(SUITE, 5)
    for agent in SUITE.agents:
        for number in range(5):
            own = [run for run in runs if run.agent == f"{agent}#{number}"]
            assert [(run.scenario, run.seed) for run in own] == [
                (scenario, seed) for scenario in ("Video", "News") for seed in (0, 1)
            ]
    assert {run.suite.worlds for run in runs} == {TUNING}
    assert len({run.digest for run in runs}) == len(runs)


def test_trials_are_points_of_the_grid_and_the_same_ones_again():
    first, *drawn = trial_params("ppo", 40)
    assert first == {}
    assert [first, *drawn] == trial_params("ppo", 40)
    assert [first, *drawn[:9]] == trial_params("ppo", 10)
    for name, values in SPACES["ppo"].items():
        assert {params[name] for params in drawn} == set(values)
    lanes = {run.entry.num_envs for run in trial_runs(SUITE, 40) if run.agent.startswith("ppo#")}
    assert lanes == set(SPACES["ppo"]["num_envs"])


def test_many_trials_are_the_whole_grid_each_point_once():
    space = SPACES["content-match"]
    drawn = trial_params("content-match", 1_000)[1:]
    assert len(drawn) == math.prod(len(values) for values in space.values()) - 1  # without the registry's settings
    assert len({tuple(sorted(params.items())) for params in drawn}) == len(drawn)


def test_score_of_a_trial_is_the_mean_of_normalised_scenario_scores():
    rows = [*scale(), made_row("linucb#0", "Video", 15.0), made_row("linucb#0", "News", 150.0)]
    assert trial_scores(rows) == {"linucb#0": pytest.approx((0.5 + 0.25) / 2)}
    rows.append(made_row("linucb#1", "News", 0.0, status="failed"))
    assert trial_scores(rows)["linucb#1"] == -np.inf


def test_the_best_settings_are_written_with_all_trials_and_suites_take_them(tmp_path: Path, monkeypatch):
    suite = tuning_suite(("linucb",), ("Video", "News"), 1_000, 1)
    returns = {0: (11.0, 110.0), 1: (18.0, 280.0), 2: (12.0, 290.0)}
    rows = scale() + [
        made_row(f"linucb#{number}", scenario, each)
        for number, pair in returns.items()
        for scenario, each in zip(("Video", "News"), pair, strict=True)
    ]
    write_tuned(tmp_path, "linucb", tuning_result("linucb", rows, suite, 3))
    content = json.loads((tmp_path / "linucb.json").read_text())
    assert content["settings"] == trial_params("linucb", 3)[1]
    assert [trial["score"] for trial in content["search"]["trials"]] == pytest.approx([0.075, 0.85, 0.575])
    assert content["search"]["scenarios"] == ["Video", "News"]
    monkeypatch.setattr(suites, "TUNED", tmp_path)
    assert SUITES["quick"].entry("linucb").settings == content["settings"]


def test_the_command_resumes_and_changes_the_defaults_only_on_request(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(suites, "TUNED", tmp_path / "tuned")
    (tmp_path / "tuned").mkdir()
    monkeypatch.setitem(REGISTRY, "popularity", Entry(path="agents.rules.popularity:PopularityAgent", family="rule"))
    command = ["tune", "--agent", "popularity", "--trials", "2", "--scenario", "Video", "--workers", "1"]
    command += ["--out", str(tmp_path / "trials")]
    assert main(command) == 0
    assert "--install makes them the defaults" in " ".join(capsys.readouterr().out.split())
    assert not list((tmp_path / "tuned").iterdir())
    assert main([*command, "--install"]) == 0
    for folder in ("trials", "tuned"):
        content = json.loads((tmp_path / folder / "popularity.json").read_text())
        assert len(content["search"]["trials"]) == 2
    assert (tmp_path / "trials" / "results.jsonl").read_text().count("\n") == 4


def test_an_agent_with_nothing_to_tune_is_refused(tmp_path: Path, capsys):
    with pytest.raises(ResultsError, match="'random': has nothing to tune"):
        tuning_suite(("random",), ("Video",), 1, 1)
    assert main(["tune", "--agent", "popularty", "--out", str(tmp_path / "x")]) == 2
    assert "did you mean 'popularity'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", sorted(file.stem for file in suites.TUNED.glob("*.json")))
def test_tuned_settings_are_arguments_of_their_agent(name):
    if name in ("trpo", "recurrent-ppo", "maskable-ppo", "qr-dqn"):
        pytest.importorskip("sb3_contrib")
    entry = suites.with_settings(REGISTRY[name], suites.tuned_settings(name))
    entry.agent_class()(**entry.settings)  # refuses unknown names and values out of their range
