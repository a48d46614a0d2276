"""The assignment once more, in plain loops over instances, levels and cells: the paper's words and the reference's rules.

Slow and obvious, in Python's own floats. `assign` says for one image what the batched code says for many at once, and the tests
compare the two. A cell is (level, row, column), an entry (level, row, column, class).
"""

import math
from dataclasses import dataclass, field

import numpy as np

from fsaf_core.config import ModelConfig


@dataclass
class Twin:
    """What became of one image."""

    owner: dict = field(default_factory=dict)  # cell -> instance, before the selection
    level_losses: list = field(default_factory=list)  # of each instance, {level: loss}
    selected: list = field(default_factory=list)  # of each instance, a level or -1
    positive: dict = field(default_factory=dict)  # cell -> instance
    ignored: set = field(default_factory=set)  # entries without loss
    valid: set = field(default_factory=set)  # cells inside the image and under no crowd
    cls_sum: float = 0.0
    box_sum: float = 0.0


def scaled(box, scale):
    """The box with the same centre and sides * scale."""
    x1, y1, x2, y2 = box
    cx, cy, w, h = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) * scale, (y2 - y1) * scale
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


def covered(low, high, cells):
    """floor(low) .. ceil(high), half open, of `cells` cells; the nearest one if that is none."""
    return [c for c in range(cells) if math.floor(low) <= c < math.ceil(high)] or [
        min(max(math.floor(low), 0), cells - 1)
    ]


def region(box, scale, stride, rows, columns, rules, inside):
    """Cells (row, column) of a level that the scaled box holds; `inside`: their points must lie in the full box too."""
    c = rules.cell_center
    x1, y1, x2, y2 = scaled(box, scale)
    if rules.region_rounding == "floor_ceil":
        wide, tall = (
            covered(x1 / stride, x2 / stride, columns),
            covered(y1 / stride, y2 / stride, rows),
        )
        return {(i, j) for i in tall for j in wide}
    found = set()
    for i in range(rows):
        for j in range(columns):
            x, y = (j + c) * stride, (i + c) * stride
            w = min(x2, x + stride / 2) - max(x1, x - stride / 2)
            h = min(y2, y + stride / 2) - max(y1, y - stride / 2)
            strictly = box[0] < x < box[2] and box[1] < y < box[3]
            if w > 0 and h > 0 and w * h > 0.01 * stride**2 and (strictly or not inside):
                found.add((i, j))
    return found


def focal(logit, target):
    """Focal loss of one entry, alpha 0.25, gamma 2."""
    p = 1 / (1 + math.exp(-logit))
    if target:
        return -0.25 * (1 - p) ** 2 * math.log(p)
    return -0.75 * p**2 * math.log(1 - p)


def iou_loss(offsets, box, x, y, scale):
    """-ln IoU of the box that a cell says with the instance's."""
    left, top, right, bottom = (offset * scale for offset in offsets)
    x1, y1, x2, y2 = x - left, y - top, x + right, y + bottom
    w, h = min(x2, box[2]) - max(x1, box[0]), min(y2, box[3]) - max(y1, box[1])
    both = max(w, 0) * max(h, 0)
    union = (x2 - x1) * (y2 - y1) + (box[2] - box[0]) * (box[3] - box[1]) - both
    return -math.log(max(both / max(union, 1e-6), 1e-6))


def assign(config: ModelConfig, logits, offsets, boxes, labels, crowds, size) -> Twin:
    """Regions, owners, losses by level, selection, positives, ignored entries and the two loss sums of one image.

    Args:
        logits: for each level a nested list [class][row][column].
        offsets: for each level a nested list [l t r b][row][column].
        size: height, width of the image before padding.
    """
    out, rules, strides = Twin(), config.rules, config.strides
    levels, classes = range(len(strides)), range(config.num_classes)
    inside = [
        tuple(math.ceil(math.ceil(side / 32) * 32 / stride) for side in size) for stride in strides
    ]
    every = [
        (level, i, j)
        for level in levels
        for i in range(len(logits[level][0]))
        for j in range(len(logits[level][0][0]))
    ]
    out.valid = {
        (level, i, j) for level, i, j in every if i < inside[level][0] and j < inside[level][1]
    }

    def where(cell):
        stride = strides[cell[0]]
        return (cell[2] + rules.cell_center) * stride, (cell[1] + rules.cell_center) * stride

    def held(n, scale, strictly):
        return {
            (level, *c)
            for level in levels
            for c in region(boxes[n], scale, strides[level], *inside[level], rules, strictly)
        }

    instances = range(len(boxes))
    effective = [held(n, config.effective_scale, True) for n in instances]
    ignoring = [held(n, rules.ignoring_scale, False) | effective[n] for n in instances]
    # The smallest instance owns a cell; of equal ones the later. Areas are rounded as float32 does, so that ties are the same.
    corners = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    area = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    for n in sorted(instances, key=lambda n: (-area[n], n)):
        out.owner |= dict.fromkeys(effective[n], n)

    # An entry is shadowed for an instance's class where the instance's ignoring region lies but the cell is not its own.
    shadowed = {
        (*cell, labels[n]) for n in instances for cell in ignoring[n] if out.owner.get(cell) != n
    }
    if rules.same_class_overlap == "erase":
        out.owner = {cell: n for cell, n in out.owner.items() if (*cell, labels[n]) not in shadowed}
    for crowd in crowds:
        x1, y1, x2, y2 = scaled(crowd, 0.5)
        under = {cell for cell in every if x1 < where(cell)[0] < x2 and y1 < where(cell)[1] < y2}
        out.valid -= under
        out.owner = {cell: n for cell, n in out.owner.items() if cell not in under}

    def cls_loss(cell, own, ignored):
        level, i, j = cell
        return sum(
            focal(logits[level][k][i][j], k == own)
            for k in classes
            if k == own or (*cell, k) not in ignored
        )

    def box_loss(cell, n):
        level, i, j = cell
        told = [max(side[i][j], rules.min_offset) for side in offsets[level]]
        return iou_loss(told, boxes[n], *where(cell), config.offset_normalizer * strides[level])

    seen = shadowed if rules.ignore_levels == "all" else set()
    for n in instances:
        losses: dict = {}
        for cell in (cell for cell, owner in out.owner.items() if owner == n):
            losses.setdefault(cell[0], []).append(
                cls_loss(cell, labels[n], seen) + box_loss(cell, n)
            )
        out.level_losses.append({level: sum(part) / len(part) for level, part in losses.items()})
        out.selected.append(
            min(sorted(losses), key=lambda level, n=n: out.level_losses[n][level], default=-1)
        )

    out.positive = {cell: n for cell, n in out.owner.items() if cell[0] == out.selected[n]}
    for n in instances:
        near = (
            levels
            if rules.ignore_levels == "all"
            else range(out.selected[n] - 1, out.selected[n] + 2)
        )
        if rules.ignore_levels == "all" or out.selected[n] >= 0:
            out.ignored |= {(*cell, labels[n]) for cell in ignoring[n] if cell[0] in near}
    out.ignored -= {(*cell, labels[n]) for cell, n in out.positive.items()}
    for cell in out.valid:
        n = out.positive.get(cell)
        out.cls_sum += cls_loss(cell, None if n is None else labels[n], out.ignored)
    out.box_sum = sum(box_loss(cell, n) for cell, n in out.positive.items())
    return out
