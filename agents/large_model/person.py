"""One person and what was shown to him or her, from words and numbers that anyone can write.

Shape legend: H items shown, M candidates, U numbers of a user.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.networks.schema import user_names
from recsim_env.config import check_number
from recsim_env.simulation.observation import CONTEXT, FEEDBACK

RANGES = {
    "slot": (0.0, 9.0),
    "click": (0.0, 1.0),
    "consumption": (0.0, 1.0),
    "rating": (0.0, 5.0),
    "purchase": (0.0, 1.0),
    "follow": (-1.0, 1.0),
}
"""What may be said of an item that was shown, and its range."""

_UNITS = {"slot": 10.0, "rating": 5.0}  # an observation divides by these
_KEYS = ("history", "profile", "candidates", "time", "elapsed")


class PersonError(ValueError):
    """What is said of a person cannot be used; the message says what, where and what is allowed."""


@dataclass(frozen=True, eq=False)
class Person:
    """A compact observation in the making."""

    user: np.ndarray
    """[U] float32."""
    items: np.ndarray
    """[H] int64, the oldest first."""
    feedback: np.ndarray
    """[H, 7] float32: `observation.FEEDBACK`."""
    candidates: np.ndarray
    """[M] int64."""
    time: int
    """The platform's."""

    @classmethod
    def of(cls, said: Any, simulator: Any) -> "Person":
        """From what JSON holds: a dict with `history`, and perhaps `profile`, `candidates`, `time`, `elapsed`.

        Raises:
            PersonError: something is missing, unknown or out of its range.
        """
        if not isinstance(said, dict):
            raise PersonError(f"holds a {type(said).__name__}, must be an object with the key history")
        for key in said:
            if key not in _KEYS:
                raise PersonError(f"{key!r}: unknown, must be one of {', '.join(_KEYS)}")
        world, config = simulator.world, simulator.config
        num_items, (first_start, num_starts) = len(world.items), world.session_starts(config.session_length)
        history = said.get("history")
        if not isinstance(history, list):
            raise PersonError("history: missing, must be a list of what was shown, the oldest first")
        rows = [_row(row, f"history[{place}]", num_items) for place, row in enumerate(history)]
        time = said.get("time", first_start)
        last = first_start + num_starts - 1 + config.session_length
        _check("time", time, 0, last, int)
        records = world.item_records
        if "candidates" in said:
            candidates = said["candidates"]
            if not isinstance(candidates, list) or not candidates:
                raise PersonError("candidates: must be a list of at least one item")
            places: dict[int, int] = {}
            for place, item in enumerate(candidates):
                _check(f"candidates[{place}]", item, 0, num_items - 1, int)
                if places.setdefault(item, place) != place:
                    raise PersonError(f"candidates[{place}]={item}: is there already, must be given once")
        else:
            candidates = np.flatnonzero((records["release_step"] <= time) & (time < records["retire_step"]))
            if len(candidates) == 0:
                raise PersonError(f"candidates: missing, and nothing is on the shelf at time {time}")
        steps = min(-(-len(rows) // config.slate_size), config.session_length - 1)
        elapsed = said.get("elapsed", steps / config.session_length)
        _check("elapsed", elapsed, 0.0, 1.0)
        return cls(
            user=_user(said.get("profile", {}), elapsed, simulator),
            items=np.array([item for item, _ in rows], np.int64),
            feedback=np.array([feedback for _, feedback in rows], np.float32).reshape(-1, len(FEEDBACK)),
            candidates=np.asarray(candidates, np.int64),
            time=time,
        )

    def observation(self) -> dict[str, np.ndarray]:
        """The compact observation of one session, batched."""
        return {
            "user": self.user[None],
            "history_items": self.items[None, ::-1].copy(),
            "history_feedback": self.feedback[::-1].reshape(1, -1).copy(),
            "candidate_items": self.candidates[None],
            "time": np.array([[self.time]], np.int64),
        }


def _check(name: str, value: Any, low: float, high: float, kind: type = float) -> None:
    try:
        check_number(name, value, low, high, kind)
    except ValueError as error:
        raise PersonError(str(error)) from None


def _row(row: Any, where: str, num_items: int) -> tuple[int, list[float]]:
    """The item and its feedback, in an observation's units."""
    if not isinstance(row, dict) or "item" not in row:
        raise PersonError(f"{where}: must be an object with the key item")
    for key, value in row.items():
        if key == "item":
            _check(f"{where}.item", value, 0, num_items - 1, int)
        elif key in RANGES:
            _check(f"{where}.{key}", value, *RANGES[key])
        else:
            raise PersonError(f"{where}.{key}: unknown, must be one of item, {', '.join(RANGES)}")
    return row["item"], [1.0, *(row.get(name, 0.0) / _UNITS.get(name, 1.0) for name in FEEDBACK[1:])]


def _user(profile: Any, elapsed: float, simulator: Any) -> np.ndarray:
    names = user_names(simulator)
    if not isinstance(profile, dict):
        raise PersonError(f"profile: must be an object of names and numbers; there are {', '.join(names)}")
    user = np.zeros(len(names), np.float32)
    user[names.index(CONTEXT[0])] = elapsed
    known = [name for name in names if name != CONTEXT[0]]
    for name, value in profile.items():
        if name not in known:
            raise PersonError(f"profile[{name!r}]: unknown, must be one of {', '.join(known)}")
        _check(f"profile[{name!r}]", value, -1.0, 1.0)
        user[names.index(name)] = value
    return user
