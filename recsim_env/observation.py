"""What an agent sees of a session: the layout of an observation, its spaces, and the code that writes it.

An observation is one flat vector [user | history | candidates | candidate_mask]. `"flat"` hands it out as it is,
`"dict"` hands out its four parts, `"compact"` hands out item ids and feedback, for learners that read the
catalogue's features once (`catalog_features`, `catalog_statistics`) and gather on the GPU.

Shape legend: N sessions, H shown items in the history, M candidates, F content features, P profile features,
I items, A refreshes, G = F + 4 features of a candidate, T = F + 5 features of a row of the history.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from gymnasium import spaces
from numba import njit

from recsim_env.catalog import NUM_REFRESHES, STATISTICS
from recsim_env.config import MAX_SLATE_SIZE
from recsim_env.user_model import NO_ITEM

OBSERVATION_KINDS = ("dict", "flat", "compact")

CONTEXT = ("elapsed",)
"""Columns of `user` after the profile: the share of the session that is over."""

CANDIDATE_COLUMNS = ("age", *STATISTICS)
"""Columns of a candidate after its content: `SCALED_AGE`, and the observed statistics."""

FEEDBACK = ("shown", "slot", "click", "consumption", "rating")
"""Columns of a row of the history after its content: 1 if the row is in use; slot / 10; 0 or 1; 0..1; stars / 5,
0 if no rating was submitted. Row 0 is what was shown last."""

MAX_AGE = 2 ** (NUM_REFRESHES - 2)
"""Age in steps after which an item is only called old, and its statistics are refreshed no more."""

REFRESH_AT = np.array([age.bit_length() for age in range(MAX_AGE + 1)], np.int64)
"""Index of the last refresh of an item's statistics, for each age: 0 at release, then 1 + floor(log2(age))."""

SCALED_AGE = (np.log2(1.0 + np.arange(MAX_AGE + 1)) / NUM_REFRESHES).astype(np.float32)
"""What an observation says of each age: log2(1 + age) / 16."""

_SLOT_UNIT = 1.0 / MAX_SLATE_SIZE
_STAR_UNIT = 1.0 / 5.0


@dataclass(frozen=True, kw_only=True)
class ObservationLayout:
    """Where each part of an observation stands."""

    num_profile_features: int
    num_content_features: int
    num_items: int
    num_candidates: int
    history_length: int

    @property
    def user_size(self) -> int:
        return self.num_profile_features + len(CONTEXT)

    @property
    def history_shape(self) -> tuple[int, int]:
        return self.history_length, self.num_content_features + len(FEEDBACK)

    @property
    def candidates_shape(self) -> tuple[int, int]:
        return self.num_candidates, self.num_content_features + len(CANDIDATE_COLUMNS)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each part of the flat vector begins and ends."""
        history = self.history_shape[0] * self.history_shape[1]
        candidates = self.candidates_shape[0] * self.candidates_shape[1]
        ends = np.cumsum([0, self.user_size, history, candidates, self.num_candidates]).tolist()
        names = ("user", "history", "candidates", "candidate_mask")
        return {name: slice(ends[n], ends[n + 1]) for n, name in enumerate(names)}

    @cached_property
    def size(self) -> int:
        """Length of the flat vector."""
        return self.slices["candidate_mask"].stop

    def parts(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """The four parts of one flat vector, or of a batch of them, as views."""
        return {name: flat[..., part] for name, part in self.slices.items()}

    def space(self, kind: str) -> spaces.Space:
        """The space of one session's observation of that kind. Boxes are vectors, as SB3 asks for."""
        if kind == "flat":
            return spaces.Box(-1.0, 1.0, (self.size,), np.float32)
        if kind == "dict":
            lengths = {name: part.stop - part.start for name, part in self.slices.items()}
            return spaces.Dict(
                {
                    name: spaces.Box(0.0 if name == "candidate_mask" else -1.0, 1.0, (length,), np.float32)
                    for name, length in lengths.items()
                }
            )
        last = self.num_items - 1
        return spaces.Dict(
            {
                "user": spaces.Box(-1.0, 1.0, (self.user_size,), np.float32),
                "history_items": spaces.Box(NO_ITEM, last, (self.history_length,), np.int64),
                "history_feedback": spaces.Box(0.0, 1.0, (self.history_length * len(FEEDBACK),), np.float32),
                "candidate_items": spaces.Box(NO_ITEM, last, (self.num_candidates,), np.int64),
                "candidate_ages": spaces.Box(0, MAX_AGE, (self.num_candidates,), np.int64),
                "candidate_mask": spaces.Box(0.0, 1.0, (self.num_candidates,), np.float32),
            }
        )


@njit(cache=True)
def _write_user(session, profiles, session_length, out):
    num_features = profiles.shape[1]
    for f in range(num_features):
        out[f] = profiles[session.user, f]
    out[num_features] = session.step / session_length


@njit(cache=True)
def _write_feedback(feedback, out):
    """`FEEDBACK` of a used row of the session's history. (float64: the same rounding without the compiler.)"""
    out[0] = 1.0
    out[1] = np.float64(feedback[0]) * _SLOT_UNIT
    out[2] = feedback[1]
    out[3] = feedback[2]
    out[4] = np.float64(feedback[3]) * _STAR_UNIT


@njit(cache=True)
def _write_history(session, features, out):
    num_features = features.shape[1]
    length, width = len(session.history_items), num_features + 5
    row, at = (session.num_shown - 1) % length, 0
    for _ in range(min(session.num_shown, length)):
        part = out[at : at + width]
        content = features[session.history_items[row]]
        for f in range(num_features):
            part[f] = content[f]
        _write_feedback(session.history_feedback[row], part[num_features:])
        at += width
        row = row - 1 if row > 0 else length - 1
    out[at:] = 0.0


@njit(cache=True)
def _write_candidates(session, release_steps, features, statistics, out, mask):
    num_features = features.shape[1]
    width, at = num_features + 4, 0
    now = session.start_step + session.step
    for candidate in range(len(session.candidates)):
        item = session.candidates[candidate]
        part = out[at : at + width]
        at += width
        if item == NO_ITEM:
            part[:] = 0.0
            mask[candidate] = 0.0
            continue
        age = min(now - release_steps[item], MAX_AGE)
        content, known = features[item], statistics[REFRESH_AT[age], item]
        for f in range(num_features):
            part[f] = content[f]
        part[num_features] = SCALED_AGE[age]
        part[num_features + 1] = known[0]  # one by one: a loop of three costs Numba as much as all the rest
        part[num_features + 2] = known[1]
        part[num_features + 3] = known[2]
        mask[candidate] = 1.0


@njit(cache=True, nogil=True)
def write_flat(sessions, release_steps, features, statistics, profiles, session_length, out):
    """Fill `out` [N, size] float32 with the sessions' flat observations."""
    num_features = features.shape[1]
    for n in range(len(sessions)):
        session, row = sessions[n], out[n]
        history_at = profiles.shape[1] + 1
        candidates_at = history_at + len(session.history_items) * (num_features + 5)
        mask_at = candidates_at + len(session.candidates) * (num_features + 4)
        _write_user(session, profiles, session_length, row[:history_at])
        _write_history(session, features, row[history_at:candidates_at])
        _write_candidates(session, release_steps, features, statistics, row[candidates_at:mask_at], row[mask_at:])


@njit(cache=True, nogil=True)
def write_compact(
    sessions, release_steps, profiles, session_length, user, history_items, feedback, candidates, ages, mask
):
    """Fill the arrays of the compact observations; shapes as in `ObservationLayout.space("compact")`, with N first."""
    for n in range(len(sessions)):
        session = sessions[n]
        _write_user(session, profiles, session_length, user[n])
        length = len(session.history_items)
        num_rows = min(session.num_shown, length)
        feedback[n] = 0.0
        history_items[n] = NO_ITEM
        for back in range(num_rows):
            row = (session.num_shown - 1 - back) % length
            history_items[n, back] = session.history_items[row]
            _write_feedback(session.history_feedback[row], feedback[n, 5 * back : 5 * back + 5])
        now = session.start_step + session.step
        for candidate in range(len(session.candidates)):
            item = session.candidates[candidate]
            candidates[n, candidate] = item
            ages[n, candidate] = min(now - release_steps[item], MAX_AGE) if item != NO_ITEM else 0
            mask[n, candidate] = 1.0 if item != NO_ITEM else 0.0
