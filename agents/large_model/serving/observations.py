"""Compact observations of people whose history is known, rather than simulated.

Shape legend: R rows of the history, M candidates, U user features.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from agents.networks.schema import user_names
from recsim_env.simulation.observation import CONTEXT, FEEDBACK
from recsim_env.simulation.records import HISTORY_FEEDBACK, NO_ITEM
from recsim_env.simulation.relevance import relevance_after

UNITS = np.array([{"slot": 10.0, "rating": 5.0}.get(name, 1.0) for name in HISTORY_FEEDBACK], np.float32)
"""Observations have feedback divided by these, `HISTORY_FEEDBACK` by column."""

LAST_SLOT = 9
"""Lower slots are described as this one."""

_SLOT, _CLICK, _RATING = (FEEDBACK.index(name) for name in ("slot", "click", "rating"))


class ObservationBuilder:
    """Makes the compact observations of single sessions that an env with this simulator would give."""

    def __init__(self, simulator: Any) -> None:
        world, config = simulator.world, simulator.config
        self._records, self._answer_variance = world.item_records, world.answer_variance
        self._release, self._retire = (np.array(world.item_records[f"{name}_step"]) for name in ("release", "retire"))
        self._names = {name: column for column, name in enumerate(user_names(simulator))}
        chosen = "purchase" if world.scenario.behaviour.is_shop else "click"
        self._chosen = FEEDBACK.index(chosen) if world.scenario.catalog.repeat_after > 0 else None
        self.first_time, num_starts = world.session_starts(config.session_length)
        """The platform's first time, at which a session starts."""
        self.last_time = self.first_time + num_starts - 1 + config.session_length
        """The last time that the catalogue is known for."""

    @property
    def profile_names(self) -> list[str]:
        """User features that may be given."""
        return [name for name in self._names if name != CONTEXT[0]]

    def user_features(self, profile: Mapping[str, float]) -> np.ndarray:
        """[U] float32: the profile by name, 0 for features that are left out.

        Raises:
            ValueError: an unknown feature; one line.
        """
        features = np.zeros(len(self._names), np.float32)
        for name, value in profile.items():
            if name not in self._names or name == CONTEXT[0]:
                raise ValueError(f"profile.{name}: unknown, must be one of {', '.join(self.profile_names)}")
            features[self._names[name]] = value
        return features

    def available(self, time: int) -> np.ndarray:
        """[M] int64: the items that are available at a time, ascending."""
        return np.flatnonzero((self._release <= time) & (time < self._retire))

    def not_consumed(self, candidates: np.ndarray, items: np.ndarray, feedback: np.ndarray) -> np.ndarray:
        """The candidates without those consumed in a history with items [R] and feedback [R, 7], unless the scenario
        repeats items."""
        if self._chosen is None or not len(items):
            return candidates
        return candidates[~np.isin(candidates, items[feedback[:, self._chosen] > 0.0])]

    def relevance(
        self, items: np.ndarray, feedback: np.ndarray, times: np.ndarray, candidates: np.ndarray, now: int
    ) -> np.ndarray:
        """[M, 3] float32: `observation.RELEVANCE_COLUMNS` of candidates [M] after a history with items [R] and feedback
        [R, 7], shown at times [R], the oldest first."""
        rows, ratings = is_answer(feedback), feedback[:, _RATING] * 5.0
        shown = items[rows], ratings[rows], times[rows]
        return relevance_after(self._records, self._answer_variance, *shown, candidates, now)

    def observation(
        self,
        *,
        user: np.ndarray,
        elapsed: float,
        items: np.ndarray,
        feedback: np.ndarray,
        relevance: np.ndarray,
        candidates: np.ndarray,
        now: int,
    ) -> dict[str, np.ndarray]:
        """A batch of one compact observation; its history has an empty row if there is no other.

        Args:
            user: [U] of `user_features`.
            elapsed: share of the session that is over.
            items: [R] items shown, the oldest first.
            feedback: [R, 7] `observation.FEEDBACK` of each, in the units of observations.
            relevance: [M, 3] of the candidates.
            candidates: [M] items.
            now: the platform's time.
        """
        if not len(items):
            items, feedback = np.array([NO_ITEM]), np.zeros((1, len(FEEDBACK)))
        user = user.copy()
        user[self._names[CONTEXT[0]]] = elapsed
        return {
            "user": user[None],
            "history_items": np.array(items[None, ::-1], np.int64),
            "history_feedback": np.array(feedback[::-1], np.float32).reshape(1, -1),
            "candidate_items": np.array(candidates[None], np.int64),
            "candidate_relevance": relevance.reshape(1, -1),
            "time": np.array([[now]], np.int64),
        }


def is_answer(feedback: np.ndarray) -> np.ndarray:
    """[R] bool: whether rows [R, 7] of slates, top slot first, count as answers: those below the lowest click of their
    slate may not have been examined."""
    slots, clicked = feedback[:, _SLOT], feedback[:, _CLICK] > 0.0
    before = np.concatenate([[np.inf], slots[:-1]])
    slates = np.cumsum((slots < before) | ((slots == before) & (slots < (LAST_SLOT - 0.5) / 10.0)))
    lowest = np.full(len(slots) + 1, -1)
    lowest[slates[clicked]] = np.flatnonzero(clicked)  # of equal slates, the last row is kept
    lowest = lowest[slates]
    return (lowest < 0) | (np.arange(len(slots)) <= lowest)


def feedback_rows(values: np.ndarray) -> np.ndarray:
    """[R, 7] float32, `observation.FEEDBACK`: from `HISTORY_FEEDBACK` [R, 6], with slots from 0 and ratings up to 5."""
    rows = np.ones((len(values), len(FEEDBACK)), np.float32)
    rows[:, 1:] = np.asarray(values, np.float32).reshape(-1, len(HISTORY_FEEDBACK)) / UNITS
    return rows
