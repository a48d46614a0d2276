"""What goes into the detector and what its network puts out; validation of what a user gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..config import FSAFError, ModelConfig
from ..method.locations import Locations, fresh
from ..method.losses import background_focal, iou_loss, precise


def check_images(images: Sequence[Tensor]) -> None:
    """Refuses what is no list of pictures for a detector.

    Raises:
        FSAFError: "no images were given: ..."; "images[0] is a Path: ..."; "images[0] is (480, 640, 3) torch.uint8: ...";
            "images[0] holds 0..255: give a list of tensors (3, H, W), RGB, uint8 or floats in 0..1, not normalised."
    """
    if not isinstance(images, (list, tuple, Tensor)) or not len(images):
        raise FSAFError(
            "no images were given: give a list of tensors (3, H, W), RGB, uint8 or floats in 0..1."
        )
    for index, image in enumerate(images):
        wrong = ""
        if not isinstance(image, Tensor):
            wrong = f"is a {type(image).__name__}"
        elif (
            image.shape[:-2] != (3,)
            or not image.numel()
            or not (image.dtype == torch.uint8 or image.is_floating_point())
        ):
            wrong = f"is {tuple(image.shape)} {image.dtype}"
        elif image.is_floating_point() and image.device.type == "cpu" and not fresh(image):
            low, high = (value.item() for value in image.detach().aminmax())
            if (
                not -0.5 <= low <= high <= 1.5
            ):  # resizing overshoots a little; NaN is not above anything
                wrong = f"holds {low:.3g}..{high:.3g}"
        if wrong:
            raise FSAFError(
                f"images[{index}] {wrong}: give a list of tensors (3, H, W), RGB, uint8 or floats in 0..1, not normalised; "
                "Detector.predict takes files and arrays."
            )


@dataclass(frozen=True)
class GroundTruth:
    """All instances of a batch, image by image, and its crowd boxes."""

    boxes: Float[Tensor, "N 4"]  # x1 y1 x2 y2, pixels of the input tensor
    labels: Int64[Tensor, " N"]  # 0..K-1
    image: Int64[Tensor, " N"]  # 0..B-1
    crowds: Float[Tensor, "M 4"]
    crowd_image: Int64[Tensor, " M"]
    counts: list[int]  # instances of each image


def pack_ground_truth(
    targets: list[dict[str, Tensor]],
    device: torch.device,
    num_classes: int,
    sizes: list[tuple[int, int]] | None = None,
) -> GroundTruth:
    """The targets of a batch as flat tensors on `device`; those that cannot be are refused.

    Args:
        targets: for each image `boxes` (N, 4) x1 y1 x2 y2 pixels, `labels` (N,) 0..K-1 and, if it has crowds, `ignored` (M, 4).
        num_classes: K.
        sizes: height, width of each image, if boxes are to be refused that lie outside it.

    Raises:
        FSAFError: "targets[i] is no dict ..."; "targets[i]: boxes are (n, 4) and labels (m,); ..."; "targets[i]['boxes'][n] is
            [nan, 2, 3, 4]: give ..."; "targets[i]['labels'][n] is 80: labels count ..."; with `sizes` "...: it lies outside its
            image ..." and "all boxes lie within 0..1: ..."
    """
    for index, target in enumerate(targets):
        if not isinstance(target, dict) or not all(
            isinstance(target.get(name), Tensor) for name in ("boxes", "labels")
        ):
            raise FSAFError(
                f"targets[{index}] is no dict of two tensors: give 'boxes' (N, 4) x1 y1 x2 y2 and 'labels' (N,)."
            )
        boxes, labels, crowds = (
            target["boxes"],
            target["labels"],
            target.get("ignored", target["boxes"]),
        )
        whole = not labels.dtype.is_floating_point and labels.dtype != torch.bool
        if (
            labels.ndim != 1
            or boxes.shape != (len(labels), 4)
            or crowds.shape[1:] != (4,)
            or not (whole or not len(labels))
        ):
            raise FSAFError(
                f"targets[{index}]: boxes are {tuple(boxes.shape)} and labels {tuple(labels.shape)} {labels.dtype}; "
                "give (N, 4) x1 y1 x2 y2 and (N,) whole numbers, (0, 4) and (0,) where nothing is, and (M, 4) for 'ignored'."
            )
    crowded = [index for index, target in enumerate(targets) if "ignored" in target]
    boxes = [target["boxes"] for target in targets] + [
        targets[index]["ignored"] for index in crowded
    ]
    image = [
        torch.full((len(part),), index, device=device)
        for part, index in zip(boxes, [*range(len(targets)), *crowded])
    ]
    every, labels = (
        torch.cat(boxes).float(),
        torch.cat([target["labels"] for target in targets]).long(),
    )
    if every.device.type == labels.device.type == "cpu" and not fresh(
        every
    ):  # a GPU would have to be waited for
        _check(every.detach().numpy(), labels.numpy(), targets, num_classes)
        if sizes is not None:
            _check_inside(targets, sizes)
    count = [len(labels), len(every) - len(labels)]
    boxes, crowds = every.to(device).split(count)
    image, crowd_image = torch.cat(image).split(count)
    return GroundTruth(
        boxes,
        labels.to(device),
        image,
        crowds,
        crowd_image,
        [len(target["labels"]) for target in targets],
    )


def _check(
    boxes: np.ndarray, labels: np.ndarray, targets: list[dict[str, Tensor]], num_classes: int
) -> None:
    """Names the first box or label of a batch that cannot be; `boxes` with the crowds' behind them."""
    with np.errstate(invalid="ignore", over="ignore"):
        sides = boxes[:, 2:] - boxes[:, :2]
    sound, known = ((sides > 0) & (sides < np.inf)).all(1), (labels >= 0) & (labels < num_classes)
    if sound.all() and known.all():
        return
    names = ("labels",) if sound.all() else ("boxes", "ignored")
    places = [
        (i, name, row)
        for name in names
        for i, target in enumerate(targets)
        for row in range(len(target.get(name, ())))
    ]
    index, name, row = places[int((known if sound.all() else sound).argmin())]
    what = f"targets[{index}]['{name}'][{row}] is {targets[index][name][row].tolist()}"
    if name == "labels":
        raise FSAFError(
            f"{what}: labels count the foreground classes from 0, so give 0..{num_classes - 1}."
        )
    raise FSAFError(f"{what}: give x1 y1 x2 y2 in pixels, finite, with x1 < x2 and y1 < y2.")


def _check_inside(targets: list[dict[str, Tensor]], sizes: list[tuple[int, int]]) -> None:
    """Boxes of another scale than their image: of the file before it was resized, or fractions of it."""
    boxes = [target["boxes"] for target in targets]
    if sum(map(len, boxes)) and torch.cat(boxes).max() <= 1 < min(map(min, sizes)):
        raise FSAFError(
            "all boxes lie within 0..1: give x1 y1 x2 y2 in pixels of the images, not in fractions of their sides."
        )
    for index, (own, (height, width)) in enumerate(zip(boxes, sizes)):
        outside = (own[:, 2:] <= 0).any(1) | (own[:, 0] >= width) | (own[:, 1] >= height)
        for row in outside.nonzero().flatten().tolist()[:1]:
            what = f"targets[{index}]['boxes'][{row}] is {own[row].tolist()}"
            raise FSAFError(
                f"{what}: it lies outside its image of {width} x {height} pixels; resize boxes with their image."
            )


@dataclass(frozen=True)
class HeadOutputs:
    """The network's outputs, a list over the levels each; lists of a missing branch are empty."""

    cls_logits: list[Float[Tensor, "B K _ _"]]
    box_offsets: list[Float[Tensor, "B 4 _ _"]]  # l t r b >= 0, in units of S * stride
    ab_cls: list[Float[Tensor, "B _ _ _"]] = field(default_factory=list)  # 9 anchors x K
    ab_box: list[Float[Tensor, "B _ _ _"]] = field(default_factory=list)  # 9 anchors x 4
    made: dict[str, Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )  # of these outputs, so far

    @property
    def blocks(self) -> list[Float[Tensor, "B K _"]]:
        """`cls_logits` as two blocks: the first level, most of all cells, not copied, and all others side by side."""
        return self._kept(
            "blocks",
            None,
            lambda: two_blocks([precise(level.flatten(2)) for level in self.cls_logits]),
        )

    @property
    def offsets(self) -> Float[Tensor, "B R 4"]:
        """`box_offsets` of all levels side by side."""
        return self._kept(
            "offsets",
            None,
            lambda: torch.cat([precise(level.flatten(2)) for level in self.box_offsets], 2).mT,
        )

    def background(self, ignored: tuple[Bool[Tensor, "B K _"], ...] | None) -> Float[Tensor, "B R"]:
        """Focal loss of each cell, without weight, were all its classes background that are not ignored."""
        return self._kept("background", ignored, lambda: background_focal(self.blocks, ignored))

    def box_loss(
        self, target_edges: Float[Tensor, "B R 4"], grid: Locations, config: ModelConfig
    ) -> Float[Tensor, "B R"]:
        """-ln IoU of each cell's decoded box with its target. Made for the selection, it is handed on once, to the losses: a
        second backward pass would find its graph gone."""
        loss = self._kept(
            "box_loss", target_edges, lambda: box_loss(self.offsets, target_edges, grid, config)
        )
        if torch.is_grad_enabled():
            del self.made["box_loss"]
        return loss

    def _kept(self, name: str, of: object, make: Callable[[], Any]) -> Any:
        """What the selection has made serves the losses: kept with gradient, though the selection needs none, and for the same
        targets `of`. (`cached_property` may take a lock, which `torch.compile` cannot trace.)"""
        kept = self.made.get(name)
        if kept is None or kept[0] is not of:
            with torch.enable_grad():
                kept = self.made[name] = (of, make())
        return kept[1]


def two_blocks(flat: list[Float[Tensor, "B K _"]]) -> list[Float[Tensor, "B K _"]]:
    """The first level as it is, and all others side by side."""
    return [flat[0], torch.cat(flat[1:], 2)] if len(flat) > 1 else flat


def box_loss(
    offsets: Float[Tensor, "B R 4"],
    target_edges: Float[Tensor, "B R 4"],
    grid: Locations,
    config: ModelConfig,
) -> Float[Tensor, "B R"]:
    """-ln IoU of each cell's decoded box with its target, in pixels."""
    if config.rules.min_offset:
        offsets = offsets.clamp(min=config.rules.min_offset)
    scale = config.offset_normalizer * grid.stride.unsqueeze(1)
    return iou_loss(grid.edges + offsets * scale, target_edges)  # as `decode`, in edges


@dataclass(frozen=True)
class ImageBatch:
    """Normalised images, padded with zeros at the right and bottom to one size."""

    tensor: Float[Tensor, "B 3 H W"]
    sizes: list[tuple[int, int]]  # height, width of each image before padding
