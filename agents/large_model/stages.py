"""The three stages of a training, as data: what is played, what is learnt from it, and how fast."""

from dataclasses import dataclass, replace
from typing import Any

from agents.large_model.losses import LossWeights
from agents.large_model.rollout import PLAYS, Behaviour
from recsim_env.config import Checked, count, number

STAGES_WIDTH = 64
"""The width that learning rates are for. For wider models they fall as 1 / width, as the updates by Adam have to
(Yang et al., "Tensor Programs V: tuning large neural networks via zero-shot hyperparameter transfer", 2021)."""


@dataclass(frozen=True, kw_only=True)
class Stage(Checked):
    """A part of a training in which sessions are played and learnt from in one way."""

    name: str
    weights: LossWeights
    first_exploration: float = number(0.0, 0.0, 1.0)
    """Share of random slates when the stage begins; it falls in a line."""
    last_exploration: float = number(0.0, 0.0, 1.0)
    """Share of random slates when the stage ends."""
    play: str = "draw"
    """What is shown, one of `playing.PLAYS`."""
    has_teacher: bool = False
    """Whether an oracle says of each candidate what it makes of it."""
    num_epochs: int = count(2, 1, 100)
    """Times that sessions are learnt from."""
    learning_rate: float = number(1e-3, 0.0, 1.0)
    """Of AdamW at its highest, for a model of `STAGES_WIDTH`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.play not in PLAYS:
            raise ValueError(f"Stage.play={self.play!r}: must be one of {', '.join(PLAYS)}")
        taught = {name for name, weight in vars(self.weights).items() if weight > 0.0}
        if not taught - {"anchor"} - (set() if self.has_teacher else {"teacher"}):
            raise ValueError(f"Stage.weights of {self.name}: none above 0 of what this stage can learn")

    def behaviour(self, progress: float) -> Behaviour:
        """How slates are drawn when a share `progress` of the stage is over."""
        exploration = self.first_exploration + (self.last_exploration - self.first_exploration) * progress
        return Behaviour(exploration=exploration, play=self.play)


STAGES = {
    "supervised": Stage(
        name="supervised",
        weights=LossWeights(answers=1.0, value=0.1),
        first_exploration=1.0,
        last_exploration=0.1,
        play="expected",
    ),
    "distillation": Stage(
        name="distillation",
        weights=LossWeights(teacher=1.0, answers=0.5, value=0.1),
        first_exploration=0.2,
        last_exploration=0.05,
        play="best",
        has_teacher=True,
    ),
    "reinforcement": Stage(
        name="reinforcement",
        weights=LossWeights(policy=1.0, value=0.1, answers=0.1, entropy=0.01),
        learning_rate=3e-4,
    ),
}
"""Supervised rating pre-training on logged play; distillation from an oracle on training worlds; proximal policy
optimisation (Schulman et al. 2017). Each can be left out."""


def stage_named(name: str, **changes: Any) -> Stage:
    """A stage with some of its numbers changed; `ValueError` naming the known ones if there is none."""
    if name not in STAGES:
        raise ValueError(f"stage={name!r}: must be one of {', '.join(STAGES)}")
    return replace(STAGES[name], **changes)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Stages one after the other, each with its user-steps."""

    stages: tuple[tuple[Stage, int], ...]

    @property
    def num_steps(self) -> int:
        """User-steps of all stages."""
        return sum(steps for _, steps in self.stages)

    def at(self, num_taken: int) -> tuple[Stage, float]:
        """The stage that is on when `num_taken` steps are over, and the share of it that is."""
        begin = 0
        for stage, steps in self.stages:
            if num_taken < begin + steps:
                return stage, (num_taken - begin) / steps
            begin += steps
        return self.stages[-1][0], 1.0
