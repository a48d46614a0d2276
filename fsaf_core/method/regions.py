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
from jaxtyping import Bool, Float, Int, Int32, Int64
from torch import Tensor
from torch.nn import functional as F

from ..config import Rules
from .locations import Locations, box_area, fresh

OVERLAP = 0.01  # reference: a cell belongs to a box that covers more than this share of its square
CROWD_SCALE = 0.5  # reference: grid points in the inner half of a crowd box are left out


@dataclass(frozen=True)
class Slots:
    """Row slots: for each scale (effective, ignoring) and level, as many rows as a box as large as the image can have there.

    A box larger than the whole input tensor is cut to that many rows and columns. All that depends on input size and rules alone
    is kept here, so that a training step need not make it. Four columns are edges as in `boxes.to_edges`, left, top, right and
    bottom, each measured outwards, in cells of the slot's level: so one rule serves all four.
    """

    num_effective: (
        int  # the first slots hold the effective boxes' rows, the others the ignoring boxes'
    )
    level: Int64[Tensor, " T"]
    row: Int32[Tensor, " T"]  # counted from the region's first
    start: Int32[Tensor, " T"]  # the first cell in R of the level's row of that number
    width: Int32[Tensor, " T"]  # columns of the level
    scale: Float[Tensor, "T 1"]  # sides of the scaled box, in sides of the box
    outward: Float[Tensor, "T 4"]  # from pixels to half the cells, outwards
    shift: Float[Tensor, "4"]  # added to edges before they are rounded to whole cells
    inner_shift: Float[
        Tensor, "4"
    ]  # the same for the edges of the full box, inside which an effective cell must stand ...
    strict: Float[
        Tensor, "T 4"
    ]  # ... strictly: a cell less at the left and top; no bound for ignoring slots
    row_shift: Float[
        Tensor, "T 4"
    ]  # from a whole cell's number back to its outer side; at the top the slot's row
    bounds: tuple[
        Float[Tensor, "1 T 4"], Float[Tensor, "1 T 4"]
    ]  # least and greatest edges, where an image fills the tensor
    entry_slot: Int64[
        Tensor, " E"
    ]  # entries: every cell that an effective region can have, by slot ...
    entry_column: Int64[Tensor, "E 1"]  # ... and column, counted from the run's first

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
    """For each instance and row slot the run of cells start <= cell < start + length in R; (0, 0) where there is no such row."""

    start: Int32[Tensor, "N T"]
    length: Int32[Tensor, "N T"]


def make_slots(grid: Locations, effective_scale: float, rules: Rules, like: Tensor) -> Slots:
    """The row slots of one input size; made once."""
    make = _slots.__wrapped__ if fresh(like) else _slots
    return make(grid.shapes, grid.strides, effective_scale, rules, like.device)


@lru_cache(maxsize=64)
def _slots(shapes, strides, effective_scale: float, rules: Rules, device: torch.device) -> Slots:
    starts = [sum(h * w for h, w in shapes[:index]) for index in range(len(shapes))]
    table: list[tuple[float, ...]] = []
    entries: list[tuple[int, int]] = []
    num_effective = 0
    for scale in (effective_scale, rules.ignoring_scale):
        for level, ((h, w), stride) in enumerate(zip(shapes, strides)):
            height, width = (min(cells, ceil(scale * cells) + 2) for cells in (h, w))
            for row in range(height):
                if not num_effective:
                    entries.extend((len(table), column) for column in range(width))
                table.append((level, row, starts[level] + row * w, w, scale, stride))
        num_effective = num_effective or len(table)
    level, *places = torch.tensor([entry[:4] for entry in table], device=device).unbind(1)
    row, start, width = (place.int() for place in places)
    scale, stride = torch.tensor([entry[4:] for entry in table], device=device).split(1, 1)
    entry_slot, entry_column = torch.tensor(entries, device=device).split(1, 1)
    inwards = torch.tensor([1.0, 1.0, -1.0, -1.0], device=device)
    shift = inwards * (rules.cell_center - 0.5 if rules.region_rounding == "overlap" else 0.0)
    strict = (inwards + 1) * -0.5 + torch.where(
        torch.arange(len(table), device=device) < num_effective, 0.0, torch.inf
    )[:, None]
    row_shift = shift + row[:, None] * torch.tensor([0.0, 1.0, 0.0, 0.0], device=device)
    full = torch.tensor([[[w, h] for h, w in shapes]], device=device)
    return Slots(
        num_effective, level, row, start, width, scale, -0.5 * inwards / stride, shift, inwards * rules.cell_center, strict,
        row_shift, edge_bounds(full, level, rules), entry_slot.squeeze(1), entry_column,
    )  # fmt: skip


def edge_bounds(
    extent: Int64[Tensor, "N L 2"], level: Int64[Tensor, " T"], rules: Rules
) -> tuple[Tensor, Tensor]:
    """Least and greatest edges (N, T, 4) of regions that stay in images of `extent` columns and rows at each level."""
    limit = extent[:, level].float()
    none = torch.zeros_like(limit)
    least = (
        1 if rules.region_rounding == "floor_ceil" else 0
    )  # a region keeps this many columns and rows
    return torch.cat([least - limit, none], 2), torch.cat([none, limit], 2)


def find_runs(
    boxes: Float[Tensor, "N 4"], extent: Int64[Tensor, "N L 2"] | None, rules: Rules, slots: Slots
) -> Runs:
    """The runs of the effective and ignoring regions of each instance at each level.

    Scaled box: same centre, sides * epsilon_e (or epsilon_i), divided by the stride: the level's own cells.

    `floor_ceil` (paper): columns floor(x1) .. ceil(x2), half open, clamped to the image's cells, at least one; rows alike.
    `overlap` (reference): cells whose square, centred at the cell's location, is covered to more than 1 % by the scaled box; for
    the effective region the location must also lie strictly inside the full box. May be empty.

    Args:
        boxes: x1 y1 x2 y2, pixels.
        extent: columns and rows of the instance's own image at each level; None: every image fills the tensor.

    Source: paper, section 3.2 (ground truth); reference, rules 5 and 6.
    """
    half = (
        boxes.unsqueeze(1) * slots.outward
    )  # the edges of the full box, halved: N T 4, like all that follow
    opposite = half.roll(2, 2)
    edges = (half - opposite) + (
        half + opposite
    ) * slots.scale  # of the scaled box: middle + half a side * scale
    cells = (edges + slots.shift).ceil()
    if rules.region_rounding == "overlap":
        cells = cells.minimum(slots.inner_shift.add(half, alpha=2).ceil() + slots.strict)
    lower, upper = slots.bounds if extent is None else edge_bounds(extent, slots.level, rules)
    cells = cells.clamp(lower, upper).int()
    left, top, right, bottom = cells.unbind(2)
    length, rows = left + right, top + bottom
    start = torch.addcmul(slots.start, top, slots.width, value=-1) - left
    if rules.region_rounding == "floor_ceil":
        return _only(rows.clamp(min=1) > slots.row, start, length.clamp(min=1))
    # The share of the first and last column's, and of the row's squares that the box covers. Columns between are covered whole.
    side = cells - slots.row_shift
    covered = torch.minimum(side, edges) + torch.minimum(1 - side, edges.roll(2, 2))
    first, row, last, _ = covered.unbind(2)
    thin = torch.stack([first, last]) * row <= OVERLAP
    return _only(
        (rows > slots.row) & (row > OVERLAP),
        start + thin[0],
        (length - thin.sum(0, dtype=torch.int32)).clamp(min=0),
    )


def _only(
    there: Bool[Tensor, "N T"], start: Int32[Tensor, "N T"], length: Int32[Tensor, "N T"]
) -> Runs:
    return Runs(start * there, length * there)


def with_none(values: Tensor, none: float) -> Tensor:
    """`values` of the instances, with the value of no instance in front: to be indexed by owners."""
    return F.pad(values, (0, 0) * (values.ndim - 1) + (1, 0), value=none)


def own_cells(
    boxes: Float[Tensor, "N 4"],
    image: Int64[Tensor, " N"],
    runs: Runs,
    slots: Slots,
    batch: int,
    num_cells: int,
) -> Int64[Tensor, "B R"]:
    """The instance that owns each cell of each image: 1 + its index in `N`, or 0 for none.

    A cell in the effective regions of several instances goes to the one of the smallest area; of equal areas to the later.

    Args:
        boxes: x1 y1 x2 y2, pixels.
        image: of each instance, 0..B-1.
        runs, slots: of `find_runs` and `make_slots`; the effective ones count.
        batch, num_cells: B and R.

    Source: paper, section 3.2 ("the smaller instance has a higher priority"); reference, rule 7.
    """
    order = with_none(box_area(boxes), torch.inf).argsort(
        descending=True, stable=True
    )  # owners; no instance, 0, comes first
    rank = order.argsort()[1:]  # each instance's place in that order
    # Every cell that the regions can have (E N), in B x R; rank 0 for those beyond a run's end.
    cell = (runs.start.mT.index_select(0, slots.entry_slot) + slots.entry_column).add(
        image, alpha=num_cells
    )
    rank = rank.masked_fill(
        slots.entry_column >= runs.length.mT.index_select(0, slots.entry_slot), 0
    )
    best = rank.new_zeros(
        (batch + 1) * num_cells
    )  # with room for what lies beyond a run's end in the last image
    best.scatter_reduce_(0, cell.flatten(), rank.flatten(), "amax")
    return order[best[: batch * num_cells]].view(batch, num_cells)


def count_regions(
    runs: Runs,
    part: slice,
    active: Bool[Tensor, "N T"] | None,
    plane: Int64[Tensor, " N"],
    planes: int,
    num_cells: int,
) -> Int[Tensor, "P R"]:
    """How many regions lie over each cell of `planes` maps, int16; instance n is drawn into map `plane[n]`.

    Each run puts +1 at its start and -1 behind its end of one long row of all maps; the running sum is the count.

    Args:
        part: which slots: `slots.effective` or `slots.ignoring`.
        active: runs to draw; None: all.
    """
    length = runs.length if active is None else runs.length * active
    start = runs.start[:, part].add(plane.unsqueeze(1), alpha=num_cells)
    end = start + length[:, part]
    # Two places more: an empty run may stand one behind the last cell's end.
    steps = torch.zeros(planes * num_cells + 2, dtype=torch.int16, device=start.device)
    steps.scatter_(0, start.flatten(), 1, reduce="add").scatter_(0, end.flatten(), -1, reduce="add")
    return steps.cumsum_(0)[:-2].view(planes, num_cells)


def crowd_cells(
    crowds: Float[Tensor, "M 4"], image: Int64[Tensor, " M"], batch: int, grid: Locations
) -> Bool[Tensor, "B R"]:
    """Cells that stand strictly inside the inner half (sides * 0.5) of a crowd box: neither positive nor negative.

    Source: reference, rule 8. The paper says nothing of crowds; both conventions use this rule.
    """
    center, half = (
        (crowds[:, :2] + crowds[:, 2:]) * 0.5,
        (crowds[:, 2:] - crowds[:, :2]) * 0.5 * CROWD_SCALE,
    )
    x_y = grid.centers
    inside = ((x_y > (center - half)[:, None]) & (x_y < (center + half)[:, None])).all(2)
    return (
        torch.zeros(batch, grid.num_cells, dtype=torch.int64, device=x_y.device).index_add_(
            0, image, inside.long()
        )
        > 0
    )
