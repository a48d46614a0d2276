"""Functions as students write them for chapter 06, with what a tutor should make of each."""

import itertools
import math
from fractions import Fraction

import numpy as np
import torch

from . import breaks, right, wrong

# width_range


@right("width_range", unusual="an interval for each edge, then their intersection")
def width_range_intervals(center, first, end, stride, scale):
    low_edge = (center - (first + 1) * stride, center - first * stride)
    high_edge = ((end - 1) * stride - center, end * stride - center)
    above = up_to = None
    for low, high in (low_edge, high_edge, (0, math.inf)):
        above = low if above is None else max(above, low)
        up_to = high if up_to is None else min(up_to, high)
    return (2 * above / scale, 2 * up_to / scale) if above < up_to else None


@right("width_range", unusual="exact fractions, floats in the end")
def width_range_fractions(center, first, end, stride, scale):
    place = Fraction(center) / Fraction(stride)
    least = max(place - first - 1, end - 1 - place, Fraction(0))
    reach = min(place - first, end - place)
    if least >= reach:
        return None
    unit = 2 * Fraction(stride) / Fraction(scale)
    return float(least * unit), float(reach * unit)


@right(
    "width_range",
    unusual="tries a width between each two widths at which a column is gained or lost",
)
def width_range_candidates(center, first, end, stride, scale):
    lines = [first, first + 1, end - 1, end]
    halves = sorted({0.0, *(abs(center - line * stride) for line in lines)})
    fitting = []
    for low, high in itertools.pairwise(halves):
        half = (low + high) / 2
        begins = math.floor((center - half) / stride) == first
        if begins and math.ceil((center + half) / stride) == end:
            fitting.append((low, high))
    if not fitting:
        return None
    return 2 * fitting[0][0] / scale, 2 * fitting[-1][1] / scale


def _halves(center, first, end, stride):
    """The least and the largest half width of the effective box."""
    above = max(center - (first + 1) * stride, (end - 1) * stride - center, 0)
    return above, min(center - first * stride, end * stride - center)


# star: center 23.355, columns 2 and 3 of P3: the low edge is nearer
@wrong(
    "width_range",
    fault="the low edge does not limit the width",
    true="nearer|low edge|two edges|both edges|upper end",
    false="scale|negative",
)
def width_range_one_edge(center, first, end, stride, scale):
    above, _ = _halves(center, first, end, stride)
    up_to = end * stride - center
    return (2 * above / scale, 2 * up_to / scale) if above < up_to else None


@wrong(
    "width_range",
    fault="the edge that is further off decides",
    true="nearer|two edges|both edges|upper end|smaller of",
    false="scale|negative|times too small",
)
def width_range_further_edge(center, first, end, stride, scale):
    above, _ = _halves(center, first, end, stride)
    up_to = max(center - first * stride, end * stride - center)
    return (2 * above / scale, 2 * up_to / scale) if above < up_to else None


# columns 2, 3 and 4 with the center in column 3: both inner lines have to be passed
@wrong(
    "width_range",
    fault="the lower end asks only one edge",
    true=r"lower end|\bboth\b|low edge|two edges|larger of",
    false="scale|negative|upper end",
)
def width_range_lower_one_edge(center, first, end, stride, scale):
    _, up_to = _halves(center, first, end, stride)
    above = max((end - 1) * stride - center, 0)
    return (2 * above / scale, 2 * up_to / scale) if above < up_to else None


# one column: -16 .. 40
@wrong(
    "width_range",
    fault="the lower end is negative for one column",
    true="negative|single column|lower end is 0|positive",
    false="scale|nearer|upper",
)
def width_range_negative(center, first, end, stride, scale):
    above = max(center - (first + 1) * stride, (end - 1) * stride - center)
    _, up_to = _halves(center, first, end, stride)
    return (2 * above / scale, 2 * up_to / scale) if max(above, 0) < up_to else None


@wrong(
    "width_range",
    fault="the widths of the effective box",
    true="scale|five times|way back|effective box has",
    false="nearer|negative",
)
def width_range_no_scale(center, first, end, stride, scale):
    above, up_to = _halves(center, first, end, stride)
    return (2 * above, 2 * up_to) if above < up_to else None


@wrong(
    "width_range",
    fault="multiplies by the scale",
    true="scale|times too small|way back|divide",
    false="nearer|negative",
)
def width_range_times_scale(center, first, end, stride, scale):
    above, up_to = _halves(center, first, end, stride)
    return (2 * above * scale, 2 * up_to * scale) if above < up_to else None


@wrong(
    "width_range",
    fault="half widths",
    true=r"\bhalf|twice|two times|factor (of )?2|both sides|2 ·",
    false="negative|nearer",
)
def width_range_half(center, first, end, stride, scale):
    above, up_to = _halves(center, first, end, stride)
    return (above / scale, up_to / scale) if above < up_to else None


# center 20, columns 4 and 5 of stride 8: no box around 20 misses column 2
@wrong(
    "width_range",
    fault="never None",
    true="None|no width",
    false="scale|nearer",
)
def width_range_never_none(center, first, end, stride, scale):
    above, up_to = _halves(center, first, end, stride)
    return 2 * above / scale, 2 * up_to / scale


# center 16 on the line before column 2 of stride 8, column 2 alone: (0, 0) is no range
@wrong(
    "width_range",
    fault="an empty range instead of None where both ends are equal",
    true="None|no width|equal|>=|empty",
    false="scale|nearer",
)
def width_range_equal_ends(center, first, end, stride, scale):
    above, up_to = _halves(center, first, end, stride)
    return None if above > up_to else (2 * above / scale, 2 * up_to / scale)


# scale 0.5
@wrong(
    "width_range",
    fault="0.2 instead of scale",
    true=r"scale|argument|0\.2",
    false="negative|nearer",
)
def width_range_fixed_scale(center, first, end, stride, scale):
    above, up_to = _halves(center, first, end, stride)
    return (10 * above, 10 * up_to) if above < up_to else None


@wrong(
    "width_range",
    fault="takes end for the last column",
    true="end *[-−] *1|last column|one past|one column",
    false="scale|negative",
)
def width_range_inclusive(center, first, end, stride, scale):
    above, up_to = _halves(center, first, end + 1, stride)
    return (2 * above / scale, 2 * up_to / scale) if above < up_to else None


@wrong(
    "width_range",
    fault="in cells",
    true=r"pixels?|stride|\bpx\b|times too small",
    false="negative|nearer",
)
def width_range_cells(center, first, end, stride, scale):
    above, up_to = _halves(center / stride, first, end, 1)
    return (2 * above / scale, 2 * up_to / scale) if above < up_to else None


# right only for a center in the middle of the columns
@wrong(
    "width_range",
    fault="from the number of columns alone, the center is not used",
    true="center|edges?|nearer|low edge",
    false="scale|times too small",
)
def width_range_count(center, first, end, stride, scale):
    count = end - first
    return max(count - 2, 0) * stride / scale, count * stride / scale


@wrong(
    "width_range",
    fault="larger number first",
    true=r"\border\b|above|exchang|swap|smaller (number )?first",
    false="scale",
)
def width_range_order(center, first, end, stride, scale):
    above, up_to = _halves(center, first, end, stride)
    return (2 * up_to / scale, 2 * above / scale) if above < up_to else None


@breaks("width_range", how="endless loop: the width grows from 0 by 0")
def width_range_endless(center, first, end, stride, scale):
    width, step = 1.0, 0
    while math.ceil((center + scale * width / 2) / stride) < end + 1:
        width += step
    return 0.0, width


@breaks("width_range", how="raises ValueError: min of an empty list")
def width_range_value_error(center, first, end, stride, scale):
    widths = range(1, 0)
    fitting = [w for w in widths if math.floor((center - scale * w / 2) / stride) == first]
    return min(fitting) - 1, max(fitting)


# reference_map


def _scaled(box, scale):
    x1, y1, x2, y2 = (float(side) for side in box)
    x, y, w, h = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) * scale, (y2 - y1) * scale
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def _overlap(low, high, count, stride, shift=-0.5, clamp=True):
    """How many pixels of each square along one axis lie between low and high."""
    begin = (torch.arange(count, dtype=torch.float64) + shift) * stride
    one = (begin + stride).clamp(max=high) - begin.clamp(min=low)
    return one.clamp(min=0) if clamp else one


def _strictly_inside(low, high, count, stride):
    at = torch.arange(count, dtype=torch.float64) * stride
    return (at > low) & (at < high)


def _points(box, stride, rows, columns):
    x1, y1, x2, y2 = (float(side) for side in box)
    inside_y = _strictly_inside(y1, y2, rows, stride)
    return inside_y[:, None] & _strictly_inside(x1, x2, columns, stride)


def _covered(box, stride, rows, columns, scale):
    x1, y1, x2, y2 = _scaled(box, scale)
    return _overlap(y1, y2, rows, stride)[:, None] * _overlap(x1, x2, columns, stride)


@right("reference_map", unusual="plain loops, one square after the other")
def reference_map_loop(box, stride, rows, columns, scale):
    x1, y1, x2, y2 = (float(side) for side in box)
    u1, v1, u2, v2 = _scaled(box, scale)
    result = torch.zeros(rows, columns, dtype=torch.bool)
    for i in range(rows):
        for j in range(columns):
            x, y = j * stride, i * stride
            w = min(u2, x + stride / 2) - max(u1, x - stride / 2)
            h = min(v2, y + stride / 2) - max(v1, y - stride / 2)
            area = w * h if w > 0 and h > 0 else 0
            result[i, j] = area > 0.01 * stride * stride and x1 < x < x2 and y1 < y < y2
    return result


@right("reference_map", unusual="numpy with an outer product, in units of the stride")
def reference_map_numpy(box, stride, rows, columns, scale):
    sides = np.array([float(side) for side in box]) / stride
    middle, half = (sides[:2] + sides[2:]) / 2, (sides[2:] - sides[:2]) / 2 * scale
    parts = []
    for axis, count in ((1, rows), (0, columns)):
        at = np.arange(count)
        low, high = middle[axis] - half[axis], middle[axis] + half[axis]
        overlap = np.clip(np.minimum(at + 0.5, high) - np.maximum(at - 0.5, low), 0, None)
        parts.append(np.where((at > sides[axis]) & (at < sides[axis + 2]), overlap, 0))
    return torch.from_numpy(np.outer(*parts) > 0.01)


@right(
    "reference_map",
    unusual="begins with the points inside the box and takes squares away, with asserts",
)
def reference_map_points(box, stride, rows, columns, scale):
    u1, v1, u2, v2 = _scaled(box, scale)
    result = _points(box, stride, rows, columns)
    assert result.shape == (rows, columns) and result.dtype == torch.bool
    for i, j in result.nonzero().tolist():
        left, top = (j - 0.5) * stride, (i - 0.5) * stride
        w = max(min(u2, left + stride) - max(u1, left), 0)
        h = max(min(v2, top + stride) - max(v1, top), 0)
        result[i, j] = w * h > 0.01 * stride**2
    return result


@wrong(
    "reference_map",
    fault="the grid point is not tested",
    true=r"grid point|condition 1|alone|\bboth\b|inside the whole|too many",
    false="half a cell|clamp",
)
def reference_map_area_only(box, stride, rows, columns, scale):
    return _covered(box, stride, rows, columns, scale) > 0.01 * stride**2


@wrong(
    "reference_map",
    fault="the area is not tested",
    true=r"0\.01|\bboth\b|condition 1|area|covers?|scaled",
    false="half a cell|strict",
)
def reference_map_points_only(box, stride, rows, columns, scale):
    return _points(box, stride, rows, columns)


# a box from 16 to 48 at stride 16, scale 1: points on the sides are not inside
@wrong(
    "reference_map",
    fault="a grid point on a side counts as inside",
    true="strict|<=|on (a|the) (side|border|edge)|< and",
    false=r"half a cell|clamp|0\.01",
)
def reference_map_closed(box, stride, rows, columns, scale):
    x1, y1, x2, y2 = (float(side) for side in box)
    y, x = torch.arange(rows)[:, None] * stride, torch.arange(columns) * stride
    inside = (x >= x1) & (x <= x2) & (y >= y1) & (y <= y2)
    return inside & (_covered(box, stride, rows, columns, scale) > 0.01 * stride**2)


# a corner of the whole box: both overlaps with the scaled box are negative
@wrong(
    "reference_map",
    fault="two negative overlaps give an area",
    true="clamp|negative|far away",
    false="half a cell|strict",
)
def reference_map_no_clamp(box, stride, rows, columns, scale):
    x1, y1, x2, y2 = _scaled(box, scale)
    h = _overlap(y1, y2, rows, stride, clamp=False)[:, None]
    w = _overlap(x1, x2, columns, stride, clamp=False)
    return (h * w > 0.01 * stride**2) & _points(box, stride, rows, columns)


@wrong(
    "reference_map",
    fault="the square begins at the grid point",
    true="half a (cell|stride)|centered|centred|shift|begins",
    false="strict|clamp",
)
def reference_map_shifted(box, stride, rows, columns, scale):
    x1, y1, x2, y2 = _scaled(box, scale)
    h = _overlap(y1, y2, rows, stride, shift=0)[:, None]
    area = h * _overlap(x1, x2, columns, stride, shift=0)
    return (area > 0.01 * stride**2) & _points(box, stride, rows, columns)


@wrong(
    "reference_map",
    fault="the grid points at the centers of the paper's cells",
    true="half a (cell|stride)|grid point|j *· *stride|shift|corner",
    false=r"strict|clamp|0\.01",
)
def reference_map_centers(box, stride, rows, columns, scale):
    x1, y1, x2, y2 = (float(side) for side in box)
    u1, v1, u2, v2 = _scaled(box, scale)
    y = (torch.arange(rows)[:, None] + 0.5) * stride
    x = (torch.arange(columns) + 0.5) * stride
    h = _overlap(v1, v2, rows, stride, shift=0)[:, None]
    area = h * _overlap(u1, u2, columns, stride, shift=0)
    return (area > 0.01 * stride**2) & (x > x1) & (x < x2) & (y > y1) & (y < y2)


# a large box covers a whole square with 0.5 % of its own area
@wrong(
    "reference_map",
    fault="0.01 of the scaled box instead of the square",
    true="square|area of|stride",
    false="strict|clamp|half a cell",
)
def reference_map_box_area(box, stride, rows, columns, scale):
    u1, v1, u2, v2 = _scaled(box, scale)
    area = _covered(box, stride, rows, columns, scale)
    return (area > 0.01 * (u2 - u1) * (v2 - v1)) & _points(box, stride, rows, columns)


@wrong(
    "reference_map",
    fault="0.01 square pixels",
    true=r"0\.01|square|stride|area|share|fraction",
    false="strict|half a cell",
)
def reference_map_absolute(box, stride, rows, columns, scale):
    area = _covered(box, stride, rows, columns, scale)
    return (area > 0.01) & _points(box, stride, rows, columns)


@wrong(
    "reference_map",
    fault="either condition is enough",
    true=r"\bboth\b|&|either|two conditions",
    false="half a cell|clamp",
)
def reference_map_either(box, stride, rows, columns, scale):
    area = _covered(box, stride, rows, columns, scale)
    return (area > 0.01 * stride**2) | _points(box, stride, rows, columns)


@wrong(
    "reference_map",
    fault="the grid point must be in the scaled box",
    true="whole|unscaled|scaled|grid point",
    false="half a cell|clamp",
)
def reference_map_scaled_points(box, stride, rows, columns, scale):
    area = _covered(box, stride, rows, columns, scale)
    return (area > 0.01 * stride**2) & _points(_scaled(box, scale), stride, rows, columns)


# a level of 4 x 6
@wrong(
    "reference_map",
    fault="rows and columns exchanged",
    true=r"\brows\b|columns|shape|transpos|exchang|swap",
    false="strict|clamp|half a cell",
)
def reference_map_transposed(box, stride, rows, columns, scale):
    area = _covered(box, stride, rows, columns, scale)
    return ((area > 0.01 * stride**2) & _points(box, stride, rows, columns)).T


@wrong(
    "reference_map",
    fault="the scaled box keeps the corner, not the center",
    true="center|scal(e|ed|ing)|corner",
    false="strict|clamp|half a cell",
)
def reference_map_scaled_corner(box, stride, rows, columns, scale):
    x1, y1, x2, y2 = (float(side) for side in box)
    w, h = (x2 - x1) * scale, (y2 - y1) * scale
    area = _covered((x1, y1, x1 + w, y1 + h), stride, rows, columns, 1.0)
    return (area > 0.01 * stride**2) & _points(box, stride, rows, columns)


@wrong(
    "reference_map",
    fault="scales the area instead of the sides",
    true="sides?|root|sqrt|area|scale",
    false="strict|half a cell",
)
def reference_map_scaled_area(box, stride, rows, columns, scale):
    area = _covered(box, stride, rows, columns, math.sqrt(scale))
    return (area > 0.01 * stride**2) & _points(box, stride, rows, columns)


# a box of 2 x 2 px between two grid points
@wrong(
    "reference_map",
    fault="never empty: the best square stays",
    true="all false|empty|may be|no location",
    false="half a cell|strict",
)
def reference_map_never_empty(box, stride, rows, columns, scale):
    area = _covered(box, stride, rows, columns, scale)
    result = (area > 0.01 * stride**2) & _points(box, stride, rows, columns)
    if not result.any():
        result.view(-1)[area.argmax()] = True
    return result


@breaks("reference_map", how="raises IndexError: one row and one column too many")
def reference_map_index_error(box, stride, rows, columns, scale):
    result = torch.zeros(rows, columns, dtype=torch.bool)
    for i in range(rows + 1):
        for j in range(columns + 1):
            result[i, j] = i * stride < float(box[3]) and j * stride < float(box[2])
    return result


@breaks("reference_map", how="exit")
def reference_map_exit(box, stride, rows, columns, scale):
    raise SystemExit("no map today")


# class_targets


def _owner(effective, area):
    """(rows, columns): the smallest instance with an effective box there, -1 for none."""
    if len(effective) == 0:
        return torch.full(effective.shape[1:], -1)
    table = torch.where(effective, area[:, None, None].double(), math.inf)
    return torch.where(effective.any(0), table.argmin(0), -1)


def _paint(effective, ignoring, owner, labels, selected, level, num_classes, near=1):
    """The targets for owners that are resolved already."""
    targets = torch.zeros(num_classes, *effective.shape[1:], dtype=torch.int64)
    for n in range(len(effective)):
        if selected[n] >= 0 and abs(int(selected[n]) - level) <= near:
            targets[int(labels[n])][ignoring[n]] = -1
    for n in range(len(effective)):
        if selected[n] == level:
            targets[int(labels[n])][owner == n] = 1
    return targets


@right("class_targets", unusual="from the largest instance to the smallest, painting the owners")
def class_targets_painter(effective, ignoring, area, labels, selected, level, num_classes):
    owner = torch.full(effective.shape[1:], -1)
    for n in area.argsort(descending=True).tolist():
        owner[effective[n]] = n
    return _paint(effective, ignoring, owner, labels, selected, level, num_classes)


@right("class_targets", unusual="location by location, with plain numbers")
def class_targets_by_location(effective, ignoring, area, labels, selected, level, num_classes):
    _, rows, columns = effective.shape
    areas, classes, levels = area.tolist(), labels.tolist(), selected.tolist()
    result = torch.zeros(num_classes, rows, columns)
    for i in range(rows):
        for j in range(columns):
            for n, chosen in enumerate(levels):
                if ignoring[n, i, j] and chosen != -1 and level - 1 <= chosen <= level + 1:
                    result[classes[n], i, j] = -1
            here = [n for n in range(len(areas)) if effective[n, i, j]]
            if here:
                smallest = min(here, key=areas.__getitem__)
                if levels[smallest] == level:
                    result[classes[smallest], i, j] = 1
    return result


@right("class_targets", unusual="one-hot classes and matrix products, no loop")
def class_targets_product(effective, ignoring, area, labels, selected, level, num_classes):
    _, rows, columns = effective.shape
    one_hot = (labels.long()[:, None] == torch.arange(num_classes)).double()
    smaller = (area[None, :] < area[:, None]).double()
    flat = effective.flatten(1).double()
    wins = flat * (smaller @ flat == 0)
    near = (selected >= 0) & ((selected - level).abs() <= 1)
    positive = one_hot.T @ (wins * (selected == level)[:, None]) > 0
    ignored = one_hot.T @ (ignoring.flatten(1).double() * near[:, None]) > 0
    return (positive.long() - (ignored & ~positive).long()).reshape(num_classes, rows, columns)


@right("class_targets", unusual="numpy inside")
def class_targets_numpy(effective, ignoring, area, labels, selected, level, num_classes):
    inside, around = effective.numpy(), ignoring.numpy()
    result = np.zeros((num_classes, *inside.shape[1:]), dtype=np.int64)
    chosen, free = selected.numpy(), np.ones(inside.shape[1:], dtype=bool)
    for n in np.flatnonzero((chosen != -1) & (np.abs(chosen - level) < 2)):
        result[int(labels[n])][around[n]] = -1
    for n in np.argsort(area.numpy()):
        if chosen[n] == level:
            result[int(labels[n])][inside[n] & free] = 1
        free &= ~inside[n]
    return torch.from_numpy(result)


# the smaller instance chose another level: the location is not positive for the larger one
@wrong(
    "class_targets",
    fault="resolves shared locations only among the instances of this level",
    true="no matter|all instances|chosen levels|which levels|resolve",
    false="-1 exclude|largest",
)
def class_targets_level_first(effective, ignoring, area, labels, selected, level, num_classes):
    owner = _owner(effective & (selected == level)[:, None, None], area)
    return _paint(effective, ignoring, owner, labels, selected, level, num_classes)


@wrong(
    "class_targets",
    fault="the larger instance wins",
    true="small",
    false="-1|level 0|last",
)
def class_targets_largest(effective, ignoring, area, labels, selected, level, num_classes):
    owner = _owner(effective, -area)
    return _paint(effective, ignoring, owner, labels, selected, level, num_classes)


# level 0 and an instance without a level
@wrong(
    "class_targets",
    fault="an instance without a level is ignored at level 0",
    true="without a level|level 0|exclude|no level",
    false="smallest|two classes",
)
def class_targets_unselected(effective, ignoring, area, labels, selected, level, num_classes):
    targets = torch.zeros(num_classes, *effective.shape[1:], dtype=torch.int64)
    owner = _owner(effective, area)
    for n in range(len(effective)):
        if abs(int(selected[n]) - level) <= 1:
            targets[int(labels[n])][ignoring[n]] = -1
    for n in range(len(effective)):
        if selected[n] == level:
            targets[int(labels[n])][owner == n] = 1
    return targets


@wrong(
    "class_targets",
    fault="ignored regions are written over positives",
    true=r"positives last|regions? .*first|except where|priority|positive location|overwr|\border\b",
    false="smallest|level 0",
)
def class_targets_ignored_last(effective, ignoring, area, labels, selected, level, num_classes):
    targets = _paint(
        effective, ignoring, _owner(effective, area), labels, selected, level, num_classes
    )
    for n in range(len(effective)):
        if selected[n] >= 0 and abs(int(selected[n]) - level) <= 1:
            targets[int(labels[n])][ignoring[n]] = -1
    return targets


# two stars: the second one's ignored region covers the first one's positive location
@wrong(
    "class_targets",
    fault="one instance after the other: a later ignored region covers an earlier positive",
    true=r"positives last|all instances|regions? .*first|except where|priority|positive location|overwr|\border\b",
    false="level 0|smallest",
)
def class_targets_one_by_one(effective, ignoring, area, labels, selected, level, num_classes):
    targets = torch.zeros(num_classes, *effective.shape[1:], dtype=torch.int64)
    owner = _owner(effective, area)
    for n in range(len(effective)):
        if selected[n] >= 0 and abs(int(selected[n]) - level) <= 1:
            targets[int(labels[n])][ignoring[n]] = -1
        if selected[n] == level:
            targets[int(labels[n])][owner == n] = 1
    return targets


@wrong(
    "class_targets",
    fault="nothing is ignored at the adjacent levels",
    true="adjacent|neighbo|± ?1|next level",
    false="smallest|level 0|last",
)
def class_targets_own_level_only(effective, ignoring, area, labels, selected, level, num_classes):
    owner = _owner(effective, area)
    return _paint(effective, ignoring, owner, labels, selected, level, num_classes, near=0)


# an instance that chose level 3, asked at level 0
@wrong(
    "class_targets",
    fault="ignored at every level",
    true=r"adjacent|two levels|\bfar\b|other levels|all others|too many|every level",
    false="smallest|last",
)
def class_targets_everywhere(effective, ignoring, area, labels, selected, level, num_classes):
    owner = _owner(effective, area)
    return _paint(effective, ignoring, owner, labels, selected, level, num_classes, near=99)


@wrong(
    "class_targets",
    fault="only the finer adjacent level is ignored",
    true=r"adjacent|\bboth\b|coarser|\babs|other side|neighbo",
    false="smallest|last",
)
def class_targets_one_side(effective, ignoring, area, labels, selected, level, num_classes):
    targets = torch.zeros(num_classes, *effective.shape[1:], dtype=torch.int64)
    owner = _owner(effective, area)
    for n in range(len(effective)):
        if selected[n] >= 0 and int(selected[n]) - level in (0, 1):
            targets[int(labels[n])][ignoring[n]] = -1
    for n in range(len(effective)):
        if selected[n] == level:
            targets[int(labels[n])][owner == n] = 1
    return targets


@wrong(
    "class_targets",
    fault="shared locations are positive for all of their instances",
    true="two classes|shared|resolve|smallest|smaller",
    false="level 0|adjacent",
)
def class_targets_shared(effective, ignoring, area, labels, selected, level, num_classes):
    targets = torch.zeros(num_classes, *effective.shape[1:], dtype=torch.int64)
    for n in range(len(effective)):
        if selected[n] >= 0 and abs(int(selected[n]) - level) <= 1:
            targets[int(labels[n])][ignoring[n]] = -1
    for n in range(len(effective)):
        if selected[n] == level:
            targets[int(labels[n])][effective[n]] = 1
    return targets


@wrong(
    "class_targets",
    fault="ignored for all classes",
    true="its class|other classes|class alone|only (the|its)|all classes|for its",
    false="smallest|level 0",
)
def class_targets_all_classes(effective, ignoring, area, labels, selected, level, num_classes):
    targets = torch.zeros(num_classes, *effective.shape[1:], dtype=torch.int64)
    owner = _owner(effective, area)
    for n in range(len(effective)):
        if selected[n] >= 0 and abs(int(selected[n]) - level) <= 1:
            targets[:, ignoring[n]] = -1
    for n in range(len(effective)):
        if selected[n] == level:
            targets[int(labels[n])][owner == n] = 1
    return targets


# no instance has an effective box at a location: argmin says 0
@wrong(
    "class_targets",
    fault="locations without an instance belong to instance 0",
    true="no instance|nobody|argmin|without an|no effective|elsewhere|everything else",
    false="adjacent|level 0",
)
def class_targets_argmin(effective, ignoring, area, labels, selected, level, num_classes):
    if len(effective) == 0:
        return torch.zeros(num_classes, *effective.shape[1:], dtype=torch.int64)
    owner = torch.where(effective, area[:, None, None].double(), math.inf).argmin(0)
    return _paint(effective, ignoring, owner, labels, selected, level, num_classes)


# at an adjacent level, in the middle of the box
@wrong(
    "class_targets",
    fault="the effective region is taken out of the ignored one",
    true="contains|adjacent|effective|whole|except where",
    false="level 0|smallest",
)
def class_targets_ring(effective, ignoring, area, labels, selected, level, num_classes):
    ring = ignoring & ~effective
    return _paint(effective, ring, _owner(effective, area), labels, selected, level, num_classes)


@wrong(
    "class_targets",
    fault="positive at the adjacent levels, too",
    true=r"\bchose\b|this level|adjacent",
    false="smallest|level 0",
)
def class_targets_positive_near(effective, ignoring, area, labels, selected, level, num_classes):
    targets = torch.zeros(num_classes, *effective.shape[1:], dtype=torch.int64)
    owner = _owner(effective, area)
    for n in range(len(effective)):
        if selected[n] >= 0 and abs(int(selected[n]) - level) <= 1:
            targets[int(labels[n])][ignoring[n]] = -1
            targets[int(labels[n])][owner == n] = 1
    return targets


# two instances of class 0 and five classes: instance 1 is painted into class 1
@wrong(
    "class_targets",
    fault="the number of the instance for its class",
    true="labels?|class of",
    false="level 0|adjacent|last",
)
def class_targets_no_labels(effective, ignoring, area, labels, selected, level, num_classes):
    numbers = torch.arange(len(labels)) % num_classes
    owner = _owner(effective, area)
    return _paint(effective, ignoring, owner, numbers, selected, level, num_classes)


# an effective location that the instance loses to another class is still ignored for its own
@wrong(
    "class_targets",
    fault="lost locations are negatives instead of ignored",
    true=r"ignoring region|\blost\b|contains|except where|no gradient",
    false="level 0|adjacent",
)
def class_targets_lost(effective, ignoring, area, labels, selected, level, num_classes):
    owner = _owner(effective, area)
    number = torch.arange(len(labels))[:, None, None]
    around = ignoring & ~(effective & (owner != number))
    return _paint(effective, around, owner, labels, selected, level, num_classes)


@breaks("class_targets", how="raises IndexError: the level as an index of the classes")
def class_targets_index_error(effective, ignoring, area, labels, selected, level, num_classes):
    targets = torch.zeros(num_classes, *effective.shape[1:], dtype=torch.int64)
    targets[num_classes + level][effective.any(0)] = 1
    return targets


@breaks("class_targets", how="endless loop: the list of open instances never gets shorter")
def class_targets_endless(effective, ignoring, area, labels, selected, level, num_classes):
    targets = torch.zeros(num_classes, *effective.shape[1:], dtype=torch.int64)
    waiting = list(range(len(effective))) or [0]
    while waiting:
        n = waiting[0]
        if n < len(effective):
            targets[int(labels[n])][effective[n]] = 1
        waiting.sort()
    return targets
