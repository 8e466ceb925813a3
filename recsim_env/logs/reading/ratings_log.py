"""A ratings log in memory.

Shape legend: N ratings, U users, I items, K topics, F item features, P profile features, L rating levels.
"""

from dataclasses import dataclass, replace

import numpy as np

NO_COLUMNS = "none"
"""Name of the single constant column of a log without metadata."""

NO_DISTINGUISHING_FEATURES = (
    "items have no distinguishing features, so agents can compare them only by their statistics and the platform's "
    "prediction; fit a world with item metadata (--items FILE), or with factors learnt from the log as item features "
    "(--content factors)"
)
"""Warning for a log whose items all have the same features."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RatingsLog:
    """At most one rating for each user-item pair; users and items in order of their first rating."""

    source: str
    """Name of the folder or file, without its path."""
    users: np.ndarray
    """[N] int64, indices into `user_ids`."""
    items: np.ndarray
    """[N] int64, indices into `item_ids`."""
    ratings: np.ndarray
    """[N] float64, each one of `rating_levels`."""
    rating_levels: np.ndarray
    """[L] float64, ascending, in 0..5: the rating scale; 1 to 5, half stars from 0.5 to 5, or another scale mapped to
    1 to 5."""
    times: np.ndarray
    """[N] float64 seconds, ascending with the order of events; row numbers if the log has no times."""
    has_times: bool
    """Whether the log has times."""
    user_ids: np.ndarray
    """[U] unicode, in order of the first rating; ties are broken by id (numerically if all ids are numbers)."""
    item_ids: np.ndarray
    """[I] unicode; likewise."""
    titles: np.ndarray
    """[I] unicode; the id if the title is unknown."""
    item_topics: np.ndarray
    """[I, K] float64 on the simplex: equal weights for an item's genres, uniform without genres."""
    topic_names: np.ndarray
    """[K] unicode."""
    item_features: np.ndarray
    """[I, F] float32 in [-1, 1]: genres as 0 or 1, numbers scaled by their range and imputed by their median."""
    feature_names: np.ndarray
    """[F] unicode."""
    user_profiles: np.ndarray
    """[U, P] float32 in [-1, 1]; likewise."""
    profile_names: np.ndarray
    """[P] unicode."""

    @property
    def level_indices(self) -> np.ndarray:
        """[N] int64 in 0..L-1: positions of the ratings among the levels."""
        return np.searchsorted(self.rating_levels, self.ratings)

    def of_users(self, chosen: np.ndarray) -> "RatingsLog":
        """The ratings of the `chosen` users, indices into `user_ids`, with the items that they rated."""
        is_kept = np.isin(self.users, chosen)
        (users, user_indices), (items, item_indices) = (
            _in_order_of_first(each[is_kept]) for each in (self.users, self.items)
        )
        return replace(
            self,
            users=user_indices,
            items=item_indices,
            **{name: getattr(self, name)[is_kept] for name in ("ratings", "times")},
            **{name: getattr(self, name)[users] for name in ("user_ids", "user_profiles")},
            **{name: getattr(self, name)[items] for name in ("item_ids", "titles", "item_topics", "item_features")},
        )

    @property
    def has_content(self) -> bool:
        """Whether item features differ between items."""
        return bool(np.ptp(self.item_features, axis=0).any())


def positions_of(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """[R] int64: the position of each of [R] unicode ids among the `known` ids, -1 for an unknown id."""
    order = np.argsort(known)
    found = order[np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)]
    return np.where(known[found] == ids, found, -1)


def _in_order_of_first(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values in order of first occurrence, and the [N] int64 index of each value among them."""
    distinct, first, indices = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return distinct[order], places[indices]
