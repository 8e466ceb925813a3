"""How much is computed: floating-point operations of a training, and what share of a GPU's peak that is.

A multiplication with a matrix of P numbers takes 2 P operations forward and 4 P backward (Kaplan et al. 2020).
"""

import torch

from agents.large_model.model import LargeModel

PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "A10": 125e12, "RTX 4090": 165e12}
"""Operations per second in bfloat16 without sparsity, by a part of the device's name; from the makers' data sheets."""


def peak_of(device: torch.device) -> float | None:
    """Operations per second that a GPU can do in bfloat16; None for what is not in `PEAKS`."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def forward_operations(model: LargeModel, num_tokens: int, num_steps: int, num_candidates: int, length: int) -> float:
    """Operations of one forward pass: the trunk over `num_tokens` tokens in sessions of `length`, and the scoring of
    `num_candidates` candidates in each of `num_steps` steps. The content tower, which runs once an item, is left out.
    """
    sizes = model.sizes
    attention = 2.0 * sizes.num_layers * sizes.width * (length / 2.0)  # products with half of the tokens, and back
    heads = model.queries.weight.numel() + model.value_head.logits.weight.numel() + model.context.weight.numel()
    candidate = sizes.candidate_width * (3 + model.candidate_dynamics.in_features)
    return 2.0 * (
        num_tokens * (model.trunk.num_multiplied + attention) + num_steps * (heads + num_candidates * candidate)
    )
