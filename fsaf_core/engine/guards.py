"""What may end a training early: a non-finite loss, and Ctrl-C."""

import os
import signal
import threading

import torch
from torch import Tensor

from ..config import FSAFError
from ..utils.files import excerpt

MAX_SKIPPED = 20  # steps in a row that the scaler of fp16 may skip


class NonFiniteGuard:
    """Stop a training whose loss or gradient is infinite or NaN.

    Without loss scaling (fp16) the first such step stops it. With it, `GradScaler` skips the step
    and lowers the scale, so `MAX_SKIPPED` such steps in a row stop it, or a scale below 1. On CUDA
    the answer is read one step later, so that no step waits for it.

    Args:
        scaler: of the training.
    """

    def __init__(self, scaler: torch.amp.GradScaler) -> None:
        self.scaler = scaler
        self.skipped = 0  # such steps in a row
        self.pending: tuple[Tensor, torch.cuda.Event, int, list[int]] | None = None

    def check(self, finite: Tensor, step: int, ids: list[int]) -> None:
        """Take the answer of a step; on CUDA, read that of the step before.

        Args:
            finite: () bool, whether the step's loss and gradient are finite.
            step: its number.
            ids: its image ids.

        Raises:
            FSAFError: "Step 812: the loss or its gradient is not finite (images 17, 4711, ..) ..."
        """
        self.wait()
        if not finite.is_cuda:
            return self._read(finite, step, ids)
        answer = torch.empty((), dtype=torch.bool, pin_memory=True).copy_(finite, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self.pending = (answer, event, step, ids)

    def wait(self) -> None:
        """Wait for the last answer. Nothing may be saved before.

        Raises:
            FSAFError: as `check`, about the step before.
        """
        if self.pending is not None:
            answer, event, step, ids = self.pending
            self.pending = None
            event.synchronize()
            self._read(answer, step, ids)

    def _read(self, finite: Tensor, step: int, ids: list[int]) -> None:
        self.skipped = 0 if finite else self.skipped + 1
        if finite or (
            self.scaler.is_enabled() and self.skipped < MAX_SKIPPED and self.scaler.get_scale() >= 1
        ):
            return
        raise FSAFError(
            f"Step {step}: the loss or its gradient is not finite "
            f"(images {excerpt(', '.join(map(str, ids)))}); the last good checkpoint is kept: "
            "look at these images, or start again with a smaller --train.lr or "
            "--train.clip_norm 10."
        )


class Interrupt:
    """Handle Ctrl-C and SIGTERM while a training runs.

    The first signal asks the loop to stop after its step. A second one stops it at once.

    Args:
        single_process: whether this process trains alone. torchrun repeats the terminal's signal,
            so among several processes a second signal means nothing new.
    """

    def __init__(self, single_process: bool = True) -> None:
        self.single_process = single_process
        self.requested = False  # a signal has come
        self.immediate = False  # the training's state is complete: no need to finish a step
        self.process = os.getpid()

    def __enter__(self) -> "Interrupt":
        is_main_thread = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if is_main_thread else ()
        self.before = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        if os.getpid() != self.process:  # a loading process inherits this handler
            if number == signal.SIGTERM:  # Ctrl-C is not meant for it
                os._exit(143)
        elif self.immediate or (self.requested and self.single_process):
            raise KeyboardInterrupt
        elif self.single_process:
            os.write(2, b"\nstopping after this step; Ctrl-C again stops at once\n")
        self.requested = True
