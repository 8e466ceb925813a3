"""A user's history in JSON, checked, and as a compact observation.

Shape legend: H items shown, M candidates, U user features.
"""

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.networks.schema import user_names
from recsim_env.config import check_number
from recsim_env.simulation.observation import CONTEXT, FEEDBACK

_UNITS = {"slot": 10.0, "rating": 5.0}  # observations are divided by these

_Item = Annotated[int, Field(ge=0)]
_Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Shown(_Strict):
    """An item that was shown, with its feedback."""

    item: _Item
    slot: Annotated[float, Field(ge=0.0, le=9.0)] = 0.0
    click: _Share = 0.0
    consumption: _Share = 0.0
    rating: Annotated[float, Field(ge=0.0, le=5.0)] = 0.0
    purchase: _Share = 0.0
    follow: Annotated[float, Field(ge=-1.0, le=1.0)] = 0.0


class Person(_Strict):
    """A user and what was shown so far."""

    history: list[Shown]
    """The oldest first."""
    profile: dict[str, Annotated[float, Field(ge=-1.0, le=1.0)]] = {}
    candidates: Annotated[list[_Item], Field(min_length=1)] | None = None
    """Items to rank; all available items by default."""
    time: _Item | None = None
    """The platform's; its first step by default."""
    elapsed: _Share | None = None
    """Share of the session that is over; that of the items shown by default."""


def read_person(text: str) -> Person:
    """Parse and check JSON.

    Raises:
        ValueError: one line with the place of the first problem.
    """
    try:
        return Person.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
        reason = problem["msg"]
        if problem["type"] == "extra_forbidden":
            allowed = Shown if place.startswith("history") else Person
            reason = f"unknown, must be one of {', '.join(allowed.model_fields)}"
        raise ValueError(f"{place}: {reason}" if place else reason) from None


def observation_of(person: Person, simulator: Any) -> dict[str, np.ndarray]:
    """The compact observation of one session.

    Raises:
        ValueError: an item, a feature or a time does not exist; one line.
    """
    world, config = simulator.world, simulator.config
    last_item, (first_step, num_starts) = len(world.items) - 1, world.session_starts(config.session_length)
    time = first_step if person.time is None else person.time
    check_number("time", time, 0, first_step + num_starts - 1 + config.session_length, int)
    for i, row in enumerate(person.history):
        check_number(f"history[{i}].item", row.item, 0, last_item, int)
    candidates = person.candidates
    if candidates is None:
        records = world.item_records
        is_available = (records["release_step"] <= time) & (time < records["retire_step"])
        candidates = np.flatnonzero(is_available).tolist()
        if not candidates:
            raise ValueError(f"candidates: missing, and no item is available at time {time}")
    for i, item in enumerate(candidates):
        check_number(f"candidates[{i}]", item, 0, last_item, int)
    if len(set(candidates)) < len(candidates):
        raise ValueError(f"candidates: {max(candidates, key=candidates.count)} occurs more than once")
    names = user_names(simulator)
    for name in person.profile:
        if name not in names or name == CONTEXT[0]:
            raise ValueError(
                f"profile.{name}: unknown, must be one of {', '.join(each for each in names if each != CONTEXT[0])}"
            )
    steps = min(-(-len(person.history) // config.slate_size), config.session_length - 1)
    elapsed = steps / config.session_length if person.elapsed is None else person.elapsed
    features = {CONTEXT[0]: elapsed, **person.profile}
    rows = [
        [1.0, *(getattr(row, name) / _UNITS.get(name, 1.0) for name in FEEDBACK[1:])] for row in person.history[::-1]
    ]
    return {
        "user": np.array([[features.get(name, 0.0) for name in names]], np.float32),
        "history_items": np.array([[row.item for row in person.history[::-1]]], np.int64),
        "history_feedback": np.array(rows, np.float32).reshape(1, -1),
        "candidate_items": np.array([candidates], np.int64),
        "time": np.array([[time]], np.int64),
    }
