"""The run directory: is it free or resumable, who may write into it, and its log."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..config import Config, DataConfig, EvaluateConfig, FSAFError, SceneConfig
from ..utils.files import excerpt, write_atomically

# Fields that a resumed run may change, because they have no effect on its results.
RESUMABLE_FIELDS = ("data.root", "data.workers", "train.keep")


def validate_run_dir(run_dir: Path, config: Config, resume: bool) -> None:
    """Check that a folder is new, or holds an unfinished run of the same configuration.

    Nothing in the folder is changed.

    Args:
        run_dir: the folder.
        config: the configuration to train.
        resume: whether the folder must hold a run.

    Raises:
        FSAFError: "... is a file: ..."; "... holds no run to resume: ..."; "... is not a run of
            fsaf train: ..."; "... holds a finished run: ..."; "... holds an unfinished run of
            another configuration (train.lr: 0.01 -> 0.02): ..."
    """
    if run_dir.exists() and not run_dir.is_dir():
        raise FSAFError(f"{run_dir} is a file: take another --out.")
    if not run_dir.exists() or all(path.name.startswith(".") for path in run_dir.iterdir()):
        if resume:
            raise FSAFError(
                f"{run_dir} holds no run to resume: leave out --resume, "
                "or give the run's folder as --out."
            )
        return
    try:
        old = json.loads((run_dir / "config.json").read_text())
        old["model"], old["train"]
    except (OSError, ValueError, TypeError, KeyError):
        raise FSAFError(
            f"{run_dir} exists and is not a run of fsaf train: "
            "take another --out; the folder was not changed."
        ) from None
    if (run_dir / "model.safetensors").exists():
        raise FSAFError(
            f"{run_dir} holds a finished run: take another --out "
            "(--resume continues an unfinished run only)."
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


def validation_config(run_dir: Path) -> tuple[DataConfig, EvaluateConfig] | None:
    """Return the data of a run and how it was evaluated, or None where there is no run.

    Raises:
        FSAFError: "runs/x/config.json is damaged (...): repair it, or copy the weights to another
            folder."
    """
    path = run_dir / "config.json"
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text())
        data = {**values["data"], "scenes": SceneConfig(**values["data"]["scenes"])}
        return DataConfig(**data), EvaluateConfig(**values["evaluate"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FSAFError(
            f"{path} is damaged ({excerpt(error)}): "
            "repair it, or copy the weights to another folder."
        ) from None


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the fields in which two configurations differ, such as "train.lr: 0.01 -> 0.02".

    Args:
        old, new: configurations as `dataclasses.asdict` returns them, or as json stores them.
        prefix: comes before each field's name.
    """
    lines = []
    for name in dict.fromkeys([*old, *new]):
        before, after = (
            list(value) if isinstance(value, tuple) else value
            for value in (old.get(name), new.get(name))
        )
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differences(before, after, f"{prefix}{name}.")
        elif before != after:
            lines.append(f"{prefix}{name}: {_short(before)} -> {_short(after)}")
    return lines


def _short(value: Any) -> str:
    """Return a value as text, a long list as its length."""
    is_long = isinstance(value, list) and len(value) > 6
    return f"{len(value)} entries" if is_long else str(value)


@contextmanager
def lock_run_dir(run_dir: Path) -> Iterator[None]:
    """Make the folder, and keep other processes from training into it.

    The operating system removes the lock with the process, however it ends.

    Raises:
        FSAFError: "Another process is training into runs/x: wait for it, or take another --out."
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with open(run_dir / ".lock", "w") as lock:
        if os.name == "posix":
            import fcntl

            try:  # lockf, not flock: loading processes would inherit the lock of flock
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                raise FSAFError(
                    f"Another process is training into {run_dir}: "
                    "wait for it, or take another --out."
                ) from None
            except OSError:
                pass  # a file system without locks
        yield


class Log:
    """`log.jsonl`: a JSON object for each window of steps and for each validation.

    Opening it removes the lines that a killed run wrote after its checkpoint.

    Args:
        path: the file.
        step: the step of the checkpoint.

    Raises:
        FSAFError: "runs/x/log.jsonl has a damaged line (...): remove that line and give the same
            command again."
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        try:  # a kill may cut the last line short: a complete line ends in a line feed
            kept = [
                line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise FSAFError(
                f"{path} has a damaged line ({error}): "
                "remove that line and give the same command again."
            ) from None
        if kept != lines:
            write_atomically(path, "".join(kept))

    def write(self, **entry: Any) -> None:
        """Append one line.

        Raises:
            FSAFError: "runs/x/log.jsonl cannot be written (...): make room and give the same
                command again."
        """
        try:
            with open(self.path, "a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise FSAFError(
                f"{self.path} cannot be written ({error.strerror}): "
                "make room and give the same command again."
            ) from None
