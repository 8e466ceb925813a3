"""Distributed training with `torchrun`, and measurements of speed; a single process is a group of size 1.

Every process plays its own sessions and computes their loss; gradients and statistics are averaged over all.
"""

import gc
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from agents.networks.device import device_named

if TYPE_CHECKING:
    from agents.large_model.losses import SessionLoss
    from agents.large_model.model import LargeModelNetwork

_TIMEOUT = timedelta(minutes=30)

SHARDED_FROM = 500_000_000
"""Parameters from which on a model is sharded over the processes (FSDP2) instead of copied to each (DDP)."""

PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "A10": 125e12, "RTX 4090": 165e12}
"""Operations per second in bfloat16 without sparsity, by a part of the device's name; from the vendors' data sheets."""


@dataclass(frozen=True, kw_only=True)
class ProcessGroup:
    """The processes that train one model, and this process's rank."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, total: int, name: str) -> int:
        """This process's part of a total; `ValueError` if it is not a multiple of the number of processes."""
        if total % self.size:
            raise ValueError(f"{name}={total}: must be a multiple of the number of processes, {self.size}")
        return total // self.size

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sums over all processes."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def mean(self, numbers: dict[str, float]) -> dict[str, float]:
        """Means over all processes."""
        values = torch.tensor(list(numbers.values()), dtype=torch.float64, device=self.device)
        return dict(zip(numbers, (self.sum(values) / self.size).tolist(), strict=True))

    def of_each(self, number: int) -> list[int]:
        """The numbers of all processes, in the order of ranks."""
        own = torch.zeros(self.size, dtype=torch.int64, device=self.device)
        own[self.rank] = number
        return self.sum(own).tolist()

    def any(self, value: bool) -> bool:
        """Whether it is true in any process."""
        return bool(self.sum(torch.tensor([float(value)], device=self.device)).item() > 0.0)


@contextmanager
def process_group(device: str) -> Iterator[ProcessGroup]:
    """Join the process group of `torchrun`, if there is one, and leave it at the end.

    Args:
        device: "cpu" or "cuda"; with several GPUs each process uses the one of its local rank. A single process may
            name its GPU by number.

    Raises:
        ValueError: there is no such device, or several processes would share one GPU.
        ConnectionError: another process has exited or cannot be reached.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    own = device_named(device)
    is_cuda = own.type == "cuda"
    if is_cuda and size > 1 and own.index is not None:
        raise ValueError(f"device={device!r}: must be cuda, so that each of {size} processes uses its own GPU")
    if is_cuda and own.index is None:
        own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if is_cuda:
        torch.cuda.set_device(own)
    if size == 1:
        yield ProcessGroup(device=own)
        return
    dist.init_process_group("nccl" if is_cuda else "gloo", timeout=_TIMEOUT)
    try:
        yield ProcessGroup(rank=dist.get_rank(), size=dist.get_world_size(), device=own)
        # Gloo's threads release tensors after the operation has returned, and need Python's lock for that: a process
        # that exits in the meantime is aborted. While this one waits for the others, they can.
        dist.barrier()
        gc.collect()
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):  # Gloo's errors have no class of their own
            raise ConnectionError(
                "another process of this training has exited or cannot be reached: repeat the command on all nodes to "
                f"continue from the last checkpoint ({str(error).splitlines()[0][:200]})"
            ) from None
        raise
    finally:
        dist.destroy_process_group()


def distributed(loss: "SessionLoss", group: ProcessGroup, is_sharded: bool | None = None) -> nn.Module:
    """The loss with gradients averaged over all processes.

    A network of at least `SHARDED_FROM` parameters is sharded, unless `is_sharded` says otherwise.
    """
    if group.size == 1:
        return loss
    network = loss.network
    if is_sharded if is_sharded is not None else network.num_parameters >= SHARDED_FROM:
        for block in network.backbone.blocks:
            fully_shard(block)  # type: ignore[call-overload]
        fully_shard(network)
        register_fsdp_forward_method(network, "content_of")  # all else is in `forward` or within `gathered`
        return loss
    return DistributedDataParallel(loss, find_unused_parameters=True)


@contextmanager
def gathered(network: nn.Module) -> Iterator[None]:
    """All weights of a sharded network in every process: processes may need different numbers of forward passes while
    they play."""
    shards = [module for module in network.modules() if isinstance(module, FSDPModule)]
    for shard in shards:
        shard.set_reshard_after_forward(False, recurse=False)
        shard.unshard()
    try:
        yield
    finally:
        for shard in shards:
            shard.set_reshard_after_forward(shard is not network, recurse=False)
            shard.reshard()


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
