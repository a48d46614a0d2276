"""What stands around a training: its folder, its log (one JSON object a line), its measurements, and the signals that stop it."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..config import Config, DataConfig, EvaluateConfig, FSAFError, SceneConfig
from ..utils.files import excerpt, write_atomically

RESUMABLE_FIELDS = (
    "data.root",
    "data.workers",
    "train.keep",
)  # a run may go on with other values: they leave the numbers alone


def validate_run_dir(run_dir: Path, config: Config, resume: bool) -> None:
    """Sees that a folder is new, or holds an unfinished run of the same configuration. Touches nothing.

    Raises:
        FSAFError: the folder holds a finished run, one of another configuration (with the fields that differ), or something else.
    """
    if run_dir.exists() and not run_dir.is_dir():
        raise FSAFError(f"{run_dir} is a file: take another --out.")
    if not run_dir.exists() or all(path.name.startswith(".") for path in run_dir.iterdir()):
        if resume:
            raise FSAFError(
                f"{run_dir} holds no run to go on with: leave out --resume, or give the run's folder as --out."
            )
        return
    try:
        old = json.loads((run_dir / "config.json").read_text())
        old["model"], old["train"]
    except (OSError, ValueError, TypeError, KeyError):
        raise FSAFError(
            f"{run_dir} exists and is no run of fsaf train: take another --out; nothing was touched."
        ) from None
    if (run_dir / "model.safetensors").exists():
        raise FSAFError(
            f"{run_dir} holds a finished run: take another --out (--resume goes on with an unfinished one only)."
        )
    changed = [
        line
        for line in differences(old, asdict(config))
        if line.split(":")[0] not in RESUMABLE_FIELDS
    ]
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
        raise FSAFError(
            f"{told} is damaged ({excerpt(error)}): mend it, or copy the weights to another folder."
        ) from None


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
    return (
        f"{len(value)} entries"
        if isinstance(value, (list, tuple)) and len(value) > 6
        else str(value)
    )


@contextmanager
def lock_run_dir(run_dir: Path) -> Iterator[None]:
    """Makes the folder and keeps other processes from training into it; the lock goes with the process, however it ends.

    Raises:
        FSAFError: "Another process is training into runs/x: wait for it, or take another --out."
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with open(run_dir / ".lock", "w") as lock:
        if os.name == "posix":
            import fcntl

            try:
                fcntl.lockf(
                    lock, fcntl.LOCK_EX | fcntl.LOCK_NB
                )  # not shared with loading processes, as flock is
            except (BlockingIOError, PermissionError):
                raise FSAFError(
                    f"Another process is training into {run_dir}: wait for it, or take another --out."
                ) from None
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
            kept = [
                line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise FSAFError(
                f"{path} has a damaged line ({error}): remove that line, the same command goes on."
            ) from None
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
            raise FSAFError(
                f"{self.path} cannot be written ({error.strerror}): make room, the same command goes on."
            ) from None
