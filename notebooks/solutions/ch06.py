"""Solutions of notebook 06."""

import math

import torch
from torch import Tensor


def effective_map(
    box: tuple[float, float, float, float], stride: int, rows: int, columns: int, scale: float
) -> Tensor:
    """(rows, columns) bool: the cells of a level that the box, its sides times `scale`, touches; clamped, never none."""
    x1, y1, x2, y2 = box
    result = torch.zeros(rows, columns, dtype=torch.bool)
    spans = []
    for low, high, count in ((y1, y2, rows), (x1, x2, columns)):
        middle, half = (low + high) / 2 / stride, (high - low) / 2 / stride * scale
        first = min(max(math.floor(middle - half), 0), count - 1)
        spans.append(slice(first, max(min(math.ceil(middle + half), count), first + 1)))
    result[spans[0], spans[1]] = True
    return result


def reference_map(
    box: tuple[float, float, float, float], stride: int, rows: int, columns: int, scale: float
) -> Tensor:
    """(rows, columns) bool: the reference's positive cells of one box; may be none."""
    x1, y1, x2, y2 = box
    x, y, w, h = (x1 + x2) / 2, (y1 + y2) / 2, scale * (x2 - x1), scale * (y2 - y1)
    result = torch.zeros(rows, columns, dtype=torch.bool)
    for row in range(rows):
        for column in range(columns):
            point_x, point_y = column * stride, row * stride
            wide = min(x + w / 2, point_x + stride / 2) - max(x - w / 2, point_x - stride / 2)
            high = min(y + h / 2, point_y + stride / 2) - max(y - h / 2, point_y - stride / 2)
            covered = max(wide, 0) * max(high, 0) > 0.01 * stride**2
            result[row, column] = covered and x1 < point_x < x2 and y1 < point_y < y2
    return result


def class_targets(
    effective: Tensor,
    ignoring: Tensor,
    area: Tensor,
    labels: Tensor,
    selected: Tensor,
    level: int,
    num_classes: int,
) -> Tensor:
    """(num_classes, rows, columns) of 1 positive, -1 ignored, 0 negative: what one level learns of N instances.

    Args:
        effective, ignoring: (N, rows, columns) bool, regions of each instance at this level, the effective one within.
        area: (N,) of the boxes, no two equal.
        labels: (N,) 0..num_classes - 1.
        selected: (N,) index of each instance's level, -1 for none.
        level: index of this level.
    """
    result = torch.zeros(num_classes, *effective.shape[1:], dtype=torch.long)
    for n in range(len(labels)):
        if selected[n] >= 0 and abs(int(selected[n]) - level) <= 1:
            result[labels[n]][ignoring[n]] = -1
    smallest = torch.full(effective.shape[1:], torch.inf)
    for n in range(len(labels)):
        smallest = torch.where(effective[n], smallest.clamp(max=float(area[n])), smallest)
    for n in range(len(labels)):
        if selected[n] == level:
            result[labels[n]][effective[n] & (smallest == area[n])] = 1
    return result


def width_range(
    center: float, first: int, end: int, stride: int, scale: float
) -> tuple[float, float] | None:
    """Return (above, up_to): the widths of a box whose effective box touches columns first..end - 1.

    Args:
        center: x of the box's center, pixels.
        first: the first column that the effective box touches.
        end: one past the last.
        stride: of the level, pixels.
        scale: the effective scale.

    Returns:
        The width is greater than the first number and at most the second, pixels. None: no width fits.
    """
    x = center / stride
    # floor(x - half) = first and ceil(x + half) = end, where half is half of the effective width
    above, up_to = max(x - first - 1, end - 1 - x, 0), min(x - first, end - x)
    return (2 * above * stride / scale, 2 * up_to * stride / scale) if above < up_to else None
