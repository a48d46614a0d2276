"""One process or several: the device, who writes, and sums over all processes. torchrun's environment variables say which."""

import os
import re
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..config import FSAFError


@dataclass(frozen=True)
class DistributedContext:
    """This process's place among those that train together; alone unless torchrun started it."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor summed over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def barrier(self) -> None:
        """Returns when every process has come here."""
        if self.size > 1:
            self.sum(torch.zeros(1, device=self.device))


def device_of(name: str) -> torch.device:
    """The device of a name: `auto` is CUDA, then MPS, then the CPU. Under torchrun each process takes its own CUDA device.

    Raises:
        FSAFError: "There is no CUDA device here: take --device cpu or auto."
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if cuda else "mps" if mps else "cpu"
    if not re.fullmatch(r"(cpu|cuda|mps)(:\d+)?", name):
        raise FSAFError(f"{name!r} is no device: take auto, cuda, mps or cpu.")
    device = torch.device(name)
    if (device.type == "cuda" and not cuda) or (device.type == "mps" and not mps):
        raise FSAFError(
            f"There is no {device.type.upper()} device here: take --device cpu or auto."
        )
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    if device.type == "cuda" and device.index >= torch.cuda.device_count():
        raise FSAFError(
            f"There is no device {device} here, only {torch.cuda.device_count()}: give torchrun as many processes."
        )
    return device


def init(device: str) -> DistributedContext:
    """Meets the other processes that torchrun started (gloo on CPU, nccl on CUDA) and says which of them this one is.

    Raises:
        FSAFError: for a device that is not there, or for several processes on MPS.
    """
    chosen, size = device_of(device), int(os.environ.get("WORLD_SIZE", 1))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if size == 1:
        return DistributedContext(device=chosen)
    if chosen.type == "mps":
        raise FSAFError(
            "Several processes cannot share an MPS device: take --device cpu, or one process."
        )
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return DistributedContext(dist.get_rank(), size, chosen)


def destroy() -> None:
    """Parts from the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def all_reduce_mean(sync: bool, count: Tensor, *others: Tensor | float) -> tuple[Any, ...]:
    """Each count's mean over all processes, and what one is then: 1 / their number. Without `sync` the counts, and 1."""
    if not (sync and dist.is_initialized()):
        return count, *others, 1.0
    sums = torch.stack(
        [torch.as_tensor(one, dtype=torch.float32, device=count.device) for one in (count, *others)]
    )
    dist.all_reduce(sums)
    one = 1 / dist.get_world_size()
    return *(sums * one).unbind(), one
