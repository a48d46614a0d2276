"""Which cells of which level are effective, ignored or negative for an instance.

The cells of a box at a level form one run of columns in each row. So a region is a short table of runs, one for each
instance (`N`) and row slot (`T`, all rows that a box of the image's size can have at all levels), found by arithmetic on the
boxes alone: no loop over instances, no N x R mask. From the runs come the *owner* of each cell (`own_cells`) and the *count* of
regions over each entry of a map (`count_regions`).
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from .boxes import Grid, fresh
from .config import Rules

OVERLAP = 0.01  # reference: a cell belongs to a box that covers more than this share of its square
CROWD_SCALE = 0.5  # reference: grid points in the inner half of a crowd box are left out


@dataclass(frozen=True)
class Slots:
    """Row slots: for each scale (effective, ignoring) and level, as many rows as a box as large as the image can have there.

    A box larger than the whole input tensor is cut to that many rows and columns.
    """

    num_effective: int  # the first slots hold the effective boxes' rows, the others the ignoring boxes'
    level: Int64[Tensor, "T"]
    offset: Float[Tensor, "T"]  # row, counted from the region's first
    stride: Float[Tensor, "T"]
    signed_scale: Float[Tensor, "T 2 1"]  # half sides of the scaled box, in half sides of the box: lower, upper edge
    slack: Float[Tensor, "T 2 1"]  # 0 where the cell must also stand inside the full box (effective slots), else no bound
    width: Int64[Tensor, "T"]  # columns of the level
    base: Int64[Tensor, "T"]  # the level's first cell in R
    entry_slot: Int64[Tensor, "E"]  # entries: every cell that an effective region can have, by slot ...
    entry_offset: Float[Tensor, "E"]  # ... and column, counted from the run's first

    @property
    def effective(self) -> slice:
        """The slots of the effective regions."""
        return slice(0, self.num_effective)

    @property
    def ignoring(self) -> slice:
        """The slots of the ignoring regions."""
        return slice(self.num_effective, None)


@dataclass(frozen=True)
class Runs:
    """For each instance and row slot the run of columns first <= column < end at `row` (cells of the slot's level)."""

    row: Float[Tensor, "N T"]
    first: Float[Tensor, "N T"]
    end: Float[Tensor, "N T"]


def make_slots(grid: Grid, effective_scale: float, ignoring_scale: float, like: Tensor) -> Slots:
    """The row slots of one input size; made once."""
    make = _slots.__wrapped__ if fresh(like) else _slots
    return make(grid.shapes, grid.strides, effective_scale, ignoring_scale, like.device)


@lru_cache(maxsize=64)
def _slots(shapes, strides, effective_scale: float, ignoring_scale: float, device: torch.device) -> Slots:
    starts = [sum(h * w for h, w in shapes[:index]) for index in range(len(shapes))]
    rows: list[tuple[float, ...]] = []
    entries: list[tuple[int, int]] = []
    num_effective = 0
    for scale, slack in ((effective_scale, 0.0), (ignoring_scale, 1e9)):
        for level, ((h, w), stride) in enumerate(zip(shapes, strides)):
            height, width = (min(cells, ceil(scale * cells) + 2) for cells in (h, w))
            for row in range(height):
                if slack == 0:
                    entries.extend((len(rows), column) for column in range(width))
                rows.append((level, row, stride, scale, slack, w, starts[level]))
        num_effective = num_effective or len(rows)
    table = torch.tensor(rows, dtype=torch.float64, device=device)
    entry = torch.tensor(entries, device=device)
    level, offset, stride, scale, slack, width, base = table.unbind(1)
    sign = torch.tensor([[-1.0], [1.0]], device=device)
    return Slots(
        num_effective, level.long(), offset.float(), stride.float(), scale.float()[:, None, None] * sign,
        slack.float()[:, None, None] * sign, width.long(), base.long(), entry[:, 0], entry[:, 1].float(),
    )  # fmt: skip


def find_runs(
    boxes: Float[Tensor, "N 4"], extent: Int64[Tensor, "N L 2"], rules: Rules, slots: Slots
) -> Runs:
    """The runs of the effective and ignoring regions of each instance at each level.

    Scaled box: same centre, sides * epsilon_e (or epsilon_i), divided by the stride: the level's own cells.

    `floor_ceil` (paper): columns floor(x1) .. ceil(x2), half open, clamped to the image's cells, at least one; rows alike.
    `overlap` (reference): cells whose square, centred at the cell's location, is covered to more than 1 % by the scaled box; for the
    effective region the location must also lie strictly inside the full box. May be empty.

    Args:
        boxes: x1 y1 x2 y2, pixels.
        extent: columns and rows of the instance's own image at each level.

    Source: paper, section 3.2 (ground truth); reference, rules 5 and 6.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    center, half = (low + high) * 0.5, (high - low) * 0.5
    stride = slots.stride[:, None, None]
    edges = center[:, None, None] + half[:, None, None] * slots.signed_scale  # N T 2(low, high) 2(x, y), pixels
    limit = extent[:, slots.level].to(boxes.dtype)
    if rules.cells == "floor_ceil":
        low_cell, high_cell = (edges / stride).unbind(2)
        first = torch.minimum(low_cell.floor().clamp(min=0), limit - 1)
        end = torch.maximum(torch.minimum(high_cell.ceil(), limit), first + 1)
        (first_column, first_row), (end_column, end_row) = first.unbind(2), end.unbind(2)
        row = first_row + slots.offset
        return Runs(row, first_column, torch.where(row < end_row, end_column, first_column))
    low_cell, high_cell = (edges / stride - (rules.cell_center - 0.5)).unbind(2)
    low_inner, high_inner = (boxes.unflatten(1, (2, 2))[:, None] / stride - rules.cell_center + slots.slack).unbind(2)
    first = torch.maximum(low_cell.floor(), low_inner.floor() + 1).clamp(min=0).minimum(limit)
    end = torch.minimum(high_cell.ceil(), high_inner.ceil()).clamp(min=0).minimum(limit)
    (first_column, first_row), (end_column, end_row) = first.unbind(2), end.unbind(2)
    row = first_row + slots.offset
    # How much of the first and last column's and of the row's squares the box covers, in pixels. Columns between are covered whole.
    cells = torch.stack([first_column, end_column - 1, row], 2)
    middle = (cells + rules.cell_center) * stride[:, 0]
    low_edge, high_edge = torch.cat([edges[..., :1], edges], 3).unbind(2)  # x, x, y beside the three of `cells`
    covered = torch.minimum(high_edge, middle + stride[:, 0] / 2) - torch.maximum(low_edge, middle - stride[:, 0] / 2)
    by_row = covered[..., 2:]
    short = covered[..., :2] * by_row <= OVERLAP * slots.stride.square()[:, None]
    inside = (row < end_row) & (by_row[..., 0] > OVERLAP * slots.stride)
    first_column, end_column = first_column + short[..., 0], end_column - short[..., 1].float()
    return Runs(row, first_column, torch.where(inside, end_column, first_column).maximum(first_column))


def own_cells(
    boxes: Float[Tensor, "N 4"], image: Int64[Tensor, "N"], runs: Runs, slots: Slots, batch: int, num_cells: int
) -> Int64[Tensor, "B R"]:
    """The instance that owns each cell of each image: 1 + its index in `N`, or 0 for none.

    A cell in the effective regions of several instances goes to the one of the smallest area; of equal areas to the later.

    Source: paper, section 3.2 ("the smaller instance has a higher priority"); reference, rule 7.
    """
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = torch.argsort(area, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(1, len(order) + 1, device=order.device))
    n = slots.num_effective
    start = image[:, None] * num_cells + slots.base[:n] + runs.row[:, :n].long() * slots.width[:n]  # N T: the row in B x R
    column = runs.first[:, slots.entry_slot] + slots.entry_offset
    cell = start[:, slots.entry_slot] + column.long()
    cell = torch.where(column < runs.end[:, slots.entry_slot], cell, batch * num_cells)  # one place more, for what is no cell
    best = torch.zeros(batch * num_cells + 1, dtype=torch.int64, device=boxes.device)
    best.scatter_reduce_(0, cell.flatten(), rank[:, None].expand_as(cell).flatten(), "amax")
    instance = torch.cat([order.new_zeros(1), order + 1])
    return instance[best[:-1]].view(batch, num_cells)


def count_regions(
    runs: Runs, slots: Slots, part: slice, active: Bool[Tensor, "N T"] | None, plane: Int64[Tensor, "N"], planes: int, grid: Grid
) -> list[Int[Tensor, "P _"]]:
    """How many regions lie over each entry of `planes` maps; instance n is drawn into map `plane[n]`.

    Each run puts +1 at its start and -1 behind its end of one long row of all maps; the running sum is the count.

    Args:
        part: which slots: `slots.effective` or `slots.ignoring`.
        active: runs to draw; None: all.

    Returns:
        (planes, cells of the first level), (planes, cells of the other levels); int16.
    """
    sizes = grid.block_sizes
    base, width = slots.base[part], slots.width[part]
    later = base >= sizes[0]  # the level lies in the second block of maps
    start = torch.where(later, base - sizes[0] + planes * sizes[0], base)
    start = start + plane[:, None] * torch.where(later, sizes[-1], sizes[0]) + runs.row[:, part].long() * width
    first, end = runs.first[:, part], runs.end[:, part]
    if active is not None:
        end = torch.where(active[:, part], end, first)
    # Empty runs may lie past their level's last row, but both of their steps fall on the same place.
    ends = torch.cat([start + first.long(), start + end.long()]).clamp(max=planes * grid.num_cells)
    step = torch.ones_like(ends, dtype=torch.int16)
    step[len(start) :] = -1
    total = torch.zeros(planes * grid.num_cells + 1, dtype=torch.int16, device=ends.device)
    total = total.scatter_add_(0, ends.flatten(), step.flatten()).cumsum_(0)[:-1]
    return [part.view(planes, size) for part, size in zip(total.split([planes * size for size in sizes]), sizes)]


def instance_maps(runs: Runs, slots: Slots, part: slice, grid: Grid) -> Bool[Tensor, "N R"]:
    """The effective (or ignoring, the effective included) region of each instance alone: for looking at."""
    n = len(runs.row)
    return torch.cat(count_regions(runs, slots, part, None, torch.arange(n, device=runs.row.device), n, grid), 1) > 0


def crowd_cells(
    crowds: Float[Tensor, "M 4"], image: Int64[Tensor, "M"], batch: int, grid: Grid
) -> Bool[Tensor, "B R"]:
    """Cells that stand strictly inside the inner half (sides * 0.5) of a crowd box: neither positive nor negative.

    Source: reference, rule 8. The paper says nothing of crowds; both conventions use this rule.
    """
    center, half = (crowds[:, :2] + crowds[:, 2:]) * 0.5, (crowds[:, 2:] - crowds[:, :2]) * 0.5 * CROWD_SCALE
    x_y = grid.centers
    inside = ((x_y > (center - half)[:, None]) & (x_y < (center + half)[:, None])).all(2)
    return torch.zeros(batch, grid.num_cells, dtype=torch.int64, device=x_y.device).index_add_(0, image, inside.long()) > 0
