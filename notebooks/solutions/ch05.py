"""Solutions of chapter 05."""

from collections.abc import Sequence

import torch
from torch import Tensor


def encode_cell(
    box: Sequence[float], i: int, j: int, stride: int, S: float, c: float
) -> list[float]:
    """l t r b of a box seen from the cell in row i, column j, in units of S * stride."""
    x1, y1, x2, y2 = box
    x, y = (j + c) * stride, (i + c) * stride
    return [side / (S * stride) for side in (x - x1, y - y1, x2 - x, y2 - y)]


def decode_level(offsets: Tensor, stride: int, S: float, c: float) -> Tensor:
    """(4, h, w) outputs before the ReLU to (h, w, 4) boxes in pixels."""
    l, t, r, b = offsets.relu() * S * stride
    rows, columns = offsets.shape[1:]
    y, x = torch.meshgrid(
        (torch.arange(rows) + c) * stride, (torch.arange(columns) + c) * stride, indexing="ij"
    )
    return torch.stack([x - l, y - t, x + r, y + b], 2)


def dead_share(before: Tensor, positive: Tensor) -> float:
    """The share of the positive cells' outputs (R, 4), given before the ReLU, that have no gradient; 0 without positive cells."""
    own = before[positive]
    return float((own <= 0).float().mean()) if len(own) else 0.0
