"""Sessions as they were logged, and pieces of them on which a sequence model learns at all places at once.

Shape legend: N sessions side by side, W windows, Q items whose stars are asked for, M candidates, S slots, H shown
items in the history, T features of a row, G of a candidate, P of the user, K rows that a person brought along, R items
shown in a session.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from agents.agent import Observations
from agents.rollouts.feedback import final_values
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.simulation.observation import FEEDBACK


@dataclass(frozen=True, kw_only=True)
class LoggedSession:
    """What was shown to one person, in order, and what came of it."""

    rows: np.ndarray
    """[K + R, T] float32: of the history, oldest first; the first K were there when the session began."""
    num_seen: np.ndarray
    """[R] int64: rows before the slate that the item stood on."""
    users: np.ndarray
    """[R, P] float32: as observed when it was shown."""
    items: np.ndarray
    """[R, G] float32."""
    stars: np.ndarray
    """[R] float32: as the reward counts them, 0 if it was not chosen."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Pieces of sessions no longer than an observation remembers, on which the network learns at all places at once."""

    rows: torch.Tensor
    """[W, H, T], oldest first; missing ones at the end."""
    num_seen: torch.Tensor
    """[W, Q] int64: rows of the window before the slate that the item stood on."""
    users: torch.Tensor
    """[W, Q, P]."""
    items: torch.Tensor
    """[W, Q, G]."""
    stars: torch.Tensor
    """[W, Q]."""
    is_asked: torch.Tensor
    """[W, Q] bool: false where there is no such item."""

    def part(self, index: torch.Tensor) -> "Windows":
        """Some of the windows."""
        return Windows(**{name: value[index] for name, value in vars(self).items()})

    def to(self, device: torch.device) -> "Windows":
        return Windows(**{name: value.to(device) for name, value in vars(self).items()})


def log_sessions(
    env: RecommenderVectorEnv, play: Callable[[Observations], np.ndarray], num_steps: int, seed: int
) -> Iterator[LoggedSession]:
    """Show slates `play(observations)` [N, S] for `num_steps` steps, at least 1, of each session side by side; the
    sessions that took place, the last ones cut short.

    The stars of an item are S times the reward if it was clicked, else 0: one item of a slate is chosen at most.
    """
    layout, slate_size, num_envs = env.simulator.layout, env.simulator.config.slate_size, env.num_envs
    first_feedback, is_first = layout.num_content_features, np.ones(num_envs, np.bool_)
    observations, _ = env.reset(seed=seed)
    log: list[dict[str, np.ndarray]] = []
    begins: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(num_envs)]  # steps, and histories brought along
    for step in range(num_steps):
        for begun in np.flatnonzero(is_first):
            begins[begun].append((step, observations["history"][begun].reshape(layout.history_shape)))
        slates = play(observations)
        entry = {
            "users": observations["user"],
            "items": np.take_along_axis(
                observations["candidates"].reshape(num_envs, *layout.candidates_shape), slates[:, :, None], 1
            ),
            "is_shown": np.take_along_axis(observations["candidate_mask"], slates, 1) > 0,
        }
        observations, rewards, terminated, truncated, infos = env.step(slates[:, 0] if slate_size == 1 else slates)
        is_first = terminated | truncated
        histories = final_values(observations, infos, "history").reshape(num_envs, *layout.history_shape)
        back = entry["is_shown"].sum(1, keepdims=True) - 1 - np.arange(slate_size)  # the lowest slot is row 0
        entry["rows"] = np.take_along_axis(histories, np.maximum(back, 0)[:, :, None], 1)
        is_clicked = entry["rows"][:, :, first_feedback + FEEDBACK.index("click")] > 0
        entry["stars"] = slate_size * rewards[:, None] * is_clicked
        log.append(entry)
    whole = {name: np.stack([entry[name] for entry in log]) for name in log[0]}
    for lane in range(num_envs):
        ends = [*(begin for begin, _ in begins[lane][1:]), num_steps]
        for (begin, history), end in zip(begins[lane], ends, strict=True):
            part = {name: values[begin:end, lane] for name, values in whole.items()}
            is_shown, known = part["is_shown"], history[history[:, first_feedback] > 0][::-1]
            num_before = len(known) + np.cumsum(is_shown.sum(1)) - is_shown.sum(1)
            yield LoggedSession(
                rows=np.concatenate([known, part["rows"][is_shown]]),
                num_seen=np.repeat(num_before, is_shown.sum(1)),
                users=np.repeat(part["users"], is_shown.sum(1), 0),
                items=part["items"][is_shown],
                stars=part["stars"][is_shown].astype(np.float32),
            )


def windows_of(session: LoggedSession, history_length: int, slate_size: int) -> Iterator[dict[str, np.ndarray]]:
    """One session as windows of H rows that overlap by half, with the fields of `Windows`.

    Each item is asked for once: in the first window after all that came before, in the others after more than half a
    window, so that it is judged by a long memory, as it is when the agent plays.
    """
    stride, num_items = max(history_length // 2, 1), history_length + slate_size
    for begin in itertools.count(0, stride):
        num_seen = session.num_seen - begin
        is_asked = (num_seen <= history_length) & ((num_seen > history_length - stride) | (begin == 0))
        if is_asked.any():
            asked = {"users": session.users, "items": session.items, "stars": session.stars, "num_seen": num_seen}
            window = {name: _padded(values[is_asked], num_items) for name, values in asked.items()}
            window["rows"] = _padded(session.rows[begin : begin + history_length], history_length)
            window["is_asked"] = np.arange(num_items) < is_asked.sum()
            yield window
        if not (num_seen > history_length).any():
            return


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    """Zeros after the last, up to that length."""
    return np.concatenate([values, np.zeros((length - len(values), *values.shape[1:]), values.dtype)])
