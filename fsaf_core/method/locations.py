"""Boxes, the cells of a pyramid, the l t r b coding of a box seen from a cell, and IoU. All in pixels of the input tensor."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class Locations:
    """All cells of all levels of one input size, level by level, row by row: `R`, the same for every image of a batch."""

    shapes: tuple[tuple[int, int], ...]  # (rows, columns) of each level
    strides: tuple[int, ...]
    centers: Float[Tensor, "R 2"]  # x y of each cell's own location, pixels
    stride: Float[Tensor, " R"]
    level: Int64[Tensor, " R"]  # 0..L-1
    row_column: Int64[Tensor, "R 2"]
    edges: Float[Tensor, "R 4"]  # the cells' locations as edges: -x -y x y, pixels

    @property
    def sizes(self) -> list[int]:
        """Cells of each level."""
        return [rows * columns for rows, columns in self.shapes]

    @property
    def starts(self) -> list[int]:
        """The first cell of each level in `R`."""
        return [sum(self.sizes[:index]) for index in range(len(self.shapes))]

    @property
    def block_sizes(self) -> list[int]:
        """Cells of the first level, and of all others: maps with a class axis are kept in these two blocks."""
        return [size for size in (self.sizes[0], sum(self.sizes[1:])) if size]

    @property
    def num_cells(self) -> int:
        """R."""
        return sum(self.sizes)


def fresh(like: Tensor) -> bool:
    """True where constants must be made anew: while compiling, or when `like` is no plain tensor (FakeTensorMode, for one)."""
    return torch.compiler.is_compiling() or type(like) is not Tensor


def pyramid_locations(
    shapes: tuple[tuple[int, int], ...], strides: tuple[int, ...], cell_center: float, like: Tensor
) -> Locations:
    """The cells of a pyramid of `shapes`, on `like`'s device; made once for each input size.

    A cell in row i, column j of a level stands at ((j + c) * stride, (i + c) * stride), c = `cell_center`.

    Args:
        shapes: (rows, columns) of each level.
        strides: of each level, pixels.
        cell_center: c, 0..1 of a cell.
        like: any tensor of the device.

    Source: 0.5 is what the authors' follow-up (SAPD) writes, 0 the reference; the paper's own formula reads as 0.
    """
    make = _grid.__wrapped__ if fresh(like) else _grid
    return make(shapes, strides, cell_center, like.device)


@lru_cache(maxsize=64)
def _grid(
    shapes: tuple[tuple[int, int], ...],
    strides: tuple[int, ...],
    cell_center: float,
    device: torch.device,
) -> Locations:
    row_column = []
    for rows, columns in shapes:
        y, x = torch.arange(rows, device=device), torch.arange(columns, device=device)
        row_column.append(torch.cartesian_prod(y, x))
    cells = torch.tensor([rows * columns for rows, columns in shapes], device=device)
    total = sum(rows * columns for rows, columns in shapes)
    level = torch.repeat_interleave(
        torch.arange(len(shapes), device=device), cells, output_size=total
    )
    stride = torch.tensor(strides, dtype=torch.float32, device=device)[level]
    both = torch.cat(row_column)
    centers = (both.flip(1) + cell_center) * stride[:, None]
    return Locations(
        shapes, strides, centers, stride, level, both, torch.cat([-centers, centers], 1)
    )


def box_area(boxes: Float[Tensor, "*any 4"]) -> Float[Tensor, "*any"]:
    """w * h of each box, square pixels."""
    low, high = boxes.chunk(2, -1)
    return (high - low).prod(-1)


def decode(
    offsets: Float[Tensor, "*any 4"],
    centers: Float[Tensor, "*#any 2"],
    scale: Float[Tensor, "*#any"],
) -> Float[Tensor, "*any 4"]:
    """Boxes from distances: x1 = x - scale * l, y1 = y - scale * t, x2 = x + scale * r, y2 = y + scale * b.

    Args:
        offsets: l t r b, at least 0, in units of `scale`.
        centers: x y of the cells, pixels.
        scale: S * stride, pixels; S is the paper's normaliser (4.0).

    Returns:
        x1 y1 x2 y2, pixels.

    Source: paper, section 3.4 (inference) and section 3.2 (box output).
    Differs: the reference keeps t b l r; channels here are l t r b everywhere.
    """
    distance = offsets * scale.unsqueeze(-1)
    return torch.cat([centers - distance[..., :2], centers + distance[..., 2:]], -1)


def encode(
    boxes: Float[Tensor, "*any 4"], centers: Float[Tensor, "*#any 2"], scale: Float[Tensor, "*#any"]
) -> Float[Tensor, "*any 4"]:
    """The inverse of `decode`: l t r b of boxes seen from `centers`; negative where the centre lies outside the box."""
    low, high = boxes.chunk(2, -1)
    return torch.cat([centers - low, high - centers], -1) / scale.unsqueeze(-1)


def to_edges(boxes: Float[Tensor, "*any 4"]) -> Float[Tensor, "*any 4"]:
    """The four edges, each measured outwards: -x1 -y1 x2 y2. A larger box has larger edges, and a side is the sum of two."""
    low, high = boxes.chunk(2, -1)
    return torch.cat([-low, high], -1)


def edge_iou(
    one: Float[Tensor, "*any 4"], other: Float[Tensor, "*any 4"], eps: float = 1e-6
) -> Float[Tensor, "*any"]:
    """IoU, 0..1, of each box of `one` with that at the same place of `other`, both as edges; the union is at least `eps` px^2."""
    overlap_one_other = torch.stack(
        [torch.minimum(one, other), one, other]
    )  # of two edges the inner one bounds the overlap
    low, high = overlap_one_other.chunk(2, -1)
    width, height = (
        (low + high).relu().unbind(-1)
    )  # relu: unlike clamp it keeps nothing but its result for the gradient
    overlap, area_one, area_other = (width * height).unbind(0)
    return overlap / (area_one + area_other - overlap).clamp(min=eps)


def box_iou_aligned(
    one: Float[Tensor, "*any 4"], other: Float[Tensor, "*any 4"]
) -> Float[Tensor, "*any"]:
    """IoU of each box of `one` with the box at the same place of `other`: 0..1."""
    return edge_iou(to_edges(one), to_edges(other))
