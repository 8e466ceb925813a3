"""Plackett-Luce slates: each slot is a draw of the softmax over the candidates that are left.

Plackett (1975) and Luce (1959); drawn at once as the S largest of logits with Gumbel noise (Kool, van Hoof and
Welling, "Stochastic beams and where to find them", ICML 2019).

Shape legend: ... any leading dimensions, M candidates, S slots.
"""

import torch


def draw_slates(logits: torch.Tensor, num_slots: int, generator: torch.Generator) -> torch.Tensor:
    """[..., S] int64: candidates of a slate drawn by their logits [..., M], top slot first."""
    noise = -torch.empty(logits.shape, device=logits.device).exponential_(generator=generator).clamp(min=1e-20).log()
    return best_slates(logits + noise, num_slots)


def best_slates(logits: torch.Tensor, num_slots: int) -> torch.Tensor:
    """[..., S] int64: the candidates with the largest logits [..., M], best on top."""
    if num_slots == 1:
        return logits.argmax(-1, keepdim=True)
    return logits.topk(num_slots, -1).indices


def slate_log_probabilities(logits: torch.Tensor, slates: torch.Tensor) -> torch.Tensor:
    """[..., S]: of each slot's candidate, given those above it; a slate's log-probability is their sum."""
    chosen = logits.gather(-1, slates)  # [..., S]
    if slates.shape[-1] == 1:
        return chosen - logits.logsumexp(-1, keepdim=True)
    slots, left = [], logits
    for slot in range(slates.shape[-1]):
        slots.append(chosen[..., slot] - left.logsumexp(-1))
        left = left.scatter(-1, slates[..., slot : slot + 1], -torch.inf)
    return torch.stack(slots, -1)


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """[...]: of the first slot's distribution, in nats."""
    log_probabilities = logits.log_softmax(-1)
    return -(log_probabilities.exp() * log_probabilities).sum(-1)
