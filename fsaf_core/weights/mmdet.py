"""Weights of other codes: the reference's published checkpoints, there and back, and torchvision's RetinaNet.

What does not fit is said by name, and no file is read that could run code.
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
from .checkpoint import find_mismatches, named

OFFSET_ROWS = [2, 0, 3, 1]  # l t r b out of the reference's t b l r
REFERENCE_ROWS = [1, 3, 0, 2]  # t b l r out of l t r b

# By the blocks of layer1..4, the kind of block, and the filters of the first convolution in a block.
BACKBONES: dict[tuple, Any] = {
    ((2, 2, 2, 2), "basic", 64): "resnet18",
    ((3, 4, 6, 3), "bottleneck", 64): "resnet50",
    ((3, 4, 23, 3), "bottleneck", 64): "resnet101",
    ((3, 4, 23, 3), "bottleneck", 256): "resnext101_64x4d",
}


def load_mmdet(source: str | Path | Mapping[str, Any]) -> Detector:
    """The detector that a checkpoint of MMDetection's FSAF describes, with its weights, in the `reference` convention.

    Body, channels, depth of the towers and number of classes are read off the names and shapes. 80 classes get COCO's names, any
    other number class_0, class_1, ...

    Args:
        source: a file as the reference writes it, or its contents: {"state_dict": ...}, or the state_dict itself. If a file's
            name ends in eight hex digits, as published ones do, its SHA-256 must begin with them. `nscale0.5` in the name is the
            ignoring scale it was trained with.

    Raises:
        FSAFError: "x.pth does not fit: neck.lateral_convs.0.conv.weight (missing), ...: give that code's whole checkpoint, ...";
            "x.pth: its SHA-256 begins with ..."; "x.pth holds more than tensors, ...".

    Source: reference, published checkpoint format.
    """
    where, scale = "the state_dict", None
    if isinstance(source, (str, Path)):
        where = Path(source).name
        told = re.search(r"nscale(\d\.\d+)", where)
        scale = float(told[1]) if told else None
        source = _read(Path(source))
    weights = source.get("state_dict", source) if isinstance(source, Mapping) else source
    if not isinstance(weights, Mapping) or not all(
        isinstance(value, Tensor) for value in weights.values()
    ):
        raise FSAFError(
            f"{where} is no checkpoint: give names and tensors, bare or under the key 'state_dict'."
        )
    config = _recognise(weights, scale, where)
    with torch.device("meta"):  # takes no memory, whatever the shapes ask for
        own = build_detector(config).state_dict()
    given = _renamed(own, {name: reference_name(name) for name in own}, weights, where)
    detector = build_detector(config)
    detector.load_state_dict(
        {name: value[OFFSET_ROWS] if "af_box" in name else value for name, value in given.items()}
    )
    return detector


def to_mmdet(detector: Detector) -> dict[str, Tensor]:
    """The state_dict under the reference's names, box rows t b l r: what `load_mmdet` reads and MMDetection's FSAF loads.

    The names say nothing of the convention: MMDetection decodes as the `reference` convention does, whatever the detector was
    trained with.

    Raises:
        FSAFError: "the reference has no detector with branches joint, ...: only ... can be written in its names."
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
            f"the reference has no detector with branches {config.branches}, body {config.backbone}, tower_norm {config.tower_norm}, "
            f"levels {levels}: only anchor_free, a ResNet, none and (3, 7) can be written in its names."
        )
    weights = {
        reference_name(name): value.detach() for name, value in detector.state_dict().items()
    }
    return {
        name: value[REFERENCE_ROWS] if "retina_reg" in name else value.clone()
        for name, value in weights.items()
    }


def reference_name(name: str) -> str:
    """The reference's name of one of our anchor-free detector's tensors."""
    name = name.removeprefix("network.")
    name = re.sub(r"^neck\.lateral\.(\d)", r"neck.lateral_convs.\1.conv", name)
    name = re.sub(r"^neck\.output\.(\d)", r"neck.fpn_convs.\1.conv", name)
    # A ReLU stands after each convolution of our towers: theirs are numbered without.
    tower = re.match(r"head\.(cls|box)_tower\.(\d+)\.(.*)", name)
    if tower:
        return f"bbox_head.{'cls' if tower[1] == 'cls' else 'reg'}_convs.{int(tower[2]) // 2}.conv.{tower[3]}"
    return name.replace("head.af_cls", "bbox_head.retina_cls").replace(
        "head.af_box", "bbox_head.retina_reg"
    )


def load_torchvision_retinanet(detector: Detector, weights: Mapping[str, Tensor]) -> None:
    """Puts torchvision's `retinanet_resnet50_fpn(...).state_dict()` into body, pyramid and anchor-based branch, in place.

    It counts a background class 0 that nothing teaches: give the detector that many class names (91 for its COCO weights).

    Raises:
        FSAFError: "torchvision's RetinaNet does not fit: ... (missing), ...: ..."; "the detector has no anchor-based ...".

    Differs: torchvision makes P6 from P5 (ours from C5, so that convolution stays as it was) and applies a ReLU before P7: the
    branch gives torchvision's outputs on torchvision's pyramid.
    """
    if detector.anchor_based is None:
        raise FSAFError(
            "the detector has no anchor-based branch: build it with branches anchor_based or joint."
        )
    own = detector.state_dict()
    ours_alone = r"af_|neck\.output\.3|num_batches_tracked"
    names = {name: _torchvision_name(name) for name in own if not re.search(ours_alone, name)}
    theirs = {name: weights[name] for name in names.values() if name in weights}
    detector.load_state_dict(_renamed(own, names, theirs, "torchvision's RetinaNet"), strict=False)


def _torchvision_name(name: str) -> str:
    name = name.removeprefix("network.").replace("backbone.", "backbone.body.")
    name = name.replace("head.ab_cls", "head.classification_head.cls_logits")
    name = name.replace("head.ab_box", "head.regression_head.bbox_reg")
    name = re.sub(r"^neck\.lateral\.(\d+)", r"backbone.fpn.inner_blocks.\1.0", name)
    name = re.sub(r"^neck\.output\.([012])", r"backbone.fpn.layer_blocks.\1.0", name)
    name = name.replace("neck.output.4", "backbone.fpn.extra_blocks.p7")
    tower = re.match(r"head\.(cls|box)_tower\.(\d+)\.(.*)", name)
    if tower:
        return f"head.{'classification' if tower[1] == 'cls' else 'regression'}_head.conv.{int(tower[2]) // 2}.0.{tower[3]}"
    return name


def _read(path: Path) -> Any:
    """The contents of a checkpoint file, its hash checked and nothing in it run."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FSAFError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    digest, said = hashlib.sha256(data).hexdigest(), re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    if said and not digest.startswith(said[1]):
        raise FSAFError(
            f"{path.name}: its SHA-256 begins with {digest[:8]}, its name says {said[1]}: download it again."
        )
    try:
        return load_tensors(io.BytesIO(data))
    except pickle.UnpicklingError as error:
        raise FSAFError(
            f"{path.name} holds more than tensors, and reading that could run code: if you trust where it came from, write its "
            "weights alone with torch.save(torch.load(path, weights_only=False)['state_dict'], new_path) and load that."
        ) from error
    except Exception as error:  # a broken file breaks its reader in many ways
        raise FSAFError(
            f"{path.name} is no checkpoint of torch, or is cut off ({excerpt(error)}): download it again."
        ) from error


def _recognise(
    weights: Mapping[str, Tensor], ignoring_scale: float | None, where: str
) -> ModelConfig:
    """The configuration behind names and shapes."""

    def size(name: str, axis: int) -> int:
        if name not in weights:
            raise FSAFError(
                f"{where}: {name} is missing: this is no whole FSAF checkpoint of the reference, download it again."
            )
        if weights[name].ndim != 4:
            shape = tuple(weights[name].shape)
            raise FSAFError(
                f"{where}: {name} is {shape}, not the weight of a convolution: download it again."
            )
        return weights[name].shape[axis]

    def count(pattern: str) -> int:
        return len({found[1] for found in (re.match(pattern, name) for name in weights) if found})

    blocks = tuple(count(rf"backbone\.layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4))
    kind = "bottleneck" if "backbone.layer1.0.conv3.weight" in weights else "basic"
    backbone = BACKBONES.get((blocks, kind, size("backbone.layer1.0.conv1.weight", 0)))
    if backbone is None:
        raise FSAFError(
            f"{where}: a body of {blocks} {kind} blocks is not known: there are {', '.join(BACKBONES.values())}."
        )
    classes = size("bbox_head.retina_cls.weight", 0)
    try:
        return ModelConfig(
            class_names=COCO_CLASSES
            if classes == 80
            else tuple(f"class_{index}" for index in range(classes)),
            backbone=backbone,
            channels=size("bbox_head.retina_cls.weight", 1),
            tower_depth=count(r"bbox_head\.(?:cls|reg)_convs\.(\d+)\."),
            convention="reference",
            ignoring_scale=ignoring_scale,
        )
    except FSAFError as error:
        raise FSAFError(f"{where} is no checkpoint of the reference's FSAF: {error}") from None


def _renamed(
    own: Mapping[str, Tensor], names: Mapping[str, str], weights: Mapping[str, Tensor], where: str
) -> dict[str, Tensor]:
    """Another code's weights under our names, as {our name: theirs} says."""
    wrong = find_mismatches({theirs: own[name] for name, theirs in names.items()}, weights)
    if wrong:
        raise FSAFError(
            f"{where} does not fit: {named(wrong)}: give that code's whole checkpoint, unchanged."
        )
    return {name: weights[theirs] for name, theirs in names.items()}
