"""Tuning: equal trials for each agent, on worlds of its own, and settings that say how they were found."""

import dataclasses
import inspect
import json
import math
from pathlib import Path

import numpy as np
import pytest

from agents import registry as roster
from agents.large_model.agent import LargeModel
from agents.large_model.config import TrainingConfig
from agents.registry import REGISTRY, Entry, entry_named
from agents.reinforcement.sb3 import SB3Learner, algorithm_named
from benchmarks.__main__ import main
from benchmarks.rows import ResultsError
from benchmarks.running import tuning
from benchmarks.running.search_spaces import SPACES
from benchmarks.running.tuning import ONE, ZERO, trial_scores, trial_settings, trials, tuning_suite, write_tuned
from benchmarks.suites import TUNING

SUITE = tuning_suite(("linucb", "ppo"), ("Video", "News"), 1_000, 2)


def made_row(agent: str, scenario: str, return_mean: float, **others) -> dict:
    origin = dict.fromkeys(("command", "commit", "version", "machine", "date"), "?")
    made = {"agent": agent, "scenario": scenario, "return_mean": return_mean, "is_final": True, "status": "ok"}
    return {**made, **origin, **others}


def scale() -> list[dict]:
    levels = {"Video": (10.0, 20.0), "News": (100.0, 300.0)}
    return [
        made_row(name, of, level) for of, pair in levels.items() for name, level in zip((ZERO, ONE), pair, strict=True)
    ]


def test_every_agent_has_the_same_number_of_trials_in_the_same_worlds():
    every = trials(SUITE, 5)
    for agent in SUITE.agents:
        for trial in range(5):
            own = [cell for cell in every if cell.agent == f"{agent}#{trial}"]
            assert [(cell.scenario, cell.seed) for cell in own] == [
                (scenario, seed) for scenario in ("Video", "News") for seed in (0, 1)
            ]
    assert {cell.suite.worlds for cell in every} == {TUNING}
    assert len({cell.digest for cell in every}) == len(every)


def test_trial_zero_is_what_the_roster_says_and_the_others_are_drawn_from_the_space():
    first, *drawn = trial_settings("ppo", 40)
    assert first == REGISTRY["ppo"].settings
    assert [first, *drawn] == trial_settings("ppo", 40)
    assert [first, *drawn[:9]] == trial_settings("ppo", 10)
    for name, values in SPACES["ppo"].items():
        assert {settings[name] for settings in drawn} == set(values)
    fixed = set(REGISTRY["ppo"].settings) - set(SPACES["ppo"])
    assert all(settings[name] == REGISTRY["ppo"].settings[name] for settings in drawn for name in fixed)


def test_many_trials_of_few_settings_are_the_whole_grid_each_of_it_once():
    space = SPACES["content-match"]
    drawn = trial_settings("content-match", 1_000)[1:]
    assert len(drawn) == math.prod(len(values) for values in space.values()) - 1  # without what the roster says
    assert len({tuple(sorted(settings.items())) for settings in drawn}) == len(drawn)
    one = dataclasses.replace(SUITE, agents=("content-match",), num_seeds=1)
    assert len(trials(one, 1_000)) == 2 * (2 + 1 + len(drawn))


@pytest.mark.parametrize("agent", SPACES)
def test_what_is_tuned_is_an_argument_of_the_agent(agent):
    made = REGISTRY[agent].agent_class()
    known = {name for each in made.__mro__[:-1] for name in inspect.signature(each.__init__).parameters}
    if issubclass(made, SB3Learner):
        algorithm = algorithm_named(REGISTRY[agent].settings["algorithm"])
        known |= set(inspect.signature(algorithm.__init__).parameters)
    if issubclass(made, LargeModel):
        known |= {each.name for each in dataclasses.fields(TrainingConfig)}
    assert set(SPACES[agent]) <= known


def test_scores_of_trials_are_means_over_scenarios_on_the_scale_of_the_two_references():
    rows = [*scale(), made_row("linucb#0", "Video", 15.0), made_row("linucb#0", "News", 150.0)]
    assert trial_scores(rows) == {"linucb#0": pytest.approx((0.5 + 0.25) / 2)}
    rows.append(made_row("linucb#1", "News", 0.0, status="failed"))
    assert trial_scores(rows)["linucb#1"] == -np.inf


def test_the_best_settings_are_written_with_all_trials_and_the_roster_takes_them(tmp_path: Path, monkeypatch):
    suite = dataclasses.replace(SUITE, agents=("linucb",), num_seeds=1)
    returns = {0: (11.0, 110.0), 1: (18.0, 280.0), 2: (12.0, 290.0)}
    rows = scale() + [
        made_row(f"linucb#{trial}", scenario, each)
        for trial, pair in returns.items()
        for scenario, each in zip(("Video", "News"), pair, strict=True)
    ]
    write_tuned("linucb", rows, suite, 3, tmp_path)
    content = json.loads((tmp_path / "linucb.json").read_text())
    assert content["settings"] == trial_settings("linucb", 2)[1]
    assert [trial["score"] for trial in content["found"]["trials"]] == pytest.approx([0.075, 0.85, 0.575])
    assert content["found"]["scenarios"] == ["Video", "News"]
    monkeypatch.setattr(roster, "TUNED", tmp_path)
    assert entry_named("linucb").settings == trial_settings("linucb", 2)[1]


def test_the_command_leaves_settings_and_goes_on_where_it_was(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(tuning, "TUNED", tmp_path / "tuned")
    monkeypatch.setattr(tuning.write_tuned, "__defaults__", (tmp_path / "tuned",))
    monkeypatch.setitem(REGISTRY, "popularity", Entry(path="agents.rules.popularity:PopularityAgent", family="rule"))
    command = ["tune", "--agent", "popularity", "--trials", "2", "--scenario", "Video", "--workers", "1"]
    for _ in range(2):
        assert main([*command, "--out", str(tmp_path / "trials")]) == 0
    assert "popularity" in capsys.readouterr().out
    content = json.loads((tmp_path / "tuned" / "popularity.json").read_text())
    assert len(content["found"]["trials"]) == 2
    assert (tmp_path / "trials" / "results.jsonl").read_text().count("\n") == 4


def test_an_agent_with_nothing_to_tune_is_refused(tmp_path: Path, capsys):
    with pytest.raises(ResultsError, match="'random': has nothing to tune"):
        tuning_suite(("random",), ("Video",), 1, 1)
    assert main(["tune", "--agent", "popularty", "--out", str(tmp_path / "x")]) == 2
    assert "did you mean popularity" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
