"""A detector's weights and configuration in one safetensors file.

Such a file holds tensors and text, and nothing that could run.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from ..config import FSAFError, ModelConfig
from ..model.detector import Detector, build_detector
from ..utils.files import excerpt, load_tensors, write_atomically

HEADER = "fsaf"  # the key of our entry in a safetensors header
# Fields of `ModelConfig` in files of the first edition, each with its name today.
OLD_FIELDS = {
    "body": "backbone",
    "body_norm": "backbone_norm",
    "cells": "region_rounding",
    "other_levels": "ignore_levels",
    "same_class": "same_class_overlap",
}
CLASS_LAYERS = ("af_cls", "ab_cls")  # the number of their filters depends on the classes


def model_config(values: Mapping[str, Any], where: str) -> ModelConfig:
    """Return the `ModelConfig` that was written as JSON; missing fields keep their defaults.

    Args:
        values: by field, also under names of the first edition.
        where: the file, for messages.

    Raises:
        FSAFError: "x.safetensors has a model field 'foo' that this version does not know: update
            fsaf-core."; "x.safetensors: its model field 'channels' cannot be ...: take another
            copy of the file."; as `ModelConfig`.
    """
    values = {OLD_FIELDS.get(name, name): value for name, value in values.items()}
    unknown = values.keys() - {field.name for field in fields(ModelConfig)}
    if unknown:
        raise FSAFError(
            f"{where} has a model field {sorted(unknown)[0]!r} that this version does not know: "
            "update fsaf-core."
        )
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    hints = get_type_hints(ModelConfig)
    wrong = next((name for name, value in given.items() if not _is_a(value, hints[name])), None)
    if wrong:
        raise FSAFError(
            f"{where}: its model field {wrong!r} cannot be {excerpt(given[wrong])}: "
            "take another copy of the file."
        )
    try:
        return ModelConfig(**given)
    except FSAFError as error:
        raise FSAFError(f"{where}: its model field {error}") from None


def _is_a(value: Any, hint: Any) -> bool:
    """Return whether a value has the type of a field; an int may stand for a float."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Literal:
        return value in parts
    if kind is tuple:
        fits = isinstance(value, tuple) and (parts[-1] is ... or len(value) == len(parts))
        return fits and all(_is_a(one, parts[0]) for one in value)
    if parts:
        return any(_is_a(value, part) for part in parts)
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is hint


def save(detector: Detector, path: str | Path, half: bool = False) -> None:
    """Write weights and configuration into one safetensors file.

    The header holds the `ModelConfig` as JSON.

    Args:
        detector: of `build_detector`.
        path: of the file, named .safetensors. An existing file is replaced as a whole.
        half: whether to write floating-point weights in half precision, which halves the size.

    Raises:
        FSAFError: "mine.pth: a detector's file is named .safetensors, ..."; as `write_atomically`
            if the disk is full or the folder cannot be written. An existing file survives.
    """
    if Path(path).suffix != ".safetensors":
        raise FSAFError(
            f"{path}: a detector's file is named .safetensors, by which `load` and the commands "
            "know it: name it so."
        )
    state = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor)
        .detach()
        .cpu()
        .contiguous()
        for name, tensor in detector.state_dict().items()
    }
    header = {HEADER: json.dumps({"model": asdict(detector.config), "versions": versions()})}
    write_atomically(path, to_safetensors(state, header))


def load(path: str | Path) -> Detector:
    """Return the detector that `save` wrote, in evaluation mode, on the CPU.

    Args:
        path: of the file.

    Raises:
        FSAFError: "x.safetensors does not fit its own configuration: ..., take another copy."; as
            `read_weights`.
    """
    tensors, config = read_weights(path)
    with torch.device("meta"):  # takes no memory, however much the configuration asks for
        wrong = find_mismatches(build_detector(config).state_dict(), tensors)
    if wrong:
        raise FSAFError(
            f"{path} does not fit its own configuration: {list_mismatches(wrong)}; "
            "it was changed since, take another copy."
        )
    detector = build_detector(config)
    detector.load_state_dict(tensors)
    return detector.eval()


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], ModelConfig]:
    """Return the tensors of a file and the configuration that was saved with them.

    Args:
        path: of a file that `save` wrote, or of a training's checkpoint (.pt).

    Raises:
        FSAFError: "x.safetensors does not exist: ..."; "... is a folder: ..."; "... is no readable
            safetensors file (...): ..."; "... holds weights but no FSAF configuration: ..."; "...
            has a damaged FSAF header (...): ..."; as `model_config` and `read_training`.
    """
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
            raise FSAFError(
                f"{path} has a damaged configuration ({excerpt(error)}): take another checkpoint."
            ) from error
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()  # the file itself is not iterable
            tensors = {name: file.get_tensor(name) for name in names}
            header = (file.metadata() or {}).get(HEADER)
    except Exception as error:  # the reader raises many kinds of errors for damaged files
        raise FSAFError(
            f"{path} is no readable safetensors file ({excerpt(error)}): "
            "take another copy, or a .pth."
        ) from error
    if header is None:
        raise FSAFError(
            f"{path} holds weights but no FSAF configuration: "
            "give a file that fsaf.save or fsaf train wrote."
        )
    try:
        return tensors, model_config(json.loads(header)["model"], str(path))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FSAFError(
            f"{path} has a damaged FSAF header ({excerpt(error)}): take another copy of the file."
        ) from error


def find_mismatches(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the names of tensors that do not fit, each with what is wrong.

    Args:
        own: the tensors of the model.
        tensors: those of the file.
    """
    wrong = dict.fromkeys(own.keys() - tensors.keys(), "missing")
    wrong |= dict.fromkeys(tensors.keys() - own.keys(), "not of this model")
    for name in own.keys() & tensors.keys():
        if own[name].shape != tensors[name].shape:
            wrong[name] = (
                f"{tuple(tensors[name].shape)} in the file, {tuple(own[name].shape)} in the model"
            )
        elif what := tensor_problem(tensors[name], own[name]):
            wrong[name] = what
    return dict(sorted(wrong.items()))


def tensor_problem(tensor: Tensor, own: Tensor) -> str:
    """Return why a file's tensor cannot replace `own`, which has the same shape; "" if it can."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
        return "is sparse, quantized or without data"
    if tensor.is_complex() or own.is_floating_point() > tensor.is_floating_point():
        return f"is of type {tensor.dtype}, not {own.dtype}"
    return "" if tensor.float().isfinite().all() else "holds non-finite values"


def list_mismatches(wrong: Mapping[str, str]) -> str:
    """Return the first four mismatches as part of a sentence."""
    shown = [f"{name} ({what})" for name, what in list(wrong.items())[:4]]
    return ", ".join(shown) + (f" and {len(wrong) - 4} more tensors" if len(wrong) > 4 else "")


def load_weights(detector: Detector, path: str | Path) -> list[str]:
    """Load weights into a detector for a new training.

    If the number of classes differs, the class layers keep their initial weights.

    Args:
        detector: takes the weights, in place.
        path: of a file that `save` wrote, or of a training's checkpoint.

    Returns:
        The names of the class layers' tensors that kept their weights; empty when all fit.

    Raises:
        FSAFError: "x.safetensors does not fit this model: ...", with the tensors' names, if
            anything else differs; as `read_weights`.
    """
    tensors, _ = read_weights(path)
    wrong = find_mismatches(detector.state_dict(), tensors)
    unloaded = [
        name
        for name, what in wrong.items()
        if not {*CLASS_LAYERS}.isdisjoint(name.split(".")) and "in the file" in what
    ]
    others = {name: what for name, what in wrong.items() if name not in unloaded}
    if others:
        raise FSAFError(
            f"{path} does not fit this model: {list_mismatches(others)}; "
            "take the model fields it was trained with."
        )
    fitting = {name: tensor for name, tensor in tensors.items() if name not in unloaded}
    detector.load_state_dict(fitting, strict=False)
    return unloaded


def versions() -> dict[str, str]:
    """Return the versions of the libraries that results depend on."""
    return {"torch": str(torch.__version__), "numpy": str(np.__version__)}


def read_training(path: Path) -> dict[str, Any]:
    """Return the state that `save_training` wrote, on the CPU, without running code of the file.

    Args:
        path: of the checkpoint.

    Raises:
        FSAFError: "x.pt is no readable checkpoint (...): delete it, and the one before it is used."
    """
    try:
        with open(path, "rb") as file:
            state = load_tensors(file)
        if not isinstance(state, dict) or not {"model", "config", "step"} <= state.keys():
            raise ValueError("it is of another kind")
        if not all(isinstance(tensor, Tensor) for tensor in state["model"].values()):
            raise ValueError("its weights are of another kind")
    except Exception as error:  # the reader raises many kinds of errors for damaged files
        raise FSAFError(
            f"{path} is no readable checkpoint ({excerpt(error)}): "
            "delete it, and the one before it is used."
        ) from error
    return state
