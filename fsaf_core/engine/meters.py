"""Sums of scalars over a window of steps."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class Meters:
    """Sums of scalars over a window of steps.

    The sums stay on the device, so that no step waits for them. `read` fetches them.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps = 0  # steps of the window
        self.seconds = 0.0  # their duration
        self.waited = 0.0  # seconds of these in which they waited for data

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add each scalar to the sum of its name."""
        for name, value in values.items():
            value = value.detach()
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def read(self, over_processes: Callable[[Tensor], Tensor], **more: float) -> dict[str, float]:
        """Return the sums over the window and all processes, and begin a new window.

        Args:
            over_processes: sums a tensor over all processes, as `DistributedContext.sum`.
            **more: further numbers to sum over the processes.
        """
        values = torch.stack([value.float() for value in self.sums.values()])
        values = torch.cat([values, torch.tensor([*more.values()], device=values.device)])
        names = [*self.sums, *more]
        self.sums, self.steps, self.seconds, self.waited = {}, 0, 0.0, 0.0
        return dict(zip(names, over_processes(values).tolist()))
