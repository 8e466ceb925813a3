"""Distributed training with `torchrun`; a single process is a group of size 1.

Every process plays its own sessions and computes their loss; gradients and statistics are averaged over all.
"""

import gc
import os
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

_TIMEOUT = timedelta(minutes=30)

SHARDED_FROM = 500_000_000
"""Parameters from which on a model is sharded over the processes (FSDP2) instead of copied to each (DDP)."""


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
        network.reads_in_one_pass = True
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
