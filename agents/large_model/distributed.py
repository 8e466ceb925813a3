"""The processes that train one model together, as `torchrun` starts them; one alone is a group of one.

Every process owns sessions, plays them and learns from them; gradients and statistics are averaged over all.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from agents.large_model.losses import SessionLoss

_TIMEOUT = timedelta(minutes=30)
SHARDED_FROM = 500_000_000
"""Parameters from which on a model is sharded over the processes (FSDP2) instead of copied to each (DDP)."""


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among all of them."""

    device: torch.device
    rank: int = 0
    number: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is this process that writes files and shows progress."""
        return self.rank == 0

    def share(self, total: int, name: str) -> int:
        """What is this process's part of something that all have together; `ValueError` if it cannot be shared out."""
        if total % self.number:
            raise ValueError(f"{name}={total}: must be a multiple of the number of processes, {self.number}")
        return total // self.number

    def summed(self, values: torch.Tensor) -> torch.Tensor:
        """Sums over all processes."""
        if self.number > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def averaged(self, numbers: dict[str, float]) -> dict[str, float]:
        """Means over all processes of numbers that all of them have."""
        values = torch.tensor(list(numbers.values()), dtype=torch.float64, device=self.device)
        return dict(zip(numbers, (self.summed(values) / self.number).tolist(), strict=True))

    def any(self, is_so: bool) -> bool:
        """Whether it is so in some process: what all of them do together, all of them must decide alike."""
        return bool(self.summed(torch.tensor([float(is_so)], device=self.device)).item() > 0.0)


def device_named(name: str) -> torch.device:
    """The device; `ValueError` if it is not the CPU or a GPU that is there."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ValueError(f"device={name!r}: must be cpu, cuda or cuda:NUMBER")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={name!r}: PyTorch sees no GPU here")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device={name!r}: there are {torch.cuda.device_count()} GPUs, counted from 0")
    return device


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the group that `torchrun` has announced, if it has; leave it in the end.

    Args:
        device: "cpu" or "cuda"; with several GPUs each process takes the one of its local rank. One process alone may
            be given the number of its GPU.

    Raises:
        ValueError: there is no such device, or several processes are given one and the same.
    """
    number = int(os.environ.get("WORLD_SIZE", "1"))
    own = device_named(device)
    is_cuda = own.type == "cuda"
    if is_cuda and number > 1 and own.index is not None:
        raise ValueError(f"device={device!r}: must be cuda, as each of {number} processes takes a GPU of its own")
    if is_cuda and own.index is None:
        own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if is_cuda:
        torch.cuda.set_device(own)
    if number == 1:
        yield Processes(device=own)
        return
    dist.init_process_group("nccl" if is_cuda else "gloo", timeout=_TIMEOUT)
    try:
        yield Processes(rank=dist.get_rank(), number=dist.get_world_size(), device=own)
    finally:
        dist.destroy_process_group()


def distributed(loss: SessionLoss, processes: Processes, is_sharded: bool | None = None) -> nn.Module:
    """The loss as all processes compute it together: the gradients of each are averaged over all.

    A model of at least `SHARDED_FROM` parameters is sharded, unless `is_sharded` says otherwise.
    """
    if processes.number == 1:
        return loss
    model = loss.model
    if is_sharded if is_sharded is not None else model.num_parameters >= SHARDED_FROM:
        for block in model.trunk.blocks:
            fully_shard(block)  # type: ignore[call-overload]
        fully_shard(model)
        register_fsdp_forward_method(model, "content_of")  # besides, weights are used by `forward` or when `gathered`
        return loss
    return DistributedDataParallel(loss, find_unused_parameters=True)


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Every process has all weights of a sharded model inside, so that each can use it as often as it likes: sessions
    that are played do not take as many steps in one process as in another."""
    shards = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for shard in shards:
        shard.set_reshard_after_forward(False, recurse=False)
        shard.unshard()
    try:
        yield
    finally:
        for shard in shards:
            shard.set_reshard_after_forward(shard is not model, recurse=False)
            shard.reshard()
