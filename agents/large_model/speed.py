"""Measurements of speed: seconds by activity, and floating-point operations against a device's peak."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from agents.large_model.model import LargeModelNetwork

PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "A10": 125e12, "RTX 4090": 165e12}
"""Operations per second in bfloat16 without sparsity, by a part of the device's name; from the vendors' data sheets."""


class Timer:
    """Seconds by activity; on a GPU, activities end when their kernels have finished."""

    def __init__(self, device: torch.device | None = None) -> None:
        self._is_cuda = device is not None and device.type == "cuda"
        self._seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the duration of the block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            if self._is_cuda:
                torch.cuda.synchronize()
            self._seconds[name] += time.perf_counter() - started

    def reset(self) -> dict[str, float]:
        """The seconds so far; later ones count from 0."""
        seconds, self._seconds = dict(self._seconds), defaultdict(float)
        return seconds


def peak_flops(device: torch.device) -> float | None:
    """Operations per second of a GPU in bfloat16; None for devices that are not in `PEAK_FLOPS`."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)


def forward_flops(
    network: "LargeModelNetwork", num_tokens: int, num_steps: int, num_candidates: int, length: int
) -> float:
    """Floating-point operations of a forward pass: the backbone over `num_tokens` tokens in sessions of `length`, and
    the scores of `num_candidates` candidates in each of `num_steps` steps.

    A product with a matrix of P numbers takes 2 P operations forward and 4 P backward (Kaplan et al. 2020). The content
    encoder, which runs once per item, is left out.
    """
    config = network.config
    attention = 2.0 * config.num_layers * config.width * (length / 2.0)  # half of the tokens come later
    heads = network.queries.weight.numel() + network.value_head.logits.weight.numel() + network.context.weight.numel()
    hidden = 2 * config.candidate_hidden_width + config.memory_channels
    candidate = config.candidate_width * (3 + network.candidate_dynamics.in_features + hidden)
    return 2.0 * (
        num_tokens * (network.backbone.num_multiplied + attention) + num_steps * (heads + num_candidates * candidate)
    )
