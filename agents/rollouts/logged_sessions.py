"""Logged sessions, and windows of them on which a sequence model is trained at all positions at once.

Shape legend: N sessions side by side, Q target items, M candidates, S slots, H rows of the history, T
features of a row, G of a candidate, P of the user, K rows of logged history before a session, R items shown in it.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from agents.agent import Observations
from agents.rollouts.feedback import feedback_column
from recsim_env.envs.vector import RecommenderVectorEnv, last_observations
from recsim_env.simulation.observation import FEEDBACK


@dataclass(frozen=True, kw_only=True)
class LoggedSession:
    """The items shown in one session, in order, and their feedback."""

    rows: np.ndarray
    """[K + R, T] float32: rows of the history, oldest first; the first K precede the session."""
    num_seen: np.ndarray
    """[R] int64: rows before the item's slate."""
    users: np.ndarray
    """[R, P] float32: as observed before the item's slate."""
    items: np.ndarray
    """[R, G] float32."""
    ratings: np.ndarray
    """[R] float32: as the reward counts them, 0 if the item was not chosen."""


def log_sessions(
    env: RecommenderVectorEnv, policy: Callable[[Observations], np.ndarray], num_steps: int, seed: int
) -> Iterator[LoggedSession]:
    """Show slates `policy(observations)` [N, S] for `num_steps` >= 1 steps in each lane, and return the sessions.

    The last session of each lane is cut short. The rating of an item is S times the reward if it was clicked, else 0:
    at most one item of a slate is chosen.
    """
    layout, slate_size, num_envs = env.simulator.layout, env.simulator.config.slate_size, env.num_envs
    first_feedback, is_first = layout.num_content_features, np.ones(num_envs, np.bool_)
    observations, _ = env.reset(seed=seed)
    log: list[dict[str, np.ndarray]] = []
    starts: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(num_envs)]  # steps, and histories at these
    for step in range(num_steps):
        for lane in np.flatnonzero(is_first).tolist():
            starts[lane].append((step, observations["history"][lane].reshape(layout.history_shape)))
        slates = policy(observations)
        candidates = observations["candidates"].reshape(num_envs, *layout.candidates_shape)
        entry = {
            "users": observations["user"],
            "items": np.take_along_axis(candidates, slates[:, :, None], 1),
            "is_shown": np.take_along_axis(observations["candidate_mask"], slates, 1) > 0,
        }
        observations, rewards, terminated, truncated, infos = env.step(slates[:, 0] if slate_size == 1 else slates)
        is_first = terminated | truncated
        histories = last_observations(observations, infos, "history").reshape(num_envs, *layout.history_shape)
        back = entry["is_shown"].sum(1, keepdims=True) - 1 - np.arange(slate_size)  # the lowest slot is row 0
        entry["rows"] = np.take_along_axis(histories, np.maximum(back, 0)[:, :, None], 1)
        is_clicked = feedback_column(entry["rows"][:, :, -len(FEEDBACK) :], "click") > 0
        entry["ratings"] = slate_size * rewards[:, None] * is_clicked
        log.append(entry)
    columns = {name: np.stack([entry[name] for entry in log]) for name in log[0]}
    for lane in range(num_envs):
        ends = [*(start for start, _ in starts[lane][1:]), num_steps]
        for (start, history), end in zip(starts[lane], ends, strict=True):
            part = {name: values[start:end, lane] for name, values in columns.items()}
            is_shown, before = part["is_shown"], history[history[:, first_feedback] > 0][::-1]
            num_before = len(before) + np.cumsum(is_shown.sum(1)) - is_shown.sum(1)
            yield LoggedSession(
                rows=np.concatenate([before, part["rows"][is_shown]]),
                num_seen=np.repeat(num_before, is_shown.sum(1)),
                users=np.repeat(part["users"], is_shown.sum(1), 0),
                items=part["items"][is_shown],
                ratings=part["ratings"][is_shown].astype(np.float32),
            )


def windows_of(session: LoggedSession, history_length: int, slate_size: int) -> Iterator[dict[str, np.ndarray]]:
    """One session as windows of H rows that overlap by half, no longer than the history of an observation.

    Each item is a target once: in the first window any item, in the others those after more than half a window, so
    that they are predicted from a long history, as in deployment. Each window has `rows` [H, T], oldest first, and of
    Q targets: `num_seen` [Q] (rows of the window before the item's slate), `users` [Q, P], `items` [Q, G],
    `ratings` [Q] and `is_target` [Q] bool. Padding stands at the end.
    """
    stride, num_items = max(history_length // 2, 1), history_length + slate_size
    for start in itertools.count(0, stride):
        num_seen = session.num_seen - start
        is_target = (num_seen <= history_length) & ((num_seen > history_length - stride) | (start == 0))
        if is_target.any():
            targets = {**vars(session), "num_seen": num_seen}
            names = ("users", "items", "ratings", "num_seen")
            window = {name: _padded(targets[name][is_target], num_items) for name in names}
            window["rows"] = _padded(session.rows[start : start + history_length], history_length)
            window["is_target"] = np.arange(num_items) < is_target.sum()
            yield window
        if not (num_seen > history_length).any():
            return


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    """With zeros at the end, up to that length."""
    return np.concatenate([values, np.zeros((length - len(values), *values.shape[1:]), values.dtype)])
