"""What an agent sees of a session: the layout of an observation, its spaces, and the code that writes it.

An observation is one flat vector [user | history | candidates | candidate_mask]. `"flat"` hands it out as it is,
`"dict"` hands out its four parts, `"compact"` hands out item ids, feedback and the platform's time, for learners that
read the catalogue once (`catalog_features`, `catalog_statistics`, `catalog_release_steps`) and gather on the GPU.

Shape legend: N sessions, H shown items in the history, M candidates, F content features, P profile features,
I items, A refreshes, G = F + 6 features of a candidate, T = F + 7 features of a row of the history.
"""

import math
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from gymnasium import spaces
from numba import njit

from recsim_env.config import MAX_SLATE_SIZE
from recsim_env.simulation.records import HISTORY_FEEDBACK, NO_ITEM, as_records

OBSERVATION_KINDS = ("dict", "flat", "compact")

STATISTICS = ("impressions", "click_rate", "mean_rating")
"""Observed item statistics, each scaled to 0..1: log2(1 + impressions) / 32, clicks / impressions, mean rating / 5."""

NUM_REFRESHES = 16
"""Statistics are refreshed when an item is released and at the ages of 1, 2, 4, ... 2**14 steps."""

CONTEXT = ("elapsed", "tenure")
"""Columns of `user` after the profile: the share of the session that is over; log2(1 + steps of logged history) / 16.
After them, in worlds with moods, a column for each: 1 for the mood that shows, which is late (`mood_delay`)."""

CANDIDATE_COLUMNS = ("age", *STATISTICS, "followed", "plays")
"""Columns of a candidate after its content: `SCALED_AGE`; the observed statistics, with what this session's history
adds to them; 1 if the user follows its creator; how often the history has it clicked / 16, at most 1."""

FEEDBACK = ("shown", *HISTORY_FEEDBACK)
"""Columns of a row of the history after its content: 1 if the row is in use; slot / 10; 0 or 1; 0..1; stars / 5, 0 if
no rating was submitted; 1 if bought; 1 if the creator was followed, -1 if unfollowed. Row 0 is what was shown last."""

MAX_AGE = 2 ** (NUM_REFRESHES - 2)
"""Age in steps after which an item is only called old, and its statistics are refreshed no more."""

REFRESH_AT = np.array([age.bit_length() for age in range(MAX_AGE + 1)], np.int64)
"""Index of the last refresh of an item's statistics, for each age: 0 at release, then 1 + floor(log2(age))."""

SCALED_AGE = (np.log2(1.0 + np.arange(MAX_AGE + 1)) / NUM_REFRESHES).astype(np.float32)
"""What an observation says of each age: log2(1 + age) / 16."""

_LARGE = 50_000
"""Items from which on a catalogue does not fit in a processor's caches."""

_SLOT_UNIT = 1.0 / MAX_SLATE_SIZE
_STAR_UNIT = 1.0 / 5.0
_MAX_PLAYS = 16
_MAX_TIME = 2**62
_NUM_FEEDBACK, _NUM_COLUMNS = len(FEEDBACK), len(CANDIDATE_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class ObservationLayout:
    """Where each part of an observation stands."""

    num_profile_features: int
    num_moods: int
    num_content_features: int
    num_items: int
    num_candidates: int
    history_length: int
    has_purchases: bool
    """Whether items are for sale, so that a click without a purchase was a look at an item that did not please."""

    def as_settings(self) -> dict[str, int | bool]:
        """As JSON can hold it; `ObservationLayout(**settings)` brings it back."""
        return asdict(self)

    @property
    def user_size(self) -> int:
        return self.num_profile_features + len(CONTEXT) + (self.num_moods if self.num_moods > 1 else 0)

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
                "history_items": spaces.Box(NO_ITEM, last, (self.history_length,), np.int32),
                "history_feedback": spaces.Box(-1.0, 1.0, (self.history_length * _NUM_FEEDBACK,), np.float32),
                "candidate_items": spaces.Box(NO_ITEM, last, (self.num_candidates,), np.int32),
                "time": spaces.Box(0, _MAX_TIME, (1,), np.int64),
            }
        )


def observable_records(features: np.ndarray, release_steps: np.ndarray, creators: np.ndarray) -> np.ndarray:
    """What is seen of each item and never changes, as [I] records: `content` [F], `release_step`, `creator`.

    Side by side they lie in one line of memory, and the compiler knows how many features there are.
    """
    fields = [("release_step", "i8"), ("creator", "i4"), ("content", "f4", (features.shape[1],))]
    records = np.zeros(len(features), np.dtype(fields, align=True))
    records["release_step"], records["creator"], records["content"] = release_steps, creators, features
    return as_records(records)


@njit(cache=True)
def _write_user(session, profiles, num_moods, session_length, out):
    num_features = profiles.shape[1]
    for f in range(num_features):
        out[f] = profiles[session.user, f]
    out[num_features] = session.step / session_length
    out[num_features + 1] = math.log2(1.0 + session.tenure) / 16.0 if session.tenure > 0 else 0.0
    if num_moods > 1:
        for mood in range(num_moods):
            out[num_features + 2 + mood] = 1.0 if session.seen_mood == mood else 0.0


@njit(cache=True)
def _write_feedback(feedback, out, at):
    """`FEEDBACK` of a used row of the session's history, from `out[at]` on (slices take longer than all the rest).
    float64: the same rounding without the compiler."""
    out[at] = 1.0
    out[at + 1] = np.float64(feedback[0]) * _SLOT_UNIT
    out[at + 2] = feedback[1]
    out[at + 3] = feedback[2]
    out[at + 4] = np.float64(feedback[3]) * _STAR_UNIT
    out[at + 5] = feedback[4]
    out[at + 6] = feedback[5]


@njit(cache=True)
def _write_history(session, seen, out):
    num_features = len(seen[0].content)
    length, width = len(session.history_items), num_features + _NUM_FEEDBACK
    row, at = (session.num_shown - 1) % length, 0
    for _ in range(min(session.num_shown, length)):
        content = seen[session.history_items[row]].content
        for f in range(len(content)):
            out[at + f] = content[f]
        _write_feedback(session.history_feedback[row], out, at + num_features)
        at += width
        row = row - 1 if row > 0 else length - 1
    out[at:] = 0.0


@njit(cache=True)
def _count_own_feedback(session, item, own):
    """What the session's history says of an item: impressions, clicks, ratings, stars."""
    own[:] = 0.0
    for row in range(len(session.history_items)):
        if session.history_items[row] == item:
            own[0] += 1.0
            own[1] += session.history_feedback[row, 1]
            own[2] += 1.0 if session.history_feedback[row, 3] > 0.0 else 0.0
            own[3] += session.history_feedback[row, 3]


@njit(cache=True)
def _add_feedback(known, more, out, at):
    """`STATISTICS` of background statistics [4] and of counts [4] besides them, from `out[at]` on.
    float64: the same rounding without the compiler."""
    click_rate, stars, num_ratings = np.float64(known[1]), 5.0 * np.float64(known[2]), np.float64(known[3])
    impressions = 2.0 ** (32.0 * np.float64(known[0])) - 1.0
    out[at] = min(math.log2(1.0 + impressions + more[0]) / 32.0, 1.0)
    out[at + 1] = (click_rate * impressions + more[1]) / max(impressions + more[0], 1.0)
    out[at + 2] = (stars * num_ratings + more[3]) / max(num_ratings + more[2], 1.0) / 5.0


@njit(cache=True)
def _write_candidates(session, seen, statistics, shared, own, out, mask):
    num_features = len(seen[0].content)
    width, column = num_features + _NUM_COLUMNS, num_features
    now, is_live = session.start_step + session.step, len(shared) > 0
    for candidate in range(len(session.candidates)):
        item = session.candidates[candidate]
        at = column - num_features
        if item == NO_ITEM:
            out[at : at + width] = 0.0
            mask[candidate] = 0.0
            column += width
            continue
        content = seen[item].content
        for f in range(len(content)):
            out[at + f] = content[f]
        age = min(now - seen[item].release_step, MAX_AGE)
        refresh = REFRESH_AT[age]
        out[column] = SCALED_AGE[age]
        out[column + 1] = statistics[refresh, item, 0]  # one by one: a loop of three takes as long as all the rest
        out[column + 2] = statistics[refresh, item, 1]
        out[column + 3] = statistics[refresh, item, 2]
        out[column + 4] = 0.0
        out[column + 5] = 0.0
        mask[candidate] = 1.0
        is_known = False
        for row in range(len(session.history_items)):
            is_known |= session.history_items[row] == item
        if is_known:
            _count_own_feedback(session, item, own)
            out[column + 5] = min(own[1] / _MAX_PLAYS, 1.0)
            if not is_live:
                _add_feedback(statistics[refresh, item], own, out, column + 1)
        if is_live and shared[item, 0] > 0.0:
            _add_feedback(statistics[refresh, item], shared[item], out, column + 1)
        column += width


@njit(cache=True)
def _touch(session, seen, statistics):
    """Read a little of what the catalogue says of each candidate: many such reads go on at once."""
    total, now = np.float32(0.0), session.start_step + session.step
    for candidate in range(len(session.candidates)):
        item = session.candidates[candidate]
        refresh = REFRESH_AT[min(max(now - seen[item].release_step, 0), MAX_AGE)]
        total += seen[item].content[-1] + statistics[refresh, item, 0]
    return total


@njit(cache=True)
def _write_followed(session, seen, width, out):
    """The column `followed`, in worlds with creators."""
    at = width - 2
    for candidate in range(len(session.candidates)):
        item = session.candidates[candidate]
        if item != NO_ITEM:
            out[at] = session.follows[seen[item].creator]
        at += width


@njit(cache=True, nogil=True)
def write_flat(sessions, catalog, profiles, num_moods, session_length, out):
    """Fill `out` [N, size] float32 with the sessions' flat observations.

    `catalog` is (`observable_records` [I], statistics [A, I, 4], feedback [I, 4] shared by a live platform, or [0, 4]).
    """
    seen, statistics, shared = catalog
    num_features, own = len(seen[0].content), np.zeros(4)
    total = np.float32(0.0)  # handed out, or else the compiler would drop what it is made of
    for n in range(len(sessions)):
        session, row = sessions[n], out[n]
        if len(seen) > _LARGE:
            total += _touch(session, seen, statistics)
        history_at = profiles.shape[1] + 2 + (num_moods if num_moods > 1 else 0)
        candidates_at = history_at + len(session.history_items) * (num_features + _NUM_FEEDBACK)
        mask_at = candidates_at + len(session.candidates) * (num_features + _NUM_COLUMNS)
        candidates = row[candidates_at:mask_at]
        _write_user(session, profiles, num_moods, session_length, row[:history_at])
        _write_history(session, seen, row[history_at:candidates_at])
        _write_candidates(session, seen, statistics, shared, own, candidates, row[mask_at:])
        if len(session.follows) > 1:
            _write_followed(session, seen, num_features + _NUM_COLUMNS, candidates)
    return total


@njit(cache=True, nogil=True)
def write_compact(sessions, profiles, num_moods, session_length, user, history_items, feedback, candidates, time):
    """Fill the arrays of the compact observations; shapes as in `ObservationLayout.space("compact")`, with N first."""
    for n in range(len(sessions)):
        session = sessions[n]
        _write_user(session, profiles, num_moods, session_length, user[n])
        length = len(session.history_items)
        num_rows = min(session.num_shown, length)
        row = (session.num_shown - 1) % length
        for back in range(num_rows):
            history_items[n, back] = session.history_items[row]
            _write_feedback(session.history_feedback[row], feedback[n], _NUM_FEEDBACK * back)
            row = row - 1 if row > 0 else length - 1
        history_items[n, num_rows:] = NO_ITEM
        feedback[n, _NUM_FEEDBACK * num_rows :] = 0.0
        for candidate in range(len(session.candidates)):
            candidates[n, candidate] = session.candidates[candidate]
        time[n, 0] = session.start_step + session.step
