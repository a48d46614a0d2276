"""The part "losses" of `fsaf bench`: assignment and losses beside torchvision's focal loss."""

from dataclasses import replace

import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from ..config import ModelConfig
from ..model.detector import Detector, build_detector
from ..model.structures import HeadOutputs
from .op_counter import OpCounter
from .timing import Line, compare

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


def losses_row(detector: Detector, boxes: int, pairs: int) -> tuple[Line, str, str]:
    """Measure assignment and losses on random head outputs of 2 images of 800 x 1344.

    Args:
        detector: of 80 classes and the levels of `SHAPES`; its network is not used.
        boxes: boxes of each image.
        pairs: as in `compare`.

    Returns:
        The rows of tables (a) time, (d) operations and (e) memory.
    """
    generator = torch.Generator().manual_seed(0)
    logits = [
        (torch.randn(2, 80, *shape, generator=generator) - 4).requires_grad_() for shape in SHAPES
    ]
    offsets = [torch.rand(2, 4, *shape, generator=generator).requires_grad_() for shape in SHAPES]
    outputs = HeadOutputs(logits, offsets)
    targets = [random_target(boxes, (1344.0, 800.0), 12.0, 3.5, 80, generator) for _ in range(2)]
    all_logits = torch.cat([level.detach().flatten(2) for level in logits], 2).requires_grad_()
    background = torch.zeros_like(all_logits)

    def total_loss() -> Tensor:
        losses = detector.losses(outputs, detector.assign(outputs, targets), targets)
        return torch.stack([*losses.values()]).sum()

    def step() -> None:
        total_loss().backward()
        for tensor in (*logits, *offsets):
            tensor.grad = None

    def focal_loss_alone() -> None:
        sigmoid_focal_loss(all_logits, background, reduction="sum").backward()
        all_logits.grad = None

    convention = detector.config.convention
    name, peer = f"{convention}, {boxes} boxes an image", "torchvision focal loss alone"
    line = compare(name, step, peer, focal_loss_alone, pairs)
    with OpCounter() as forward:
        total_loss()
    with OpCounter() as both:
        step()
    operations, size = forward.operations.total(), all_logits.nbytes
    gradients = sum(tensor.nbytes for tensor in (*logits, *offsets))
    return (
        line,
        f"    {convention}, {boxes:3} boxes: forward {operations} ({forward.syncs} syncs), "
        f"backward {both.operations.total() - operations} ({both.syncs - forward.syncs} syncs)",
        f"    {convention}, {boxes:3} boxes: {forward.peak / size:.2f}; "
        f"{(both.peak - gradients) / size:.2f}",
    )


def losses_table(pairs: int) -> list[str]:
    """Return tables (a) time, (d) operations and (e) memory of assignment and losses."""
    lines = ["(a) head losses, forward + backward, 2 x 800 x 1344, 80 classes"]
    counts = ["(d) operations of assignment and losses, without views, and host syncs"]
    peaks = [
        "(e) peak temporary memory, in sizes of the logits: forward; "
        "forward and backward, without the gradients"
    ]
    paper = ModelConfig(backbone="tiny", channels=8, tower_depth=1)
    for config in (replace(paper, convention="reference"), paper):
        detector = build_detector(config).train()
        times = {}
        for boxes in BOXES:
            line, count, peak = losses_row(detector, boxes, pairs)
            times[boxes] = line.seconds
            lines.append(str(line))
            counts.append(count)
            peaks.append(peak)
        ratio = times[300] / times[8]
        lines.append(f"    {config.convention}: 300 boxes take {ratio:.2f} x the time of 8")
    return [*lines, *counts, *peaks]
