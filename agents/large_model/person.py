"""A user's history in JSON, checked, and as a compact observation.

Shape legend: H items shown, M candidates, U user features.
"""

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from agents.large_model.serving.item_ids import ItemIds
from agents.large_model.serving.observations import ObservationBuilder, feedback_rows
from agents.large_model.serving.requests import STRICT
from recsim_env.config import check_number
from recsim_env.simulation.records import HISTORY_FEEDBACK

_Count = Annotated[int, Field(ge=0)]
_Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Strict(BaseModel):
    model_config = STRICT


class Shown(_Strict):
    """An item that was shown, with its feedback."""

    item: int | str
    """An id of the ratings log or the table of items, otherwise a number in the catalogue."""
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
    config, builder, ids = simulator.config, ObservationBuilder(simulator), ItemIds(simulator.world.items)
    time = builder.first_time if person.time is None else person.time
    check_number("time", time, 0, builder.last_time, int)
    items = np.array([ids.position(f"history[{i}].item", row.item) for i, row in enumerate(person.history)], np.int64)
    feedback = feedback_rows(np.array([[getattr(row, name) for name in HISTORY_FEEDBACK] for row in person.history]))
    if person.candidates is None:
        candidates = builder.available(time)
        if not len(candidates):
            raise ValueError(f"candidates: missing, and no item is available at time {time}")
    else:
        candidates = ids.positions("candidates", person.candidates)
    candidates = builder.not_consumed(candidates, items, feedback)
    if not len(candidates):
        raise ValueError("candidates: the user has just consumed all of them")
    steps = min(-(-len(items) // config.slate_size), config.session_length - 1)
    shown_at = time - steps + np.arange(len(items)) // config.slate_size
    return builder.observation(
        user=builder.user_features(person.profile),
        elapsed=steps / config.session_length if person.elapsed is None else person.elapsed,
        items=items,
        feedback=feedback,
        relevance=builder.relevance(items, feedback, shown_at, candidates, time),
        candidates=candidates,
        now=time,
    )
