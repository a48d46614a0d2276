"""Which level learns an instance: the one with the least loss (online), or the one that its size names (heuristic)."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .locations import Locations, box_area


def instance_level_losses(
    cell_loss: Float[Tensor, "B R"],
    owner: Int64[Tensor, "B R"],
    grid: Locations,
    num_instances: int,
) -> Float[Tensor, "N L"]:
    """The mean loss of each instance over the cells that it owns at each level; inf where it owns none.

    L(n, l) = 1 / |cells of n at l| * sum over them of (focal + -ln IoU)

    Args:
        cell_loss: focal loss plus IoU loss of each cell, with its owner as target.
        owner: 1 + instance index, 0 for none.

    Source: paper, section 3.3 (online feature selection), the two means added.
    """
    levels = len(grid.strides)
    key = grid.level.add(
        owner, alpha=levels
    ).flatten()  # a place for each instance at each level; the first ones for no owner
    mean = cell_loss.new_full(((num_instances + 1) * levels,), torch.inf)
    mean.scatter_reduce_(0, key, cell_loss.flatten(), "mean", include_self=False)
    return mean.view(-1, levels)[1:]


def select_online(level_losses: Float[Tensor, "N L"]) -> Int64[Tensor, " N"]:
    """l* = argmin over levels of the instance's loss: 0..L-1, the first on ties, -1 where it owns no cell at any level.

    Source: paper, section 3.3: l* = argmin_l L_focal(l) + L_iou(l).
    """
    best, level = level_losses.min(1)
    return level.masked_fill(best == torch.inf, -1)


def select_heuristic(
    boxes: Float[Tensor, "N 4"],
    level_losses: Float[Tensor, "N L"],
    first_level: int,
    size: float,
    level: int,
) -> Int64[Tensor, " N"]:
    """l' = floor(l0 + log2(sqrt(w h) / size)), clamped to the levels there are; -1 where the instance owns no cell at any level.

    Args:
        boxes: pixels.
        first_level: l of index 0 (3 for P3).
        size: pixels of an instance that belongs to `level` = l0; 224 and 5 in the paper.

    Source: paper, section 4.1 (heuristic feature selection), after the FPN paper.
    """
    by_size = (
        torch.floor(level + torch.log2(box_area(boxes).clamp(min=1e-6).sqrt() / size)).long()
        - first_level
    )
    return torch.where(level_losses.isinf().all(1), -1, by_size.clamp(0, level_losses.shape[1] - 1))
