"""The device on which a network computes."""

import re

import torch


def device_named(name: str) -> torch.device:
    """The device; `ValueError` unless it is the CPU or a GPU of this machine."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", str(name)):
        raise ValueError(f"device={name!r}: must be cpu, cuda or cuda:NUMBER")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={name!r}: PyTorch finds no GPU on this machine")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device={name!r}: there are {torch.cuda.device_count()} GPUs, counted from 0")
    return device
