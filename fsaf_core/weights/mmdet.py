"""Weights of MMDetection's FSAF, in both directions.

Messages name the tensors that do not fit. No code of a file is run.
"""

import hashlib
import io
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import COCO_CLASSES, FSAFError, ModelConfig
from ..model.detector import Detector, build_detector
from ..utils.files import excerpt, load_tensors
from . import inert_pickle
from .checkpoint import mismatches

ZIP = b"PK\3\4"  # the first bytes of a file in PyTorch's format since version 1.6
PICKLE = b"\x80"  # the first byte of an older one
# What surrounds the names where a model was wrapped: for several GPUs, or for averaged weights.
WRAPPERS = re.compile(r"^(?:(?:module|model|ema_model|ema)\.|ema_)+")
# The preprocessing's constants, and how many models an average is of.
NO_WEIGHTS = re.compile(r"data_preprocessor\.|(?:steps|n_averaged)$")

LTRB_ROWS = [2, 0, 3, 1]  # our l t r b out of MMDetection's t b l r
TBLR_ROWS = [1, 3, 0, 2]  # t b l r out of l t r b

# Regular expressions of our names, each with what MMDetection has in its place.
NAMES = {
    r"^network\.": "",
    r"^neck\.lateral\.(\d)": r"neck.lateral_convs.\1.conv",
    r"^neck\.output\.(\d)": r"neck.fpn_convs.\1.conv",
    r"^head\.cls_tower\.(\d+)": r"bbox_head.cls_convs.\1.conv",
    r"^head\.box_tower\.(\d+)": r"bbox_head.reg_convs.\1.conv",
    r"^head\.af_cls": "bbox_head.retina_cls",
    r"^head\.af_box": "bbox_head.retina_reg",
}

# By the number of blocks of layer1..4, their kind, and the filters of a block's first convolution.
BACKBONES: dict[tuple, Any] = {
    ((2, 2, 2, 2), "basic", 64): "resnet18",
    ((3, 4, 6, 3), "bottleneck", 64): "resnet50",
    ((3, 4, 23, 3), "bottleneck", 64): "resnet101",
    ((3, 4, 23, 3), "bottleneck", 256): "resnext101_64x4d",
}


def load_mmdet(source: str | Path | Mapping[str, Any]) -> Detector:
    """Return the detector of a checkpoint of MMDetection's FSAF, in the `reference` convention.

    Backbone, channels, depth of the towers and number of classes follow from the names and shapes.
    The class names are those of the file's `meta`. Without any, 80 classes get COCO's names and
    any other number class_0, class_1, ...

    Args:
        source: a file as MMDetection writes it, or its contents: {"state_dict": ...} or
            {"model": ...}, or the state_dict itself. If a file's name ends in eight hex digits, as
            published ones do, its SHA-256 must begin with them. `nscale0.5` in the name gives the
            ignoring scale that it was trained with.

    Returns:
        The detector in evaluation mode, on the CPU.

    Raises:
        FSAFError: "x.pth does not fit: neck.lateral_convs.0.conv.weight (missing), ...: give the
            whole checkpoint of that code, ..."; "x.pth: its SHA-256 begins with ..."; "x.pth names
            3 classes, 'a' the first, and its head has 80: ..."; "x.pth is in PyTorch's old format
            and holds more than tensors: ...".

    Source: MMDetection 3.3.0, configs/fsaf, published checkpoints.
    """
    where, ignoring_scale = "the state_dict", None
    if isinstance(source, (str, Path)):
        where = Path(source).name
        if match := re.search(r"nscale(\d\.\d+)", where):
            ignoring_scale = float(match[1])
        source = _read(Path(source))
    weights, names = source, None
    if isinstance(source, Mapping):
        weights = source.get("state_dict", source.get("model", source))
        names = _class_names(source.get("meta"))
    if not isinstance(weights, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):
        raise FSAFError(
            f"{where} is no checkpoint: give names and tensors, bare or under the key 'state_dict'."
        )
    weights = _without_wrappers(weights)
    config = _recognize(weights, names, ignoring_scale, where)
    with torch.device("meta"):  # takes no memory, whatever the shapes ask for
        expected = build_detector(config).state_dict()
    reference = {reference_name(name): tensor for name, tensor in expected.items()}
    for name in reference:
        if name.endswith("num_batches_tracked"):  # older versions of PyTorch did not count
            weights.setdefault(name, torch.tensor(0))
    if wrong := mismatches(reference, weights):
        raise FSAFError(
            f"{where} does not fit: {wrong}: give the whole checkpoint of that code, unchanged."
        )
    state = {name: weights[reference_name(name)] for name in expected}
    for name in state:
        if "af_box" in name:
            state[name] = state[name][LTRB_ROWS]
    detector = build_detector(config)
    detector.load_state_dict(state)
    return detector.eval()


def to_mmdet(detector: Detector) -> dict[str, Tensor]:
    """Return the state_dict under MMDetection's names, which its FSAF and `load_mmdet` load.

    The rows of the box layer are in the order t b l r. The names do not hold the convention:
    MMDetection decodes as the `reference` convention does, however the detector was trained.

    Raises:
        FSAFError: "MMDetection has no FSAF detector with branches joint, ...: only ... can be
            written in its names."
    """
    config = detector.config
    levels = (config.first_level, config.last_level)
    if (
        config.branches != "anchor_free"
        or config.backbone not in BACKBONES.values()
        or config.tower_norm != "none"
        or levels != (3, 7)
    ):
        raise FSAFError(
            f"MMDetection has no FSAF detector with branches {config.branches}, backbone "
            f"{config.backbone}, tower_norm {config.tower_norm}, levels {levels}: "
            "only anchor_free, a ResNet, none and (3, 7) can be written in its names."
        )
    return {
        reference_name(name): value[TBLR_ROWS] if "af_box" in name else value.clone()
        for name, value in detector.state_dict().items()
    }


def reference_name(name: str) -> str:
    """Return MMDetection's name of a tensor of our anchor-free detector."""
    # In our towers a ReLU follows each convolution and has a number too.
    name = re.sub(r"(?<=_tower\.)\d+", lambda number: str(int(number[0]) // 2), name)
    for pattern, theirs in NAMES.items():
        name = re.sub(pattern, theirs, name)
    return name


def _class_names(meta: Any) -> tuple[str, ...] | None:
    """Return the class names in a file's `meta`, or None.

    Source: MMDetection 2 wrote `CLASSES`, version 3 writes `dataset_meta`.
    """
    inner = meta.get("dataset_meta") if isinstance(meta, Mapping) else None
    parts = [part for part in (inner, meta) if isinstance(part, Mapping)]
    for names in (part.get(key) for part in parts for key in ("classes", "CLASSES")):
        if isinstance(names, str):  # a forgotten comma in its config
            return (names,)
        if isinstance(names, (list, tuple)) and names and all(type(n) is str for n in names):
            return tuple(names)
    return None


def _without_wrappers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under the names that the detector itself gave them.

    A second, averaged set (`ema_...`) beside them is left out. MMDetection exchanges both sets
    before it writes a file, so the averaged weights have the plain names.
    """
    plain = [name for name in weights if not name.startswith("ema_")] or [*weights]
    renamed = {WRAPPERS.sub("", name): weights[name] for name in plain}
    return {name: value for name, value in renamed.items() if not NO_WEIGHTS.match(name)}


def _read(path: Path) -> Any:
    """Return the contents of a checkpoint file, after its hash is checked, without running code.

    Objects that are neither tensors nor plain values come back as `inert_pickle.Inert`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FSAFError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    digest = hashlib.sha256(data).hexdigest()
    expected = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    if expected and not digest.startswith(expected[1]):
        raise FSAFError(
            f"{path.name}: its SHA-256 begins with {digest[:8]}, its name says {expected[1]}: "
            "download it again."
        )
    is_zip = data.startswith(ZIP)
    try:
        try:
            return load_tensors(io.BytesIO(data))
        except pickle.UnpicklingError:  # the file holds other objects too
            if not is_zip:
                raise
            return load_tensors(io.BytesIO(data), inert_pickle)
    except Exception as error:  # the reader raises many kinds of errors for damaged files
        if data.startswith(PICKLE) and isinstance(error, pickle.UnpicklingError):
            raise FSAFError(
                f"{path.name} is in PyTorch's old format and holds more than tensors, and reading "
                "it could run code: if you trust its source, write its weights alone with "
                "torch.save(torch.load(path, weights_only=False)['state_dict'], new_path) and load "
                "that."
            ) from error
        # A file of another kind may be an error page, or a pointer of Git LFS.
        reason = excerpt(error) if is_zip else f"it begins with {data[:20]!r}"
        raise FSAFError(
            f"{path.name} is no checkpoint of torch, or is cut off ({reason}): download it again."
        ) from error


def _recognize(
    weights: Mapping[str, Tensor],
    class_names: tuple[str, ...] | None,
    ignoring_scale: float | None,
    where: str,
) -> ModelConfig:
    """Return the configuration that follows from names and shapes."""

    def size(name: str, axis: int) -> int:
        shape = tuple(weights[name].shape) if name in weights else ()
        if len(shape) != 4:
            what = f"{shape}, not the weight of a convolution" if name in weights else "missing"
            raise FSAFError(
                f"{where}: {name} is {what}: this is no whole FSAF checkpoint of MMDetection, "
                "download it again."
            )
        return shape[axis]

    def count(pattern: str) -> int:
        return len({match[1] for name in weights if (match := re.match(pattern, name))})

    blocks = tuple(count(rf"backbone\.layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4))
    kind = "bottleneck" if "backbone.layer1.0.conv3.weight" in weights else "basic"
    backbone = BACKBONES.get((blocks, kind, size("backbone.layer1.0.conv1.weight", 0)))
    if backbone is None:
        raise FSAFError(
            f"{where}: a backbone of {blocks} {kind} blocks is not known: "
            f"there are {', '.join(BACKBONES.values())}."
        )
    classes = size("bbox_head.retina_cls.weight", 0)
    unnamed = tuple(f"class_{label}" for label in range(classes))
    names = class_names or (COCO_CLASSES if classes == 80 else unnamed)
    if len(names) != classes:
        raise FSAFError(
            f"{where} names {len(names)} classes, {excerpt(names[0])!r} the first, and its head "
            f"has {classes}: give its state_dict alone, and the classes are named by number."
        )
    try:
        return ModelConfig(
            class_names=names,
            backbone=backbone,
            channels=size("bbox_head.retina_cls.weight", 1),
            tower_depth=count(r"bbox_head\.(?:cls|reg)_convs\.(\d+)\."),
            convention="reference",
            ignoring_scale=ignoring_scale,
        )
    except FSAFError as error:
        raise FSAFError(f"{where} is no checkpoint of MMDetection's FSAF: {error}") from None
