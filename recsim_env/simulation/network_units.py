"""Observed item statistics in units in which items differ by about 1.

In observations the differences are small (0.1 for mean ratings), and a network with small initial weights ignores them.
"""

from typing import Any, TypeVar

from recsim_env.simulation.observation import STATISTICS

_UNITS: dict[str, tuple[float, float]] = {
    "impressions": (3.2, 0.0),
    "click_rate": (4.0, 0.5),
    "mean_rating": (5.0, 0.6),
}
"""Factor and offset of each statistic."""

Array = TypeVar("Array")
"""A NumPy array or a tensor."""


def in_network_units(statistics: Array) -> Array:
    """[..., 3]: observed `STATISTICS` [..., 3] as log2(1 + impressions) / 10, four times the click rate above 0.5, and
    the mean rating above 3; 0 where there are no observations."""
    observed: Any = statistics
    is_observed = observed > 0.0
    is_observed[..., 1] = is_observed[..., 0]
    scaled = observed * is_observed
    for column, name in enumerate(STATISTICS):
        factor, offset = _UNITS[name]
        scaled[..., column] = factor * (observed[..., column] - offset) * is_observed[..., column]
    return scaled
