"""A network that imitates a larger one: it comes near to its policy, resumes, and refuses what cannot be a teacher."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainings import BACKBONE, FAST, HERE, SIZES, config_of

from agents.large_model import training_worlds
from agents.large_model.__main__ import main
from agents.large_model.agent import LargeModel
from agents.large_model.config import IMITATING, RunConfig, TrainingConfig
from agents.large_model.rollout import Sessions
from agents.large_model.training import Training
from agents.large_model.training_run import run_training
from agents.tracking.metrics_log import read_metrics

torch.set_num_threads(1)

PROBE = "now-or-later"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> str:
    """The file of a network that has learned the probe."""
    training = Training(config_of(PROBE, reinforcement=1_600), HERE)
    while not training.is_over:
        training.iterate()
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    LargeModel.from_network(training.network).save(path)
    return str(path)


def imitating(teacher: str, num_sessions: int = 1_280, **stage: Any) -> TrainingConfig:
    """A student that is half as wide, and imitates for so many sessions."""
    config = config_of(PROBE, seed=3, reinforcement=num_sessions)
    sizes = {**SIZES, **BACKBONE, "width": 8, "hidden_width": 16}
    overrides = {"imitation": {**FAST, **stage}}
    return replace(config, model_overrides=sizes, stage_overrides=overrides, imitation_share=1.0, teacher_model=teacher)


def test_the_student_comes_near_to_the_policy_the_predictions_and_the_values_of_its_teacher(teacher):
    training, lines = Training(imitating(teacher, weights={"value": 1.0}), HERE), []
    while not training.is_over:
        lines.append(training.iterate())
    assert training.network.num_parameters < training.teacher.num_parameters
    assert lines[0]["imitation"] > 0.05
    assert lines[-1]["imitation"] < 0.1 * lines[0]["imitation"]
    (world,) = training.worlds.at(0, training.network)
    sessions = played_by(training)
    assert (best(sessions) == sessions.slates[:, :, 0])[sessions.is_step].float().mean() > 0.95
    steps = sessions.steps
    with torch.no_grad():
        scores = training.network(sessions, world.content)
    torch.testing.assert_close(scores.clicks.sigmoid(), steps.teacher[:, :, 1], atol=0.15, rtol=0.0)
    torch.testing.assert_close(
        training.network.value_head.mean(scores.values), steps.teacher_values, atol=0.3, rtol=0.0
    )


def played_by(training: Training, progress: float = 1.0) -> Sessions:
    """Sessions without exploration, after a share `progress` of the stage."""
    stage = replace(training.config.stages()[0][0], first_exploration=0.0, last_exploration=0.0)
    (world,) = training.worlds.at(0, training.network)
    return training._play(stage, progress, world, world.content)


def best(sessions: Sessions) -> torch.Tensor:
    """[B, T]: the candidate that the teacher likes most."""
    return sessions.teacher[:, :, :, 0].argmax(2)


def test_the_teacher_plays_the_first_part_and_the_student_the_rest(teacher):
    training = Training(imitating(teacher, demonstrated_share=0.5), HERE)
    for progress, is_demonstrated in ((0.0, True), (0.49, True), (0.5, False)):
        sessions = played_by(training, progress)
        assert (best(sessions) == sessions.slates[:, :, 0])[sessions.is_step].all() == is_demonstrated


class Killed(BaseException):
    """What nobody catches."""


def run(config: TrainingConfig, folder: Path, stops_after: int | None = None) -> dict[str, bytes]:
    """The weights after a run to its end, or killed after so many iterations."""
    training = Training(config, HERE)

    def show(metrics: Any) -> None:
        if training.iteration == stops_after:
            raise Killed

    folder.mkdir(exist_ok=True)
    run_config = RunConfig(checkpoint_minutes=0.0, evaluate_every=0, evaluation_sessions=2)
    try:
        run_training(training, folder, run_config, show=show)
    except Killed:
        assert stops_after is not None
    return {name: weight.numpy().tobytes() for name, weight in training.network.state_dict().items()}


@pytest.fixture
def few_worlds(monkeypatch):
    """The recipe with two worlds in an iteration, and one for evaluation."""
    for name in ("num_sampled_worlds", "num_replayed_worlds"):
        monkeypatch.setitem(IMITATING, name, 2)
    monkeypatch.setattr(training_worlds, "_NUM_HELD_OUT", 1)


@pytest.mark.usefixtures("few_worlds")
def test_a_killed_imitation_ends_like_an_uninterrupted_one_in_sampled_scenarios(tmp_path):
    sizes = {"preset": "micro", "num_envs": 4, "num_steps": 250, "teacher_model": "pretrained"}
    config = TrainingConfig(**{**IMITATING, **sizes})
    whole = run(config, tmp_path / "whole")
    run(config, tmp_path / "killed", stops_after=2)
    assert run(config, tmp_path / "killed") == whole
    assert read_metrics(tmp_path / "whole" / "metrics.jsonl")[-1]["iteration"] > 2


def test_the_recipe_keeps_no_sessions_that_a_restart_would_lose():
    assert IMITATING["num_replayed_worlds"] == IMITATING["num_sampled_worlds"]


@pytest.mark.usefixtures("few_worlds")
def test_a_generalist_is_distilled_by_one_command(tmp_path, capsys):
    few = ["--steps", "50", "--sessions", "4", "--evaluation-sessions", "2", "--threads", "1", "--no-comparison"]
    assert main(["distil", *few, "--out", str(tmp_path)]) == 0
    line = read_metrics(tmp_path / "metrics.jsonl")[-1]
    assert line["stage"] == "imitation"
    said = capsys.readouterr().out
    assert f"of the student, 59,014 parameters: {line['evaluation']:.2f}" in said
    assert f"of the teacher, 188,422: {line['evaluation_teacher']:.2f}" in said


@pytest.mark.parametrize("where", ["nowhere", "specialist"])
def test_what_cannot_be_a_teacher_is_refused_in_one_line(teacher, tmp_path, capsys, where):
    model, words = {
        "nowhere": (str(tmp_path / "nowhere"), "has no large model"),
        "specialist": (teacher, "reads other inputs than the student"),
    }[where]
    assert main(["distil", "--model", model, "--steps", "50", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "out").glob("*.jsonl"))


def test_a_share_without_a_teacher_and_a_teacher_without_a_share_are_refused():
    for settings in ({"imitation_share": 0.5}, {"teacher_model": "pretrained"}):
        with pytest.raises(
            ValueError, match=r"^TrainingConfig.teacher_model=.*: must be given if and only if"
        ) as raised:
            TrainingConfig(**settings)
        assert "\n" not in str(raised.value)


def test_another_teacher_is_another_training_and_a_moved_one_is_not(teacher, tmp_path):
    found = Training(imitating(teacher), HERE).checkpoint()
    network = LargeModel.load(teacher).network
    with torch.no_grad():
        network.profile.weight += 1.0
    paths = [tmp_path / name for name in ("moved", "other")]
    LargeModel.load(teacher).save(paths[0])
    LargeModel.from_network(network).save(paths[1])
    moved, other = (Training(imitating(str(path)), HERE) for path in paths)
    moved.restore(found)
    with pytest.raises(ValueError, match=r"teacher_model \(sha256\)"):
        other.restore(found)
