"""What goes into the detector and what its network puts out; validation of what a user gives.

Values are checked where they lie on the CPU, as a loader's do: a GPU would have to be waited for.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.v2.functional import convert_bounding_box_format
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat

from ..config import FSAFError
from ..data.sources import readable
from ..method.assignment import GroundTruth

# For each image `boxes`, `labels` and, if it has crowds, `ignored`.
Targets = list[dict[str, Tensor]]
Size = tuple[int, int]  # height, width
Sizes = list[Size]  # of each image
FIELDS = ("boxes", "labels", "ignored")  # of a target


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
        FSAFError: "targets[i] is a list: give a dict of tensors, ..."; "targets[i] has no tensor
            'labels': ..."; "targets[i] has boxes (2, 4) torch.float32, labels (3,) torch.int64:
            ..."; "targets[i]['boxes'][n] is [nan, 2, 3, 4]: give x1 y1 x2 y2 ...";
            "targets[i]['labels'][n] is 80: labels count ..."; with `sizes` "...: it lies outside
            its image ...", "all boxes lie within 0..1: ..." and "targets[i]['boxes'] belong to an
            image of 640 x 480 pixels, ...: ..."
    """
    plain = [
        _plain(f"targets[{index}]", target, num_classes, sizes[index] if sizes else None)
        for index, target in enumerate(targets)
    ]
    each_boxes, each_labels, each_ignored = (list(parts) for parts in zip(*plain))
    boxes, labels = torch.cat(each_boxes), torch.cat(each_labels).long()
    smallest_side = min(map(min, sizes)) if sizes else 0
    if readable(boxes) and len(boxes):
        corners = boxes.detach().numpy()
        if corners.max() <= 1 < smallest_side and (corners % 1).any():  # 0 0 1 1 is a pixel
            raise FSAFError(
                "all boxes lie within 0..1: give x1 y1 x2 y2 in pixels of the image, not in "
                "fractions."
            )
    image, crowd_image = (
        torch.cat([torch.full((len(part),), i, device=device) for i, part in enumerate(parts)])
        for parts in (each_labels, each_ignored)
    )
    counts, crowd_boxes = [len(part) for part in each_labels], torch.cat(each_ignored).to(device)
    return GroundTruth(boxes.to(device), labels.to(device), image, crowd_boxes, crowd_image, counts)


def _plain(
    where: str, target: dict[str, Tensor], num_classes: int, size: Size | None
) -> list[Tensor]:
    """Return a target's `FIELDS` as plain tensors, boxes x1 y1 x2 y2 in float32, or raise."""
    if problem := _target_problem(target):
        raise FSAFError(
            f"{where} {problem}: give a dict of tensors, 'boxes' (N, 4) x1 y1 x2 y2 and 'labels' "
            "(N,) whole numbers, with N = 0 where nothing is, and 'ignored' (M, 4) for crowds."
        )
    boxes = _corners(f"{where}['boxes']", target["boxes"], size)
    ignored = _corners(f"{where}['ignored']", target.get("ignored", boxes[:0]), size)
    parts = [boxes, target["labels"], ignored]
    if all(map(readable, parts)):
        _check_values(where, parts, num_classes, size)
    return parts


def _corners(where: str, boxes: Tensor, size: Size | None) -> Float[Tensor, "_ 4"]:
    """Return boxes as a plain tensor x1 y1 x2 y2 in float32, or raise."""
    if isinstance(boxes, BoundingBoxes):
        if size is not None and tuple(boxes.canvas_size) != tuple(size):
            (height, width), (own_height, own_width) = size, boxes.canvas_size
            raise FSAFError(
                f"{where} belong to an image of {own_width} x {own_height} pixels, "
                f"and it has {width} x {height}: resize boxes with their image."
            )
        boxes = convert_bounding_box_format(boxes, new_format=BoundingBoxFormat.XYXY)
        boxes = boxes.as_subclass(Tensor)
    return boxes.float()


def _target_problem(target: dict[str, Tensor]) -> str:
    """Return what is wrong with the kinds and shapes of a target, or nothing."""
    if not isinstance(target, dict):
        return f"is a {type(target).__name__}"
    names = FIELDS if "ignored" in target else FIELDS[:2]
    for name in names:
        if not isinstance(target.get(name), Tensor):
            return f"has no tensor {name!r}"
    boxes, labels, crowds = (target.get(name, target["boxes"]) for name in FIELDS)
    is_whole = not labels.is_floating_point() and labels.dtype != torch.bool
    have_sides = boxes.shape[1:] == crowds.shape[1:] == (4,)
    if have_sides and labels.shape == (len(boxes),) and (is_whole or not len(labels)):
        return ""
    shapes = [f"{name} {tuple(target[name].shape)} {target[name].dtype}" for name in names]
    return f"has {', '.join(shapes)}"


def _check_values(where: str, parts: list[Tensor], num_classes: int, size: Size | None) -> None:
    """Raise for an impossible box or label. numpy reads values where torch would count a sync."""
    boxes, labels, crowds = (part.detach().numpy() for part in parts)
    corners = "give x1 y1 x2 y2 in pixels, finite, with x1 < x2 and y1 < y2"
    foreground = f"labels count the foreground classes from 0, so give 0..{num_classes - 1}"
    rules = [
        ("boxes", boxes, _has_area(boxes), corners),
        ("ignored", crowds, _has_area(crowds), corners),
        ("labels", labels, (labels >= 0) & (labels < num_classes), foreground),
    ]
    if size is not None:
        height, width = size
        outside = (boxes[:, 2:] <= 0).any(1) | (boxes[:, 0] >= width) | (boxes[:, 1] >= height)
        inside = f"it lies outside its image of {width} x {height} pixels; resize boxes with it"
        rules.append(("boxes", boxes, ~outside, inside))
    for name, values, valid, advice in rules:
        for row in np.flatnonzero(~valid)[:1]:
            raise FSAFError(f"{where}['{name}'][{row}] is {values[row].tolist()}: {advice}.")


def _has_area(boxes: np.ndarray) -> np.ndarray:
    """Return which boxes have positive sides, and corners whose differences do not overflow."""
    return (boxes[:, 2:] > boxes[:, :2]).all(1) & (np.abs(boxes) < 1e30).all(1)
