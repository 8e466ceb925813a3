"""Stages of a training: order, exploration, learning rates, and invalid settings."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_large_models import steps_of
from small_trainings import HERE, SMALL, config_of

from agents.large_model.config import REFERENCE_WIDTH, STAGES, LossWeights, Stage, TrainingConfig, stage_named
from agents.large_model.training import Training

PLAN = TrainingConfig(num_steps=400, supervised_share=0.25)


@pytest.mark.parametrize(
    ("num_taken", "name", "progress"),
    [
        *[(0, "supervised", 0.0), (25, "supervised", 0.25), (99, "supervised", 0.99)],
        *[(100, "reinforcement", 0.0), (250, "reinforcement", 0.5), (400, "reinforcement", 1.0)],
        (999, "reinforcement", 1.0),
    ],
)
def test_stages_follow_each_other_after_their_steps(num_taken, name, progress):
    stage, share = PLAN.stage_at(num_taken)
    assert (stage.name, share) == (name, pytest.approx(progress))


@given(progress=st.floats(0.0, 1.0))
def test_exploration_falls_linearly(progress):
    stage = replace(STAGES["supervised"], first_exploration=0.9, last_exploration=0.1)
    assert stage.exploration(progress) == pytest.approx(0.9 - 0.8 * progress)


def test_stages_without_steps_are_left_out_and_fields_can_be_overridden():
    overrides = {"reinforcement": {"num_epochs": 5, "weights": {"policy": 2.0}}}
    config = TrainingConfig(stage_overrides=overrides, **steps_of(1, distillation=7, reinforcement=9))
    (first, first_steps), (second, second_steps) = config.stages()
    assert (first.name, first_steps, second.name, second_steps) == ("distillation", 7, "reinforcement", 9)
    assert first == STAGES["distillation"]
    assert second.num_epochs == 5
    assert second.weights == replace(STAGES["reinforcement"].weights, policy=2.0)


@pytest.mark.parametrize(
    ("weights", "teacher"),
    [
        (LossWeights(), "oracle"),
        (LossWeights(anchor=1.0), "none"),
        (LossWeights(teacher=1.0), "none"),
        (LossWeights(teacher=1.0), "network"),
        (LossWeights(imitation=1.0), "oracle"),
    ],
)
def test_a_stage_that_learns_nothing_is_refused_in_one_line(weights, teacher):
    with pytest.raises(ValueError, match=r"^Stage.weights of mine: no term") as raised:
        Stage(name="mine", weights=weights, teacher=teacher)
    assert "\n" not in str(raised.value)


def test_unknown_names_and_trainings_without_steps_are_refused():
    with pytest.raises(ValueError, match="must be one of supervised, distillation, imitation, reinforcement"):
        stage_named("sleep")
    with pytest.raises(ValueError, match="num_steps=0: must be a whole number in"):
        TrainingConfig(num_steps=0)
    with pytest.raises(ValueError, match="selection='worst': must be one of"):
        stage_named("supervised", {"selection": "worst"})
    with pytest.raises(ValueError, match=r"'epochs'\]: unknown; did you mean 'num_epochs'"):
        TrainingConfig(stage_overrides={"supervised": {"epochs": 2}})


def test_the_learning_rate_warms_up_and_decays_in_the_last_stage():
    sessions = {"supervised": 128, "reinforcement": 640}
    training = Training(replace(config_of("constant", **sessions), warm_up_updates=6, last_learning_rate=0.5), HERE)
    height, rates = SMALL["stage_overrides"]["reinforcement"]["learning_rate"], []
    while not training.is_over:
        training.iterate()
        rates.append(training.optimizer.param_groups[0]["lr"] / height)
    expected = [4 / 6, 1.0, *[1.0 - 0.5 * number / 10 for number in range(10)]]  # 4 updates in each iteration
    assert rates == pytest.approx(expected)


def test_the_learning_rate_falls_with_the_width():
    config = config_of("constant", reinforcement=64)
    rates = []
    for width in (REFERENCE_WIDTH // 2, REFERENCE_WIDTH, 2 * REFERENCE_WIDTH):
        training = Training(
            replace(config, model_overrides={**config.model_overrides, "width": width}, warm_up_updates=0), HERE
        )
        training.iterate()
        rates.append(training.optimizer.param_groups[0]["lr"])
    assert rates[0] == rates[1] == pytest.approx(2.0 * rates[2])
