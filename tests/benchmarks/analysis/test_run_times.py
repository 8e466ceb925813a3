"""The time of runs on a cluster: schedules, bounds, and runs that have not been measured."""

import pytest

from benchmarks.__main__ import main
from benchmarks.analysis.run_times import expected_seconds, measured_seconds
from benchmarks.analysis.schedules import lower_bound, makespan


def final(agent: str, scenario: str, run_s: float | None, **others) -> dict:
    row = {"agent": agent, "scenario": scenario, "run_s": run_s, "is_final": True, "status": "ok"}
    return {**row, "env_steps": 0, "wall_s": 0.0, **others}


def test_each_slot_takes_the_next_run_when_it_is_free():
    assert makespan([2.0, 3.0, 4.0], 1) == 9.0
    assert makespan([2.0, 3.0, 4.0], 2) == 6.0
    assert makespan([4.0, 3.0, 2.0], 2) == 5.0
    assert makespan([2.0, 3.0, 4.0], 100) == 4.0


def test_no_schedule_is_shorter_than_the_bound():
    assert lower_bound([2.0, 3.0, 4.0], 2) == 4.5
    assert lower_bound([2.0, 3.0, 4.0], 100) == 4.0


def test_seconds_are_medians_of_finished_runs():
    rows = [final("a", "Video", seconds) for seconds in (1.0, 9.0, 2.0)]
    rows += [final("a", "Video", 50.0, status="failed"), final("a", "News", None), final("b", "News", 3.0)]
    rows.append({**final("b", "News", 70.0), "is_final": False})
    assert measured_seconds(rows, 1_000) == {("a", "Video"): 2.0, ("b", "News"): 3.0}


def test_runs_of_loaded_agents_are_not_measured():
    rows = [final("ppo", "Video", 12.0, env_steps=1_000, wall_s=10.0)]
    loaded = [final("ppo", "Video", 2.0, loaded_from="ppo.safetensors"), final("pqn", "Video", 2.0, loaded_from="x")]
    assert measured_seconds([*rows, *loaded], 1_000) == {("ppo", "Video"): 12.0}


def test_the_time_of_training_is_scaled_to_other_numbers_of_steps():
    rows = [final("ppo", "Video", 12.0, env_steps=1_000, wall_s=10.0)]
    assert measured_seconds(rows, 36_000) == {("ppo", "Video"): 362.0}


def test_a_run_without_a_measurement_takes_the_median_of_its_agent_or_the_longest_of_all():
    measured = {("a", "Video"): 2.0, ("a", "News"): 4.0, ("b", "Video"): 9.0}
    runs = [("a", "Video", 0), ("a", "Music", 0), ("c", "Video", 0), ("c", "News", 0)]
    assert expected_seconds(runs, measured) == ([2.0, 3.0, 9.0, 9.0], ["c"])


def test_the_command_shows_a_line_for_each_number_of_nodes(capsys):
    arguments = ["cost", "--suite", "standard", "--seeds", "1", "--nodes", "1", "--nodes", "7", "--price", "0.5"]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert "core-hours; the longest takes" in output
    assert [line.split("│")[1].strip() for line in output.splitlines() if line.startswith("│")] == ["1", "7"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "standrad"], "suite 'standrad': unknown; did you mean 'standard'?"),
        (["--results", "nowhere"], "--results nowhere: no such folder"),
        (
            ["--suite", "smoke", "--results", "tests"],
            "suite smoke: none of its agents has a finished run in its scenarios",
        ),
    ],
)
def test_a_cost_that_cannot_be_computed_ends_in_one_line(arguments, message, capsys):
    assert main(["cost", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"benchmarks: {message}")
    assert error.count("\n") == 1
