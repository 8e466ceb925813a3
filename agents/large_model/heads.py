"""What is read off a state: a distribution over returns, and the policy that belongs to values of candidates.

Shape legend: ... any leading dimensions, M candidates, b bins.
"""

import torch
from torch import nn

from recsim_env.envs.candidate_scorer import MISSING

_SMOOTHNESS = 0.75  # standard deviation of a target, in bins
_MARGIN = 2  # bins beyond each bound: a target that were cut off there would have another mean than its return


class ReturnDistribution(nn.Module):
    """States [..., E] to logits [..., b] of a histogram over returns, learnt by cross-entropy with a smoothed target.

    HL-Gauss: Farebrother et al., "Stop regressing: training value functions via classification for scalable deep RL",
    ICML 2024.

    Args:
        width: E.
        low: least return.
        high: greatest return.
        num_bins: b, the margins of two at each end among them.
    """

    def __init__(self, width: int, low: float, high: float, num_bins: int) -> None:
        super().__init__()
        self.logits = nn.Linear(width, num_bins)
        nn.init.zeros_(self.logits.weight)
        self.low, self.high = low, high
        margin = _MARGIN * (high - low) / (num_bins - 2 * _MARGIN)
        self.register_buffer("edges", torch.linspace(low - margin, high + margin, num_bins + 1), persistent=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.logits(states)

    def mean(self, logits: torch.Tensor) -> torch.Tensor:
        """[...]: the mean of the distribution, in units of return."""
        edges: torch.Tensor = self.edges  # type: ignore[assignment]
        centres = (edges[1:] + edges[:-1]) / 2.0
        return (logits.float().softmax(-1) * centres).sum(-1)  # not a product of matrices, which autocast would round

    def target(self, returns: torch.Tensor) -> torch.Tensor:
        """[..., b]: the masses in the bins of a normal distribution around each return, which is cut off at the
        bounds."""
        edges: torch.Tensor = self.edges  # type: ignore[assignment]
        spread = _SMOOTHNESS * (edges[1] - edges[0]) * 2.0**0.5
        below = torch.erf((edges - returns[..., None].clamp(self.low, self.high)) / spread)  # [..., b + 1]
        return (below[..., 1:] - below[..., :-1]) / (below[..., -1:] - below[..., :1])

    def loss(self, logits: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
        """[...]: cross-entropy with the target of each return."""
        return -(self.target(returns) * logits.float().log_softmax(-1)).sum(-1)


def policy_logits(worths: torch.Tensor, temperature: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[..., M]: logits of the Boltzmann policy pi = softmax(worth / temperature); missing candidates have `MISSING`."""
    return (worths.float() / temperature).masked_fill(mask == 0, MISSING)


def q_values(values: torch.Tensor, logits: torch.Tensor, temperature: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[..., M]: Q = V + temperature (logits - sum pi logits), so that softmax(Q / temperature) = pi and E_pi Q = V.

    `values` [...] and `temperature` are in units of return; Q of missing candidates is far below any other.
    """
    policy = logits.softmax(-1)
    known = logits.masked_fill(mask == 0, 0.0)
    mean = (policy * known).sum(-1, keepdim=True)
    return (values[..., None] + temperature * (known - mean)).masked_fill(mask == 0, MISSING)
