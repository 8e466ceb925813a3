"""Whole sessions as tensors: what was seen, shown and answered, and what a model said of it at the time.

Shape legend: B sessions, T steps of the longest, K steps that took place, R rows, S slots, M candidates, U numbers of a
user.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import torch

from agents.reinforcement import pqn


@dataclass(frozen=True, eq=False)
class Sessions:
    """B sessions from their first step to their last, of one catalogue."""

    users: torch.Tensor
    """[B, T, U] float32: as observed before each step."""
    row_items: torch.Tensor
    """[B, R] int64: the history that was brought along, then what was shown; -1 where missing, at the end."""
    row_answers: torch.Tensor
    """[B, R, 13] float32: `model.ROW_COLUMNS` of each row."""
    num_rows: torch.Tensor
    """[B, T] int64: rows before each step."""
    candidates: torch.Tensor
    """[B, T, M] int64, -1 where missing."""
    dynamics: torch.Tensor
    """[B, T, M, 6] float32: `item_content.DYNAMICS`."""
    slates: torch.Tensor
    """[B, T, S] int64: places of what was shown among the candidates, top slot first."""
    log_probabilities: torch.Tensor
    """[B, T, S] float32: of each slot's candidate under the policy that drew it."""
    values: torch.Tensor
    """[B, T] float32: mean return still to come, as the model had it."""
    rewards: torch.Tensor
    """[B, T] float32."""
    clicked: torch.Tensor
    """[B, T, S] bool: the slot that was chosen, if any."""
    lengths: torch.Tensor
    """[B] int64: steps."""
    teacher: torch.Tensor | None = None
    """[B, T, M] float32: what a teacher, who sees more, makes of each candidate, in units of reward."""

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def is_step(self) -> torch.Tensor:
        """[B, T] bool: whether the step took place."""
        return torch.arange(self.rewards.shape[1], device=self.rewards.device) < self.lengths[:, None]

    @property
    def num_steps(self) -> int:
        """Steps of all sessions."""
        return int(self.lengths.sum())

    @property
    def num_tokens(self) -> int:
        """Of all sessions: a profile and all rows."""
        return len(self) + int((self.row_items >= 0).sum())

    @property
    def returns(self) -> torch.Tensor:
        """[B] float32: sums of rewards."""
        return (self.rewards * self.is_step).sum(1)

    @cached_property
    def steps(self) -> "Steps":
        """All steps that took place, one session after the other."""
        sessions, steps = self.is_step.nonzero(as_tuple=True)
        taken: dict[str, Any] = {}
        for each in fields(Steps)[1:]:
            value = getattr(self, each.name)
            taken[each.name] = None if value is None else value[sessions, steps]
        return Steps(sessions=sessions, **taken)

    def part(self, index: torch.Tensor) -> "Sessions":
        """Some of the sessions, without the steps and rows that none of them has."""
        lengths = self.lengths[index]
        num_steps = int(lengths.max())
        num_rows = int(self.num_rows[index, lengths - 1].max()) + self.slates.shape[2]

        def cut(name: str) -> Any:
            value = getattr(self, name)
            if value is None or name == "lengths":
                return value if value is None else lengths
            return value[index, : num_rows if name.startswith("row_") else num_steps]

        return Sessions(**{each.name: cut(each.name) for each in fields(self)})

    def to(self, device: torch.device) -> "Sessions":
        """The same on another device."""
        moved: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            moved[each.name] = None if value is None else value.to(device)
        return Sessions(**moved)


@dataclass(frozen=True, eq=False)
class Steps:
    """K steps of some sessions: fields as in `Sessions`, with K in the place of B, T."""

    sessions: torch.Tensor
    """[K] int64: the session that each is of."""
    users: torch.Tensor
    num_rows: torch.Tensor
    candidates: torch.Tensor
    dynamics: torch.Tensor
    slates: torch.Tensor
    log_probabilities: torch.Tensor
    values: torch.Tensor
    rewards: torch.Tensor
    clicked: torch.Tensor
    teacher: torch.Tensor | None


def lambda_returns(
    rewards: torch.Tensor, values: torch.Tensor, is_step: torch.Tensor, *, gamma: float, trace: float
) -> torch.Tensor:
    """[B, T]: G_t = r_t + gamma ((1 - lambda) V_t+1 + lambda G_t+1); nothing comes after a session's last step.

    A session's length is fixed and the share of it that is over is observed, so a session that is truncated has ended
    like any other. G_t - V_t is the generalised advantage (Schulman et al. 2016).
    """
    is_over = torch.nn.functional.pad(~is_step[:, 1:], (0, 1), value=True)  # nothing of the session after this step
    next_values = torch.nn.functional.pad(values[:, 1:], (0, 1))
    returns = pqn.lambda_returns(rewards.T, is_over.T, next_values.T, gamma=gamma, trace=trace)
    return returns.T * is_step
