"""Users' feedback: ratings in a history's rows, rollouts that collect it, a log of it, and learners from such a log.

Shape legend: N sessions side by side, H rows of a history, S slots of a slate, R logged items.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from agents.agent import Agent, Learner, NotFittedError, Observations
from recsim_env.config import MAX_SLATE_SIZE, count
from recsim_env.envs.vector import last_observations
from recsim_env.simulation.observation import FEEDBACK, ObservationLayout
from recsim_env.simulation.records import NO_ITEM

UNRATED = 3.0
"""The rating assumed for an item that was consumed but not rated, where nothing better is known: mid-scale."""

Policy = Callable[[Observations, np.ndarray], np.ndarray]
"""`(observations, episode_start) -> actions`."""


def feedback_column(feedback: np.ndarray, name: str) -> np.ndarray:
    """[...]: one column of rows of feedback [..., 7]."""
    return feedback[..., FEEDBACK.index(name)]


def observed_ratings(feedback: np.ndarray, has_purchases: bool, unrated: float = UNRATED) -> np.ndarray:
    """[...] float64: ratings from rows of feedback [..., 7].

    0 for what was skipped (in a shop: not bought), `unrated` for what was consumed but not rated.
    """
    ratings = 5.0 * feedback_column(feedback, "rating").astype(np.float64)
    was_consumed = feedback_column(feedback, "purchase" if has_purchases else "click") > 0
    return np.where(was_consumed & (ratings == 0.0), unrated, ratings)


def observed_rewards(feedback: np.ndarray, layout: ObservationLayout, unrated: float = UNRATED) -> np.ndarray:
    """[...] float64: the rating term of the reward, from rows of feedback [..., 7]; see `rewards_of_ratings`."""
    return rewards_of_ratings(observed_ratings(feedback, layout.has_purchases, unrated), layout)


def rewards_of_ratings(ratings: np.ndarray, layout: ObservationLayout) -> np.ndarray:
    """[...] float64: ratings minus the neutral rating, so that dislikes cost, and 0 for items that were skipped."""
    return np.where(ratings == 0.0, 0.0, ratings - layout.neutral_rating)


def last_slate(histories: np.ndarray, slate_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that the last step added to histories [N, H, T], most recent first, whose last columns are the feedback.

    Returns the rows [N, S, T], top slot first, and [N, S] bool: whether an item was shown in that slot. The last slate
    is the most recent run of rising slots; if the history is shorter than a slate, its last slots are missing.
    """
    num_sessions, feedback = len(histories), histories[:, :, -len(FEEDBACK) :]
    rows = np.zeros((num_sessions, slate_size, histories.shape[2]), histories.dtype)
    is_shown = np.zeros((num_sessions, slate_size), np.bool_)
    slots = np.rint(feedback_column(feedback, "slot") * MAX_SLATE_SIZE).astype(np.int64)
    is_new = np.ones(num_sessions, np.bool_)
    for back in range(min(slate_size, feedback.shape[1])):
        is_new = is_new & (feedback_column(feedback[:, back], "shown") > 0)
        if back > 0:  # within a slate, slots fall from one row to the next
            is_new = is_new & (slots[:, back] < slots[:, back - 1])
        lanes = np.flatnonzero(is_new)
        rows[lanes, slots[lanes, back]] = histories[lanes, back]
        is_shown[lanes, slots[lanes, back]] = True
    return rows, is_shown


def clicked_slots(histories: np.ndarray, slate_size: int) -> np.ndarray:
    """[N] int64: the highest slot that was clicked in the last step, or -1; `histories` as in `last_slate`."""
    rows, _ = last_slate(histories, slate_size)
    is_clicked = feedback_column(rows[:, :, -len(FEEDBACK) :], "click") > 0
    return np.where(is_clicked.any(1), is_clicked.argmax(1), -1)


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """One step of N sessions: observations, slates and feedback."""

    sessions: np.ndarray
    """[N] int64: the number of each session, counted from 0 over the rollout."""
    observations: Observations
    """Before the step."""
    slates: np.ndarray
    """[N, S] int64: the candidates that were chosen."""
    rows: np.ndarray
    """[N, S, T] float32: the rows that the step added to the histories, top slot first."""
    is_shown: np.ndarray
    """[N, S] bool: whether the slot was not empty."""
    rewards: np.ndarray
    """[N] float64."""

    @property
    def feedback(self) -> np.ndarray:
        """[N, S, 7] float32: `observation.FEEDBACK` of each slot."""
        return self.rows[:, :, -len(FEEDBACK) :]


def rollout(env: Any, policy: Policy, num_steps: int, seed: int) -> Iterator[Exposure]:
    """Play `num_steps // N` steps in each of the N lanes of a vector env with `"full"` or `"compact"` observations.

    Feedback on a session's last slate is included.

    Raises:
        ValueError: the env does not have `autoreset_mode="SameStep"`.
    """
    if env.metadata["autoreset_mode"] != AutoresetMode.SAME_STEP:
        raise ValueError("env: must have autoreset_mode='SameStep'")
    layout, slate_size, num_envs = env.simulator.layout, env.simulator.config.slate_size, env.num_envs
    observations, _ = env.reset(seed=seed)
    part = "history_feedback" if "history_feedback" in observations else "history"
    sessions, is_first = np.arange(num_envs), np.ones(num_envs, np.bool_)
    for _ in range(num_steps // num_envs):
        actions = policy(observations, is_first)
        following, rewards, terminated, truncated, infos = env.step(actions)
        is_first = terminated | truncated
        histories = last_observations(following, infos, part).reshape(num_envs, layout.history_length, -1)
        rows, is_shown = last_slate(histories, slate_size)
        yield Exposure(
            sessions=sessions,
            observations=observations,
            slates=actions.reshape(num_envs, -1),
            rows=rows,
            is_shown=is_shown,
            rewards=rewards / env.simulator.config.reward_scale,
        )
        num_sessions, sessions = int(sessions.max()) + 1, sessions.copy()
        sessions[is_first] = num_sessions + np.arange(is_first.sum())
        observations = following


def uniform_policy(agent: Agent, seed: int) -> Policy:
    """Slates of the agent's env at random, from `"full"` or `"compact"` observations."""
    generator = np.random.default_rng(seed)

    def policy(observations: Observations, episode_start: np.ndarray) -> np.ndarray:
        is_compact = "candidate_items" in observations
        mask = observations["candidate_items"] != NO_ITEM if is_compact else observations["candidate_mask"]
        return agent.top_candidates(generator.random(mask.shape), mask)

    return policy


class FeedbackLog:
    """One row for each item shown in a rollout: its session, its reward, and further columns.

    Args:
        layout: of the env's observations.
        max_rows: the latest rows are kept, at most this many.
    """

    def __init__(self, *, layout: ObservationLayout, max_rows: int) -> None:
        self.layout, self.max_rows = layout, max_rows
        self._first_session = 0
        self._parts: list[dict[str, np.ndarray]] = []
        self._num_rows = 0

    def start_rollout(self) -> None:
        """The sessions of the following steps, whose numbers start from 0 again, are new ones."""
        if self._parts:
            self._first_session = 1 + max(int(part["session"].max()) for part in self._parts)

    def add(self, exposure: Exposure, **columns: np.ndarray) -> None:
        """Append the items shown in one step; each further column is [N, S, ...]."""
        is_shown = exposure.is_shown
        columns = {
            "session": np.broadcast_to(self._first_session + exposure.sessions[:, None], is_shown.shape),
            "rating": observed_ratings(exposure.feedback, self.layout.has_purchases, np.nan),
            **columns,
        }
        self._parts.append({name: column[is_shown] for name, column in columns.items()})
        self._num_rows += int(is_shown.sum())
        while self._num_rows - len(self._parts[0]["session"]) >= self.max_rows:
            self._num_rows -= len(self._parts.pop(0)["session"])

    def __len__(self) -> int:
        return self._num_rows

    def __getitem__(self, name: str) -> np.ndarray:
        """[R, ...]: a column, in the order of the steps.

        `session` counts from 0 without gaps; `reward` is as in `observed_rewards`, with `self.unrated` as the rating of
        an item that was consumed but not rated.
        """
        column = np.concatenate([part["rating" if name == "reward" else name] for part in self._parts])
        if name == "session":
            return np.unique(column, return_inverse=True)[1]
        if name == "reward":
            return rewards_of_ratings(np.where(np.isnan(column), self.unrated, column), self.layout)
        return column

    @property
    def unrated(self) -> float:
        """The mean of the submitted ratings: whether users rate is independent of how they rate."""
        submitted = np.concatenate([np.zeros(0), *(part["rating"] for part in self._parts)])
        submitted = submitted[submitted > 0.0]  # NaN is not
        return float(submitted.mean()) if len(submitted) else UNRATED


@dataclass(kw_only=True, eq=False, repr=False)
class FeedbackLearner(Learner):
    """Logs the feedback on items shown at random, and is fitted to the log when it next has to act or to be saved.

    A subclass implements `columns` and `fit`, and calls `require_fit` before it reads `parameters`.
    """

    num_envs = 512

    max_rows: int = count(200_000, 1, 10**9)
    """The latest logged items are used, at most this many."""
    parameters: dict[str, np.ndarray] = field(default_factory=dict, init=False)
    """The results of `fit`."""
    _log: FeedbackLog | None = field(default=None, init=False)
    _pending_fit: Callable[[], dict[str, np.ndarray]] | None = field(default=None, init=False)

    @abstractmethod
    def columns(self, env: Any, exposure: Exposure) -> dict[str, np.ndarray]:
        """Columns of the log besides `session` and `reward`, from one step; [N, S, ...] each."""

    @abstractmethod
    def fit(self, log: FeedbackLog, env: Any, seed: int) -> dict[str, np.ndarray]:
        """The parameters for a log, which may be empty; `env` is the training env."""

    def open_log(self) -> FeedbackLog:
        """The log of earlier trainings, to be continued, or an empty one."""
        if self._log is None:
            self._log = FeedbackLog(layout=self.layout, max_rows=self.max_rows)
        self._log.start_rollout()
        return self._log

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        env, log, seed = self.training_env(total_timesteps), self.open_log(), self.seed + self.num_timesteps
        self._pending_fit = fit = partial(self.fit, log, env, seed)
        update(0)
        exposures = rollout(env, uniform_policy(self, seed), total_timesteps, seed)
        for step, exposure in enumerate(exposures, start=1):
            log.add(exposure, **self.columns(env, exposure))
            self._pending_fit = fit
            if not update(step * env.num_envs):
                break
        self.require_fit()

    def require_fit(self) -> None:
        """Fit to the feedback logged so far; `NotFittedError` before training."""
        if self._pending_fit is not None:
            fit, self._pending_fit = self._pending_fit, None
            self.parameters = fit()
        if not self.parameters:
            raise NotFittedError

    def learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        self.require_fit()
        return self.parameters, {}

    def restore(self, tensors: dict[str, np.ndarray], learned: dict[str, Any]) -> None:
        self.parameters = tensors
