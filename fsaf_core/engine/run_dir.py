"""The run directory: is it free or resumable, who may write into it, and its log."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..config import PATHS, Config, FSAFError
from ..data.coco import CocoDataset
from ..utils.classes import list_some
from ..utils.files import write_atomically
from ..utils.parts import Parts

# Fields that a resumed run may change, because they have no effect on its results: the sets and the
# weights to start from are recognized by their SHA-256.
RESUMABLE_FIELDS = {
    *("data.root", "data.workers", "train.keep", "from.file"),
    *(f"data.{name}" for name in PATHS),
    *("sets.train.json", "sets.train.images", "sets.val.json", "sets.val.images"),
}


def run_record(
    config: Config,
    train_set: CocoDataset,
    val_set: CocoDataset,
    parts: Parts = Parts(),
    weights: str | Path | None = None,
) -> dict[str, Any]:
    """Return what config.json holds: configuration, sets, weights to start from, own parts."""
    sets = {
        split: {
            "json": str(dataset.json_path.resolve()),
            "images": str(dataset.root.resolve()),
            "sha256": dataset.index.sha256,
        }
        for split, dataset in (("train", train_set), ("val", val_set))
    }
    start = {} if weights is None else _file_record(Path(weights))
    return {**asdict(config), "parts": parts.import_paths, "from": start, "sets": sets}


def _file_record(file: Path) -> dict[str, str]:
    """Return which file it is; nothing if it cannot be read, which its loading will explain."""
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return {}
    return {"file": str(file.resolve()), "sha256": digest}


def validate_run_dir(run_dir: Path, record: Mapping[str, Any], resume: bool) -> list[str]:
    """Check that a folder is new, or holds an unfinished run of the same configuration and sets.

    Nothing in the folder is changed.

    Args:
        run_dir: the folder.
        record: of `run_record`, for the run that is to be trained.
        resume: whether the folder must hold a run.

    Returns:
        Lines to print: where the sets lie now, if they have moved since the run was started.

    Raises:
        FSAFError: "... is a file: ..."; "... holds no run to resume: ..."; "... is not a run of
            fsaf train: ..."; "... holds a finished run: ..."; "... was started on another train
            json (...): ..."; "... holds an unfinished run of another configuration (train.lr: 0.01
            -> 0.02): ..."
    """
    if run_dir.exists() and not run_dir.is_dir():
        raise FSAFError(f"{run_dir} is a file: take another --out.")
    if not run_dir.exists() or all(path.name.startswith(".") for path in run_dir.iterdir()):
        if resume:
            raise FSAFError(
                f"{run_dir} holds no run to resume: leave out --resume, "
                "or give the run's folder as --out."
            )
        return []
    try:
        old = json.loads((run_dir / "config.json").read_text())
        old["model"], old["train"], old["sets"]
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
    changed = differences(old, record)
    for split in ("train", "val"):
        if f"sets.{split}.sha256" in changed:
            raise FSAFError(
                f"{run_dir} was started on another {split} json: {record['sets'][split]['json']} "
                "has another SHA-256. Put the old json back, or take another --out."
            )
    if refused := relevant(changed):
        raise FSAFError(
            f"{run_dir} holds an unfinished run of another configuration "
            f"({list_some(refused, '; ')}): "
            "give that run's fields to --resume it, or take another --out."
        )
    moved = [f"{name}: {how}" for name, how in changed.items() if name.startswith("sets.")]
    return [f"the sets have moved, their jsons are the same: {'; '.join(moved)}"] if moved else []


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields in which two configurations differ, such as {"train.lr": "0.01 -> 0.02"}.

    Args:
        old, new: configurations as `dataclasses.asdict` returns them, or as json stores them.
    """
    before, after = _flat(old), _flat(new)
    return {
        name: f"{_short(before.get(name))} -> {_short(after.get(name))}"
        for name in before | after
        if before.get(name) != after.get(name)
    }


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested mappings by names such as "train.lr", tuples as lists."""
    values: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            values |= _flat(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return values


def refuse_run_dir(folder: Path) -> None:
    """Raise if a folder is that of a run, whose metrics an evaluation must not replace.

    Raises:
        FSAFError: "runs/tiny is the folder of a run, whose metrics.json comes from its training:
            take another --out."
    """
    if (folder / "config.json").exists():
        raise FSAFError(
            f"{folder} is the folder of a run, whose metrics.json comes from its training: "
            "take another --out."
        )


def relevant(changed: Mapping[str, str]) -> list[str]:
    """Return those of the `differences` of two runs that have an effect on the results, as text."""
    return [f"{name}: {how}" for name, how in changed.items() if name not in RESUMABLE_FIELDS]


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
        validated: the step of its last validation.

    Raises:
        FSAFError: "runs/x/log.jsonl has a damaged line (...): remove that line and give the same
            command again."
    """

    def __init__(self, path: Path, step: int, validated: int) -> None:
        def is_kept(entry: dict[str, Any]) -> bool:
            return entry["step"] <= (validated if "validation" in entry else step)

        self.path = path
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        try:  # a kill may cut the last line short: a complete line ends in a line feed
            kept = [line for line in lines if line.endswith("\n") and is_kept(json.loads(line))]
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
