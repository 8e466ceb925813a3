"""The course of one session so far, latent truth included: what `session_figure` draws.

Shape legend: D interest factors, K topics.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recsim_env.config import MAX_SLATE_SIZE
from recsim_env.simulation.observation import FEEDBACK
from recsim_env.simulation.simulator import Simulator

STATE = ("interests", "satiation", "mood", "trust", "patience", "budget")
"""What is remembered of `Simulator.latent_state`."""

_FIRST = np.zeros(1, np.int64)


@dataclass(frozen=True, kw_only=True)
class ShownItem:
    """One item in one slot, and what an agent sees of the answer."""

    item: int
    slot: int
    """0 is the top."""
    is_chosen: bool
    consumption: float
    """Share of the item that was consumed, 0..1."""
    is_bought: bool
    rating: float
    """Stars, 0 if no rating was submitted."""


class SessionTrace:
    """Remembers the session at place 0 of a simulator, which has just begun, step by step.

    Each step has to be recorded; of `Simulator.restore` it does not know.

    Attributes:
        logged: items shown before the session, as far as the history holds them; none for a user who brings no history.
        slates: for each step the items shown, top slot first. (A history shorter than the slate holds its last ones.)
        stars: for each step what the user thinks of the chosen item, submitted or not (latent); 0 for a skip.
        rewards: of each step.
        states: `STATE` before the first step and after each: `interests` [D], `satiation` [K], the rest numbers.
        is_terminated: whether the user has left.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.world, self.config = simulator.world, simulator.config
        self._simulator = simulator
        self._num_shown = 0
        self.logged = self._newly_shown()
        self.slates: list[list[ShownItem]] = []
        self.stars: list[float] = []
        self.rewards: list[float] = []
        self.states = [self._state()]
        self.is_terminated = False

    def record(self, reward: float, info: Mapping[str, float], is_terminated: bool) -> None:
        """Remember the step just taken, from what `RecommenderEnv.step` returns of it."""
        self.slates.append(self._newly_shown())
        self.stars.append(
            float(round(self.config.slate_size * info["reward_rating"]))
        )  # a mean over slots, of which one is rated
        self.rewards.append(reward)
        self.is_terminated = is_terminated
        self.states.append(self._state())

    def _newly_shown(self) -> list[ShownItem]:
        """What has been shown since the last call, as far as the history holds it."""
        before, self._num_shown = self._num_shown, int(self._simulator.sessions["num_shown"][0])
        history = self._simulator.observe("compact", _FIRST)
        assert isinstance(history, dict)
        feedback = history["history_feedback"].reshape(-1, len(FEEDBACK))
        items = history["history_items"][0]
        shown = []
        for back in reversed(range(min(self._num_shown - before, len(items)))):
            answer = dict(zip(FEEDBACK, feedback[back].tolist(), strict=True))
            shown.append(
                ShownItem(
                    item=int(items[back]),
                    slot=round(MAX_SLATE_SIZE * answer["slot"]),
                    is_chosen=answer["click"] > 0.0,
                    consumption=answer["consumption"],
                    is_bought=answer["purchase"] > 0.0,
                    rating=float(round(5.0 * answer["rating"])),
                )
            )
        return shown

    def _state(self) -> dict[str, np.ndarray]:
        latent = self._simulator.latent_state()
        return {name: latent[name][0] for name in STATE}
