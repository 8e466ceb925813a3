"""The runs of a suite: files of trained agents."""

import dataclasses
from pathlib import Path

import pytest

from agents.registry import REGISTRY
from benchmarks.rows import ResultsError
from benchmarks.running.suite_runs import log_trained, suite_runs
from benchmarks.suites import SUITES

SLATES = dataclasses.replace(SUITES["slate"], scenarios=("Video",), agents=("sequence-model", "random"), num_seeds=1)


def test_each_variant_of_a_scenario_is_saved_to_a_file_of_its_own(tmp_path: Path):
    files = [run.save_to for run in suite_runs(SLATES, save_models=tmp_path) if run.agent == "sequence-model"]
    assert [file.name for file in files if file] == [
        f"sequence-model-Video-slates-of-{size}-seed0.safetensors" for size in (1, 3, 5, 10)
    ]


@pytest.mark.parametrize("saved", [["Video"], ["Video", "Video-slates-of-3"], []])
def test_variants_load_the_agent_trained_there_or_in_the_scenario_itself(tmp_path: Path, saved: list[str]):
    for task in saved:
        (tmp_path / f"sequence-model-{task}-seed0.safetensors").touch()
    loaded = {run.task: run.load_from for run in suite_runs(SLATES, load_models=tmp_path) if run.agent != "random"}
    for task, file in loaded.items():
        own = task.replace(" ", "-")
        expected = own if own in saved else "Video" if "Video" in saved else None
        assert file == (tmp_path / f"sequence-model-{expected}-seed0.safetensors" if expected else None)


def test_agents_without_a_saved_file_are_named_with_their_numbers_of_runs(tmp_path: Path):
    agents = ("random", "sequence-model", "eb-linucb", "item-knn")
    suite = dataclasses.replace(SLATES, grid={"": {}}, agents=agents, num_seeds=2)
    (tmp_path / "sequence-model-Video-seed0.safetensors").touch()
    messages: list[str] = []
    log_trained(suite_runs(suite, load_models=tmp_path), tmp_path, messages.append)
    assert messages == [
        f"--load-models {tmp_path}: trained, without a file: eb-linucb (2 runs), sequence-model (1 run)",
        f"--load-models {tmp_path}: trained, on the evaluation catalogue, as always: item-knn (2 runs)",
    ]


def test_a_folder_without_a_file_for_any_agent_is_refused(tmp_path: Path):
    with pytest.raises(ResultsError, match="any of the agents, such as sequence-model-Video-slates-of-1-seed0"):
        log_trained(suite_runs(SLATES, load_models=tmp_path), tmp_path, print)
    only_random = dataclasses.replace(SLATES, agents=("random",))
    with pytest.raises(ResultsError, match="none of the agents is loaded from a file"):
        log_trained(suite_runs(only_random, load_models=tmp_path), tmp_path, print)


def test_the_rows_of_a_privileged_agent_of_a_user_say_so():
    agents = ("own_agents:Oracle", "own_agents:Slow", "myopic-oracle")
    runs = suite_runs(dataclasses.replace(SLATES, grid={"": {}}, agents=agents))
    assert [run.identity().get("is_privileged") for run in runs] == [True, None, None]


def test_an_edited_agent_of_the_user_has_another_run_and_the_others_have_not(tmp_path: Path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "edited_agent.py").write_text("from own_agents import Slow\nclass Mine(Slow):\n    shown = 0\n")
    registered = REGISTRY["popularity"].path
    suite = dataclasses.replace(SLATES, grid={"": {}}, agents=("edited_agent:Mine", "random", "sb3:PPO", registered))
    before = [run.digest for run in suite_runs(suite)]
    assert [run.digest for run in suite_runs(suite)] == before
    (tmp_path / "edited_agent.py").write_text("from own_agents import Slow\nclass Mine(Slow):\n    shown = 1\n")
    after = [run.digest for run in suite_runs(suite)]
    assert [new != old for new, old in zip(after, before, strict=True)] == [True, False, False, False]
    assert [run.has_own_source for run in suite_runs(suite)] == [True, False, False, False]
