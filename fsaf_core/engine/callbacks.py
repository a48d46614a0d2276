"""Meters, the guard against non-finite losses, and signal handling of a training."""

import os
import signal
import threading
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..config import FSAFError


class Meters:
    """Sums over a window of steps; they stay on the device, so that no step waits for them, and are read every `log_every`."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps, self.seconds, self.waited = 0, 0.0, 0.0  # of the window; waited for data

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Adds scalars to the sums of their names."""
        for name, value in values.items():
            self.sums[name] = (
                self.sums[name] + value.detach() if name in self.sums else value.detach()
            )

    def read(self, over_processes: Callable[[Tensor], Tensor], **more: float) -> dict[str, float]:
        """The sums over the window and all processes, those of `more` with them; begins a new window."""
        values = torch.stack([value.float() for value in self.sums.values()])
        values = over_processes(
            torch.cat([values, torch.tensor([*more.values()], device=values.device)])
        ).tolist()
        names = [*self.sums, *more]
        self.sums, self.steps, self.seconds, self.waited = {}, 0, 0.0, 0.0
        return dict(zip(names, values, strict=True))


class NonFiniteGuard:
    """Stops a run at the first loss or gradient that is no number; on CUDA a step later, so that no step waits for the answer."""

    def __init__(self) -> None:
        self.waiting: tuple[Tensor, torch.cuda.Event, int, list[int]] | None = None

    def look(self, finite: Tensor, step: int, ids: list[int]) -> None:
        """Takes () bool of a step and the ids of its images.

        Raises:
            FSAFError: "step 812: the loss is no number any more (images 17, 4711, ..) ..."
        """
        self.settle()
        if not finite.is_cuda:
            return self._judge(finite, step, ids)
        answer = torch.empty((), dtype=torch.bool, pin_memory=True).copy_(finite, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self.waiting = (answer, event, step, ids)

    def settle(self) -> None:
        """Waits for the last answer; nothing is saved before.

        Raises:
            FSAFError: as `look`, of the step before.
        """
        if self.waiting is not None:
            answer, event, step, ids = self.waiting
            self.waiting = None
            event.synchronize()
            self._judge(answer, step, ids)

    def _judge(self, finite: Tensor, step: int, ids: list[int]) -> None:
        if not finite:
            raise FSAFError(
                f"Step {step}: the loss or its gradient is no number any more (images {', '.join(map(str, ids))}); the last good "
                "checkpoint is kept: look at these images, or start anew with a smaller --train.lr, or --train.clip_norm 10."
            )


class Interrupt:
    """Ctrl-C and SIGTERM while a run trains: the first asks the loop to stop after its step, a second one stops at once."""

    def __init__(self, alone: bool = True) -> None:
        self.alone = alone  # torchrun repeats the terminal's signal: among several processes a second one says nothing new
        self.asked = False
        self.at_once = False  # nothing is being changed: no need to wait for the end of a step
        self.process = os.getpid()

    def __enter__(self) -> "Interrupt":
        here = threading.current_thread() is threading.main_thread()
        self.before = {
            number: signal.signal(number, self._ask)
            for number in (signal.SIGINT, signal.SIGTERM)
            if here
        }
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        if (
            os.getpid() != self.process
        ):  # a loading process, which inherits this handler: Ctrl-C is not meant for it
            if number == signal.SIGTERM:
                os._exit(143)
        elif self.at_once or (self.asked and self.alone):
            raise KeyboardInterrupt
        self.asked = True
