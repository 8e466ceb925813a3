"""Training the large model: it solves the probe environments and resumes to the same result."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CHECKOUT  # noqa: F401  (sets what threads may do)
from probe_compact_env import ProbeCompactEnv, first_compact_observations
from probe_environments import PROBES
from small_large_models import runner_of
from small_trainings import FAST, HERE, SIZES, SMALL, config_of

from agents.callbacks import EveryNSteps
from agents.imitation.teacher import TeacherLabels
from agents.large_model.agent import LargeModel
from agents.large_model.checkpoint import FOLDER, checkpoints_in, load_latest
from agents.large_model.config import RunConfig, TrainingConfig
from agents.large_model.training import Training
from agents.large_model.training_run import run_training
from agents.networks.plackett_luce import best_slates
from agents.tracking.metrics_log import read_metrics
from recsim_env import atomic_file

torch.set_num_threads(1)

TOLERANCE = 0.25


def trained(config: TrainingConfig) -> Training:
    training = Training(config, HERE)
    while not training.is_over:
        training.iterate()
    return training


@torch.no_grad()
def check_by_heart(model: Any, probe: str, gamma: float = 0.6, is_of_expected: bool = False) -> None:
    """The values of all first observations, and that the best candidate is found in each."""
    observations, rows, columns = first_compact_observations(probe)
    runner = runner_of(model, ProbeCompactEnv(len(rows), probe=probe), len(rows))
    scores = runner.scores(observations, np.ones(len(rows), np.bool_))
    by_heart = np.take_along_axis(np.array(PROBES[probe].first_values(gamma))[rows], columns, 1)
    if is_of_expected:
        np.testing.assert_allclose(scores.expected_rewards, by_heart, atol=TOLERANCE)
    else:
        np.testing.assert_allclose(model.value_head.mean(scores.values), by_heart.max(1), atol=TOLERANCE)
    found = (scores.expected_rewards if is_of_expected else scores.logits).argmax(1).numpy()
    np.testing.assert_allclose(by_heart[np.arange(len(rows)), found], by_heart.max(1))


@pytest.mark.parametrize("probe", ["constant", "observation"])
def test_supervision_learns_the_value_of_a_state(probe):
    check_by_heart(trained(config_of(probe, supervised=640)).network, probe)


def test_supervision_learns_the_expected_reward_of_each_candidate():
    model = trained(config_of("action-and-observation", supervised=640)).network
    check_by_heart(model, "action-and-observation", is_of_expected=True)


@pytest.mark.parametrize(
    ("probe", "gamma"),
    [
        *[("constant", 0.6), ("two-steps", 0.6), ("action", 0.6), ("nothing-clicked", 0.6)],
        *[("now-or-later", 0.6), ("now-or-later", 0.9)],  # 2 now, or 3 gamma later
    ],
)
def test_reinforcement_finds_values_and_the_best_candidate(probe, gamma):
    check_by_heart(trained(config_of(probe, gamma, reinforcement=1_600)).network, probe, gamma)


def test_reinforcement_continues_after_supervision():
    training = trained(config_of("action-and-observation", supervised=640, reinforcement=960))
    check_by_heart(training.network, "action-and-observation")


def test_distillation_adopts_the_preferences_of_a_teacher():
    config = config_of("constant", distillation=960)
    weights = {"feedback": 0.0, "value": 0.1, "teacher": 1.0}
    overrides = {**config.stage_overrides, "distillation": {**FAST, "weights": weights}}
    training = Training(dataclasses.replace(config, stage_overrides=overrides), HERE)
    (world,) = training.worlds.at(0, training.network)

    def teacher() -> TeacherLabels:
        likes = 1.0 * (world.env._candidates > 0.0)
        return TeacherLabels(10.0 + likes, np.full(likes.shape, 0.5), likes)

    world.teacher = teacher
    while not training.is_over:
        line = training.iterate()
    assert line["teacher"] < 0.01
    observations, rows, columns = first_compact_observations("constant")
    runner = runner_of(training.network, ProbeCompactEnv(len(rows), probe="constant"), len(rows))
    shown = best_slates(runner.scores(observations, np.ones(len(rows), np.bool_)).logits, 1).numpy()
    assert (np.take_along_axis(columns, shown, 1) == 1).all()


def test_reinforcement_learns_slates():
    config = config_of("choice", reinforcement=2_560)
    training = trained(dataclasses.replace(config, env_arguments={"slate_size": 2}))
    observations, rows, columns = first_compact_observations("choice", slate_size=2)
    runner = runner_of(training.network, ProbeCompactEnv(len(rows), probe="choice", slate_size=2), len(rows))
    slates = best_slates(runner.scores(observations, np.ones(len(rows), np.bool_)).logits, 2).numpy()
    shown = np.take_along_axis(columns, slates, 1)
    assert (np.sort(shown, 1) == [1, 2]).all()  # what is clicked most, 0, keeps people from what they like


def test_the_agent_learns_acts_and_returns_from_a_file(tmp_path):
    name = "probes/action-and-observation-compact-v0"
    agent, steps = LargeModel("tiny", name, supervised_share=0.4, gamma=0.6, **SMALL), []
    agent.learn(1_600, EveryNSteps(800, lambda agent: steps.append(agent.num_timesteps)))
    agent.save(tmp_path / "agent")
    observations, rows, columns = first_compact_observations("action-and-observation")
    by_heart = np.array(PROBES["action-and-observation"].first_values(0.6))[rows]
    env = ProbeCompactEnv(len(rows), probe="action-and-observation")
    agent.set_env(env)
    actions = []
    for each in (agent, LargeModel.load(tmp_path / "agent", env)):
        actions.append(each.predict(observations)[0])
        shown = np.take_along_axis(columns, actions[-1][:, None], 1)
        assert (np.take_along_axis(by_heart, shown, 1) == 3.0).all()
    np.testing.assert_array_equal(*actions)
    assert steps == [0, 832, 1_600]  # whole iterations of 64 sessions


def weights_of(training: Training) -> dict[str, bytes]:
    return {name: weight.numpy().tobytes() for name, weight in training.network.state_dict().items()}


STAGES = {"supervised": 128, "reinforcement": 256}


def test_a_seed_determines_the_weights_to_the_bit():
    torch.manual_seed(1)
    first = trained(config_of("now-or-later", **STAGES))
    torch.manual_seed(2)
    assert weights_of(trained(config_of("now-or-later", **STAGES))) == weights_of(first)
    assert weights_of(trained(config_of("now-or-later", seed=1, **STAGES))) != weights_of(first)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """Metrics without what the clock says."""
    clock = {"time", "steps_per_s", "tokens_per_s", "mfu", "share_env", "share_rollout", "share_update"}
    lines = read_metrics(folder / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name not in clock} for line in lines]


class Killed(BaseException):
    """What nobody catches."""


def run(folder: Path, stops_after: int | None = None, scale: int = 1) -> Training:
    """A run to its end, or killed after so many iterations; `scale` times as many steps."""
    folder.mkdir(exist_ok=True)
    stages = {name: scale * number for name, number in STAGES.items()}
    training = Training(config_of("now-or-later", **stages), HERE)

    def show(metrics: Any) -> None:
        if training.iteration == stops_after:
            raise Killed

    config = RunConfig(checkpoint_minutes=0.0, evaluate_every=200, evaluation_sessions=4)
    if stops_after is None:
        run_training(training, folder, config, show=show)
    else:
        with pytest.raises(Killed):
            run_training(training, folder, config, show=show)
    return training


def test_a_training_killed_several_times_ends_like_an_uninterrupted_one(tmp_path):
    whole = run(tmp_path / "whole")
    for stops_after in (1, 3, 5):  # before their checkpoints
        run(tmp_path / "killed", stops_after)
    killed = run(tmp_path / "killed")
    assert weights_of(killed) == weights_of(whole)
    lines = lines_of(tmp_path / "whole")
    assert lines_of(tmp_path / "killed") == lines
    assert [line["iteration"] for line in lines] == list(range(1, whole.iteration + 1))
    assert 1 < sum("evaluation" in line for line in lines) < len(lines)
    assert len(checkpoints_in(tmp_path / "killed" / FOLDER)) == 2


def test_a_finished_training_continues_with_more_steps(tmp_path):
    first = run(tmp_path)
    before = weights_of(first)
    longer = run(tmp_path, scale=2)
    assert longer.num_steps == 2 * first.num_steps
    assert weights_of(longer) != before
    iterations = [line["iteration"] for line in lines_of(tmp_path)]
    assert iterations == list(range(1, longer.iteration + 1))


def test_temporary_files_of_killed_processes_are_removed(tmp_path):
    end = f".{atomic_file._HOST}-999999999-abc.tmp"  # more than the largest process id
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / f".steps-000000000001.safetensors{end}").write_bytes(b"half")
    (tmp_path / f".metrics.jsonl{end}").write_bytes(b"half")
    run(tmp_path)
    assert not list(tmp_path.rglob(".*.tmp"))


def test_a_diverging_training_stops_in_one_line(tmp_path):
    training = Training(config_of("constant", **STAGES), HERE)
    with torch.no_grad():
        training.network.profile.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"^training diverged after 0 steps"):
        training.iterate()


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    run(tmp_path)
    found = load_latest(tmp_path / FOLDER, pytest.fail, lambda checkpoint: checkpoint)
    for other, name in (
        (config_of("now-or-later", gamma=0.7, **STAGES), "gamma=0.6"),
        (config_of("later", **STAGES), "env_ids="),
        (
            dataclasses.replace(config_of("now-or-later", **STAGES), model_overrides={**SIZES, "num_layers": 2}),
            "model_overrides=",
        ),
    ):
        training = Training(other, HERE)
        before = weights_of(training)
        with pytest.raises(ValueError, match=f"was trained with {name}") as raised:
            training.restore(found)
        assert "\n" not in str(raised.value)
        assert weights_of(training) == before


def test_a_checkpoint_with_other_weights_or_inputs_is_refused(tmp_path):
    run(tmp_path)

    def restored(change) -> str:
        found = load_latest(tmp_path / FOLDER, pytest.fail, lambda checkpoint: checkpoint)
        change(found)
        training = Training(config_of("now-or-later", **STAGES), HERE)
        before = weights_of(training)
        with pytest.raises(ValueError) as raised:  # noqa: PT011 (what it says is what is tested)
            training.restore(found)
        assert weights_of(training) == before
        return str(raised.value)

    name = "profile.weight"
    assert f"{name} has shape [1, 2]" in restored(lambda found: found.model.update({name: torch.zeros(1, 2)}))
    part = f"{name}.exp_avg"
    assert part in restored(lambda found: found.optimizer.update({part: torch.zeros(1, 2)}))
    assert "inputs of version 1" in restored(lambda found: found.state["network"].pop("input_version"))


def test_a_checkpoint_of_a_preset_that_has_changed_is_refused(tmp_path):
    run(tmp_path)
    found = load_latest(tmp_path / FOLDER, pytest.fail, lambda checkpoint: checkpoint)
    found.state["network"]["model"]["hidden_width"] = 40
    with pytest.raises(ValueError, match="hidden_width=40") as raised:
        Training(config_of("now-or-later", **STAGES), HERE).restore(found)
    assert "\n" not in str(raised.value)


def test_each_gradient_step_uses_all_scenarios(monkeypatch):
    ids = ("recsim_env/Video-v0", "recsim_env/Ecommerce-v0", "recsim_env/News-v0")
    config = TrainingConfig(env_ids=ids, preset="micro", num_envs=20, batch_sessions=6, num_catalogs=2, num_steps=1_000)
    training = Training(dataclasses.replace(config, supervised_share=1.0, unknown_domain_share=0.0), HERE)
    learned, forward, step = [], training.loss.forward, training.optimizer.step
    monkeypatch.setattr(
        training.loss, "forward", lambda *taken, **own: (learned.append(taken[1].domain), forward(*taken, **own))[1]
    )
    monkeypatch.setattr(training.optimizer, "step", lambda: (learned.append("step"), step()))
    line = training.iterate()
    assert learned == [1, 2, 3, "step"] * (len(learned) // 4)
    assert len(learned) // 4 == 2 * 3  # epochs, batches of 2 of each scenario's 6 sessions
    means = [line[f"return/{env_id}"] for env_id in ids]
    assert len(set(means)) == 3
    assert line["return"] == pytest.approx(np.mean(means), rel=1e-5)


def test_sizes_that_scenarios_cannot_share_evenly_are_rounded_and_said():
    config = TrainingConfig(env_ids=("recsim_env/Video-v0",) * 3, preset="micro", num_envs=20, batch_sessions=2)
    training = Training(config, HERE)
    assert training.effective_sizes == {"num_envs": 18, "batch_sessions": 3}
    assert training.rounded_sizes == [
        "num_envs=20: rounded to 18, 6 in each of 3 scenarios",
        "batch_sessions=2: rounded to 3, 1 in each of 3 scenarios",
    ]
    even = dataclasses.replace(config, num_envs=21, batch_sessions=3)
    assert Training(even, HERE).rounded_sizes == []


def test_a_hidden_domain_is_hidden_in_play_as_well():
    """Or else ratios would not be 1 before anything has been learned."""
    overrides = {"reinforcement": {"num_epochs": 1}}
    config = TrainingConfig(preset="micro", num_envs=12, batch_sessions=12, num_catalogs=1, num_steps=100)
    config = dataclasses.replace(config, supervised_share=0.0, unknown_domain_share=1.0, stage_overrides=overrides)
    training = Training(config, HERE)
    with torch.no_grad():
        training.network.domain.weight.normal_()
        for weight in training.network.parameters():
            if weight.ndim > 1:
                weight += 0.1 * torch.randn(weight.shape)
    line = training.iterate()
    assert line["approx_kl"] < 1e-6
    assert line["clip_fraction"] == 0.0


def test_reevaluation_in_full_precision_changes_nothing():
    training = Training(config_of("now-or-later", **STAGES), HERE)
    stage, _ = training.config.stage_at(10**6)
    (world,) = training.worlds.at(0, training.network)
    sessions = training._play(stage, 0.0, world, world.content)
    retrained = training._reevaluated(sessions, world.content)
    torch.testing.assert_close(
        retrained.steps.log_probabilities, sessions.steps.log_probabilities, atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(retrained.steps.values, sessions.steps.values, atol=1e-4, rtol=1e-4)
    wrong = dataclasses.replace(sessions, log_probabilities=sessions.log_probabilities - 1.0)
    assert (
        training._reevaluated(wrong, world.content).steps.log_probabilities == retrained.steps.log_probabilities
    ).all()


def test_in_half_precision_ratios_are_one_after_reevaluation():
    """bfloat16 keeps three digits, and a step at a time they are not rounded as in one pass: .012 nats on average and
    .22 at most, in Video with a trained model of preset tiny."""
    config = TrainingConfig(
        preset="micro", supervised_share=0.0, num_steps=1_000, num_envs=12, batch_sessions=12, num_catalogs=1
    )
    training = Training(config, HERE)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in training.network.parameters():
            if weight.ndim > 1:  # what each block adds is 0 at first: nothing would be rounded
                weight += 0.15 * torch.randn(weight.shape, generator=generator)
    training.has_autocast = True
    stage, progress = training.config.stage_at(0)
    (world,) = training.worlds.at(0, training.network)
    with training.acting():
        sessions = training._play(stage, progress, world, world.content)
    assert sessions.log_probabilities.dtype == sessions.values.dtype == torch.float32
    retrained = training._reevaluated(sessions, world.content)
    gap = (retrained.steps.log_probabilities - sessions.steps.log_probabilities).abs()
    assert 0.0 < gap.mean() < 0.05
    assert gap.max() < 0.6
    nothing = torch.zeros_like(retrained.steps.rewards)
    with training.autocast(), torch.no_grad():
        _, parts = training.loss(retrained, world.content, stage.weights, advantages=nothing, returns=nothing)
    assert parts["clip_fraction"] == 0.0
    assert parts["approx_kl"].abs() < 1e-6


@pytest.mark.parametrize(
    "overrides",
    [
        {"distillation_share": 1.0},
        {"model_overrides": {"num_candidate_layers": 1, "num_key_heads": 1}, "has_images": True},
        {"env_ids": ("recsim_env/VideoSlate-v0",)},
    ],
    ids=["distillation", "candidate layers and pictures", "slates"],
)
def test_all_losses_can_be_trained_in_half_precision(overrides):
    small = {"preset": "micro", "num_envs": 8, "batch_sessions": 4, "num_catalogs": 1}
    steps = {"num_steps": 500, "supervised_share": 0.0}
    training = Training(TrainingConfig(**{**small, **steps, **overrides}), HERE)
    training.has_autocast = True
    before = {name: weight.clone() for name, weight in training.network.named_parameters()}
    line = training.iterate()
    assert np.isfinite([value for value in line.values() if isinstance(value, float)]).all()
    assert any(not torch.equal(weight, before[name]) for name, weight in training.network.named_parameters())
    assert all(weight.dtype == torch.float32 for weight in training.network.parameters())


def test_advantages_are_normalised_over_the_steps():
    training = Training(config_of("constant", **STAGES), HERE)
    is_step = torch.arange(4) < torch.tensor([[4], [2], [3]])
    advantages = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)) * 5.0 + 2.0
    found = training._normalised(advantages, is_step)[is_step]
    by_hand = (advantages[is_step] - advantages[is_step].mean()) / advantages[is_step].std(unbiased=False)
    torch.testing.assert_close(found, by_hand, atol=1e-5, rtol=1e-5)
