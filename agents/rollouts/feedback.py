"""What people answered to what was shown: the stars of a history's rows, rollouts, and a log that they fill.

Shape legend: N sessions side by side, H rows of a history, S slots of a slate, R logged answers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.agent import Observations
from recsim_env.config import MAX_SLATE_SIZE
from recsim_env.simulation.observation import FEEDBACK

UNRATED_STARS = 3.0
"""What an item that was consumed and not rated counts where nothing better is known: the middle of the scale."""


def column_of(feedback: np.ndarray, name: str) -> np.ndarray:
    """[...]: one column of rows of feedback [..., 7]."""
    return feedback[..., FEEDBACK.index(name)]


def counted_stars(feedback: np.ndarray, has_purchases: bool, unrated_stars: float = UNRATED_STARS) -> np.ndarray:
    """[...] float64: the stars given, 0 for what was skipped (in a shop: not bought), `unrated_stars` for what was
    consumed but not rated; from rows of feedback [..., 7]."""
    stars = 5.0 * column_of(feedback, "rating").astype(np.float64)
    was_consumed = column_of(feedback, "purchase" if has_purchases else "click") > 0
    return np.where(was_consumed & (stars == 0.0), unrated_stars, stars)


def last_slate(feedback: np.ndarray, slate_size: int) -> tuple[np.ndarray, np.ndarray]:
    """What the last step added to histories, from their feedback [N, H, 7], most recent first.

    Returns the rows [N, S, 7], top slot first, and [N, S] bool: whether something was shown in that slot. The last
    slate is the most recent run of rising slots; of a history shorter than a slate only what it holds is there.
    """
    num_sessions = len(feedback)
    rows = np.zeros((num_sessions, slate_size, feedback.shape[2]), feedback.dtype)
    is_shown = np.zeros((num_sessions, slate_size), np.bool_)
    slots = np.rint(column_of(feedback, "slot") * MAX_SLATE_SIZE).astype(np.int64)
    is_new = np.ones(num_sessions, np.bool_)
    for back in range(min(slate_size, feedback.shape[1])):
        is_new = is_new & (column_of(feedback[:, back], "shown") > 0)
        if back > 0:  # slots fall as one goes back within a slate
            is_new = is_new & (slots[:, back] < slots[:, back - 1])
        lanes = np.flatnonzero(is_new)
        rows[lanes, slots[lanes, back]] = feedback[lanes, back]
        is_shown[lanes, slots[lanes, back]] = True
    return rows, is_shown


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """One step of N sessions: what was seen, what was shown, and what was answered."""

    sessions: np.ndarray
    """[N] int64: which session of the rollout each is, counted from 0."""
    observations: Observations
    """What the agent saw before it chose."""
    slates: np.ndarray
    """[N, S] int64: the candidates that were chosen."""
    feedback: np.ndarray
    """[N, S, 7] float32: `observation.FEEDBACK` of each slot."""
    is_shown: np.ndarray
    """[N, S] bool: whether the slot was not empty."""


def rollout(
    env: Any,
    act: Callable[[Observations, np.ndarray], np.ndarray],
    num_steps: int,
    seed: int,
) -> Iterator[Exposure]:
    """Let `act(observations, is_first)` play `num_steps // N` steps of each of the N lanes of a vector env.

    The answers to a session's last slate are among what it yields. Observations are `"dict"` or `"compact"`.
    """
    layout, slate_size, num_envs = env.simulator.layout, env.simulator.config.slate_size, env.num_envs
    shape = (-1, layout.history_length, len(FEEDBACK))

    def feedback_of(seen: dict[str, np.ndarray]) -> np.ndarray:
        if "history_feedback" in seen:
            return seen["history_feedback"].reshape(shape)
        return seen["history"].reshape(-1, *layout.history_shape)[:, :, layout.num_content_features :]

    observations, _ = env.reset(seed=seed)
    sessions, is_first = np.arange(num_envs), np.ones(num_envs, np.bool_)
    for _ in range(num_steps // num_envs):
        actions = act(observations, is_first)
        following, _, terminated, truncated, infos = env.step(actions)
        is_first = terminated | truncated
        feedback = feedback_of(following).copy()
        for lane in np.flatnonzero(is_first):
            feedback[lane] = feedback_of(infos["final_obs"][lane])[0]
        rows, is_shown = last_slate(feedback, slate_size)
        slates = actions.reshape(num_envs, -1)
        yield Exposure(sessions=sessions, observations=observations, slates=slates, feedback=rows, is_shown=is_shown)
        num_begun, sessions = int(sessions.max()) + 1, sessions.copy()
        sessions[is_first] = num_begun + np.arange(is_first.sum())
        observations = following


class AnswerLog:
    """One row for each item shown in a rollout: its session, its stars, and whatever else one wants to keep of it.

    Args:
        has_purchases: whether the world is a shop (`counted_stars`).
        max_answers: only so many are kept, the latest.
    """

    def __init__(self, *, has_purchases: bool, max_answers: int) -> None:
        self.has_purchases, self.max_answers = has_purchases, max_answers
        self._parts: list[dict[str, np.ndarray]] = []
        self._num_answers = 0

    def add(self, exposure: Exposure, **columns: np.ndarray) -> None:
        """Append what was shown in one step; each further column is [N, S, ...]."""
        is_shown = exposure.is_shown
        every = {
            "session": np.broadcast_to(exposure.sessions[:, None], is_shown.shape),
            "stars": counted_stars(exposure.feedback, self.has_purchases, np.nan),
            **columns,
        }
        self._parts.append({name: column[is_shown] for name, column in every.items()})
        self._num_answers += int(is_shown.sum())
        while self._num_answers - len(self._parts[0]["session"]) >= self.max_answers:
            self._num_answers -= len(self._parts.pop(0)["session"])

    def __len__(self) -> int:
        return self._num_answers

    def __getitem__(self, name: str) -> np.ndarray:
        """[R, ...]: a column, in the order of the steps. `session` counts up from 0; `stars` has `unrated_stars` for
        what was consumed but not rated."""
        column = np.concatenate([part[name] for part in self._parts])
        if name == "session":
            return np.unique(column, return_inverse=True)[1]
        return np.where(np.isnan(column), self.unrated_stars, column) if name == "stars" else column

    @property
    def unrated_stars(self) -> float:
        """The mean of the stars that were given: whether somebody rates says nothing about how."""
        given = np.concatenate([np.zeros(0), *(part["stars"] for part in self._parts)])
        given = given[given > 0.0]  # NaN is not
        return float(given.mean()) if len(given) else UNRATED_STARS
