"""A detector's weights, configuration and category ids in one safetensors file.

Such a file holds tensors and text, and nothing that could run.
"""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from ..config import FSAFError, ModelConfig
from ..model.detector import Detector, build_detector
from ..utils.classes import list_some
from ..utils.files import excerpt, load_tensors, write_atomically
from ..utils.parts import Parts

HEADER = "fsaf"  # the key of our entry in a safetensors header
# Fields of `ModelConfig` in files of the first edition, each with its name today.
OLD_FIELDS = {
    "body": "backbone",
    "body_norm": "backbone_norm",
    "cells": "region_rounding",
    "other_levels": "ignore_levels",
    "same_class": "same_class_overlap",
}


class Weights(NamedTuple):
    """What a weights file holds."""

    tensors: dict[str, Tensor]
    config: ModelConfig
    category_ids: tuple[int, ...] | None  # the classes' ids in the training json; None: not said
    import_paths: Mapping[str, str] = {}  # of the user's own parts


def model_config(values: Mapping[str, Any], where: str) -> ModelConfig:
    """Return the `ModelConfig` that was written as JSON; missing fields keep their defaults.

    Args:
        values: by field, also under names of the first edition.
        where: the file, for messages.

    Raises:
        FSAFError: "x.safetensors has a model field 'foo' that this version does not know: update
            fsaf-core."; "x.safetensors: its model field channels is -5: give a whole number ...".
    """
    values = {
        OLD_FIELDS.get(name, name): tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
    }
    unknown = values.keys() - {field.name for field in fields(ModelConfig)}
    if unknown:
        raise FSAFError(
            f"{where} has a model field {sorted(unknown)[0]!r} that this version does not know: "
            "update fsaf-core."
        )
    try:
        return ModelConfig(**values)
    except FSAFError as error:
        raise FSAFError(f"{where}: its model field {error}") from None


def save(detector: Detector, path: str | Path, half: bool = False) -> None:
    """Write weights, configuration and category ids into one safetensors file.

    The header holds the `ModelConfig`, the ids and the import paths of own parts as JSON.

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
    state = {name: tensor.contiguous() for name, tensor in detector.state_dict().items()}
    if half:
        state = {
            name: tensor.half() if tensor.is_floating_point() else tensor
            for name, tensor in state.items()
        }
    facts = {
        "model": asdict(detector.config),
        "category_ids": detector.category_ids,
        "parts": detector.parts.import_paths,
        "versions": versions(),
    }
    write_atomically(path, to_safetensors(state, {HEADER: json.dumps(facts)}))


def load(path: str | Path, parts: Parts = Parts()) -> Detector:
    """Return the detector that `save` wrote, in evaluation mode, on the CPU.

    Args:
        path: of the file.
        parts: of your own, with which the detector was made. Its backbone is needed here; without
            its assigner or its box loss the detector detects and does not train.

    Raises:
        FSAFError: "x.safetensors does not fit its own configuration: ..., take another copy.";
            "x.safetensors was trained with its own backbone, mine.backbone: ..."; as
            `read_weights`.
    """
    tensors, config, category_ids, import_paths = read_weights(path)
    parts = parts.complete(import_paths, str(path))
    # "meta" takes no memory, however much the configuration asks for. Not every backbone can do it.
    with torch.device("meta") if parts.backbone is None else nullcontext():
        expected = build_detector(config, parts=parts).state_dict()
    if wrong := mismatches(expected, tensors):
        raise FSAFError(
            f"{path} does not fit its own configuration: {wrong}; "
            "it was changed since, take another copy."
        )
    detector = build_detector(config, parts=parts)
    detector.load_state_dict(tensors)
    detector.category_ids = category_ids or detector.category_ids
    return detector.eval()


def read_weights(path: str | Path) -> Weights:
    """Return the tensors of a file, and the configuration and ids that were saved with them.

    Args:
        path: of a file that `save` wrote, or of a training's checkpoint (.pt), whose averaged
            weights are taken if it has them.

    Raises:
        FSAFError: "x.safetensors does not exist: ..."; "... is a folder: ..."; "... is no readable
            safetensors file (...): ..."; "... holds weights but no FSAF configuration: ..."; "...
            has a damaged configuration (...): ..."; as `model_config` and `read_training`.
    """
    path = Path(path)
    if path.is_dir():
        raise FSAFError(f"{path} is a folder: give the file, such as {path / 'model.safetensors'}.")
    if not path.is_file():
        raise FSAFError(f"{path} does not exist: give a file that fsaf.save or fsaf train wrote.")
    if path.suffix == ".pt":
        state = read_training(path)
        tensors = state.get("average") or state["model"]
        facts = {**state["config"], "category_ids": state.get("category_ids")}
    else:
        tensors, facts = _read_safetensors(path)
    try:
        config, ids = model_config(facts["model"], str(path)), facts.get("category_ids")
        if ids is not None:
            ids = tuple(ids)
            if not all(type(one) is int for one in ids) or len({*ids}) != config.num_classes:
                raise ValueError(f"its category ids do not fit {config.num_classes} classes")
        import_paths = facts.get("parts", {})
        known = import_paths.keys() <= {field.name for field in fields(Parts)}
        if not known or not all(type(name) is str for name in import_paths.values()):
            raise ValueError("its parts are not those of a detector")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FSAFError(
            f"{path} has a damaged configuration ({excerpt(error)}): take another copy of the file."
        ) from error
    return Weights(tensors, config, ids, import_paths)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Return the tensors of a safetensors file, and our entry of its header."""
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()  # the file itself is not iterable
            tensors = {name: file.get_tensor(name) for name in names}
            header = (file.metadata() or {}).get(HEADER)
        facts = None if header is None else json.loads(header)
    except Exception as error:  # the reader raises many kinds of errors for damaged files
        is_pth = str(path).lower().endswith(".pth")
        advice = "read MMDetection's files by load_mmdet" if is_pth else "take another copy"
        raise FSAFError(
            f"{path} is no readable safetensors file ({excerpt(error)}): {advice}."
        ) from error
    if header is None:
        raise FSAFError(
            f"{path} holds weights but no FSAF configuration: "
            "give a file that fsaf.save or fsaf train wrote."
        )
    return tensors, facts


def mismatches(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> str:
    """Return which tensors do not fit, as part of a sentence; "" if all do.

    Args:
        expected: the tensors of the model.
        tensors: those of the file.
    """
    wrong = dict.fromkeys(expected.keys() - tensors.keys(), "missing")
    wrong |= dict.fromkeys(tensors.keys() - expected.keys(), "not of this model")
    for name in expected.keys() & tensors.keys():
        shape, expected_shape = tuple(tensors[name].shape), tuple(expected[name].shape)
        if shape != expected_shape:
            wrong[name] = f"{shape} in the file, {expected_shape} in the model"
        elif problem := tensor_problem(tensors[name], expected[name]):
            wrong[name] = problem
    return list_some([f"{name} ({problem})" for name, problem in sorted(wrong.items())])


def tensor_problem(tensor: Tensor, expected: Tensor) -> str:
    """Return why a file's tensor cannot replace `expected`, of the same shape; "" if it can."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
        return "is sparse, quantized or without data"
    if tensor.is_complex() or expected.is_floating_point() > tensor.is_floating_point():
        return f"is of type {tensor.dtype}, not {expected.dtype}"
    return "" if tensor.float().isfinite().all() else "holds non-finite values"


def versions() -> dict[str, str]:
    """Return the versions of the libraries that results depend on."""
    return {"torch": str(torch.__version__), "numpy": str(np.__version__)}


def read_training(path: Path) -> dict[str, Any]:
    """Return the state that `save_training` wrote, on the CPU, without running code of the file.

    Args:
        path: of the checkpoint.

    Raises:
        FSAFError: "x.pt is no readable checkpoint of fsaf train (...): give ..."
    """
    try:
        with open(path, "rb") as file:
            state = load_tensors(file)
        if not isinstance(state, dict) or not {"model", "config", "step"} <= state.keys():
            raise ValueError("it is of another kind")
        if not isinstance(state["config"], dict):
            raise ValueError("its configuration is of another kind")
        weights = [*state["model"].values(), *state.get("average", {}).values()]
        if not all(isinstance(tensor, Tensor) for tensor in weights):
            raise ValueError("its weights are of another kind")
    except Exception as error:  # the reader raises many kinds of errors for damaged files
        raise FSAFError(
            f"{path} is no readable checkpoint of fsaf train ({excerpt(error)}): "
            "give a file that fsaf.save or fsaf train wrote, or a .pth of MMDetection."
        ) from error
    return state
