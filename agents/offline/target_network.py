"""Target networks: slowly updated copies, from which values are bootstrapped.

Polyak averaging as in Lillicrap et al., "Continuous control with deep reinforcement learning", ICLR 2016.
"""

import copy

import torch
from torch import nn


class TargetNetwork:
    """A copy of a network with soft updates: target <- (1 - tau) target + tau network."""

    def __init__(self, network: nn.Module, tau: float) -> None:
        self._network, self._tau = network, tau
        self._copy = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def __call__(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """The output of the target network."""
        return self._copy(observations)

    @torch.no_grad()
    def follow(self) -> None:
        """Apply a soft update."""
        for target, weight in zip(self._copy.parameters(), self._network.parameters(), strict=True):
            target.lerp_(weight, self._tau)
