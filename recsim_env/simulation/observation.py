"""Observations of a session: their columns, their layout and their spaces; `observation_writers` fills them.

`"dict"` observations have the parts user, candidates and candidate_mask, and few columns: the user's feedback so far,
and the platform's prediction of this user's answer to each candidate. `"flat"` is the same as one vector. `"full"` adds
the user's profile, the history, and the content and statistics of candidates. `"compact"` returns item ids, feedback,
the relevance of candidates and the platform's time, for learners that read the catalogue once (`catalog_features`,
`catalog_statistics`, `catalog_release_steps`) and gather on the GPU.

Shape legend: N sessions, H shown items in the history, M candidates, F content features, P profile features,
I items, A refreshes, G features of a candidate (3, or F + 9 in `"full"`), T = F + 7 features of a row of the history.
"""

import math
from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces

from recsim_env.simulation.records import HISTORY_FEEDBACK, NO_ITEM, NUM_REFRESHES
from recsim_env.simulation.relevance import MAX_AGE

OBSERVATION_KINDS = ("dict", "flat", "full", "compact")

STATISTICS = ("impressions", "click_rate", "mean_rating")
"""Observed item statistics, each scaled to 0..1: log2(1 + impressions) / 32, clicks / impressions, mean rating / 5."""

CONTEXT = ("elapsed", "tenure")
"""Last columns of `user`: elapsed share of the session; log2(1 + steps of logged history) / 16. In worlds with moods,
one column for each mood follows: 1 for the mood as observed, with a delay (`mood_delay`)."""

VISIT_CONTEXT = ("day", "visit_elapsed", "absence", "visits")
"""Columns of `user` after `CONTEXT` in lifetimes: elapsed share of the days; of the longest visit; log2(1 + days of the
last absence) / 8; log2(visits so far) / 16."""

USER_FEEDBACK = ("click_rate", "mean_rating")
"""Columns of `user` before `CONTEXT` in `"dict"` and `"flat"` observations, instead of the profile: this user's clicks
/ impressions so far, logged history included; mean submitted rating / 5. Both are 0 at first."""

RELEVANCE_COLUMNS = ("relevance", "deviation", "evidence")
"""Columns of a candidate in `"dict"` and `"flat"` observations: the predicted answer of this user / 5, and its
deviation from the mean answer of all users, both clipped to [-1, 1]; the share of the deviation's variance that this
user's answers explain, 0 to 1 (see `relevance`)."""

CANDIDATE_COLUMNS = ("age", *STATISTICS, "followed", "plays", *RELEVANCE_COLUMNS)
"""Columns of a candidate after its content in `"full"` observations: `SCALED_AGE`; the observed statistics, including
this session's history; 1 if the user follows its creator; clicks in the history / 16, at most 1; and
`RELEVANCE_COLUMNS`."""

FEEDBACK = ("shown", *HISTORY_FEEDBACK)
"""Columns of a row of the history after its content: 1 if the row is in use; slot / 10; 0 or 1; 0..1; rating / 5, 0 if
none was submitted; 1 if bought; 1 if the creator was followed, -1 if unfollowed. Row 0 is the item shown last."""

SCALED_AGE = (np.log2(1.0 + np.arange(MAX_AGE + 1)) / NUM_REFRESHES).astype(np.float32)
"""The observed value of each age: log2(1 + age) / 16."""

_IMPRESSIONS_UNIT = 32.0
_MAX_TIME = 2**62
_NUM_FEEDBACK, _NUM_COLUMNS = len(FEEDBACK), len(CANDIDATE_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class ObservationLayout:
    """Sizes and positions of the parts of an observation, which is one vector in memory."""

    num_profile_features: int
    num_moods: int
    num_content_features: int
    num_items: int
    num_candidates: int
    history_length: int
    has_purchases: bool
    """Whether items are for sale, so that a click without a purchase is negative feedback."""
    is_lifetime: bool = False
    """Whether an episode has several visits, so that observations have `VISIT_CONTEXT`."""
    neutral_rating: float = 0.0
    """Rating that neither pays nor costs: see `RewardConfig`."""
    is_full: bool = True
    """Whether observations have the profile, the history, and content and statistics of candidates; False for "dict"
    and "flat"."""

    def as_settings(self) -> dict[str, float]:
        """JSON-serialisable fields, for `ObservationLayout(**settings)`."""
        return asdict(self)

    def of_kind(self, kind: str) -> "ObservationLayout":
        """The layout of observations of that kind."""
        return self if self.is_full == (kind in ("full", "compact")) else self._other

    @cached_property
    def _other(self) -> "ObservationLayout":
        return replace(self, is_full=not self.is_full)

    @property
    def user_size(self) -> int:
        num_features = self.num_profile_features if self.is_full else len(USER_FEEDBACK)
        return num_features + self.context_size + (self.num_moods if self.num_moods > 1 else 0)

    @property
    def context_size(self) -> int:
        """Columns of `user` between the profile (or `USER_FEEDBACK`) and the visible mood."""
        return len(CONTEXT) + (len(VISIT_CONTEXT) if self.is_lifetime else 0)

    @property
    def history_shape(self) -> tuple[int, int]:
        return self.history_length, self.num_content_features + len(FEEDBACK)

    @property
    def candidates_shape(self) -> tuple[int, int]:
        full = self.num_content_features + len(CANDIDATE_COLUMNS)
        return self.num_candidates, full if self.is_full else len(RELEVANCE_COLUMNS)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Slice of each part of the flat vector."""
        lengths = {
            "user": self.user_size,
            **({"history": math.prod(self.history_shape)} if self.is_full else {}),
            "candidates": math.prod(self.candidates_shape),
            "candidate_mask": self.num_candidates,
        }
        ends = np.cumsum([0, *lengths.values()]).tolist()
        return {name: slice(ends[n], ends[n + 1]) for n, name in enumerate(lengths)}

    @cached_property
    def size(self) -> int:
        """Length of the flat vector."""
        return self.slices["candidate_mask"].stop

    def parts(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """The parts of one flat vector, or of a batch of them, as views."""
        return {name: flat[part] for name, part in (self._parts if flat.ndim == 1 else self._parts_of_batches)}

    @cached_property
    def _parts(self) -> tuple[tuple[str, Any], ...]:
        return tuple(self.slices.items())

    @cached_property
    def _parts_of_batches(self) -> tuple[tuple[str, Any], ...]:
        return tuple((name, (..., part)) for name, part in self.slices.items())

    def space(self, kind: str) -> spaces.Space[Any]:
        """Space of one session's observation of that kind; boxes are one-dimensional, as Stable-Baselines3 requires."""
        if kind == "flat":
            layout = self.of_kind(kind)
            low = np.full(layout.size, -1.0, np.float32)
            low[layout.slices["candidate_mask"]] = 0.0
            return spaces.Box(low, np.ones_like(low))
        if kind != "compact":
            lengths = {name: part.stop - part.start for name, part in self.of_kind(kind).slices.items()}
            return in_order(
                {
                    name: spaces.Box(0.0 if name == "candidate_mask" else -1.0, 1.0, (length,), np.float32)
                    for name, length in lengths.items()
                }
            )
        last = self.num_items - 1
        return in_order(
            {
                "user": spaces.Box(-1.0, 1.0, (self.of_kind(kind).user_size,), np.float32),
                "history_items": spaces.Box(NO_ITEM, last, (self.history_length,), np.int32),
                "history_feedback": spaces.Box(-1.0, 1.0, (self.history_length * _NUM_FEEDBACK,), np.float32),
                "candidate_items": spaces.Box(NO_ITEM, last, (self.num_candidates,), np.int32),
                "candidate_relevance": spaces.Box(
                    -1.0, 1.0, (self.num_candidates * len(RELEVANCE_COLUMNS),), np.float32
                ),
                "time": spaces.Box(0, _MAX_TIME, (1,), np.int64),
            }
        )


def scaled_impressions(num_impressions: np.ndarray) -> np.ndarray:
    """[...] float64: numbers of impressions [...] as in `STATISTICS`, cut at 1."""
    return np.minimum(np.log2(1.0 + num_impressions) / _IMPRESSIONS_UNIT, 1.0)


def num_impressions(statistics: np.ndarray) -> np.ndarray:
    """[...] float64: impressions of items, from statistics [..., 3 or more] whose first columns are `STATISTICS`; the
    inverse of `scaled_impressions`."""
    return 2.0 ** (_IMPRESSIONS_UNIT * statistics[..., 0].astype(np.float64)) - 1.0


def in_order(parts: dict[str, spaces.Space[Any]]) -> spaces.Dict:
    """A space whose keys keep this order. (Gymnasium sorts those of a dict.)"""
    return spaces.Dict(OrderedDict(parts))
