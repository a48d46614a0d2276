"""What goes into the detector and what its network puts out; validation of what a user gives.

Values are checked where they lie on the CPU, as a loader's do: a GPU would have to be waited for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torchvision.transforms.v2.functional import convert_bounding_box_format
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat

from ..config import FSAFError
from ..method.assignment import GroundTruth

Targets = list[
    dict[str, Tensor]
]  # for each image `boxes`, `labels` and, if it has crowds, `ignored`
Sizes = list[tuple[int, int]]  # height, width of each image


@dataclass(frozen=True)
class ImageBatch:
    """Normalized images, padded with zeros at the right and bottom to one size."""

    tensor: Float[Tensor, "B 3 H W"]
    sizes: Sizes  # before padding


@dataclass(frozen=True)
class HeadOutputs:
    """The network's outputs, a list over the levels each. Lists of a missing branch are empty."""

    cls_logits: list[Float[Tensor, "B K _ _"]]
    box_offsets: list[Float[Tensor, "B 4 _ _"]]  # l t r b >= 0, in units of S * stride
    ab_cls: list[Float[Tensor, "B _ _ _"]] = field(default_factory=list)  # 9 anchors x K
    ab_box: list[Float[Tensor, "B _ _ _"]] = field(default_factory=list)  # 9 anchors x 4


def precise(x: Tensor) -> Tensor:
    """Return the tensor in float32, as losses need it under autocast too; float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


def readable(x: Tensor) -> bool:
    """Return whether values can be read without waiting for a device, and outside of tracing."""
    tracing = torch.compiler.is_compiling() or isinstance(x, FakeTensor)
    return x.device.type == "cpu" and not tracing


def check_images(images: Sequence[Tensor]) -> None:
    """Raise for anything but a list of images as the detector takes them.

    Args:
        images: (3, H, W) each, RGB, uint8 or floats in 0..1, not normalized.

    Raises:
        FSAFError: "no images were given: ..."; "images[0] is a Path: ..."; "images[0] is (480, 640,
            3) torch.uint8: ..."; "images[0] holds 0..255: give a list of tensors (3, H, W), RGB,
            uint8 or floats in 0..1, not normalized."
    """
    if not isinstance(images, (list, tuple, Tensor)) or not len(images):
        raise FSAFError(
            "no images were given: give a list of tensors (3, H, W), RGB, uint8 or floats in 0..1."
        )
    for index, image in enumerate(images):
        wrong = _image_problem(image)
        if wrong:
            raise FSAFError(
                f"images[{index}] {wrong}: give a list of tensors (3, H, W), RGB, uint8 or floats "
                "in 0..1, not normalized; Detector.predict takes files and arrays."
            )


def _image_problem(image: Tensor) -> str:
    if not isinstance(image, Tensor):
        return f"is a {type(image).__name__}"
    known = image.dtype == torch.uint8 or image.is_floating_point()
    if image.shape[:-2] != (3,) or not image.numel() or not known:
        return f"is {tuple(image.shape)} {image.dtype}"
    if image.is_floating_point() and readable(image):
        low, high = (value.item() for value in image.detach().aminmax())
        if (
            not -0.5 <= low <= high <= 1.5
        ):  # resizing overshoots a little; NaN fails every comparison
            return f"holds {low:.3g}..{high:.3g}"
    return ""


def pack_ground_truth(
    targets: Targets, device: torch.device, num_classes: int, sizes: Sizes | None = None
) -> GroundTruth:
    """Validate the targets of a batch and pack them into flat tensors on `device`.

    Args:
        targets: for each image `boxes` (N, 4) x1 y1 x2 y2 pixels, `labels` (N,) 0..K-1 and, if it
            has crowds, `ignored` (M, 4). torchvision's BoundingBoxes are converted from their
            format.
        num_classes: K.
        sizes: height, width of each image; if given, boxes outside their image raise too.

    Raises:
        FSAFError: "targets[i] is no dict ..."; "targets[i]: boxes are (n, 4) and labels (m,); ...";
            "targets[i]['boxes'][n] is [nan, 2, 3, 4]: give ..."; "targets[i]['labels'][n] is 80:
            labels count ..."; with `sizes` "...: it lies outside its image ...", "all boxes lie
            within 0..1: ..." and "targets[i]['boxes'] belong to an image of 640 x 480 ...: ..."
    """
    for index, target in enumerate(targets):
        _check_shapes(f"targets[{index}]", target)
    targets = [
        _plain(f"targets[{index}]", target, sizes[index] if sizes else None)
        for index, target in enumerate(targets)
    ]
    boxes = torch.cat([target["boxes"] for target in targets]).float()
    labels = torch.cat([target["labels"] for target in targets]).long()
    crowds = [target.get("ignored", boxes[:0]) for target in targets]
    if readable(boxes) and readable(labels):
        for index, target in enumerate(targets):
            _check_values(f"targets[{index}]", target, num_classes)
        if sizes is not None:
            _check_inside(targets, sizes)
    counts = [len(target["labels"]) for target in targets]
    image, crowd_image = (
        torch.cat([torch.full((len(part),), i, device=device) for i, part in enumerate(parts)])
        for parts in ([target["labels"] for target in targets], crowds)
    )
    crowd_boxes = torch.cat(crowds).float().to(device)
    return GroundTruth(boxes.to(device), labels.to(device), image, crowd_boxes, crowd_image, counts)


def _check_shapes(where: str, target: dict[str, Tensor]) -> None:
    names = ("boxes", "labels")
    if not isinstance(target, dict) or not all(isinstance(target.get(n), Tensor) for n in names):
        raise FSAFError(
            f"{where} is no dict of two tensors: give 'boxes' (N, 4) x1 y1 x2 y2 and 'labels' (N,)."
        )
    boxes, labels = target["boxes"], target["labels"]
    whole = not (labels.dtype.is_floating_point or labels.dtype == torch.bool) or not len(labels)
    crowds = target.get("ignored", boxes)
    fits = labels.ndim == 1 and boxes.shape == (len(labels), 4) and crowds.shape[1:] == (4,)
    if not (fits and whole):
        raise FSAFError(
            f"{where}: boxes are {tuple(boxes.shape)} and labels {tuple(labels.shape)} "
            f"{labels.dtype}; give (N, 4) x1 y1 x2 y2 and (N,) whole numbers, (0, 4) and (0,) "
            "where nothing is, and (M, 4) for 'ignored'."
        )


def _plain(
    where: str, target: dict[str, Tensor], size: tuple[int, int] | None
) -> dict[str, Tensor]:
    """Return a target whose boxes are plain tensors x1 y1 x2 y2.

    Raises:
        FSAFError: "targets[0]['boxes'] belong to an image of 640 x 480 pixels, and it has 320 x
            240: resize boxes with their image."
    """
    plain = dict(target)
    for name, boxes in target.items():
        if not isinstance(boxes, BoundingBoxes):
            continue
        if size is not None and tuple(boxes.canvas_size) != tuple(size):
            (height, width), (own_height, own_width) = size, boxes.canvas_size
            raise FSAFError(
                f"{where}['{name}'] belong to an image of {own_width} x {own_height} pixels, and "
                f"it has {width} x {height}: resize boxes with their image."
            )
        corners = convert_bounding_box_format(boxes, new_format=BoundingBoxFormat.XYXY)
        plain[name] = corners.as_subclass(Tensor)
    return plain


def _check_values(where: str, target: dict[str, Tensor], num_classes: int) -> None:
    """Raise for an impossible box or label. numpy reads values where torch would count a sync."""
    for name in ("boxes", "ignored"):
        boxes = target.get(name, target["boxes"]).detach().numpy()
        with np.errstate(invalid="ignore", over="ignore"):
            sides = boxes[:, 2:] - boxes[:, :2]
        for row in np.flatnonzero(~((sides > 0) & (sides < np.inf)).all(1))[:1]:
            raise FSAFError(
                f"{where}['{name}'][{row}] is {boxes[row].tolist()}: give x1 y1 x2 y2 in pixels, "
                "finite, with x1 < x2 and y1 < y2."
            )
    labels = target["labels"].numpy()
    for row in np.flatnonzero((labels < 0) | (labels >= num_classes))[:1]:
        raise FSAFError(
            f"{where}['labels'][{row}] is {labels[row]}: labels count the foreground classes from "
            f"0, so give 0..{num_classes - 1}."
        )


def _check_inside(targets: Targets, sizes: Sizes) -> None:
    """Raise for boxes of another scale than their image: of the file, or fractions of it."""
    boxes = [target["boxes"].detach().numpy() for target in targets]
    if sum(map(len, boxes)) and np.concatenate(boxes).max() <= 1 < min(map(min, sizes)):
        raise FSAFError(
            "all boxes lie within 0..1: give x1 y1 x2 y2 in pixels of the images, not in fractions "
            "of their sides."
        )
    for index, (own, (height, width)) in enumerate(zip(boxes, sizes)):
        outside = (own[:, 2:] <= 0).any(1) | (own[:, 0] >= width) | (own[:, 1] >= height)
        for row in np.flatnonzero(outside)[:1]:
            raise FSAFError(
                f"targets[{index}]['boxes'][{row}] is {own[row].tolist()}: it lies outside its "
                f"image of {width} x {height} pixels; resize boxes with their image."
            )
