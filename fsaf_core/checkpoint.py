"""Files that never lose work: a detector's weights and configuration in one safetensors file, and the state of a training.

Every file is written beside its place, flushed to the disk and then renamed: at any moment the old or the new one is there.
Nothing is read that could run code: safetensors hold only tensors, and a training's state is read with `weights_only=True`.
"""

import errno
import io
import json
import math
import os
import random
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from .config import FSAFError, ModelConfig
from .data.index import excerpt
from .detector import Detector, build_detector

HEADER = "fsaf"  # the key of our entry in a safetensors header
CLASS_LAYERS = ("af_cls", "ab_cls")  # their filters are counted in classes


def write_atomically(path: str | Path, payload: bytes | memoryview | str) -> None:
    """Puts a whole file in its place, or leaves what was there: a temporary file beside it, fsync, rename, fsync of the folder.

    Raises:
        FSAFError: "runs/x/model.safetensors needs 3.1 MB and the disk has 0.2 MB left; ..."; the old file survives.
    """
    path = Path(path)
    payload = payload.encode() if isinstance(payload, str) else payload
    temporary = path.with_name(f".{path.name}.tmp")  # one name: what a killed process left behind is overwritten by the next
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
        raise FSAFError(f"{path} cannot be written ({error.strerror}): check the folder, or take another --out.") from error


def model_config(values: Mapping[str, Any], where: str) -> ModelConfig:
    """A `ModelConfig` from what JSON made of one; fields that are missing keep their defaults.

    Raises:
        FSAFError: "x.safetensors has a model field 'foo' that this version does not know: update fsaf-core."
    """
    unknown = values.keys() - {field.name for field in fields(ModelConfig)}
    if unknown:
        raise FSAFError(f"{where} has a model field {sorted(unknown)[0]!r} that this version does not know: update fsaf-core.")
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    hints = get_type_hints(ModelConfig)
    wrong = next((name for name, value in given.items() if not _is_a(value, hints[name])), None)
    if wrong:
        raise FSAFError(f"{where}: its model field {wrong!r} cannot be {excerpt(given[wrong])}: take another copy of the file.")
    try:
        return ModelConfig(**given)
    except FSAFError as error:
        raise FSAFError(f"{where}: its model field {error}") from None


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a value is what a type of `ModelConfig` says; an int is a fine float."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Literal:
        return value in parts
    if kind is tuple:
        whole = isinstance(value, tuple) and (parts[-1] is ... or len(value) == len(parts))
        return whole and all(_is_a(one, parts[0]) for one in value)
    if parts:
        return any(_is_a(value, part) for part in parts)
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is hint


def save(detector: Detector, path: str | Path, half: bool = False) -> None:
    """Writes weights and configuration into one file: a safetensors with the `ModelConfig` as JSON in its header.

    Args:
        detector: what `build_detector` made, with `detector.config`.
        path: the file; replaced whole if it exists.
        half: floating weights in half precision, half the size.
    """
    state = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).detach().cpu().contiguous()
        for name, tensor in detector.state_dict().items()
    }
    header = {HEADER: json.dumps({"model": asdict(detector.config), "versions": versions()})}
    write_atomically(path, to_safetensors(state, header))


def load(path: str | Path, device: str | torch.device = "cpu") -> Detector:
    """The detector that `save` wrote, in inference mode.

    Raises:
        FSAFError: one sentence for a missing, damaged or foreign file, or for tensors that do not fit the configuration.
    """
    tensors, config = read_weights(path)
    if config is None:
        raise FSAFError(f"{path} holds weights but no FSAF configuration: give a file that fsaf.save or fsaf train wrote.")
    with torch.device("meta"):  # takes no memory, however much the configuration asks for
        wrong = misfits(build_detector(config), tensors)
    if wrong:
        raise FSAFError(f"{path} does not fit its own configuration: {named(wrong)}; it was changed since, take another copy.")
    detector = build_detector(config)
    detector.load_state_dict(tensors)
    return detector.to(device).eval()


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], ModelConfig | None]:
    """The tensors of a safetensors file, or of a training's checkpoint, and the configuration they were written with."""
    path = Path(path)
    if path.is_dir():
        raise FSAFError(f"{path} is a folder: give the file, such as {path / 'model.safetensors'}.")
    if not path.is_file():
        raise FSAFError(f"{path} does not exist: give a file that fsaf.save or fsaf train wrote.")
    if path.suffix == ".pt":
        state = read_training(path)
        try:
            return state["model"], model_config(state["config"]["model"], str(path))
        except (KeyError, TypeError, AttributeError) as error:
            raise FSAFError(f"{path} has a damaged configuration ({excerpt(error)}): take another checkpoint.") from error
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            header = (file.metadata() or {}).get(HEADER)
    except Exception as error:  # a broken file breaks its reader in many ways
        raise FSAFError(f"{path} is no readable safetensors file ({excerpt(error)}): take another copy, or a .pth.") from error
    try:
        return tensors, None if header is None else model_config(json.loads(header)["model"], str(path))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FSAFError(f"{path} has a damaged FSAF header ({excerpt(error)}): take another copy of the file.") from error


def misfits(detector: Detector, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of tensors that do not fit the detector, each with what is wrong."""
    own = detector.state_dict()
    wrong = dict.fromkeys(own.keys() - tensors.keys(), "missing")
    wrong |= dict.fromkeys(tensors.keys() - own.keys(), "not of this model")
    for name in own.keys() & tensors.keys():
        if own[name].shape != tensors[name].shape:
            wrong[name] = f"{tuple(tensors[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        elif what := unsound(tensors[name], own[name]):
            wrong[name] = what
    return dict(sorted(wrong.items()))


def unsound(tensor: Tensor, own: Tensor) -> str:
    """Why a file's tensor cannot be taken for `own`, whose shape it has; "" if it can."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
        return "is sparse, quantised or empty"
    if tensor.is_complex() or own.is_floating_point() > tensor.is_floating_point():
        return f"is of type {tensor.dtype}, not {own.dtype}"
    return "" if tensor.float().isfinite().all() else "holds values that are no numbers"


def named(wrong: Mapping[str, str], most: int = 4) -> str:
    """The first few misfits as part of a sentence."""
    shown = [f"{name} ({what})" for name, what in list(wrong.items())[:most]]
    return ", ".join(shown) + (f" and {len(wrong) - most} more tensors" if len(wrong) > most else "")


def load_weights(detector: Detector, source: str | Path | Mapping[str, Tensor]) -> list[str]:
    """Loads weights for a new training; those of another number of classes into all but the class layer.

    Args:
        detector: takes the weights, in place.
        source: a file of `save`, a training's checkpoint, or a state dict.

    Returns:
        Names of the class layer's tensors that were left as they were; empty when all fitted.

    Raises:
        FSAFError: "x.safetensors does not fit this model: ...", naming the tensors, whatever else differs.
    """
    tensors = dict(source) if isinstance(source, Mapping) else read_weights(source)[0]
    where = "The state dict" if isinstance(source, Mapping) else source
    wrong = misfits(detector, tensors)
    fresh = [name for name in wrong if not {*CLASS_LAYERS}.isdisjoint(name.split(".")) and "in the file" in wrong[name]]
    if len(fresh) < len(wrong):
        others = {name: what for name, what in wrong.items() if name not in fresh}
        raise FSAFError(f"{where} does not fit this model: {named(others)}; take the model fields it was trained with.")
    detector.load_state_dict({name: tensor for name, tensor in tensors.items() if name not in fresh}, strict=False)
    return fresh


# The state of a training


def versions() -> dict[str, str]:
    """Versions that a result may depend on."""
    return {"torch": str(torch.__version__), "numpy": str(np.__version__)}


def random_states() -> dict[str, Any]:
    """The state of every random generator, as tensors and plain containers."""
    of_numpy: Any = np.random.get_state()
    name, keys, *rest = of_numpy
    return {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Puts the random generators where `random_states` saw them."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


def save_training(folder: str | Path, state: Mapping[str, Any], keep: int) -> Path:
    """Writes `step_<state["step"]>.pt` and removes all but the last `keep`; the new one is safe before an old one goes."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    path = Path(folder) / f"step_{state['step']:09d}.pt"
    write_atomically(path, buffer.getbuffer())
    for old in training_files(folder)[: -max(1, keep)]:
        old.unlink()
    return path


def training_files(folder: str | Path) -> list[Path]:
    """The checkpoints in a folder, the oldest first."""
    return sorted(Path(folder).glob("step_*.pt"))


def read_training(path: str | Path) -> dict[str, Any]:
    """The state that `save_training` wrote, on the CPU, read with `weights_only=True`.

    Raises:
        FSAFError: "x.pt is no readable checkpoint ...: delete it, and the one before it is used."
    """
    try:
        with open(path, "rb") as file:
            state = load_tensors(file)
        if not isinstance(state, dict) or not {"model", "config", "step"} <= state.keys():
            raise ValueError("it is of another kind")
        if not all(isinstance(tensor, Tensor) for tensor in state["model"].values()):
            raise ValueError("its weights are of another kind")
    except Exception as error:  # the reader raises whatever a strange byte leads it to
        reason = str(error).split("\n")[0].split(". ")[0]
        raise FSAFError(f"{path} is no readable checkpoint ({reason}): delete it, and the one before it is used.") from error
    return state


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
