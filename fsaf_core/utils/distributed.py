"""One process or several: the device, its number format, who writes, and sums over all.

torchrun starts the processes and describes them in environment variables.
"""

import os
import re
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..config import Amp, FSAFError


@dataclass(frozen=True)
class DistributedContext:
    """This process among those that train together. Without torchrun it is the only one."""

    rank: int = 0
    size: int = 1  # number of processes
    device: torch.device = torch.device("cpu")

    @property
    def is_main(self) -> bool:
        """Return whether this process is the one that writes and prints."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the tensor summed over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def share(self, tensor: Tensor) -> None:
        """Give all processes the first process's values of a tensor, in place."""
        if self.size > 1:
            dist.broadcast(tensor, 0)

    def broadcast(self, value: Any) -> Any:
        """Return the first process's value, any object that can be pickled."""
        values = [value if self.is_main else None]
        if self.size > 1:
            dist.broadcast_object_list(values, device=self.device)
        return values[0]

    def gather(self, entries: list) -> list:
        """Return the entries of all processes, in the order of their ranks."""
        lists: list = [entries] * self.size
        if self.size > 1:
            dist.all_gather_object(lists, entries)
        return [entry for part in lists for entry in part]

    def barrier(self) -> None:
        """Wait until every process has called this."""
        if self.size > 1:
            self.sum(torch.zeros(1, device=self.device))


def device_of(name: str) -> torch.device:
    """Return the device of a name. Under torchrun each process gets its own CUDA device.

    Args:
        name: auto (CUDA if there is one, else MPS, else the CPU), cuda, mps or cpu; with or
            without a number, such as cuda:1.

    Raises:
        FSAFError: "'tpu' is no device: take auto, cuda, mps or cpu."; "There is no CUDA device
            here: take --device cpu or auto."; "There is no device cuda:2 here, only 2: ..."
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, is_available in available.items() if is_available)
    if not re.fullmatch(r"(cpu|cuda|mps)(:\d+)?", name):
        raise FSAFError(f"{name!r} is no device: take auto, cuda, mps or cpu.")
    device = torch.device(name)
    if not available[device.type]:
        raise FSAFError(
            f"There is no {device.type.upper()} device here: take --device cpu or auto."
        )
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    if device.type == "cuda" and device.index >= torch.cuda.device_count():
        raise FSAFError(
            f"There is no device {device} here, only {torch.cuda.device_count()}: "
            "start at most as many processes with torchrun."
        )
    return device


def autocast(device: torch.device, amp: Amp) -> torch.autocast:
    """Return the context in which a network computes in the number format `amp`."""
    dtype = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]
    return torch.autocast(device.type, dtype, enabled=amp != "none")


def computes_in(device: torch.device, amp: Amp) -> bool:
    """Return whether a device has instructions for the number format `amp`.

    Elsewhere PyTorch emulates it, which on a CPU takes far longer than float32.
    """
    if amp == "none":
        return True
    if device.type == "cuda":
        return amp == "fp16" or torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        mkldnn = torch.ops.mkldnn  # the question that PyTorch itself asks before a convolution
        return bool(getattr(mkldnn, f"_is_mkldnn_{amp}_supported")())
    return True


def init(device: str) -> DistributedContext:
    """Connect to the other processes that torchrun started, and return this process's context.

    Processes on the CPU use gloo, processes on CUDA use nccl.

    Args:
        device: as in `device_of`.

    Raises:
        FSAFError: as `device_of`; "Several processes cannot share an MPS device: ..."; "The
            environment has WORLD_SIZE 2 without torchrun's RANK, ...: ..."
    """
    chosen, variables = device_of(device), ("RANK", "MASTER_ADDR", "MASTER_PORT")
    given = os.environ.get("WORLD_SIZE", "1")
    if given != "1" and not (given.isdecimal() and os.environ.keys() >= {*variables}):
        raise FSAFError(
            f"The environment has WORLD_SIZE {given} without torchrun's {', '.join(variables)}: "
            "start the processes with torchrun, or unset WORLD_SIZE."
        )
    size = int(given)
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
    """Disconnect from the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def all_reduce_mean(sync: bool, count: Tensor, *others: Tensor | float) -> tuple[Any, ...]:
    """Return each count's mean over all processes, and what a count of one becomes.

    Args:
        sync: whether to take the mean; otherwise the counts stay as they are.
        count: a scalar tensor, on the device of the sums.
        *others: more scalars.

    Returns:
        The means of `count` and `others`, then 1 / number of processes. Without `sync`, or with one
        process: `count`, `others`, then 1.
    """
    if not (sync and dist.is_initialized()):
        return count, *others, 1.0
    sums = torch.stack(
        [torch.as_tensor(one, dtype=torch.float32, device=count.device) for one in (count, *others)]
    )
    dist.all_reduce(sums)
    share = 1 / dist.get_world_size()
    return *(sums * share).unbind(), share
