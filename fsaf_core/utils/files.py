"""Write files whole or not at all, and read them without running any code they hold."""

import glob
import io
import os
import secrets
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import FSAFError

STALE_SECONDS = 3600  # age at which a temporary file belongs to no running process


def write_atomically(path: str | Path, payload: bytes | memoryview | str) -> None:
    """Replace a file as a whole, or leave it as it was.

    The payload goes to a temporary file beside it, which takes its name once it is on the disk.

    Args:
        path: the file; its folder is made if it does not exist.
        payload: the new content; text is encoded as UTF-8.

    Raises:
        FSAFError: "runs/x/model.safetensors needs 3.1 MB and cannot be written (No space left on
            device; the disk has 0.2 MB left); the old file is untouched: make room, ..."
    """
    path = Path(path)
    payload = payload.encode() if isinstance(payload, str) else payload
    # Two processes may write the same file, so each has a name of its own.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        with open(temporary, "xb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):  # it may not exist, or its folder may be closed to us
            temporary.unlink()
        existing = next(folder for folder in path.parents if os.path.exists(folder))
        need, left = len(payload) / 1e6, shutil.disk_usage(existing).free / 1e6
        raise FSAFError(
            f"{path} needs {need:.1f} MB and cannot be written ({error.strerror}; the disk has "
            f"{left:.1f} MB left); the old file is untouched: make room, check the folder's "
            "rights, or take another folder."
        ) from error


def _remove_stale(path: Path) -> None:
    """Remove the temporary files that killed processes left behind when they wrote `path`."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError):  # another process may have removed it
            if left.stat().st_mtime < time.time() - STALE_SECONDS:
                left.unlink()


def load_tensors(file: io.BufferedIOBase, pickle_module: Any = None) -> Any:
    """Return what `torch.save` wrote: tensors and plain containers, on the CPU.

    No code in the file is run, and the tensors take no more memory than the file has bytes.

    Args:
        file: opened for reading bytes.
        pickle_module: has an `Unpickler` that runs no code; None: torch's, which refuses objects
            of other kinds.

    Raises:
        ValueError: "it would unpack to more than it holds"; "a tensor claims more than the file
            holds". A damaged file may raise any other exception of torch's reader.
    """
    size = file.seek(0, os.SEEK_END)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:  # torch itself stores without compression
            if sum(entry.file_size for entry in archive.infolist()) > size:
                raise ValueError("it would unpack to more than it holds")
    file.seek(0)
    contents = torch.load(
        file,  # type: ignore[arg-type]  # any file object will do
        map_location="cpu",
        weights_only=pickle_module is None,
        pickle_module=pickle_module,
    )
    for tensor in _tensors(contents):
        if tensor.layout == torch.strided and tensor.nbytes > tensor.untyped_storage().nbytes():
            raise ValueError("a tensor claims more than the file holds")
    return contents


def _tensors(contents: Any) -> Iterator[Tensor]:
    """Yield all tensors in nested containers."""
    if isinstance(contents, Tensor):
        yield contents
    elif isinstance(contents, (Mapping, list, tuple)):
        for value in contents.values() if isinstance(contents, Mapping) else contents:
            yield from _tensors(value)


def excerpt(value: object) -> str:
    """Return the first 80 characters of a value's text, on one line, for a message."""
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:80]} ..."
