"""Solutions of chapter 11: the ten functions of FSAF, written plainly. `R` locations of all levels, side by side."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate, logsigmoid


def cell_centers(rows: int, columns: int, stride: int) -> Tensor:
    """Return (rows * columns, 2): x y in pixels of each location of a level, row by row."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return (torch.stack([x, y], 2).flatten(0, 1) + 0.5) * stride


def merge(coarse: Tensor, lateral: Tensor) -> Tensor:
    """Return the lateral map (B, C, H, W) plus the coarser map (B, C, h, w), enlarged to its size by nearest neighbor."""
    return lateral + interpolate(coarse, size=lateral.shape[-2:], mode="nearest")


def decode(offsets: Tensor, centers: Tensor, stride: Tensor, S: float) -> Tensor:
    """Return boxes (R, 4) in pixels from l t r b (R, 4) in units of S * stride, seen from centers (R, 2); stride (R,)."""
    distances = offsets * (S * stride)[:, None]
    return torch.cat([centers - distances[:, :2], centers + distances[:, 2:]], 1)


def iou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Return (R,): -ln IoU of each box with the target in its row; the IoU is clamped to at least 1e-6."""
    low, high = (
        torch.maximum(boxes[:, :2], targets[:, :2]),
        torch.minimum(boxes[:, 2:], targets[:, 2:]),
    )
    overlap = (high - low).clamp(min=0).prod(1)
    union = (
        (boxes[:, 2:] - boxes[:, :2]).prod(1) + (targets[:, 2:] - targets[:, :2]).prod(1) - overlap
    )
    return -(overlap / union).clamp(min=1e-6).log()


def region(boxes: Tensor, stride: int, rows: int, columns: int, scale: float) -> Tensor:
    """Return (N, rows, columns) bool: the cells of a level that each scaled box touches; clamped, at least one."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * scale
    spans = []
    for axis, count in ((1, rows), (0, columns)):
        first = ((middle - half) / stride)[:, axis].floor().clamp(0, count - 1)
        end = torch.maximum(((middle + half) / stride)[:, axis].ceil().clamp(max=count), first + 1)
        cell = torch.arange(count)
        spans.append((cell >= first[:, None]) & (cell < end[:, None]))
    return spans[0][:, :, None] & spans[1][:, None, :]


def resolve_overlaps(effective: Tensor, boxes: Tensor) -> Tensor:
    """Return (R,): the smallest instance with the location in its effective region; -1 for none.

    Args:
        effective: (N, R) bool.
        boxes: (N, 4) pixels; of equal areas the later instance wins.
    """
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    result = torch.full((effective.shape[1],), -1)
    # The large ones first, the smaller ones over them.
    for n in area.argsort(descending=True, stable=True).tolist():
        result[effective[n]] = n
    return result


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the focal loss of each entry, alpha 0.25 and gamma 2; targets 0.0 or 1.0, any shape."""
    p = logits.sigmoid()
    positive = -0.25 * (1 - p) ** 2 * logsigmoid(logits)
    negative = -0.75 * p**2 * logsigmoid(-logits)
    return torch.where(targets > 0, positive, negative)


@torch.no_grad()
def level_losses(
    logits: Tensor,
    boxes: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    assigned: Tensor,
    level: Tensor,
    num_levels: int,
) -> Tensor:
    """Return (N, L), without gradient: mean focal loss + -ln IoU over the locations of instance n at level l.

    Args:
        logits: (R, K).
        boxes: (R, 4) predicted boxes, pixels.
        gt_boxes, gt_labels: (N, 4), (N,) the instances.
        assigned: (R,) instance, -1 for none.
        level: (R,) 0..L-1.
    """
    table = torch.full((len(gt_boxes), num_levels), torch.inf)
    for n in range(len(gt_boxes)):
        for at in range(num_levels):
            own = (assigned == n) & (level == at)
            if own.any():
                class_targets = torch.zeros_like(logits[own])
                class_targets[:, gt_labels[n]] = 1
                box = iou_loss(boxes[own], gt_boxes[n].expand_as(boxes[own]))
                table[n, at] = (focal_loss(logits[own], class_targets).sum(1) + box).mean()
    return table


def assign(
    table: Tensor,
    assigned: Tensor,
    ignoring: Tensor,
    gt_labels: Tensor,
    level: Tensor,
    num_classes: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the selected levels, the positive locations and the ignored entries.

    Args:
        ignoring: (N, R) bool, the ignoring region of each instance, the effective one within.

    Returns:
        selected (N,), the level of the least loss, -1 for an instance without a location; positive (R,), the locations at
        the selected level of their instance; ignored (R, K), entries of the instance's class in its ignoring region at that level or beside it.
    """
    selected = table.argmin(1)
    selected[table.isinf().all(1)] = -1
    positive = torch.cat([selected, torch.tensor([-1])])[assigned] == level
    ignored = torch.zeros(len(level), num_classes, dtype=torch.bool)
    for n in range(len(selected)):
        if selected[n] >= 0:
            ignored[ignoring[n] & ((level - selected[n]).abs() <= 1), gt_labels[n]] = True
    return selected, positive, ignored


def anchor_free_loss(
    logits: Tensor,
    boxes: Tensor,
    targets: Tensor,
    labels: Tensor,
    positive: Tensor,
    ignored: Tensor,
) -> Tensor:
    """Return the loss that trains: the focal losses and -ln IoU, divided by the number of positive locations.

    Args:
        logits, boxes: (R, K), (R, 4), predictions.
        targets, labels: (R, 4), (R,), targets of positive locations; without meaning elsewhere.
        positive: (R,) bool.
        ignored: (R, K) bool, entries that do not count, unless they are a positive location's own class.
    """
    class_targets = torch.zeros_like(logits)
    class_targets[positive, labels[positive]] = 1
    counts = (class_targets > 0) | ~ignored
    total = (focal_loss(logits, class_targets) * counts).sum() + iou_loss(
        boxes[positive], targets[positive]
    ).sum()
    return total / positive.sum().clamp(min=1)
