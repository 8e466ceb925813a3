"""The columns of a log of simulated sessions: one row for each step of a session.

Shape legend: S slots of a slate, M candidates.
"""

import polars as pl

from recsim_env.simulation.records import REWARD_TERMS

SCHEMA_VERSION = 1
"""Increased when a column changes its name, type or meaning."""

PER_SLOT: dict[str, type[pl.DataType]] = {
    "item": pl.Int32,
    "click": pl.Boolean,
    "consumption": pl.Float32,
    "rating": pl.Float32,
    "purchase": pl.Boolean,
    "follow": pl.Int8,
}
"""Columns with one value for each slot, top slot first: the item shown (-1 for an empty slot), and the feedback that
agents observe (see `records.HISTORY_FEEDBACK`)."""

REWARD_COLUMNS = tuple(f"reward_{term}" for term in REWARD_TERMS)
"""Unweighted reward terms."""


def event_schema(*, slate_size: int, num_candidates: int, num_action_features: int) -> dict[str, pl.DataType]:
    """Column names and types, in order.

    Args:
        slate_size: S.
        num_candidates: M.
        num_action_features: length of an action that is a point in content space; 0 for indices of candidates.
    """
    action = pl.Array(pl.Float32, num_action_features) if num_action_features else pl.Array(pl.Int32, slate_size)
    return {
        "session": pl.Int64(),
        "step": pl.Int32(),
        "visit": pl.Int32(),
        "time": pl.Int64(),
        "user": pl.Int32(),
        "candidates": pl.Array(pl.Int32, num_candidates),
        "action": action,
        "log_propensity": pl.Float64(),
        **{name: pl.Array(kind, slate_size) for name, kind in PER_SLOT.items()},
        "reward": pl.Float64(),
        **dict.fromkeys(REWARD_COLUMNS, pl.Float64()),
        "terminated": pl.Boolean(),
        "truncated": pl.Boolean(),
    }
