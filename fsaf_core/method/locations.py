"""The locations of a pyramid, the l t r b coding of a box seen from a location, and IoU.

All coordinates are pixels of the input tensor.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

# `*any`: any axes in front; `*#any`: the same, and axes of size 1 are repeated.
Boxes = Float[Tensor, "*any 4"]
Points = Float[Tensor, "*#any 2"]
Units = Float[Tensor, "*#any"]


@dataclass(frozen=True)
class Locations:
    """All `R` locations of a pyramid, level by level, row by row. Images of a batch share them.

    An image that is smaller than the input tensor has fewer of them: `extent` says which.
    """

    shapes: tuple[tuple[int, int], ...]  # (rows, columns) of each level
    strides: tuple[int, ...]  # pixels between neighbors of each level
    centers: Float[Tensor, "R 2"]  # x y, pixels
    stride: Float[Tensor, " R"]  # of each location's level
    level: Int64[Tensor, " R"]  # 0..L-1
    # Columns and rows of each image's own padded extent; None: every image fills the input.
    extent: Int64[Tensor, "B L 2"] | None = None

    @property
    def sizes(self) -> list[int]:
        """How many locations each level has."""
        return [rows * columns for rows, columns in self.shapes]

    @property
    def starts(self) -> list[int]:
        """Where each level begins on the axis `R`."""
        return [sum(self.sizes[:index]) for index in range(len(self.shapes))]


def pyramid_locations(
    shapes: tuple[tuple[int, int], ...],
    strides: tuple[int, ...],
    cell_center: float,
    device: torch.device | None = None,
) -> Locations:
    """Return the locations of a pyramid.

    Row i, column j of a level has its center at x = (j + c) * stride, y = (i + c) * stride, where c
    is `cell_center`.

    Args:
        shapes: (rows, columns) of each level.
        strides: of each level, pixels.
        cell_center: c, in cells, 0..1.
        device: where the tensors lie.

    Source: c = 0 is MMDetection's (`AnchorGenerator`, center_offset 0) and the literal reading of
        the paper's formula. c = 0.5 is the choice of SAPD, a later paper with two of the authors.
    """
    centers, stride, level = [], [], []
    for index, ((rows, columns), step) in enumerate(zip(shapes, strides)):
        axes = (torch.arange(count, device=device) for count in (rows, columns))
        y, x = torch.meshgrid(*axes, indexing="ij")
        centers.append((torch.stack([x, y], 2).flatten(0, 1) + cell_center) * step)
        stride.append(torch.full((rows * columns,), float(step), device=device))
        level.append(torch.full((rows * columns,), index, device=device))
    return Locations(shapes, strides, torch.cat(centers), torch.cat(stride), torch.cat(level))


def decode(offsets: Boxes, centers: Points, unit: Units) -> Boxes:
    """Turn distances from locations into boxes.

    x1 = x - unit * l, y1 = y - unit * t, x2 = x + unit * r, y2 = y + unit * b.

    Args:
        offsets: l t r b, at least 0, in multiples of `unit`.
        centers: x y of the locations, pixels.
        unit: S * stride, pixels; S = 4.0 is the paper's normalizing constant.

    Returns:
        x1 y1 x2 y2, pixels.

    Source: paper, sections 3.2 and 3.4; MMDetection, tblr_bbox_coder.py, `tblr2bboxes`.
    Differs: MMDetection orders the channels t b l r.
    """
    distance = offsets * unit.unsqueeze(-1)
    return torch.cat([centers - distance[..., :2], centers + distance[..., 2:]], -1)


def encode(boxes: Boxes, centers: Points, unit: Units) -> Boxes:
    """Invert `decode`: return l t r b, negative where a center lies outside its box."""
    low, high = boxes.chunk(2, -1)
    return torch.cat([centers - low, high - centers], -1) / unit.unsqueeze(-1)


def box_area(boxes: Boxes) -> Float[Tensor, "*any"]:
    """Return w * h of boxes x1 y1 x2 y2, square pixels."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x2 - x1) * (y2 - y1)


def box_iou_aligned(one: Boxes, other: Boxes, eps: float = 1e-6) -> Float[Tensor, "*any"]:
    """Return the IoU, 0..1, of each box of `one` with the box at the same place of `other`.

    Args:
        one, other: x1 y1 x2 y2, pixels.
        eps: the union is taken as at least this, square pixels.
    """
    low = torch.maximum(one[..., :2], other[..., :2])
    high = torch.minimum(one[..., 2:], other[..., 2:])
    width, height = (high - low).clamp(min=0).unbind(-1)
    overlap = width * height
    return overlap / (box_area(one) + box_area(other) - overlap).clamp(min=eps)
