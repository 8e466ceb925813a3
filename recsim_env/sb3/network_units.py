"""Observations of candidates in units in which they differ by about 1, for networks."""

import torch

from recsim_env.simulation.network_units import in_network_units
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, STATISTICS


def with_network_units(candidates: torch.Tensor) -> torch.Tensor:
    """[..., G]: observed candidates [..., G] with their statistics `in_network_units`."""
    start = candidates.shape[-1] - len(CANDIDATE_COLUMNS) + CANDIDATE_COLUMNS.index(STATISTICS[0])
    before, statistics, after = candidates.tensor_split((start, start + len(STATISTICS)), -1)
    return torch.cat([before, in_network_units(statistics), after], -1)
