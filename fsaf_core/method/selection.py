"""Feature selection: the level that learns an instance, by loss (online) or size (heuristic)."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .locations import Locations, box_area


def instance_level_losses(
    location_loss: Float[Tensor, "B R"],
    assigned: Int64[Tensor, "B R"],
    locations: Locations,
    num_instances: int,
) -> Float[Tensor, "N L"]:
    """Return the mean loss of each instance over its locations at each level.

    It is inf where the instance has no location at the level.

    L(n, l) = 1 / |locations of n at l| * sum over them of (focal loss + -ln IoU)

    Args:
        location_loss: focal loss plus IoU loss of each location with its assigned instance as
            target. Values of background locations are not used.
        assigned: instance of each location, 0..N-1; -1 for background.
        locations: of the input.
        num_instances: N.

    Source: paper, section 3.3: L_FL^I(l) + L_IoU^I(l); MMDetection, fsaf_head.py,
        `FSAFHead.collect_loss_level_single`.
    """
    levels = len(locations.strides)
    # One slot for each instance and level, and a last row for background, which is cut off.
    instance = torch.where(assigned < 0, num_instances, assigned)
    slot = (instance * levels + locations.level).flatten()
    mean = location_loss.new_full(((num_instances + 1) * levels,), torch.inf)
    # include_self=False: inf stays where no location writes.
    mean.scatter_reduce_(0, slot, location_loss.flatten(), "mean", include_self=False)
    return mean.view(-1, levels)[:-1]


def select_online(level_losses: Float[Tensor, "N L"]) -> Int64[Tensor, " N"]:
    """Return l* = argmin over levels of each instance's loss, 0..L-1.

    On ties the finest level counts. -1: the instance has no location at any level.

    Source: paper, section 3.3; MMDetection, fsaf_head.py, `FSAFHead.reweight_loss_single`.
    """
    return level_losses.argmin(1).masked_fill(level_losses.isinf().all(1), -1)


def select_heuristic(
    boxes: Float[Tensor, "N 4"],
    level_losses: Float[Tensor, "N L"],
    first_level: int,
    size: float,
    level: int,
) -> Int64[Tensor, " N"]:
    """Return the index of level l' = floor(l0 + log2(sqrt(w h) / size)), 0..L-1, clamped.

    -1: the instance has no location at any level. If it has none at the level of its size, it has
    no positive location.

    Args:
        boxes: x1 y1 x2 y2, pixels.
        level_losses: inf where an instance has no location.
        first_level: l of index 0 (3 for P3).
        size: sqrt(w h), pixels, of an instance that belongs to level l0; 224 in the paper.
        level: l0, a pyramid number; 5 in the paper.

    Source: paper, section 4.1 (heuristic feature selection), after Lin et al., Feature Pyramid
        Networks.
    """
    exact = level + torch.log2(box_area(boxes).clamp(min=1e-6).sqrt() / size)
    index = (exact.floor().long() - first_level).clamp(0, level_losses.shape[1] - 1)
    return index.masked_fill(level_losses.isinf().all(1), -1)
