"""One session so far, latent state included, for `session_figure`.

Shape legend: D interest factors, K topics.
"""

from typing import NamedTuple

import numpy as np

from recsim_env.config import SessionConfig
from recsim_env.simulation.simulator import Simulator
from recsim_env.world.world import World

STATE = ("interests", "satiation", "mood", "trust", "patience", "budget", "satisfaction", "habit")
"""Recorded parts of `Simulator.latent_state`."""


class ShownItem(NamedTuple):
    """One item in one slot, with its observed feedback: the columns of `records.HISTORY_FEEDBACK`."""

    item: int
    slot: float
    """0 is the top slot."""
    click: float
    consumption: float
    """Consumed share of the item, 0 to 1."""
    rating: float
    """Up to 5, or 0 if none was submitted."""
    purchase: float
    follow: float

    def is_refused(self, is_shop: bool) -> bool:
        """Whether the item was skipped, or in a shop clicked and not bought."""
        return not (self.purchase if is_shop else self.click)


def shown_items(simulator: Simulator, lane: int, start: int = 0) -> list[ShownItem]:
    """Items shown in a session after the first `start`, as far as the history holds them; the last one is last."""
    session, length = simulator.sessions[lane], simulator.config.history_length
    num_shown = int(session["num_shown"])
    rows = [number % length for number in range(max(start, num_shown - length), num_shown)]
    return [ShownItem(int(session["history_items"][row]), *session["history_feedback"][row].tolist()) for row in rows]


class SessionRecording:
    """Records one session of a simulator step by step, from its start. `Simulator.restore` is not recorded.

    Attributes:
        logged: items shown before the session, as far as the history holds them; none for a cold-start user.
        slates: items shown in each step, top slot first. (A history shorter than the slate holds the last ones.)
        ratings: mean rating of the items rated in each step, submitted or not (latent); 0 without one.
        rewards: reward of each step.
        states: `STATE` before the first step and after each: `interests` [D], `satiation` [K], and numbers.
        is_terminated: whether the user has left.
        visits: of each visit after the first in a lifetime, the number of steps before it and the days of absence.
        day: days since the first step, in a lifetime.
    """

    def __init__(self, simulator: Simulator, lane: int = 0) -> None:
        self.simulator, self.lane = simulator, lane
        self._num_shown = 0
        self.logged = self._newly_shown()
        self.slates: list[list[ShownItem]] = []
        self.ratings: list[float] = []
        self.rewards: list[float] = []
        self.states = [self._state()]
        self.is_terminated = False
        self.visits: list[tuple[int, float]] = []
        self.day = 0.0

    @property
    def is_lifetime(self) -> bool:
        """Whether the episode has several visits."""
        return self.simulator.layout.is_lifetime

    @property
    def world(self) -> World:
        return self.simulator.world

    @property
    def config(self) -> SessionConfig:
        return self.simulator.config

    @property
    def is_shop(self) -> bool:
        return self.world.scenario.behaviour.is_shop

    def record(self) -> None:
        """Record the step that the simulator has just made."""
        outcome = self.simulator.outcomes[self.lane]
        self.slates.append(self._newly_shown())
        rating_sum, num_rated = (round(self.config.slate_size * outcome[name]) for name in ("rating", "consumed"))
        self.ratings.append(rating_sum / max(num_rated, 1))
        self.rewards.append(float(outcome["reward"]))
        self.is_terminated = bool(outcome["terminated"])
        self.states.append(self._state())
        if self.is_lifetime:
            session = self.simulator.sessions[self.lane]
            elapsed = session["start_step"] + session["step"] - session["first_time"]
            self.day = float(elapsed / self.world.scenario.lifetime.day_length)
            if outcome["visit"]:
                self.visits.append((len(self.slates), float(session["absence"])))

    def _newly_shown(self) -> list[ShownItem]:
        shown = shown_items(self.simulator, self.lane, self._num_shown)
        self._num_shown = int(self.simulator.sessions["num_shown"][self.lane])
        return shown

    def _state(self) -> dict[str, np.ndarray]:
        latent = self.simulator.latent_state(np.array([self.lane]))
        return {name: latent[name][0] for name in STATE}
