"""Solutions of notebook 07."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss of each entry, alpha 0.25 and gamma 2; targets 0 or 1, any shape."""
    p = logits.sigmoid()
    positive = -0.25 * (1 - p) ** 2 * logsigmoid(logits)
    negative = -0.75 * p**2 * logsigmoid(-logits)
    return torch.where(targets > 0, positive, negative)


def iou_loss(offsets: Tensor, targets: Tensor) -> Tensor:
    """-ln IoU of boxes given by l t r b from the same point, (..., 4); the IoU is taken as at least 1e-6."""
    (l1, t1, r1, b1), (l2, t2, r2, b2) = offsets.unbind(-1), targets.unbind(-1)
    wide, high = (
        torch.minimum(l1, l2) + torch.minimum(r1, r2),
        torch.minimum(t1, t2) + torch.minimum(b1, b2),
    )
    overlap = wide.clamp(min=0) * high.clamp(min=0)
    union = (l1 + r1) * (t1 + b1) + (l2 + r2) * (t2 + b2) - overlap
    return -(overlap / union).clamp(min=1e-6).log()


def level_means(
    cell_loss: Tensor, assigned: Tensor, level: Tensor, num_instances: int, num_levels: int
) -> Tensor:
    """Return (N, L): the mean of `cell_loss` over each instance's cells at each level; inf without one.

    Args:
        cell_loss: (R,) loss of each cell.
        assigned: (R,) index of the instance, -1 for none.
        level: (R,) index of each cell's level.
    """
    result = torch.full((num_instances, num_levels), torch.inf)
    for n in range(num_instances):
        for at in range(num_levels):
            mine = cell_loss[(assigned == n) & (level == at)]
            if len(mine):
                result[n, at] = mine.mean()
    return result


@torch.no_grad()
def choose_level(levels: Sequence[tuple[Tensor, Tensor, Tensor]], label: int) -> tuple[Tensor, int]:
    """The loss of one instance at each level, (L,), and the level with the least; -1 where no level has a cell.

    Args:
        levels: at each level `logits` (n, K), `offsets` (n, 4) and `targets` (n, 4) of the instance's n cells; n may be 0.
        label: the instance's class.
    """
    losses = torch.full((len(levels),), torch.inf)
    for index, (logits, offsets, targets) in enumerate(levels):
        if len(logits):
            wanted = torch.zeros_like(logits)
            wanted[:, label] = 1
            losses[index] = focal(logits, wanted).sum(1).mean() + iou_loss(offsets, targets).mean()
    return losses, -1 if losses.isinf().all() else int(losses.argmin())


def anchor_free_loss(
    logits: Tensor,
    offsets: Tensor,
    targets: Tensor,
    labels: Tensor,
    positive: Tensor,
    ignored: Tensor,
    weight: float,
) -> Tensor:
    """weight * (focal loss + IoU loss), both divided by the number of positive cells (at least 1).

    Args:
        logits: (R, K) of all cells.
        offsets, targets: (R, 4) l t r b; targets of cells that are not positive mean nothing.
        labels: (R,) the class of each positive cell; anything in 0..K-1 elsewhere.
        positive: (R,) bool.
        ignored: (R, K) bool, entries without gradient; a positive cell's own class is never one of them, whatever it says.
        weight: the paper's lambda.
    """
    wanted = torch.zeros_like(logits, dtype=torch.bool)
    wanted[torch.arange(len(logits))[positive], labels[positive]] = True
    counted = wanted | ~ignored
    n = max(int(positive.sum()), 1)
    cls = (focal(logits, wanted) * counted).sum() / n
    box = iou_loss(offsets[positive], targets[positive]).sum() / n
    return weight * (cls + box)
