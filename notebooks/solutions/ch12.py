"""Solutions of notebook 12."""

import torch
from torch import Tensor


def atss_threshold(overlaps: list[Tensor], distances: list[Tensor], k: int = 9) -> float:
    """Return mean plus standard deviation of the IoUs of a box's candidates.

    Args:
        overlaps: of each level, the IoU of each anchor with the box.
        distances: of each level, the distance of each location from the center of the box.
        k: candidates of each level: the nearest ones, or all where a level has fewer.
    """
    candidates = []
    for overlap, distance in zip(overlaps, distances):
        nearest = distance.argsort()[:k]
        candidates.append(overlap[nearest])
    values = torch.cat(candidates)
    return float(values.mean() + values.std())


def simota(cost: Tensor, overlap: Tensor, q: int = 10) -> Tensor:
    """Return the object of each location (R,), -1 for background, by SimOTA's rule.

    Args:
        cost: (N, R) of each pair of an object and a location.
        overlap: (N, R), the IoU of the location's predicted box with the object's box.
        q: the sum of an object's q highest IoUs gives the number of its locations.
    """
    best = overlap.topk(min(q, overlap.shape[1])).values
    counts = best.sum(1).int().clamp(min=1)
    is_chosen = torch.zeros_like(cost, dtype=torch.bool)
    for index, count in enumerate(counts.tolist()):
        is_chosen[index, cost[index].argsort()[:count]] = True
    choices = is_chosen.sum(0)
    assigned = torch.where(choices > 1, cost.argmin(0), is_chosen.int().argmax(0))
    return assigned.where(choices > 0, -1)
