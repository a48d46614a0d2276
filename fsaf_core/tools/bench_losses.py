"""The part "losses" of `fsaf bench`: assignment and losses beside torchvision's focal loss."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torchvision
from torch import Tensor

from ..config import ModelConfig
from ..model.detector import Detector, build_detector
from ..model.structures import HeadOutputs
from .op_counter import OpCounter
from .timing import compare

SHAPES = ((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))  # P3..P7 of 800 x 1344
BOXES = (8, 50, 300)  # boxes an image


def random_target(
    boxes: int,
    size: tuple[float, float],
    smallest: float,
    spread: float,
    classes: int,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Return random boxes and labels.

    Args:
        boxes: their number.
        size: width and height of the image, in pixels.
        smallest: shortest side of a box, in pixels; sides are log-uniform.
        spread: the longest side is e^spread times the shortest.
        classes: number of classes.
        generator: of the random numbers.
    """
    side = smallest * torch.exp(torch.rand(boxes, 2, generator=generator) * spread)
    limit = torch.tensor(size)
    low = torch.rand(boxes, 2, generator=generator) * (limit - side).clamp(min=1)
    corners = torch.cat([low, torch.minimum(low + side, limit)], 1)
    return {"boxes": corners, "labels": torch.randint(0, classes, (boxes,), generator=generator)}


def head_case(
    boxes: int, convention: Literal["paper", "reference"]
) -> tuple[Detector, HeadOutputs, list[dict[str, Tensor]]]:
    """Return random head outputs and targets of 2 images of 800 x 1344 with 80 classes.

    The detector that computes their losses comes with them. Its network is not used.

    Args:
        boxes: boxes of each image.
        convention: of the losses.
    """
    generator = torch.Generator().manual_seed(0)
    logits = [
        (torch.randn(2, 80, *shape, generator=generator) - 4).requires_grad_() for shape in SHAPES
    ]
    offsets = [torch.rand(2, 4, *shape, generator=generator).requires_grad_() for shape in SHAPES]
    targets = [random_target(boxes, (1344.0, 800.0), 12.0, 3.5, 80, generator) for _ in range(2)]
    small = ModelConfig(convention=convention, backbone="tiny", channels=8, tower_depth=1)
    return build_detector(small).train(), HeadOutputs(logits, offsets), targets


def losses_step(detector: Detector, outputs: HeadOutputs, targets: list[dict[str, Tensor]]) -> None:
    """Run assignment and losses, forward and backward to the head's outputs."""
    losses = detector.losses(outputs, detector.assign(outputs, targets), targets)
    torch.stack([*losses.values()]).sum().backward()
    for tensor in (*outputs.cls_logits, *outputs.box_offsets):
        tensor.grad = None


def focal_alone(outputs: HeadOutputs) -> Callable[[], None]:
    """Return a function that runs torchvision's focal loss on the logits, forward and backward."""
    levels = [level.detach().flatten(2) for level in outputs.cls_logits]
    logits = torch.cat(levels, 2).requires_grad_()
    target = torch.zeros_like(logits)

    def run() -> None:
        torchvision.ops.sigmoid_focal_loss(logits, target, reduction="sum").backward()
        logits.grad = None

    return run


def losses_table(pairs: int) -> list[str]:
    """Return tables (a) time, (d) operations and (e) memory of assignment and losses."""
    lines = ["(a) head losses, forward + backward, 2 x 800 x 1344, 80 classes"]
    counts = ["(d) operations of assignment and losses, without views, and host syncs"]
    peaks = [
        "(e) peak temporary memory, in sizes of the logits: forward; "
        "forward and backward, without the gradients"
    ]
    conventions: tuple[Literal["paper", "reference"], ...] = ("reference", "paper")
    for convention in conventions:
        times = {}
        for boxes in BOXES:
            detector, outputs, targets = head_case(boxes, convention)
            step = partial(losses_step, detector, outputs, targets)
            name, peer = f"{convention}, {boxes} boxes an image", "torchvision focal loss alone"
            line = compare(name, step, peer, focal_alone(outputs), pairs)
            times[boxes] = line.seconds
            lines.append(str(line))
            with OpCounter() as forward:
                detector.losses(outputs, detector.assign(outputs, targets), targets)
            with OpCounter() as both:
                step()
            operations = forward.operations.total()
            counts.append(
                f"    {convention}, {boxes:3} boxes: "
                f"forward {operations} ({forward.syncs} syncs), "
                f"backward {both.operations.total() - operations} "
                f"({both.syncs - forward.syncs} syncs)"
            )
            logits = sum(level.nbytes for level in outputs.cls_logits)
            gradients = logits + sum(level.nbytes for level in outputs.box_offsets)
            peaks.append(
                f"    {convention}, {boxes:3} boxes: {forward.peak / logits:.2f}; "
                f"{(both.peak - gradients) / logits:.2f}"
            )
        ratio = times[300] / times[8]
        lines.append(f"    {convention}: 300 boxes take {ratio:.2f} x the time of 8")
    return [*lines, *counts, *peaks]
