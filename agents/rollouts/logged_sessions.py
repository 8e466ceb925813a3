"""Logged sessions, and windows of them on which a sequence model is trained at all positions at once.

Shape legend: N sessions side by side, Q target items, M candidates, S slots, H rows of the history, T
features of a row, G of a candidate, P of the user, K rows of logged history before a session, R items shown in it.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from agents.rollouts.feedback import Policy, feedback_column, rollout
from recsim_env.envs.vector import RecommenderVectorEnv

LoggedSession = dict[str, np.ndarray]
"""The items shown in one session, in order, and their feedback: `rows` [K + R, T] float32 of the history, oldest first,
the first K of which precede the session; `num_seen` [R] int64, rows before the item's slate; `users` [R, P] float32, as
observed before it; `items` [R, G] float32; `is_clicked` [R] bool; `rewards` [R] float32, 0 if it was not clicked."""


def log_sessions(env: RecommenderVectorEnv, policy: Policy, num_steps: int, seed: int) -> Iterator[LoggedSession]:
    """Show slates of a policy for `num_steps` >= 1 steps in each lane, and return the sessions.

    The last session of each lane is cut short. The clicked items of a slate have equal parts in S times the
    reward, which is a mean over slots.
    """
    layout, slate_size = env.simulator.layout, env.simulator.config.slate_size
    log: list[dict[str, np.ndarray]] = []
    histories: dict[int, np.ndarray] = {}  # before the first step of each session
    for exposure in rollout(env, policy, num_steps * env.num_envs, seed):
        observations = exposure.observations
        for lane, session in enumerate(exposure.sessions.tolist()):
            if session not in histories:
                histories[session] = observations["history"][lane].reshape(layout.history_shape)
        candidates = observations["candidates"].reshape(env.num_envs, *layout.candidates_shape)
        is_clicked = feedback_column(exposure.feedback, "click") > 0
        num_clicks = np.maximum(is_clicked.sum(1, keepdims=True), 1)
        entry = {
            "sessions": exposure.sessions,
            "users": observations["user"],
            "items": np.take_along_axis(candidates, exposure.slates[:, :, None], 1),
            "is_shown": exposure.is_shown,
            "rows": exposure.rows,
            "is_clicked": is_clicked,
            "rewards": (slate_size * exposure.rewards[:, None] * is_clicked / num_clicks).astype(np.float32),
        }
        log.append(entry)
    columns = {name: np.stack([entry[name] for entry in log]) for name in log[0]}
    for lane in range(env.num_envs):
        for session in np.unique(columns["sessions"][:, lane]).tolist():
            is_part = columns["sessions"][:, lane] == session
            part = {name: values[is_part, lane] for name, values in columns.items()}
            history, is_shown = histories[session], part["is_shown"]
            before = history[history[:, layout.num_content_features] > 0][::-1]
            num_shown = is_shown.sum(1)
            yield {
                "rows": np.concatenate([before, part["rows"][is_shown]]),
                "num_seen": np.repeat(len(before) + np.cumsum(num_shown) - num_shown, num_shown),
                "users": np.repeat(part["users"], num_shown, 0),
                "items": part["items"][is_shown],
                "is_clicked": part["is_clicked"][is_shown],
                "rewards": part["rewards"][is_shown],
            }


def windows_of(session: LoggedSession, history_length: int, slate_size: int) -> Iterator[dict[str, np.ndarray]]:
    """One session as windows of H rows that overlap by half, no longer than the history of an observation.

    Each item is a target once: in the first window any item, in the others those after more than half a window, so
    that they are predicted from a long history, as in deployment. Each window has `rows` [H, T], oldest first, and of
    Q targets: `num_seen` [Q] (rows of the window before the item's slate), `users` [Q, P], `items` [Q, G],
    `is_clicked` [Q] bool, `rewards` [Q] and `is_target` [Q] bool. Padding stands at the end.
    """
    stride, num_items = max(history_length // 2, 1), history_length + slate_size
    for start in itertools.count(0, stride):
        num_seen = session["num_seen"] - start
        is_target = (num_seen <= history_length) & ((num_seen > history_length - stride) | (start == 0))
        if is_target.any():
            targets = {**session, "num_seen": num_seen}
            names = ("users", "items", "is_clicked", "rewards", "num_seen")
            window = {name: _padded(targets[name][is_target], num_items) for name in names}
            window["rows"] = _padded(session["rows"][start : start + history_length], history_length)
            window["is_target"] = np.arange(num_items) < is_target.sum()
            yield window
        if not (num_seen > history_length).any():
            return


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    """With zeros at the end, up to that length."""
    return np.concatenate([values, np.zeros((length - len(values), *values.shape[1:]), values.dtype)])
