"""Solutions of chapter 04."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def heuristic_level(box: Sequence[float], l0: int, s0: float, first: int, last: int) -> int:
    """The level that the size of a box names: floor(l0 + log2(sqrt(w h) / s0)), within first..last."""
    x1, y1, x2, y2 = box
    level = math.floor(l0 + math.log2(math.sqrt((x2 - x1) * (y2 - y1)) / s0))
    return min(max(level, first), last)


def match_anchors(iou: Tensor) -> Tensor:
    """(N, A) IoU to (A,): the instance of each anchor, -1 negative, -2 left out; the best anchors of each box are positive."""
    if len(iou) == 0:
        return torch.full((iou.shape[1],), -1)
    overlap, instance = iou.max(0)
    best = iou.max(1, keepdim=True).values
    rescued = ((iou == best) & (best > 0)).any(0)
    result = instance.clone()
    result[overlap < 0.5] = -2
    result[overlap < 0.4] = -1
    return torch.where(rescued, instance, result)
