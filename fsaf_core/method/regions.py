"""Effective and ignored regions: the locations of each level in the scaled box of an instance."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..config import Rules
from .locations import Locations

MIN_COVERAGE = 0.01  # with `overlap`, a box must cover more than this share of a square
CROWD_SCALE = 0.5  # crowd boxes are shrunk to half their sides; locations inside have no loss


def scale_boxes(boxes: Float[Tensor, "N 4"], scale: float) -> Float[Tensor, "N 4"]:
    """Return boxes with the same centers and their sides times `scale`."""
    low, high = boxes.chunk(2, 1)
    center, half = (high + low) * 0.5, (high - low) * 0.5 * scale
    return torch.cat([center - half, center + half], 1)


def region(
    boxes: Float[Tensor, "N 4"],
    scale: float,
    locations: Locations,
    rules: Rules,
    extent: Int64[Tensor, "N L 2"] | None = None,
    inside: bool = False,
) -> Bool[Tensor, "N R"]:
    """Return the locations that belong to each instance's scaled box, at all levels.

    A box has sides along the axes. So the share of a location's square that it covers is the share
    of the column times the share of the row. `rules.region_rounding` says which locations belong:

    - `floor_ceil` (paper): the columns from floor(x1 / stride) up to, not including,
      ceil(x2 / stride). They are cut to the image, and there is at least one. Rows likewise.
    - `overlap` (MMDetection): more than 1 % of the square around the location, of side stride, is
      covered. A level may have no location.

    Args:
        boxes: x1 y1 x2 y2, pixels.
        scale: epsilon_e or epsilon_i, 0..1.
        locations: of the input.
        rules: only `region_rounding` and `cell_center` are used.
        extent: columns and rows, at each level, of the image that an instance is in, before it is
            padded further to the size of the batch; None: every image fills the input.
        inside: with `overlap`, the center must also lie strictly inside the full box, as
            MMDetection asks of positives. No effect with `floor_ceil`.

    Source: paper, section 3.2 (ground truth); MMDetection, center_region_assigner.py,
        `CenterRegionAssigner.assign`.
    """
    scaled = scale_boxes(boxes, scale)
    masks = []
    for level, (shape, stride) in enumerate(zip(locations.shapes, locations.strides)):
        shares = []
        for axis, count in enumerate(reversed(shape)):  # x: columns; y: rows
            full = boxes.new_full((len(boxes),), count)
            limit = full if extent is None else extent[:, level, axis]
            span = scaled[:, axis] / stride, scaled[:, 2 + axis] / stride
            if rules.region_rounding == "floor_ceil":
                share = _rounded(*span, count, limit)
            else:
                share = _covered(*span, count, limit, rules.cell_center)
                if inside:
                    center = torch.arange(count, device=boxes.device) + rules.cell_center
                    low, high = boxes[:, axis, None] / stride, boxes[:, 2 + axis, None] / stride
                    share = share * ((center > low) & (center < high))
            shares.append(share)
        columns, rows = shares
        # With `floor_ceil` shares are 0 or 1, and this is a logical and.
        masks.append((rows[:, :, None] * columns[:, None, :] > MIN_COVERAGE).flatten(1))
    return torch.cat(masks, 1)


def _rounded(low: Tensor, high: Tensor, count: int, limit: Tensor) -> Float[Tensor, "N _"]:
    """Return 1 for the cells floor(low) <= i < ceil(high) of an axis, else 0.

    The range is cut to 0..limit - 1 and keeps at least one cell.
    """
    first = low.floor().clamp(min=0).minimum(limit - 1)[:, None]
    stop = high.ceil()[:, None].minimum(limit[:, None]).maximum(first + 1)
    index = torch.arange(count, device=low.device)
    return ((index >= first) & (index < stop)).float()


def _covered(
    low: Tensor, high: Tensor, count: int, limit: Tensor, cell_center: float
) -> Float[Tensor, "N _"]:
    """Return the share of each cell of an axis between low and high, 0..1; 0 from `limit` on.

    Cell i reaches from i + c - 0.5 to i + c + 0.5, where c is `cell_center`.
    """
    index = torch.arange(count, device=low.device)
    start, end = index + cell_center - 0.5, index + cell_center + 0.5
    share = (torch.minimum(high[:, None], end) - torch.maximum(low[:, None], start)).clamp(min=0)
    return share * (index < limit[:, None])


def crowd_region(
    crowd_boxes: Float[Tensor, "M 4"], image: Int64[Tensor, " M"], batch: int, locations: Locations
) -> Bool[Tensor, "B R"]:
    """Return the locations strictly inside a crowd box of half the sides.

    They are neither positive nor negative.

    Args:
        crowd_boxes: x1 y1 x2 y2, pixels.
        image: of each crowd box, 0..B-1.
        batch: B.

    Source: MMDetection, center_region_assigner.py, `CenterRegionAssigner.assign`
        (gt_bboxes_ignore). The paper does not mention crowds.
    """
    low, high = scale_boxes(crowd_boxes, CROWD_SCALE)[:, None].chunk(2, 2)
    inside = ((locations.centers > low) & (locations.centers < high)).all(2)
    count = torch.zeros(batch, inside.shape[1], dtype=torch.int64, device=inside.device)
    return count.index_add_(0, image, inside.long()) > 0
