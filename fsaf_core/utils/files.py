"""Files: written so that at any moment the old or the new one is there, whole; read so that no code in them is run."""

import errno
import io
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import FSAFError


def write_atomically(path: str | Path, payload: bytes | memoryview | str) -> None:
    """Puts a whole file in its place, or leaves what was there: a temporary file beside it, fsync, rename, fsync of the folder.

    Raises:
        FSAFError: "runs/x/model.safetensors needs 3.1 MB and the disk has 0.2 MB left; ..."; the old file survives.
    """
    path = Path(path)
    payload = payload.encode() if isinstance(payload, str) else payload
    temporary = path.with_name(
        f".{path.name}.tmp"
    )  # one name: what a killed process left behind is overwritten by the next
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        if os.name == "posix":  # the rename itself lies in the folder
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        if temporary.is_file():
            temporary.unlink()
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            there = next(folder for folder in path.parents if folder.exists())
            need, left = len(payload) / 1e6, shutil.disk_usage(there).free / 1e6
            raise FSAFError(
                f"{path} needs {need:.1f} MB and the disk has {left:.1f} MB left; "
                "what was there before is untouched: make room and give the same command again."
            ) from error
        raise FSAFError(
            f"{path} cannot be written ({error.strerror}): check the folder, or take another --out."
        ) from error


def load_tensors(file: io.BufferedIOBase) -> Any:
    """What `torch.save` wrote: tensors and plain containers, on the CPU. Nothing is run, and no more memory is taken than bytes.

    Raises:
        ValueError: "it would unpack to more than it holds"; and whatever a strange byte leads torch's reader to.
    """
    size = file.seek(0, os.SEEK_END)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:  # torch itself stores without packing
            if sum(entry.file_size for entry in archive.infolist()) > size:
                raise ValueError("it would unpack to more than it holds")
    file.seek(0)
    contents = torch.load(file, map_location="cpu", weights_only=True)  # type: ignore[arg-type]  # it asks for less
    for tensor in _tensors(contents):
        if tensor.layout == torch.strided and tensor.nbytes > tensor.untyped_storage().nbytes():
            raise ValueError("a tensor claims more than the file holds")
    return contents


def _tensors(contents: Any) -> Iterator[Tensor]:
    """All tensors in plain containers."""
    if isinstance(contents, Tensor):
        yield contents
    elif isinstance(contents, (Mapping, list, tuple)):
        for value in contents.values() if isinstance(contents, Mapping) else contents:
            yield from _tensors(value)


def excerpt(value: object) -> str:
    """The start of a value's text, on one line: a file may hold anything."""
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:80]} ..."
