"""Solutions of notebook 01."""

import torch
from torch import Tensor


def labels_of(used: list[int], category_ids: list[int]) -> list[int]:
    """Labels 0..K-1 of objects with these category ids; `category_ids` are all that the file lists."""
    order = sorted(category_ids)
    return [order.index(one) for one in used]


def flip_boxes(boxes: Tensor, width: float) -> Tensor:
    """(N, 4) boxes of the image mirrored left to right."""
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([width - x2, y1, width - x1, y2], 1)


def boxes_in_window(
    boxes: Tensor, window: tuple[float, float, float, float], min_visible: float
) -> Tensor:
    """(M, 4) boxes as seen through the window, in its own pixels, of which at least `min_visible` of the area is left."""
    x1, y1, x2, y2 = window
    low, high = torch.tensor([x1, y1]), torch.tensor([x2, y2])
    inside = torch.cat([torch.maximum(boxes[:, :2], low), torch.minimum(boxes[:, 2:], high)], 1)
    left = (inside[:, 2:] - inside[:, :2]).clamp(min=0).prod(1)
    keep = left >= min_visible * (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return inside[keep] - low.repeat(2)
