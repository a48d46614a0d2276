"""Checkers of chapter 03: shapes of the levels, the location of a number, locations in a box."""

from collections.abc import Callable
from math import ceil, floor

import torch
from solutions.ch03 import cells_inside, level_shapes, where_is

from . import STAR, Case, Checker, Slip

_HALF = "the halving: half the cells, rounded up, each time"


def _shapes(half: Callable[[int], int], first: int = 8) -> Callable:
    """Return the solution with another way of halving."""

    def function(height: int, width: int, last_level: int) -> list[tuple[int, int]]:
        shapes = [(height // first, width // first)]
        while len(shapes) < last_level - 2:
            shapes.append((half(shapes[-1][0]), half(shapes[-1][1])))
        return shapes

    return function


SHAPE_CASES = (
    Case("128 x 128, P3 to P5", (128, 128, 5), "the strides: 8, 16 and 32"),
    Case("128 x 128, P3 to P6", (128, 128, 6), "P6: half of P5"),
    Case("256 x 128: higher than wide", (256, 128, 7), "rows and columns: rows go with the height"),
    Case("800 x 1216, whose P5 has 25 rows", (800, 1216, 7), _HALF),
    Case("32 x 96, whose P5 is one row", (32, 96, 7), "a single row: half of 1, rounded up, is 1"),
)
SHAPE_SLIPS = (
    Slip(
        _shapes(lambda n: n // 2), "the halving: a map of 25 rows becomes one of 13; you round down"
    ),
    Slip(_shapes(lambda n: n), "the halving: it is missing"),
    Slip(
        _shapes(lambda n: round(n / 2)),
        "the halving: Python's round rounds halves to the even number; here a half is rounded up",
    ),
    Slip(
        _shapes(lambda n: max(n // 2, 1)),
        "the halving: a map of 25 rows becomes one of 13; you round down",
    ),
    Slip(
        lambda h, w, last: level_shapes(w, h, last),
        "rows and columns: they are swapped; rows go with the height",
    ),
    Slip(
        _shapes(lambda n: (n + 1) // 2, 4),
        "the first level: P3 has stride 2³ = 8; yours begins at 4",
    ),
    Slip(
        _shapes(lambda n: (n + 1) // 2, 16),
        "the first level: P3 has stride 2³ = 8; yours begins at 16",
    ),
    Slip(lambda h, w, last: level_shapes(h, w, 7), "last_level: not every pyramid goes up to P7"),
    Slip(
        lambda h, w, last: level_shapes(h, w, last)[:-1],
        "last_level: the list goes up to it and includes it; yours stops one before",
    ),
    Slip(
        lambda h, w, last: [(h // 4, w // 4), *level_shapes(h, w, last)],
        "the first level: the list begins with P3; yours begins with P2",
    ),
    Slip(
        lambda h, w, last: level_shapes(h, w, last + 1),
        "the last level: yours continues to the one after it",
    ),
    Slip(lambda h, w, last: level_shapes(h, w, last)[::-1], "the order: P3 first"),
    Slip(
        lambda h, w, last: [a * b for a, b in level_shapes(h, w, last)],
        "what you return: (rows, columns), not their product",
    ),
)


check_level_shapes = Checker(level_shapes, SHAPE_CASES, SHAPE_SLIPS)


_SQUARE, _WIDE = [(16, 16), (8, 8), (4, 4), (2, 2)], [(4, 6), (2, 3), (1, 2)]
_ORDER = "the order of counting: all of P3 first, and within a level row by row"


WHERE_CASES = (
    Case("the first cell of all", (0, _SQUARE), "counting from 0: cell 0 is row 0, column 0 of P3"),
    Case("a cell of P3", (37, _SQUARE), _ORDER),
    Case(
        "the last cell of P3",
        (255, _SQUARE),
        "the last cell of a level: 256 cells are numbered 0 to 255",
    ),
    Case(
        "the first cell of P4",
        (256, _SQUARE),
        "the first cell of a level: subtract the number of cells of the finer levels from r",
    ),
    Case(
        "the very last cell",
        (339, _SQUARE),
        "what you subtract: the number of cells of all finer levels",
    ),
    Case(
        "a map of 4 rows and 6 columns", (17, _WIDE), "a row's length: it is the number of columns"
    ),
    Case(
        "P4 of the same", (28, _WIDE), "a row's length: it is the number of columns of this level"
    ),
    Case("P5 of the same", (31, _WIDE), _ORDER),
)


def _where_variant(
    step: Callable[[int, int, int], tuple[int, int]] = lambda r, rows, columns: divmod(r, columns),
    first: int = 3,
    late: bool = False,
    keep: bool = False,
) -> Callable:
    """Return the solution with another way of splitting, or with faults in the search for the level."""

    def function(r: int, shapes: list[tuple[int, int]]) -> tuple[int, int, int]:
        whole = r
        for level, (rows, columns) in enumerate(shapes, start=first):
            if r < rows * columns or (late and r == rows * columns):
                return level, *step(whole if keep else r, rows, columns)
            r -= rows * columns
        raise IndexError(r)

    return function


def _first_columns(r: int, shapes: list[tuple[int, int]]) -> tuple[int, int, int]:
    rest = r
    for level, (rows, columns) in enumerate(shapes, start=3):
        if rest < rows * columns:
            return level, *divmod(rest, shapes[0][1])
        rest -= rows * columns
    raise IndexError(r)


def _quartered(r: int, shapes: list[tuple[int, int]]) -> tuple[int, int, int]:
    (rows, columns), level = shapes[0], 3
    while r >= rows * columns and level < 2 + len(shapes):
        r -= rows * columns
        rows, columns, level = max(rows // 2, 1), max(columns // 2, 1), level + 1
    return level, *divmod(r, columns)


WHERE_SLIPS = (
    Slip(
        lambda r, shapes: (3, *divmod(r, shapes[0][1])),
        "the level: P3 has only its rows × columns cells; the next one is P4's first",
    ),
    Slip(_where_variant(first=0), "the level's number: the first level is P3, so 3, not 0"),
    Slip(_where_variant(first=1), "the level's number: the first level is P3, so 3, not 1"),
    Slip(
        _where_variant(late=True),
        "the last cell of a level: r equal to the number of its cells is the next level's first (<, not <=)",
    ),
    Slip(
        _where_variant(keep=True),
        "what is left of r: subtract the number of cells of the finer levels before you split it",
    ),
    Slip(_where_variant(lambda r, m, n: (r % n, r // n)), "row and column: they are swapped"),
    Slip(
        _where_variant(lambda r, m, n: (r % m, r // m)),
        "the order within a level: row by row; yours goes column by column",
    ),
    Slip(
        _where_variant(lambda r, m, n: (r // m, r % m)),
        "a row's length: it is the number of columns; you took the number of rows",
    ),
    Slip(
        _where_variant(lambda r, m, n: (r / n, r % n)),
        "the row: it is a whole number, r // columns; yours keeps a fraction",
    ),
    Slip(
        _first_columns,
        "a row's length: each level has its own number of columns; yours takes the first level's everywhere",
    ),
    Slip(
        lambda r, shapes: where_is(r, _SQUARE) if r < 340 else (7, 0, 0),
        "shapes: it is an argument; you wrote in the shapes of the course's scene",
    ),
    Slip(
        _quartered,
        "shapes: take each level's own rows and columns from the list; half of an odd number is rounded up",
    ),
    Slip(
        lambda r, shapes: (
            None if where_is(r, shapes)[0] == len(shapes) + 2 else where_is(r, shapes)
        ),
        "the last level: the loop must reach it too; yours returns None there",
    ),
    Slip(
        _where_variant(lambda r, m, n: (r // n + 1, r % n + 1)),
        "where counting starts: rows and columns count from 0",
    ),
)


check_where_is = Checker(where_is, WHERE_CASES, WHERE_SLIPS)


_CROSS = (9.45, 118.43, 20.49, 124.75)
_CENTRE = "the center: (j + 0.5) · stride ≥ x is the same as j ≥ x / stride − 0.5, and the first such j is its ceil"
_OFF = "the center: it lies at (j + 0.5) · stride; you are half a cell off"


def _range(function: Callable, *args) -> tuple[int, ...] | str:
    """Return the answer, with one word for all ways to write a range without cells."""
    result = function(torch.tensor(args[0]), *args[1:])
    if (
        isinstance(result, (tuple, list))
        and len(result) == 4
        and (result[0] == result[1] or result[2] == result[3])
    ):
        return "no cells"
    return result


INSIDE_CASES = (
    Case("the star at P3", (STAR, 8, 16, 16), _CENTRE),
    Case("the star at P5", (STAR, 32, 4, 4), _CENTRE),
    Case("a box with one cell in it", ((8.0, 8.0, 16.0, 16.0), 8, 16, 16), _CENTRE),
    Case(
        "sides that lie on centers",
        ((4.0, 12.0, 20.0, 28.0), 8, 16, 16),
        "equal: a center on a lower side is in the box, and one on an upper side is not",
    ),
    Case("the star at P6: no cell", (STAR, 64, 2, 2), "a box without a center: end equal to first"),
    Case(
        "the cross at P4: no cell", (_CROSS, 16, 8, 8), "a box without a center: end equal to first"
    ),
    Case(
        "a box over the upper left border",
        ((-30.0, -9.0, 21.0, 13.0), 8, 16, 16),
        "the border: there are no cells before 0",
    ),
    Case(
        "a box over the lower right border",
        ((100.0, 90.0, 170.0, 140.0), 8, 16, 16),
        "the border: end is at most rows, columns",
    ),
    Case(
        "a box to the right of the level",
        ((140.0, 20.0, 180.0, 60.0), 8, 16, 16),
        "the border: clamp all four numbers; beyond the level first and end are both at its border",
    ),
    Case(
        "a box above the level",
        ((20.0, -60.0, 60.0, -20.0), 8, 16, 16),
        "the border: clamp all four numbers; beyond the level first and end are both at its border",
    ),
    Case(
        "a wide level",
        ((60.0, 5.0, 170.0, 35.0), 8, 5, 20),
        "rows and columns: each has its own limit",
    ),
)


def _inside_variant(
    low: Callable[[float], int] = lambda u: ceil(u - 0.5),
    high: Callable[[float], int] | None = None,
    clamp: bool = True,
    end: int = 0,
) -> Callable:
    """Return the solution with other roundings of side / stride."""

    def function(box: tuple, stride: int, rows: int, columns: int) -> tuple[int, int, int, int]:
        x1, y1, x2, y2 = (side / stride for side in box)
        edges = (low(y1), (high or low)(y2), low(x1), (high or low)(x2))
        if clamp:
            edges = tuple(
                min(max(edge, 0), limit)
                for edge, limit in zip(edges, (rows, rows, columns, columns))
            )
        return edges[0], edges[1] + end, edges[2], edges[3] + end

    return function


def _in_order(*places: int) -> Callable[..., tuple[int, ...]]:
    return lambda *args: tuple(cells_inside(*args)[place] for place in places)


def _limits_swapped(box: tuple, stride: int, rows: int, columns: int) -> tuple[int, ...]:
    edges = _inside_variant(clamp=False)(box, stride, rows, columns)
    return tuple(
        min(max(edge, 0), limit) for edge, limit in zip(edges, (columns, columns, rows, rows))
    )


def _half_clamped(box: tuple, stride: int, rows: int, columns: int) -> tuple[int, ...]:
    edges = _inside_variant(clamp=False)(box, stride, rows, columns)
    return max(edges[0], 0), min(edges[1], rows), max(edges[2], 0), min(edges[3], columns)


def _to_the_last_cell(box: tuple, stride: int, rows: int, columns: int) -> tuple[int, ...]:
    return cells_inside(box, stride, rows - 1, columns - 1)


INSIDE_SLIPS = (
    Slip(_in_order(2, 3, 0, 1), "the order of what you return: rows first, then columns"),
    Slip(
        _in_order(2, 0, 3, 1),
        "the order of what you return: first_row, end_row, first_column, end_column; yours is that of a box",
    ),
    Slip(
        _in_order(0, 2, 1, 3),
        "the order of what you return: first_row, end_row, first_column, end_column; yours is two corners",
    ),
    Slip(
        _inside_variant(floor, ceil),
        "which locations count: those whose center lies in the box; yours are all that the box touches",
    ),
    Slip(
        _inside_variant(ceil, floor),
        "which cells count: those whose center lies in the box; yours are only those wholly inside",
    ),
    Slip(_inside_variant(floor), f"{_OFF} (floor of side / stride)"),
    Slip(_inside_variant(ceil), f"{_OFF} (you place the location at j · stride)"),
    Slip(
        _inside_variant(lambda u: ceil(u + 0.5)),
        "the sign of the half: j ≥ x / stride − 0.5; you added it",
    ),
    Slip(
        _inside_variant(lambda u: floor(u - 0.5)),
        "the rounding: the first j that is at least x / stride − 0.5 is its ceil, not its floor (nor int(), which cuts off)",
    ),
    Slip(
        _inside_variant(lambda u: floor(u + 0.5)),
        "equal: a center on a lower side (x = x1) is in; floor(x / stride + 0.5) leaves it out",
    ),
    Slip(
        _inside_variant(lambda u: floor(u + 0.5), lambda u: ceil(u - 0.5)),
        "equal: a center on a lower side (x = x1) is in",
    ),
    Slip(
        _inside_variant(lambda u: round(float(u))),
        "the rounding: Python's round rounds halves to the even number; a center on a side needs ceil",
    ),
    Slip(
        _inside_variant(high=lambda u: floor(u - 0.5) + 1),
        "equal: a center on an upper side (x = x2) is out",
    ),
    Slip(
        _inside_variant(clamp=False),
        "the border: the box may leave the image; clamp all four numbers to 0..rows and 0..columns",
    ),
    Slip(
        _half_clamped,
        "the border: clamp all four numbers at both borders; yours clamps first only at 0 and end only at the other one",
    ),
    Slip(
        _to_the_last_cell,
        "the border: end is one past the last cell, so it may be as large as rows or columns; yours ends one before",
    ),
    Slip(
        lambda box, stride, rows, columns: cells_inside(box, 8, rows, columns),
        "the stride: it is an argument, not always 8",
    ),
    Slip(
        _inside_variant(end=-1),
        "end: it is one past the last cell, as in a Python range; yours is the last",
    ),
    Slip(
        _limits_swapped,
        "the limits: they are swapped; rows bound what comes from y, columns what comes from x",
    ),
)


check_cells_inside = Checker(cells_inside, INSIDE_CASES, INSIDE_SLIPS, _range)
