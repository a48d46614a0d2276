"""What stands around a training: its folder, its log (one JSON object a line), its measurements, and the signals that stop it."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .config import Config, DataConfig, EvaluateConfig, FSAFError, SceneConfig
from .files import excerpt, write_atomically

FREE_FIELDS = ("data.root", "data.workers", "train.keep")  # a run may go on with other values: they leave the numbers alone


def check_run(run_dir: Path, config: Config, resume: bool) -> None:
    """Sees that a folder is new, or holds an unfinished run of the same configuration. Touches nothing.

    Raises:
        FSAFError: the folder holds a finished run, one of another configuration (with the fields that differ), or something else.
    """
    if run_dir.exists() and not run_dir.is_dir():
        raise FSAFError(f"{run_dir} is a file: take another --out.")
    if not run_dir.exists() or all(path.name.startswith(".") for path in run_dir.iterdir()):
        if resume:
            raise FSAFError(f"{run_dir} holds no run to go on with: leave out --resume, or give the run's folder as --out.")
        return
    try:
        old = json.loads((run_dir / "config.json").read_text())
        old["model"], old["train"]
    except (OSError, ValueError, TypeError, KeyError):
        raise FSAFError(f"{run_dir} exists and is no run of fsaf train: take another --out; nothing was touched.") from None
    if (run_dir / "model.safetensors").exists():
        raise FSAFError(f"{run_dir} holds a finished run: take another --out (--resume goes on with an unfinished one only).")
    changed = [line for line in differences(old, asdict(config)) if line.split(":")[0] not in FREE_FIELDS]
    if changed:
        raise FSAFError(
            f"{run_dir} holds an unfinished run of another configuration ({'; '.join(changed)}): "
            "give that run's fields to --resume it, or take another --out."
        )


def validation_of(run_dir: Path) -> tuple[DataConfig, EvaluateConfig] | None:
    """The data of a run and how it was evaluated; None where no run is.

    Raises:
        FSAFError: "runs/x/config.json is damaged (...): mend it, or copy the weights to another folder."
    """
    told = run_dir / "config.json"
    if not told.exists():
        return None
    try:
        values = json.loads(told.read_text())
        data = {**values["data"], "scenes": SceneConfig(**values["data"]["scenes"])}
        return DataConfig(**data), EvaluateConfig(**values["evaluate"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FSAFError(f"{told} is damaged ({excerpt(error)}): mend it, or copy the weights to another folder.") from None


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Fields in which two configurations (as `dataclasses.asdict` gives them) differ, e.g. "train.lr: 0.01 -> 0.02"."""
    found = []
    for name in dict.fromkeys([*old, *new]):
        a, b = old.get(name), new.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{name}.")
        elif (list(a) if isinstance(a, tuple) else a) != (list(b) if isinstance(b, tuple) else b):
            found.append(f"{prefix}{name}: {shortly(a)} -> {shortly(b)}")
    return found


def shortly(value: Any) -> str:
    """A value in one short line; long tuples by their length."""
    return f"{len(value)} entries" if isinstance(value, (list, tuple)) and len(value) > 6 else str(value)


@contextmanager
def own(run_dir: Path) -> Iterator[None]:
    """Makes the folder and keeps other processes from training into it; the lock goes with the process, however it ends.

    Raises:
        FSAFError: "Another process is training into runs/x: wait for it, or take another --out."
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with open(run_dir / ".lock", "w") as lock:
        if os.name == "posix":
            import fcntl

            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not shared with loading processes, as flock is
            except (BlockingIOError, PermissionError):
                raise FSAFError(f"Another process is training into {run_dir}: wait for it, or take another --out.") from None
            except OSError:
                pass  # a file system without locks
        yield


class Log:
    """`log.jsonl`: what each window of steps looked like, and each validation."""

    def __init__(self, path: Path, step: int) -> None:
        """Opens the log of a run that stands at `step`; what a killed run wrote beyond its checkpoint is cut off.

        Raises:
            FSAFError: "runs/x/log.jsonl has a damaged line (...): remove that line, the same command goes on."
        """
        self.path = path
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        try:  # the last line may be torn; a whole one ends in a line feed
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        except (ValueError, KeyError, TypeError) as error:
            raise FSAFError(f"{path} has a damaged line ({error}): remove that line, the same command goes on.") from None
        if kept != lines:
            write_atomically(path, "".join(kept))

    def write(self, **entry: Any) -> None:
        """Adds one line.

        Raises:
            FSAFError: "runs/x/log.jsonl cannot be written (...): make room, the same command goes on."
        """
        try:
            with open(self.path, "a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise FSAFError(f"{self.path} cannot be written ({error.strerror}): make room, the same command goes on.") from None


class Meters:
    """Sums over a window of steps; they stay on the device, so that no step waits for them, and are read every `log_every`."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps, self.seconds, self.waited = 0, 0.0, 0.0  # of the window; waited for data

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Adds scalars to the sums of their names."""
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value.detach() if name in self.sums else value.detach()

    def read(self, over_processes: Callable[[Tensor], Tensor], **more: float) -> dict[str, float]:
        """The sums over the window and all processes, those of `more` with them; begins a new window."""
        values = torch.stack([value.float() for value in self.sums.values()])
        values = over_processes(torch.cat([values, torch.tensor([*more.values()], device=values.device)])).tolist()
        names = [*self.sums, *more]
        self.sums, self.steps, self.seconds, self.waited = {}, 0, 0.0, 0.0
        return dict(zip(names, values, strict=True))


class LossWatch:
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
        self.before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM) if here}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        if os.getpid() != self.process:  # a loading process, which inherits this handler: Ctrl-C is not meant for it
            if number == signal.SIGTERM:
                os._exit(143)
        elif self.at_once or (self.asked and self.alone):
            raise KeyboardInterrupt
        self.asked = True
