"""A user's history in JSON, checked, and as a compact observation.

Shape legend: H items shown, M candidates, U user features.
"""

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.networks.schema import user_names
from recsim_env.config import check_number
from recsim_env.simulation.observation import CONTEXT, FEEDBACK
from recsim_env.simulation.relevance import relevance_after
from recsim_env.world.catalog import Items

_UNITS = {"slot": 10.0, "rating": 5.0}  # observations are divided by these

_Count = Annotated[int, Field(ge=0)]
_Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Shown(_Strict):
    """An item that was shown, with its feedback."""

    item: int | str
    """An id of the log in a world from a log, otherwise a number in the catalogue."""
    slot: Annotated[float, Field(ge=0.0, le=9.0)] = 0.0
    """Its place in the slate, from 0."""
    click: _Share = 0.0
    """1 if it was clicked."""
    consumption: _Share = 0.0
    """The fraction that was consumed."""
    rating: Annotated[float, Field(ge=0.0, le=5.0)] = 0.0
    """The rating submitted; 0 for none."""
    purchase: _Share = 0.0
    """1 if it was bought."""
    follow: Annotated[float, Field(ge=-1.0, le=1.0)] = 0.0
    """1 if its creator was followed, -1 if unfollowed."""


class Person(_Strict):
    """A user and what was shown so far."""

    history: list[Shown]
    """The oldest first."""
    profile: dict[str, Annotated[float, Field(ge=-1.0, le=1.0)]] = {}
    """Columns of the user's profile by name; 0 for those left out."""
    candidates: Annotated[list[int | str], Field(min_length=1)] | None = None
    """Items to rank; all available items by default."""
    time: _Count | None = None
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
        parts = [part for part in problem["loc"] if part not in ("int", "str")]  # the kinds of an id
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")
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
    first_step, num_starts = world.session_starts(config.session_length)
    time = first_step if person.time is None else person.time
    check_number("time", time, 0, first_step + num_starts - 1 + config.session_length, int)
    history = [_position(world.items, f"history[{i}].item", row.item) for i, row in enumerate(person.history)]
    if person.candidates is None:
        records = world.item_records
        is_available = (records["release_step"] <= time) & (time < records["retire_step"])
        candidates = np.flatnonzero(is_available).tolist()
        if not candidates:
            raise ValueError(f"candidates: missing, and no item is available at time {time}")
    else:
        candidates = [_position(world.items, f"candidates[{i}]", item) for i, item in enumerate(person.candidates)]
        if len(set(candidates)) < len(candidates):
            repeated = max(candidates, key=candidates.count)
            raise ValueError(f"candidates: {item_id(world.items, repeated)} occurs more than once")
    if world.scenario.catalog.repeat_after > 0:
        chosen = "purchase" if world.scenario.behaviour.is_shop else "click"
        consumed = {item for item, row in zip(history, person.history, strict=True) if getattr(row, chosen) > 0.0}
        candidates = [item for item in candidates if item not in consumed]
        if not candidates:
            raise ValueError("candidates: the user has just consumed all of them")
    names = user_names(simulator)
    for name in person.profile:
        if name not in names or name == CONTEXT[0]:
            raise ValueError(
                f"profile.{name}: unknown, must be one of {', '.join(each for each in names if each != CONTEXT[0])}"
            )
    steps = min(-(-len(person.history) // config.slate_size), config.session_length - 1)
    elapsed = steps / config.session_length if person.elapsed is None else person.elapsed
    features = {CONTEXT[0]: elapsed, **person.profile}
    shown_at = [time - steps + place // config.slate_size for place in range(len(history))]
    ratings = [row.rating for row in person.history]
    known = world.item_records, world.answer_variance
    relevance = relevance_after(*known, history, ratings, shown_at, candidates, time)
    rows = [
        [1.0, *(getattr(row, name) / _UNITS.get(name, 1.0) for name in FEEDBACK[1:])] for row in person.history[::-1]
    ]
    return {
        "user": np.array([[features.get(name, 0.0) for name in names]], np.float32),
        "history_items": np.array([history[::-1]], np.int64),
        "history_feedback": np.array(rows, np.float32).reshape(1, -1),
        "candidate_items": np.array([candidates], np.int64),
        "candidate_relevance": relevance.reshape(1, -1),
        "time": np.array([[time]], np.int64),
    }


def item_id(items: Items, position: int) -> int | str:
    """The id of an item for those who use the model: that of the log (a number if all of its ids are), or the position
    in the catalogue without a log."""
    if items.ids is None:
        return position
    return int(items.ids[position]) if all(each.isdecimal() for each in items.ids) else items.ids[position]


def _position(items: Items, place: str, item: int | str) -> int:
    """The position in the catalogue of an item with that id."""
    if items.ids is None:
        check_number(place, item, 0, len(items) - 1, int)
        return int(item)
    if str(item) not in items.ids:
        raise ValueError(f"{place}={item!r}: not an item of the ratings log")
    return items.ids.index(str(item))
