"""Tuning: equal numbers of trials, separate worlds, a search that does not depend on timing, and its results."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from optuna.distributions import FloatDistribution

from agents.registry import REGISTRY, Entry
from benchmarks import suites
from benchmarks.__main__ import main
from benchmarks.rows import ResultsError, read_rows
from benchmarks.running.run import Run
from benchmarks.running.search_spaces import read_spaces
from benchmarks.running.tuning import (
    NUM_RANDOM_TRIALS,
    ONE,
    ZERO,
    Trial,
    best_of,
    expected_cost,
    reference_runs,
    search,
    search_all,
    space_of,
    tuning_result,
    tuning_suite,
    write_tuned,
)
from benchmarks.suites import PRESETS, SUITES, TUNING

SPACES = read_spaces()
LEVELS = {"Video": (10.0, 20.0), "News": (100.0, 300.0)}
Score = Callable[[Run], float | None]


def searched(
    agents: tuple[str, ...], num_trials: int, score: Score, *, scenarios=PRESETS, num_seeds=1, seed=0
) -> tuple[dict[str, list[Trial]], list[Run]]:
    """Trials whose runs have the given scores, None for failures, and finish in random order; and all runs."""
    suite, executed, order = tuning_suite(agents, scenarios, 1_000, num_seeds), [], random.Random(seed)

    def execute(runs: list[Run]) -> list[dict]:
        executed.extend(runs)
        rows = []
        for run in runs:
            zero, one = LEVELS.get(run.task, (0.0, 1.0))
            value = {ZERO: 0.0, ONE: 1.0}[run.agent] if run.agent in (ZERO, ONE) else score(run)
            row = {"agent": run.agent, "scenario": run.task, "seed": run.seed, "is_final": True, "error": "broken"}
            outcome = (
                {"status": "failed"} if value is None else {"status": "ok", "return_mean": zero + value * (one - zero)}
            )
            rows.append(row | outcome)
        return order.sample(rows, len(rows))

    searches = {agent: search(agent, space_of(agent, SPACES), suite, num_trials) for agent in agents}
    return search_all(searches, reference_runs(suite), execute), executed


def peak(run: Run) -> float:
    """Best at a learning rate of 0.003, which no default has; the noise is of the world alone, so that it is paired."""
    rate = run.entry.settings.get("learning_rate", 1.0)
    return 1.0 - abs(np.log10(rate / 0.003)) + 0.1 * (PRESETS.index(run.task) + run.seed)


def summary_of(trials: list[Trial]) -> list[tuple]:
    return [(trial.number, trial.settings, trial.state, trial.scores) for trial in trials]


def test_every_agent_has_the_same_number_of_trials_in_the_same_worlds():
    found, runs = searched(("linucb", "ppo"), 6, lambda run: 0.5, scenarios=("Video", "News"), num_seeds=2)
    for agent, trials in found.items():
        assert [trial.number for trial in trials] == list(range(6))
        for number in range(6):
            own = [(run.scenario, run.seed) for run in runs if run.agent == f"{agent}#{number}"]
            assert own == [(scenario, seed) for scenario in ("Video", "News") for seed in (0, 1)]
    assert {run.suite.worlds for run in runs} == {TUNING}
    assert len({run.digest for run in runs}) == len(runs)


def test_trial_0_has_the_settings_of_the_registry_and_the_others_are_in_the_space():
    found, runs = searched(("ppo",), 24, peak)
    assert found["ppo"][0].settings == {}
    assert next(run.entry for run in runs if run.agent == "ppo#0") == REGISTRY["ppo"]
    for trial in found["ppo"][1:]:
        assert trial.settings.keys() == SPACES["ppo"].keys()
        for name, value in trial.settings.items():
            space = SPACES["ppo"][name]
            assert value in space.choices if hasattr(space, "choices") else space.low <= value <= space.high
    lanes = {run.entry.num_envs for run in runs if run.agent.startswith("ppo#")}
    assert lanes == {16, 32, 64}
    assert all("num_envs" not in run.entry.settings for run in runs)


def test_a_search_depends_on_results_not_on_their_order_nor_on_other_agents():
    together, _ = searched(("ppo", "dqn"), 18, peak)
    for seed, agent in enumerate(("ppo", "dqn"), 1):
        alone, _ = searched((agent,), 18, peak, seed=seed)
        assert summary_of(alone[agent]) == summary_of(together[agent])


def test_more_trials_go_on_with_the_same_search():
    few, many = (searched(("ppo",), num_trials, peak)[0]["ppo"] for num_trials in (10, 18))
    assert summary_of(many)[:10] == summary_of(few)


def test_drawn_trials_come_near_the_best_settings():
    trials = searched(("ppo",), 40, peak)[0]["ppo"]
    rates = [abs(np.log10(trial.settings["learning_rate"] / 0.003)) for trial in trials[1:]]
    assert np.mean(rates[-16:]) < np.mean(rates[: NUM_RANDOM_TRIALS - 1])
    best = best_of("ppo", trials)
    assert best.score > trials[0].score
    assert best.settings["learning_rate"] == pytest.approx(0.003, rel=0.3)


def test_a_trial_that_is_worse_in_four_worlds_is_pruned_and_a_mixed_one_is_not():
    def score(run: Run) -> float:
        number, place = int(run.agent.split("#")[1]), PRESETS.index(run.task)
        worse = {4: 0.2, 5: 0.2 if place % 2 else -0.1}.get(number, 0.0)
        return 0.8 - 0.01 * number - worse + 0.01 * place

    trials, runs = searched(("ppo",), 6, score)
    states = [trial.state for trial in trials["ppo"]]
    assert states == ["complete"] * 4 + ["pruned", "complete"]  # a first round has nothing to be compared with
    assert [run.task for run in runs if run.agent == "ppo#4"] == list(PRESETS[:4])
    assert list(trials["ppo"][4].scores) == list(PRESETS[:4])
    assert best_of("ppo", trials["ppo"]).number == 0


def test_a_trial_with_a_failed_run_has_no_score_and_ends():
    def score(run: Run) -> float | None:
        return None if run.agent == "ppo#1" and run.task == PRESETS[1] else 0.5

    trials, runs = searched(("ppo",), 3, score)
    assert [trial.state for trial in trials["ppo"]] == ["complete", "failed", "complete"]
    assert [run.task for run in runs if run.agent == "ppo#1"] == list(PRESETS[:2])
    with pytest.raises(ResultsError, match="'ppo': all trials failed"):
        best_of("ppo", searched(("ppo",), 3, lambda run: None)[0]["ppo"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"status": "failed", "error": "no memory"}, r"myopic-oracle failed in Video \(no memory\)"),
        ({"status": "ok", "return_mean": 1.0}, r"Video: myopic-oracle is not above random \(1.00, 2.00\)"),
    ],
)
def test_without_a_scale_there_is_no_search(row, message):
    def execute(runs: list[Run]) -> list[dict]:
        shared = {"scenario": "Video", "seed": 0, "is_final": True}
        return [{**shared, "agent": ZERO, "status": "ok", "return_mean": 2.0}, {**shared, "agent": ONE, **row}]

    with pytest.raises(ResultsError, match=message):
        search_all({}, [], execute)


def test_the_best_settings_are_written_with_all_trials_and_suites_take_them(tmp_path: Path, monkeypatch):
    suite = tuning_suite(("linucb",), ("Video", "News"), 1_000, 1)
    values = {"linucb#0": 0.1, "linucb#1": 0.9, "linucb#2": 0.5}
    trials = searched(("linucb",), 3, lambda run: values[run.agent], scenarios=("Video", "News"))[0]["linucb"]
    write_tuned(tmp_path, "linucb", tuning_result("linucb", trials, suite, {"commit": "abc"}))
    content = json.loads((tmp_path / "linucb.json").read_text())
    assert content["settings"] == trials[1].settings
    assert [trial["score"] for trial in content["search"]["trials"]] == pytest.approx([0.1, 0.9, 0.5])
    assert content["search"]["trials"][2]["scores"] == {"Video": [0.5], "News": [0.5]}
    assert (content["search"]["scenarios"], content["search"]["commit"]) == (["Video", "News"], "abc")
    monkeypatch.setattr(suites, "TUNED", tmp_path)
    assert SUITES["quick"].entry("linucb").settings == content["settings"]


def test_the_command_resumes_and_changes_the_defaults_only_on_request(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(suites, "TUNED", tmp_path / "tuned")
    monkeypatch.setattr("benchmarks.committed_results.COMMITTED", tmp_path)  # whose rows would take seconds to read
    (tmp_path / "tuned").mkdir()
    monkeypatch.setitem(REGISTRY, "popularity", Entry(path="agents.rules.popularity:PopularityAgent", family="rule"))
    command = ["tune", "--agent", "popularity", "--trials", "2", "--scenario", "Video", "--workers", "1"]
    command += ["--out", str(tmp_path / "trials")]
    assert main(command) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "1 agent × 2 trials × 1 scenario × 1 seed = 2 runs of 50,000 user-steps" in output
    assert "--install makes them the defaults" in output
    assert not list((tmp_path / "tuned").iterdir())
    results = tmp_path / "trials" / "results.jsonl"
    rows = read_rows(results)
    assert [row["agent"] for row in rows] == [*sorted([ZERO, ONE], reverse=True), "popularity#0", "popularity#1"]
    first = (tmp_path / "trials" / "popularity.json").read_text()
    assert main([*command, "--install"]) == 0
    for folder in ("trials", "tuned"):
        assert (tmp_path / folder / "popularity.json").read_text() == first
    assert read_rows(results) == rows


def test_an_agent_whose_trials_all_fail_does_not_keep_the_others_from_their_settings(
    tmp_path: Path, monkeypatch, capsys
):
    monkeypatch.setattr("benchmarks.committed_results.COMMITTED", tmp_path)
    (tmp_path / "spaces.toml").write_text(
        '[[space]]\nagents = ["own_agents:RaisesWithSettings"]\nsettings.boldness = [0.0]\n'
        '[[space]]\nagents = ["popularity"]\nsettings.prior_impressions = { low = 0.1, high = 300.0 }\n'
    )
    command = ["tune", "--trials", "1", "--scenario", "Video", "--workers", "1", "--out", str(tmp_path / "trials")]
    assert main([*command, "--spaces", str(tmp_path / "spaces.toml")]) == 1
    output = " ".join(capsys.readouterr().out.split())
    assert output.endswith("agent 'own_agents:RaisesWithSettings': all trials failed; results.jsonl has the errors")
    files = [path.name for path in (tmp_path / "trials").glob("*.json") if path.name != "suite.json"]
    assert files == ["popularity.json"]


def test_a_ray_cluster_is_sent_the_module_of_the_users_own_agent(tmp_path: Path, monkeypatch, capsys):
    def cluster(address: str, *, modules: list, **arguments):
        raise ResultsError(" ".join(module.__name__ for module in modules))

    monkeypatch.setattr("benchmarks.running.ray_cluster.RayCluster", cluster)
    (tmp_path / "spaces.toml").write_text(
        '[[space]]\nagents = ["own_agents:RaisesWithSettings"]\nsettings.boldness = [0.0]\n'
    )
    command = ["tune", "--trials", "1", "--engine", "ray", "--spaces", str(tmp_path / "spaces.toml")]
    assert main(command) == 2
    assert capsys.readouterr().err.endswith("own_agents\n")


def test_trials_of_the_users_own_agents_depend_on_their_source():
    agents = "own_agents:RaisesWithSettings", "popularity"
    settings = {agents[0]: "boldness", agents[1]: "prior_impressions"}
    suite = tuning_suite(agents, ("Video",), 1_000, 1)
    spaces = {agent: {name: FloatDistribution(0.0, 300.0)} for agent, name in settings.items()}
    runs = [next(search(agent, spaces[agent], suite, 1))[0] for agent in agents]
    assert [run.has_own_source for run in runs] == [True, False]


def test_an_agent_without_a_search_space_is_refused(tmp_path: Path, capsys):
    with pytest.raises(ResultsError, match="'random': has no search space"):
        space_of("random", SPACES)
    assert main(["tune", "--agent", "popularty", "--out", str(tmp_path / "x")]) == 2
    assert "did you mean 'popularity'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_the_cost_is_known_before_the_search():
    suite = tuning_suite(("ppo", "pqn"), ("Video", "News"), 36_000, 2)
    assert expected_cost(suite, 10, {("ppo", "Video"): 300.0, ("ppo", "News"): 420.0}) == (
        "2 agents × 10 trials × 2 scenarios × 2 seeds = 80 runs of 36,000 user-steps (2,880,000 in all), about 8.7 CPU "
        "hours (not measured, and assumed to take as long as the longest run: pqn); less if trials are pruned"
    )
    assert "of unknown duration" in expected_cost(suite, 10, {})


@pytest.mark.parametrize("name", sorted(file.stem for file in suites.TUNED.glob("*.json")))
def test_tuned_settings_are_arguments_of_their_agent(name):
    if name in ("trpo", "recurrent-ppo", "maskable-ppo", "qr-dqn"):
        pytest.importorskip("sb3_contrib")
    entry = suites.with_settings(REGISTRY[name], suites.tuned_settings(name))
    entry.agent_class()(**entry.settings)  # refuses unknown names and values out of their range
