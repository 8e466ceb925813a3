"""A log in memory: the observations, slates and rewards of its steps as arrays.

Shape legend: N lanes, L logged steps, B steps of a batch, S slots of a slate.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from recsim_env.logs.simulated.replay import ReplayedStep
from recsim_env.simulation.records import NO_ITEM

_STORED = np.float16
"""Type of stored observations, which are in [-1, 1]: half the memory of float32, a relative error of at most 0.0005."""


@dataclass(frozen=True, kw_only=True)
class LoggedSteps:
    """The steps of a log, lane by lane: the next step of a session is the next row.

    A step of Video takes 1.5 kB.
    """

    stored: dict[str, np.ndarray]
    """Parts of the `"full"` observations before the steps, [L, ...] float16."""
    slates: np.ndarray
    """[L, S] int64: indices of the chosen candidates, top slot first."""
    is_shown: np.ndarray
    """[L, S] bool: whether the slot showed an item; False for an unavailable candidate, or one in a higher slot."""
    rewards: np.ndarray
    """[L] float32, in units of the rating scale."""
    is_first: np.ndarray
    """[L] bool: whether the step is the first of its session."""
    is_over: np.ndarray
    """[L] bool: whether the session ended with the step."""
    users: np.ndarray
    """[L] int64: indices in the population, those of the column `user` of the log."""

    @classmethod
    def of(
        cls, steps: Iterable[ReplayedStep], *, num_vector_steps: int, num_envs: int, reward_scale: float
    ) -> "LoggedSteps":
        """The steps of a replay with `"full"` observations.

        Args:
            steps: at least one.
            num_vector_steps: their number, at least that of the replay; L / N, unless users were removed from the log.
            num_envs: N.
            reward_scale: the env's rewards are divided by it.

        Raises:
            ValueError: there are no steps.
        """
        columns: dict[str, np.ndarray] = {}
        for number, step in enumerate(steps):
            items = step.events["item"]
            now = {
                **{name: part.astype(_STORED) for name, part in step.observations.items()},
                "slates": step.actions.reshape(num_envs, -1).astype(np.int64),
                "is_shown": items.reshape(num_envs, -1) != NO_ITEM,
                "rewards": (step.rewards / reward_scale).astype(np.float32),
                "is_first": step.episode_start,
                "is_over": step.terminated | step.truncated,
                "users": step.events["user"].astype(np.int64),
                "is_logged": step.is_logged,
            }
            for name, values in now.items():
                if name not in columns:
                    columns[name] = np.zeros((num_envs, num_vector_steps, *values.shape[1:]), values.dtype)
                columns[name][:, number] = values
        if not columns:
            raise ValueError("log: has no steps")
        flat = {name: column.reshape(-1, *column.shape[2:]) for name, column in columns.items()}
        is_logged = flat.pop("is_logged")
        if not is_logged.all():
            flat = {name: column[is_logged] for name, column in flat.items()}
        own = {name: flat.pop(name) for name in ("slates", "is_shown", "rewards", "is_first", "is_over", "users")}
        return cls(stored=flat, **own)

    def rows(self, index: np.ndarray) -> "LoggedSteps":
        """A log of these steps alone, [n] indices in ascending order; those of a session must be given together."""
        columns = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "stored"}
        return LoggedSteps(
            stored={name: part[index] for name, part in self.stored.items()},
            **{name: column[index] for name, column in columns.items()},
        )

    def __len__(self) -> int:
        """L."""
        return len(self.rewards)

    def observations(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """`"full"` observations before the steps `index` [B], float32."""
        return {name: part[index].astype(np.float32) for name, part in self.stored.items()}

    @cached_property
    def is_followed(self) -> np.ndarray:
        """[L] bool: whether the session continues in the next row; False at its end, or at the end of the log."""
        return np.append(~self.is_first[1:], False)

    @cached_property
    def last_rows(self) -> np.ndarray:
        """[L] int64: the last row of the same session."""
        rows = np.arange(len(self))
        return np.minimum.accumulate(np.where(self.is_followed, len(self), rows)[::-1])[::-1]

    @cached_property
    def is_complete(self) -> np.ndarray:
        """[L] bool: whether the log contains the end of the session."""
        return self.is_over[self.last_rows]

    @cached_property
    def returns_to_go(self) -> np.ndarray:
        """[L] float32: sum of the rewards from this step to the last logged step of its session."""
        sums = np.append(0.0, np.cumsum(self.rewards, dtype=np.float64))
        return (sums[self.last_rows + 1] - sums[:-1]).astype(np.float32)
