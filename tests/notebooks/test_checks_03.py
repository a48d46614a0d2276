"""Notebook 03's exercises: solutions equal the core, other right ways pass, wrong answers put otherwise are told the fault."""

from itertools import product
from math import ceil, floor

import pytest
import torch
from checks.ch03 import check_cells_inside, check_level_shapes, check_where_is
from solutions import ch03

from fsaf_core.method.locations import pyramid_locations
from fsaf_core.model.fpn import FeaturePyramid


def test_solutions_agree_with_the_core() -> None:
    neck = FeaturePyramid((1, 1, 1), 1, 3, 7)
    for height, width in ((32, 96), (160, 224), (800, 1216)):
        maps = neck([torch.zeros(1, 1, height // s, width // s) for s in (8, 16, 32)])
        shapes = tuple(tuple(one.shape[2:]) for one in maps)
        assert ch03.level_shapes(height, width, 7) == list(shapes)
        locations = pyramid_locations(shapes, (8, 16, 32, 64, 128), 0.5)
        row_column = (locations.centers // locations.stride[:, None]).long().flip(1)
        expected = torch.cat([3 + locations.level[:, None], row_column], 1).tolist()
        found = [list(ch03.where_is(r, shapes)) for r in range(0, len(expected), 7)]
        assert found == expected[::7]


def test_cells_inside_agrees_with_looking_at_each_cell() -> None:
    torch.manual_seed(0)
    for box in (200 * torch.rand(200, 2, 2) - 40).sort(1).values.flatten(1).tolist():
        (x1, y1, x2, y2), (rows, columns), stride = box, (7, 9), 16
        a, b, c, d = ch03.cells_inside(box, stride, rows, columns)
        found = {(i, j) for i in range(a, b) for j in range(c, d)}
        centres = {
            (i, j): ((j + 0.5) * stride, (i + 0.5) * stride)
            for i, j in product(range(rows), range(columns))
        }
        assert found == {cell for cell, (x, y) in centres.items() if x1 <= x < x2 and y1 <= y < y2}


def powers(half, start=3):
    return lambda h, w, last: [
        (half(h / 2**level), half(w / 2**level)) for level in range(start, last + 1)
    ]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (powers(floor), "round down"),
        (powers(round), "even number"),
        (lambda h, w, last: powers(ceil)(w, h, last), "swapped"),
        (powers(ceil, start=2), "P3"),
        (lambda h, w, last: powers(ceil)(h, w, last)[:-1], "one before"),
        (lambda h, w, last: powers(ceil)(h, w, last + 1), "the one after it"),
        (lambda h, w, last: powers(ceil)(h, w, 7), "last_level"),
        (lambda h, w, last: [(h // 8, w // 8)] * (last - 2), "it is missing"),
    ],
)
def test_wrong_shapes_are_named(refused, wrong, hint) -> None:
    refused(check_level_shapes, wrong, hint)


def test_another_right_way_to_the_shapes_passes(verdict) -> None:
    assert verdict(check_level_shapes, powers(ceil)).startswith("done")


def find(split=lambda r, m, n: (r // n, r % n), first=3, late=False, subtract=True):
    def where(r, shapes):
        whole = r
        for number, (rows, columns) in enumerate(shapes):
            size = rows * columns
            if r < size or (late and r <= size):
                row, column = split(r if subtract else whole, rows, columns)
                return number + first, row, column
            r -= size

    return where


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (find(first=0), "so 3, not 0"),
        (find(late=True), "not <="),
        (find(subtract=False), "what is left of r"),
        (find(lambda r, m, n: (r % n, r // n)), "swapped"),
        (find(lambda r, m, n: (r % m, r // m)), "column by column"),
        (find(lambda r, m, n: (r // m, r % m)), "number of rows"),
        (find(lambda r, m, n: (r // n + 1, r % n + 1)), "count from 0"),
        (lambda r, shapes: (3, r // shapes[0][1], r % shapes[0][1]), "P3 has only"),
    ],
)
def test_wrong_places_are_named(refused, wrong, hint) -> None:
    refused(check_where_is, wrong, hint)


def by_looking(shift=0.5, inclusive=True, whole=False, touch=False, swap=False, last=0):
    """Cells inside by a mask over all cells; (0, 0, 0, 0) where there are none."""

    def cells(box, stride, rows, columns):
        x1, y1, x2, y2 = box

        def fits(k, low, high):
            if whole:
                return k * stride >= low and (k + 1) * stride <= high
            if touch:
                return (k + 1) * stride > low and k * stride < high
            at = (k + shift) * stride
            return (low <= at if inclusive else low < at) and at < high

        i = [k for k in range(rows) if fits(k, y1, y2)]
        j = [k for k in range(columns) if fits(k, x1, x2)]
        if not i or not j:
            return 0, 0, 0, 0
        i, j = (j, i) if swap else (i, j)
        return i[0], i[-1] + 1 + last, j[0], j[-1] + 1 + last

    return cells


def direct(low=lambda u: ceil(u - 0.5), clamp=True, limits=(0, 1)):
    def cells(box, stride, rows, columns):
        x1, y1, x2, y2 = (low(side / stride) for side in box)
        a, b = ((rows, columns)[k] for k in limits)
        if not clamp:
            return y1, y2, x1, x2
        return max(0, min(y1, a)), max(0, min(y2, a)), max(0, min(x1, b)), max(0, min(x2, b))

    return cells


def test_a_mask_over_all_cells_passes(verdict) -> None:
    assert verdict(check_cells_inside, by_looking()).startswith("done")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (direct(floor), "half a cell off"),
        (direct(ceil), "half a cell off"),
        (direct(lambda u: round(float(u))), "even number"),
        (direct(lambda u: ceil(u + 0.5)), "you added it"),
        (direct(lambda u: floor(u - 0.5)), "not its floor"),
        (direct(lambda u: floor(u + 0.5)), "x = x1"),
        (direct(lambda u: int(u - 0.5)), "int()"),
        (direct(clamp=False), "the border"),
        (direct(limits=(1, 0)), "rows bound what comes from y"),
        (by_looking(shift=0), "half a cell off"),
        (by_looking(whole=True), "only those wholly inside"),
        (by_looking(touch=True), "all that the box touches"),
        (by_looking(swap=True), "rows first"),
        (by_looking(last=-1), "one past the last"),
        (by_looking(inclusive=False), "x = x1"),
        (lambda *args: tuple(ch03.cells_inside(*args)[k] for k in (2, 0, 3, 1)), "that of a box"),
    ],
)
def test_wrong_ranges_are_named(refused, wrong, hint) -> None:
    refused(check_cells_inside, wrong, hint)
