"""One session so far, latent state included, for `session_figure`.

Shape legend: D interest factors, K topics.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recsim_env.config import MAX_SLATE_SIZE
from recsim_env.simulation.observation import FEEDBACK
from recsim_env.simulation.simulator import Simulator

STATE = ("interests", "satiation", "mood", "trust", "patience", "budget")
"""Recorded parts of `Simulator.latent_state`."""

_FIRST = np.zeros(1, np.int64)


@dataclass(frozen=True, kw_only=True)
class ShownItem:
    """One item in one slot, with its observed feedback."""

    item: int
    slot: int
    """0 is the top slot."""
    is_chosen: bool
    consumption: float
    """Consumed share of the item, 0 to 1."""
    is_bought: bool
    rating: float
    """1 to 5, or 0 if none was submitted."""


class SessionRecording:
    """Records session 0 of a simulator step by step, from its start. `Simulator.restore` is not recorded.

    Attributes:
        logged: items shown before the session, as far as the history holds them; none for a cold-start user.
        slates: items shown in each step, top slot first. (A history shorter than the slate holds the last ones.)
        ratings: rating in each step, submitted or not (latent); 0 after a skip.
        rewards: reward of each step.
        states: `STATE` before the first step and after each: `interests` [D], `satiation` [K], and numbers.
        is_terminated: whether the user has left.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.world, self.config = simulator.world, simulator.config
        self._simulator = simulator
        self._num_shown = 0
        self.logged = self._newly_shown()
        self.slates: list[list[ShownItem]] = []
        self.ratings: list[float] = []
        self.rewards: list[float] = []
        self.states = [self._state()]
        self.is_terminated = False

    def record(self, reward: float, info: Mapping[str, float], is_terminated: bool) -> None:
        """Record the last step, from what `RecommenderEnv.step` returns."""
        self.slates.append(self._newly_shown())
        self.ratings.append(float(round(self.config.slate_size * info["reward_rating"])))  # a mean over slots
        self.rewards.append(reward)
        self.is_terminated = is_terminated
        self.states.append(self._state())

    def _newly_shown(self) -> list[ShownItem]:
        """Items shown since the last call, as far as the history holds them."""
        before, self._num_shown = self._num_shown, int(self._simulator.sessions["num_shown"][0])
        history = self._simulator.observe("compact", _FIRST)
        assert isinstance(history, dict)
        feedback = history["history_feedback"].reshape(-1, len(FEEDBACK))
        items = history["history_items"][0]
        shown = []
        for back in reversed(range(min(self._num_shown - before, len(items)))):
            row = dict(zip(FEEDBACK, feedback[back].tolist(), strict=True))
            shown.append(
                ShownItem(
                    item=int(items[back]),
                    slot=round(MAX_SLATE_SIZE * row["slot"]),
                    is_chosen=row["click"] > 0.0,
                    consumption=row["consumption"],
                    is_bought=row["purchase"] > 0.0,
                    rating=float(round(5.0 * row["rating"])),
                )
            )
        return shown

    def _state(self) -> dict[str, np.ndarray]:
        latent = self._simulator.latent_state()
        return {name: latent[name][0] for name in STATE}
