"""Checkers of chapter 06: possible widths, effective cells, MMDetection's rule, the targets of a level."""

import math
from collections.abc import Callable

import torch
from solutions.ch06 import class_targets, effective_map, reference_map, width_range
from torch import Tensor

from . import STAR, Case, Checker, Slip, within

TRIANGLE = (40.39, 61.63, 59.0, 67.92)


def _cells(
    share: Callable[[float], float] = lambda scale: scale,
    whole: float = 0.5,
    low: Callable[[float], int] = math.floor,
    high: Callable[[float], int] = math.ceil,
    more: int = 0,
    least: int = 1,
    clamp: bool = True,
    about_corner: bool = False,
) -> Callable[..., Tensor]:
    """Return the solution with one change: a source of slips."""

    def function(box: tuple, stride: int, rows: int, columns: int, scale: float) -> Tensor:
        x1, y1, x2, y2 = box
        result = torch.zeros(rows, columns, dtype=torch.bool)
        spans = []
        for start, stop, count in ((y1, y2, rows), (x1, x2, columns)):
            middle, half = (
                (start + stop) / 2 / stride,
                (stop - start) * whole / stride * share(scale),
            )
            edges = (
                (start * scale / stride, stop * scale / stride)
                if about_corner
                else (middle - half, middle + half)
            )
            first, end = low(edges[0]), high(edges[1]) + more
            if clamp:
                first, end = min(max(first, 0), count - least), min(end, count)
            end = max(end, first + least)
            spans.append(slice(first, end))
        result[spans[0], spans[1]] = True
        return result

    return function


def _centers_inside(box: tuple, stride: int, rows: int, columns: int, scale: float) -> Tensor:
    x1, y1, x2, y2 = box
    x, y, w, h = (x1 + x2) / 2, (y1 + y2) / 2, scale * (x2 - x1), scale * (y2 - y1)
    row, column = (torch.arange(rows) + 0.5) * stride, (torch.arange(columns) + 0.5) * stride
    return ((row - y).abs() <= h / 2)[:, None] & ((column - x).abs() <= w / 2)[None]


def _swapped(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def other(box: tuple, stride: int, rows: int, columns: int, scale: float) -> Tensor:
        x1, y1, x2, y2 = box
        return function((y1, x1, y2, x2), stride, rows, columns, scale)

    return other


def _rounded_first(box: tuple, stride: int, rows: int, columns: int, scale: float) -> Tensor:
    x1, y1, x2, y2 = (side / stride for side in box)
    return _cells()(
        (math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2)), 1, rows, columns, scale
    )


_TOUCH = "which cells the scaled box touches: from floor of its low edge to ceil of its high edge, the end not included"
_NEVER = "a box within one cell, or on a line between two: it keeps the cell that contains it"
_CLAMP = "the border of the map: only rows 0..rows−1 and columns 0..columns−1 exist, and one of each must remain"


EFFECTIVE_CASES = (
    Case("the star at P4", (STAR, 16, 8, 8, 0.2), _TOUCH),
    Case("the star at P3", (STAR, 8, 16, 16, 0.2), _TOUCH),
    Case("the star's ignoring box at P3", (STAR, 8, 16, 16, 0.5), "the scale: it is an argument"),
    Case(
        "a map of 4 rows and 16 columns",
        ((70.0, 4.0, 110.0, 24.0), 8, 4, 16, 0.5),
        "rows and columns: y belongs to rows",
    ),
    Case(
        "edges that lie on lines between cells", ((0.0, 16.0, 80.0, 96.0), 8, 16, 16, 0.2), _TOUCH
    ),
    Case("a box smaller than a cell", ((34.0, 34.0, 38.0, 38.0), 16, 8, 8, 0.2), _NEVER),
    Case("a box over the left border", ((-30.0, 40.0, 34.0, 104.0), 8, 16, 16, 0.5), _CLAMP),
    Case("a box whose middle lies outside", ((-60.0, 40.0, 20.0, 104.0), 8, 16, 16, 0.2), _CLAMP),
    Case(
        "a box whose middle lies beyond the last cell",
        ((110.0, 100.0, 170.0, 180.0), 8, 16, 16, 0.2),
        _CLAMP,
    ),
    Case("a box on a map of one cell", (STAR, 128, 1, 1, 0.2), _CLAMP),
    Case(
        "a box that ends half a pixel beyond a line between cells",
        ((3.0, 3.0, 16.5, 16.5), 8, 4, 4, 1.0),
        "the fractions: keep them",
    ),
)
EFFECTIVE_SLIPS = (
    Slip(
        _cells(share=math.sqrt),
        "the scale: ε multiplies the sides, so the area shrinks to ε²; yours shrinks the area to ε",
    ),
    Slip(
        _cells(share=lambda scale: scale**2),
        "the scale: ε multiplies the sides once; yours are multiplied by ε²",
    ),
    Slip(
        _cells(whole=1.0),
        "half a side: the scaled box reaches ε·w/2 to each side of the middle, not ε·w",
    ),
    Slip(_cells(share=lambda scale: 0.2), "the scale: it is an argument, not always 0.2"),
    Slip(_cells(share=lambda scale: 1.0), "the scale: these are the cells of the whole box"),
    Slip(
        _cells(about_corner=True),
        "the middle: the scaled box keeps the box's center; yours has moved towards the upper left corner",
    ),
    Slip(
        _swapped(_cells()),
        "x and y: they are swapped; x runs over columns, y over rows, and a map is indexed [row, column]",
    ),
    Slip(
        _cells(low=round, high=round),
        "how edges are rounded: floor for the low edge, ceil for the high one; you round to the nearest line",
    ),
    Slip(
        _cells(high=math.floor),
        "the end: the cell that the high edge lies in belongs to the region, so ceil; you stop before it",
    ),
    Slip(
        _cells(high=math.floor, more=1),
        "an edge on a line between two cells: the next cell is not touched; ceil, not floor + 1",
    ),
    Slip(
        _cells(more=1),
        "the end: ceil is already one past the last cell; you have one row and one column too many",
    ),
    Slip(
        _cells(low=math.ceil, high=math.floor),
        "partly covered cells: they belong to the region too; you keep only whole ones",
    ),
    Slip(
        _centers_inside,
        "which cells count: those that the scaled box touches; you test whether a cell's center lies in it (half a cell off)",
    ),
    Slip(_cells(clamp=False), _CLAMP),
    Slip(
        _cells(least=0),
        "a region outside the map: clamp it so that at least one row and one column remain; yours is empty",
    ),
    Slip(
        _cells(least=2),
        "the least number of cells: one row and one column are enough here; you take two",
    ),
    Slip(
        lambda box, stride, rows, columns, scale: _cells()(
            [int(side) for side in box], stride, rows, columns, scale
        ),
        "the box: its sides are fractions of pixels; you cut them to whole ones",
    ),
    Slip(
        _rounded_first,
        "the order: scale the box first, take floor and ceil last; you scale whole cells",
    ),
    Slip(
        lambda box, stride, rows, columns, scale: _cells()(box, 1, rows, columns, scale),
        "the stride: boxes are in pixels, cells are stride pixels apart",
    ),
    Slip(
        lambda box, stride, rows, columns, scale: _cells()(
            (*box[:2], box[0] + scale * (box[2] - box[0]), box[1] + scale * (box[3] - box[1])),
            stride,
            rows,
            columns,
            1.0,
        ),
        "the middle: the scaled box keeps the box's center; yours keeps its upper left corner",
    ),
    Slip(
        lambda box, stride, rows, columns, scale: _cells()(
            (*box[:2], box[0] + box[2], box[1] + box[3]), stride, rows, columns, scale
        ),
        "the box: x1 y1 x2 y2, two corners; you take the last two for its sides",
    ),
    Slip(
        lambda *args: ~_cells()(*args),
        "true and false: the box's own cells are true; yours are all the others",
    ),
)


check_effective_map = Checker(effective_map, EFFECTIVE_CASES, EFFECTIVE_SLIPS)


def _reference(
    share: Callable[[float], float] = lambda scale: scale,
    square: float = 0.0,
    point: float = 0.0,
    inside: str = "full",
    strict: bool = True,
    least: Callable[[float, float], float] = lambda cell, box: 0.01 * cell,
    wide: float = 1.0,
    negative: bool = False,
) -> Callable[..., Tensor]:
    """Return the solution with one change: a source of slips."""

    def function(box: tuple, stride: int, rows: int, columns: int, scale: float) -> Tensor:
        x1, y1, x2, y2 = box
        x, y, w, h = (
            (x1 + x2) / 2,
            (y1 + y2) / 2,
            share(scale) * (x2 - x1),
            share(scale) * (y2 - y1),
        )
        row, column = (
            torch.arange(rows).double()[:, None] * stride,
            torch.arange(columns).double()[None] * stride,
        )

        def covered(at: Tensor, low: float, high: float) -> Tensor:
            at = at + square * stride
            half = wide * stride / 2
            return ((at + half).clamp(max=high) - (at - half).clamp(min=low)).clamp(
                min=-math.inf if negative else 0
            )

        overlap = covered(row, y - h / 2, y + h / 2) * covered(column, x - w / 2, x + w / 2)
        limits = {
            "full": (x1, y1, x2, y2),
            "effective": (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
        }
        left, top, right, bottom = limits.get(inside, (-1e9, -1e9, 1e9, 1e9))
        px, py = column + point * stride, row + point * stride
        if strict:
            within = (left < px) & (px < right) & (top < py) & (py < bottom)
        else:
            within = (left <= px) & (px <= right) & (top <= py) & (py <= bottom)
        return (overlap > least(stride**2, w * h)) & within

    return function


_POINT = "the second condition: the grid point (column·stride, row·stride) must lie strictly inside the whole box"
_SQUARE = "the first condition: the square of side stride around the grid point, and the share of it that the scaled box covers"


REFERENCE_CASES = (
    Case("the star at P4", (STAR, 16, 8, 8, 0.2), _SQUARE),
    Case("the star at P3", (STAR, 8, 16, 16, 0.2), _SQUARE),
    Case("the star at P3, half its sides", (STAR, 8, 16, 16, 0.5), "the scale: it is an argument"),
    Case("the star at P6: no grid point in the box", (STAR, 64, 2, 2, 0.2), _POINT),
    Case("the small triangle at P5", (TRIANGLE, 32, 4, 4, 0.2), _POINT),
    Case(
        "a box of 4 x 4 px between the grid points",
        ((34.0, 34.0, 38.0, 38.0), 8, 16, 16, 0.2),
        _POINT,
    ),
    Case("a grid point on the box's own edge", ((16.0, 16.0, 18.0, 18.0), 16, 8, 8, 1.0), _POINT),
    Case(
        "grid points on the box's right and lower edges",
        ((4.0, 4.0, 16.0, 16.0), 8, 4, 4, 0.9),
        _POINT,
    ),
    Case(
        "a square of which less than 1 % is covered",
        ((20.0, 10.0, 44.0, 22.0), 16, 8, 8, 0.05),
        _SQUARE,
    ),
    Case(
        "a strip of half a pixel along one side", ((2.0, 20.0, 22.5, 60.0), 8, 16, 16, 1.0), _SQUARE
    ),
    Case(
        "a map of 4 rows and 16 columns",
        ((70.0, 4.0, 110.0, 24.0), 8, 4, 16, 0.5),
        "rows and columns: y belongs to rows",
    ),
)


def _best_remains(box: tuple, stride: int, rows: int, columns: int, scale: float) -> Tensor:
    result = reference_map(box, stride, rows, columns, scale)
    if not result.any():
        inside = torch.stack(
            [
                _reference(inside="", least=lambda cell, box, share=share: share * cell)(
                    box, stride, rows, columns, scale
                ).flatten()
                for share in (i / 100 for i in range(100))
            ]
        )
        result.view(-1)[inside.sum(0).argmax()] = True
    return result


REFERENCE_SLIPS = (
    Slip(
        _best_remains,
        "an empty result: this rule may give no location at all; yours keeps the best square",
    ),
    Slip(
        _reference(square=0.5, point=0.5),
        "where a location is: in MMDetection at (column·stride, row·stride), without half a cell",
    ),
    Slip(
        _reference(square=0.5),
        "the square: it is centered at the grid point; yours begins there (half a cell off)",
    ),
    Slip(
        _reference(point=0.5),
        "the grid point: (column·stride, row·stride) itself, not half a cell further",
    ),
    Slip(_reference(inside=""), f"{_POINT}; you left it out"),
    Slip(_reference(inside="effective"), f"{_POINT}; you test the scaled box"),
    Slip(_reference(strict=False), f"{_POINT}; a point on the edge is not inside"),
    Slip(
        _reference(least=lambda cell, box: 0.01 * box),
        f"{_SQUARE}; you divide by the area of the box",
    ),
    Slip(
        _reference(least=lambda cell, box: 0.0),
        f"{_SQUARE}: more than 0.01 · stride², not just more than 0",
    ),
    Slip(
        _reference(least=lambda cell, box: -1.0),
        f"{_SQUARE}; you left it out, or took the whole box",
    ),
    Slip(_reference(least=lambda cell, box: 0.1 * cell), f"{_SQUARE}: 0.01 of it, not 0.1"),
    Slip(
        _reference(wide=2.0),
        "the square: half a stride to each side of the point; yours is twice as wide",
    ),
    Slip(
        _reference(least=lambda cell, box: 0.01 / 1.01 * (cell + box)),
        f"{_SQUARE}; you divide by the union, which is an IoU",
    ),
    Slip(
        _reference(negative=True),
        f"{_SQUARE}; where the two are apart along both axes, two negative factors give a positive area",
    ),
    Slip(
        lambda *args: (
            _reference(inside="")(*args) | _reference(least=lambda cell, box: -1.0)(*args)
        ),
        "both conditions: a cell must satisfy both; in yours one is enough",
    ),
    Slip(_reference(share=math.sqrt), "the scale: it multiplies the sides, not the area"),
    Slip(
        _reference(share=lambda scale: 2 * scale),
        "half a side: the scaled box reaches ε·w/2 to each side of the middle, not ε·w",
    ),
    Slip(_reference(share=lambda scale: 0.2), "the scale: it is an argument, not always 0.2"),
    Slip(
        _swapped(_reference()),
        "x and y: they are swapped; x runs over columns, y over rows, and a map is indexed [row, column]",
    ),
    Slip(
        effective_map,
        "the rule: this is the paper's from floor to ceil; here the overlap and the grid point decide",
    ),
)


check_reference_map = Checker(reference_map, REFERENCE_CASES, REFERENCE_SLIPS)


def _targets(
    near: Callable[[int, int], bool] = lambda selected, level: (
        selected >= 0 and abs(selected - level) <= 1
    ),
    learns: Callable[[int, int], bool] = lambda selected, level: selected == level,
    larger: bool = False,
    all_classes: bool = False,
    settle: str = "all",
    by: str = "area",
    without_effective: bool = False,
) -> Callable[..., Tensor]:
    """Return the solution with one change: a source of slips."""

    def function(
        effective: Tensor,
        ignoring: Tensor,
        area: Tensor,
        labels: Tensor,
        selected: Tensor,
        level: int,
        num_classes: int,
    ) -> Tensor:
        result = torch.zeros(num_classes, *effective.shape[1:], dtype=torch.long)
        sizes = {"cells": effective.flatten(1).sum(1), "list": -torch.arange(len(area))}.get(
            by, area
        )
        chosen, order = (
            selected.tolist(),
            sizes.argsort(descending=not larger, stable=True).tolist(),
        )
        assigned = torch.full(effective.shape[1:], -1)
        for n in order:
            if settle != "level" or learns(chosen[n], level):
                assigned[effective[n]] = n
        for n in order:
            if near(chosen[n], level):
                part = ignoring[n] & ~effective[n] if without_effective else ignoring[n]
                (result if all_classes else result[labels[n]])[..., part] = -1
        for n in order:
            if learns(chosen[n], level):
                is_positive = effective[n] if settle == "none" else assigned == n
                result[labels[n]][is_positive] = 1
        return result

    return function


def _background_last(
    effective: Tensor,
    ignoring: Tensor,
    area: Tensor,
    labels: Tensor,
    selected: Tensor,
    level: int,
    num_classes: int,
) -> Tensor:
    """Return the targets as if cells without an instance were assigned to the last one."""
    result = class_targets(effective, ignoring, area, labels, selected, level, num_classes)
    if len(labels) and selected[-1] == level:
        result[labels[-1], ~effective.any(0)] = 1
    return result


def _ignored_last(
    effective: Tensor,
    ignoring: Tensor,
    area: Tensor,
    labels: Tensor,
    selected: Tensor,
    level: int,
    num_classes: int,
) -> Tensor:
    """Return the targets with the ignored regions written over the positives."""
    result = class_targets(effective, ignoring, area, labels, selected, level, num_classes)
    for n, chosen in enumerate(selected.tolist()):
        if chosen >= 0 and abs(chosen - level) <= 1:
            result[labels[n]][ignoring[n]] = -1
    return result


def _one_by_one(
    effective: Tensor,
    ignoring: Tensor,
    area: Tensor,
    labels: Tensor,
    selected: Tensor,
    level: int,
    num_classes: int,
) -> Tensor:
    """Return the targets with each instance's region and positives written before the next one's."""
    final = class_targets(effective, ignoring, area, labels, selected, level, num_classes)
    result = torch.zeros_like(final)
    for n, chosen in enumerate(selected.tolist()):
        if chosen >= 0 and abs(chosen - level) <= 1:
            result[labels[n]][ignoring[n]] = -1
        if chosen == level:
            smaller = [effective[m] for m in range(len(area)) if area[m] < area[n]]
            lost = torch.stack(smaller).any(0) if smaller else torch.zeros_like(effective[n])
            result[labels[n]][effective[n] & ~lost] = 1
    return result


def _by_number(
    effective: Tensor,
    ignoring: Tensor,
    area: Tensor,
    labels: Tensor,
    selected: Tensor,
    level: int,
    num_classes: int,
) -> Tensor:
    """Return the targets as if instance n were of class n."""
    numbers = torch.arange(len(labels)) % num_classes
    return class_targets(effective, ignoring, area, numbers, selected, level, num_classes)


def _maps(size: int, *boxes: tuple[int, int, int, int]) -> Tensor:
    """(N, size, size) bool of boxes in whole cells: first and end row, first and end column."""
    result = torch.zeros(len(boxes), size, size, dtype=torch.bool)
    for n, (top, bottom, left, right) in enumerate(boxes):
        result[n, top:bottom, left:right] = True
    return result


_ONE = (_maps(6, (2, 4, 2, 4)), _maps(6, (1, 5, 1, 5)), torch.tensor([900.0]), torch.tensor([1]))
_TWO = (
    _maps(6, (1, 4, 1, 4), (3, 5, 3, 5)),
    _maps(6, (0, 6, 0, 6), (2, 6, 2, 6)),
    torch.tensor([900.0, 400.0]),
    torch.tensor([0, 2]),
)
_SAME = (*_TWO[:3], torch.tensor([2, 2]))


_CROWD = (  # neither the order of the list nor the number of cells is the order by area
    _maps(6, (2, 4, 1, 4), (1, 4, 2, 5), (3, 5, 3, 4)),
    _maps(6, (1, 5, 1, 5), (0, 5, 1, 6), (2, 6, 2, 5)),
    torch.tensor([200.0, 500.0, 300.0]),
    torch.tensor([0, 1, 2]),
)


def _targets_case(name: str, look: str, instances: tuple, selected: list[int], level: int) -> Case:
    args = (*instances, torch.tensor(selected), level, 3)
    return Case(name, args, look)


NEAR_SLIPS = (  # which levels count besides the selected one: whole numbers, or tensors of them, to bools
    Slip(lambda selected, at: at == selected, "yours counts at the selected level only"),
    Slip(
        lambda selected, at: abs(at - selected) == 1,
        "the selected level itself is missing in yours",
    ),
    Slip(lambda selected, at: at > -1, "yours counts at every level"),
    Slip(lambda selected, at: abs(at - selected) != 1, "yours is inverted"),
    Slip(
        lambda selected, at: (at == selected) | (at == selected + 1),
        "you look to the coarser side only",
    ),
    Slip(
        lambda selected, at: (at == selected) | (at == selected - 1),
        "you look to the finer side only",
    ),
    Slip(lambda selected, at: abs(at - selected) <= 2, "yours reaches two levels away"),
)
_NEAR = (
    "where the ignoring box counts: at the selected level and the two adjacent levels, nowhere else"
)
_SETTLE = "the shared cell: it is assigned to the smaller instance"
TARGETS_CASES = (
    _targets_case(
        "one instance at its own level",
        "the three kinds: 1 in the effective box, −1 around it in the ignoring box, 0 elsewhere",
        _ONE,
        [1],
        1,
    ),
    _targets_case(
        "one level above its own", f"{_NEAR}; there the whole ignoring box is −1", _ONE, [0], 1
    ),
    _targets_case(
        "one level below its own", f"{_NEAR}; there the whole ignoring box is −1", _ONE, [2], 1
    ),
    _targets_case("two levels away", f"{_NEAR}; here all is 0", _ONE, [3], 1),
    _targets_case("three levels away", f"{_NEAR}; here all is 0", _ONE, [4], 1),
    _targets_case(
        "an instance without a level",
        "selected = −1: the instance has no level, so it has no adjacent levels either",
        _ONE,
        [-1],
        0,
    ),
    _targets_case("two classes, a shared cell", _SETTLE, _TWO, [1, 1], 1),
    _targets_case(
        "the smaller one selected another level",
        "the shared cell: it is resolved before the selection",
        _TWO,
        [1, 3],
        1,
    ),
    _targets_case(
        "the smaller one selected the next level",
        "the shared cell: it is resolved before the selection",
        _TWO,
        [1, 2],
        1,
    ),
    _targets_case(
        "two of one class",
        "one class: a cell in the ignored region of one and assigned to the other is positive",
        _SAME,
        [1, 1],
        1,
    ),
    _targets_case(
        "three, the smallest first", f"{_SETTLE}, wherever it is in the list", _CROWD, [1, 1, 1], 1
    ),
    _targets_case(
        "no instance", "an image without objects: all 0", tuple(part[:0] for part in _ONE), [], 1
    ),
)
TARGETS_SLIPS = (
    Slip(_targets(larger=True), f"{_SETTLE}; you assign it to the larger one"),
    Slip(_targets(by="list"), f"{_SETTLE}, by `area`; yours is assigned to the last in the list"),
    Slip(
        _targets(by="list", larger=True),
        f"{_SETTLE}, by `area`; yours is assigned to the first in the list",
    ),
    Slip(
        _targets(by="cells"), f"{_SETTLE}, by `area`; you count its effective cells at this level"
    ),
    Slip(
        _background_last,
        "a cell without an instance: index −1 means the last instance in PyTorch; exclude −1 first",
    ),
    Slip(_targets(settle="none"), f"{_SETTLE} alone; yours is positive for both classes"),
    Slip(
        _targets(settle="level"),
        "the shared cell: it is resolved before the selection, over all instances that reach it",
    ),
    *within(
        lambda near: _targets(near=lambda s, at: s >= 0 and near(s, at)), NEAR_SLIPS, f"{_NEAR}; "
    ),
    Slip(
        _targets(near=lambda s, at: abs(s - at) <= 1),
        "selected = −1: no level, but |0 − (−1)| = 1 makes it a neighbor of level 0",
    ),
    Slip(
        _targets(near=lambda s, at: False),
        "the ignored region: −1, so that it has no gradient; yours is negative",
    ),
    Slip(
        _targets(learns=lambda s, at: s >= 0),
        "which levels learn: only the selected one has positives",
    ),
    Slip(
        _targets(learns=lambda s, at: s >= 0 and abs(s - at) <= 1),
        "which levels learn: positives are at the selected level only; the adjacent levels are ignored",
    ),
    Slip(
        _targets(all_classes=True),
        "the class: the region is ignored for the instance's own class only; other classes are negative there",
    ),
    Slip(
        _targets(without_effective=True),
        "what is ignored: the whole ignoring region, effective cells included; a cell lost to a smaller instance is ignored too",
    ),
    Slip(
        _ignored_last,
        "the order of writing: first all ignored regions, positives last; yours writes −1 over positive cells",
    ),
    Slip(
        _one_by_one,
        "the order of writing: first the ignored regions of all instances, positives last; yours lets a later region overwrite an earlier positive",
    ),
    Slip(_by_number, "the class: labels[n]; you take the number n of the instance"),
)


check_class_targets = Checker(class_targets, TARGETS_CASES, TARGETS_SLIPS)


def _widths(
    low: str = "both",
    high: str = "nearer",
    whole: float = 2.0,
    unit: str = "pixels",
    share: Callable[[float], float] = lambda scale: 1 / scale,
    last: int = 0,
    empty: Callable[[float, float], tuple[float, float] | None] = lambda above, up_to: None,
    half: float = 0.0,
) -> Callable[..., tuple[float, float] | None]:
    """Return the solution with one change: a source of slips."""

    def function(
        center: float, first: int, end: int, stride: int, scale: float
    ) -> tuple[float, float] | None:
        x, end = center / stride - half, end + last
        lows = {
            "both": max(x - first - 1, end - 1 - x, 0),
            "zero": 0.0,
            "first": max(x - first - 1, 0),
            "end": max(end - 1 - x, 0),
            "signed": max(x - first - 1, end - 1 - x),
        }
        ups = {
            "nearer": min(x - first, end - x),
            "farther": max(x - first, end - x),
            "first": x - first,
            "end": end - x,
            "columns": (end - first) / 2,
        }
        factor = whole * (stride if unit == "pixels" else 1) * share(scale)
        above, up_to = factor * lows[low], factor * ups[high]
        return (above, up_to) if above < up_to else empty(above, up_to)

    return function


_LOW = "the lower end: both edges must reach their outermost cells, so the larger of the two bounds counts"
_HIGH = "the upper end: neither edge may pass its outermost cell, so the nearer one counts"
WIDTH_CASES = (
    Case("the star at P3, columns 2 and 3", (23.355, 2, 4, 8, 0.2), f"{_LOW}; {_HIGH}"),
    Case("the star at P4, column 1", (23.355, 1, 2, 16, 0.2), _HIGH),
    Case("rows 1 and 2 at P5", (64.195, 1, 3, 32, 0.2), _LOW),
    Case("four columns", (33.0, 2, 6, 8, 0.2), _LOW),
    Case("another scale", (33.0, 2, 6, 8, 0.5), "the scale: it is an argument"),
    Case("a center outside the columns", (100.0, 2, 4, 8, 0.2), "None: no width fits"),
    Case("a center too far to one side", (16.8, 0, 3, 8, 0.2), "None: no width fits"),
    Case(
        "a lower end equal to the upper end",
        (24.0, 2, 5, 8, 0.5),
        "None: the lower end is not included, so equal ends leave no width",
    ),
)
WIDTH_SLIPS = (
    Slip(
        _widths(share=lambda scale: 1.0),
        "the scale: this is the width of the effective box; the box is 1 / scale times as wide",
    ),
    Slip(
        _widths(share=lambda scale: scale),
        "the scale: the box is wider than its effective box, so divide by it",
    ),
    Slip(
        _widths(share=lambda scale: scale**-0.5),
        "the scale: it multiplies the sides, not the area",
    ),
    Slip(_widths(share=lambda scale: 5.0), "the scale: it is an argument, not always 0.2"),
    Slip(_widths(whole=1.0), "the width: it is twice the distance from the center to an edge"),
    Slip(_widths(unit="cells"), "the unit: pixels; yours are cells of the level"),
    Slip(_widths(low="zero"), f"{_LOW}; yours is always 0"),
    Slip(_widths(low="first"), f"{_LOW}; you check only the left edge"),
    Slip(_widths(low="end"), f"{_LOW}; you check only the right edge"),
    Slip(_widths(low="signed"), "the lower end: a width is positive, so it is at least 0"),
    Slip(_widths(high="farther"), f"{_HIGH}; you take the farther one"),
    Slip(_widths(high="first"), f"{_HIGH}; you check only the left edge"),
    Slip(_widths(high="end"), f"{_HIGH}; you check only the right edge"),
    Slip(
        _widths(high="columns"),
        "the upper end: the center need not be in the middle of the columns",
    ),
    Slip(_widths(last=1), "the columns: `end` is one past the last, not the last one"),
    Slip(_widths(half=0.5), "column j reaches from j to j + 1; yours is half a cell off"),
    Slip(_widths(empty=lambda above, up_to: (above, up_to)), "None: no width fits"),
    Slip(
        _widths(empty=lambda above, up_to: (above, up_to) if above == up_to else None),
        "None: the lower end is not included, so equal ends leave no width",
    ),
    Slip(_widths(empty=lambda above, up_to: (0.0, 0.0)), "None: no width fits; (0, 0) is a range"),
    Slip(
        lambda *args: (found := width_range(*args)) and found[::-1],
        "the order: the lower end first",
    ),
)


check_width_range = Checker(width_range, WIDTH_CASES, WIDTH_SLIPS)
