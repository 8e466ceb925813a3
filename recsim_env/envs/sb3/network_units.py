"""Observed statistics of items in units in which items differ by about 1, as networks need them.

As they are observed, items hardly differ (their mean rating by .1 of 1), and a network that starts with small weights
for all that it sees takes little notice of that.
"""

import torch

from recsim_env.simulation.observation import CANDIDATE_COLUMNS, STATISTICS

_UNITS: dict[str, tuple[float, float]] = {
    "impressions": (3.2, 0.0),
    "click_rate": (4.0, 0.5),
    "mean_rating": (5.0, 0.6),
}
"""Of each statistic the factor, and what is 0."""


def in_network_units(statistics: torch.Tensor) -> torch.Tensor:
    """[..., 3]: of observed `STATISTICS` [..., 3] log2(1 + impressions) / 10, four times the click rate above a half,
    and stars above 3; 0 of what has not been observed."""
    is_there = statistics > 0.0
    is_there[..., 1] = is_there[..., 0]
    units = statistics.new_tensor([_UNITS[name] for name in STATISTICS])
    factors, middles = units.unbind(1)
    return factors * (statistics - middles) * is_there


def with_network_units(candidates: torch.Tensor) -> torch.Tensor:
    """[..., G]: candidates as observed [..., G], with their statistics `in_network_units`."""
    begin = candidates.shape[-1] - len(CANDIDATE_COLUMNS) + CANDIDATE_COLUMNS.index(STATISTICS[0])
    before, statistics, after = candidates.tensor_split((begin, begin + len(STATISTICS)), -1)
    return torch.cat([before, in_network_units(statistics), after], -1)
