"""Observed item statistics in units in which items differ by about 1.

In observations the differences are small (0.1 for mean ratings), and a network with small initial weights ignores them.
"""

import torch

from recsim_env.simulation.observation import CANDIDATE_COLUMNS, STATISTICS

_UNITS: dict[str, tuple[float, float]] = {
    "impressions": (3.2, 0.0),
    "click_rate": (4.0, 0.5),
    "mean_rating": (5.0, 0.6),
}
"""Factor and offset of each statistic."""


def in_network_units(statistics: torch.Tensor) -> torch.Tensor:
    """[..., 3]: observed `STATISTICS` [..., 3] as log2(1 + impressions) / 10, four times the click rate above 0.5, and
    the mean rating above 3; 0 where there are no observations."""
    is_observed = statistics > 0.0
    is_observed[..., 1] = is_observed[..., 0]
    units = statistics.new_tensor([_UNITS[name] for name in STATISTICS])
    factors, offsets = units.unbind(1)
    return factors * (statistics - offsets) * is_observed


def with_network_units(candidates: torch.Tensor) -> torch.Tensor:
    """[..., G]: observed candidates [..., G] with their statistics `in_network_units`."""
    start = candidates.shape[-1] - len(CANDIDATE_COLUMNS) + CANDIDATE_COLUMNS.index(STATISTICS[0])
    before, statistics, after = candidates.tensor_split((start, start + len(STATISTICS)), -1)
    return torch.cat([before, in_network_units(statistics), after], -1)
