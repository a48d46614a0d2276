"""Functions as students write them for chapter 03, with what a tutor should make of each."""

import bisect
import itertools
import math

import numpy as np
import torch
from torch.nn import functional as F

from . import breaks, right, wrong

# level_shapes


@right("level_shapes", unusual="halves again and again, from P2 on")
def level_shapes_halving(height, width, last_level):
    rows, columns, result = height // 4, width // 4, []
    while len(result) < last_level - 2:
        rows, columns = (rows + 1) // 2, (columns + 1) // 2
        result.append((rows, columns))
    return result


@right("level_shapes", unusual="recursion over the last level")
def level_shapes_recursive(height, width, last_level):
    if last_level < 3:
        return []
    before = level_shapes_recursive(height, width, last_level - 1)
    return [*before, (-(-height // 2**last_level), -(-width // 2**last_level))]


@right("level_shapes", unusual="runs pooling layers over an empty image and reads the shapes")
def level_shapes_pooling(height, width, last_level):
    x, result = torch.zeros(1, 1, height // 8, width // 8), []
    for _ in range(3, last_level + 1):
        result.append(tuple(x.shape[2:]))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
    return result


@right("level_shapes", unusual="math.ceil of a float, with asserts")
def level_shapes_ceil(height, width, last_level):
    assert height % 32 == 0 and width % 32 == 0
    strides = [8, 16, 32, 64, 128][: last_level - 2]
    shapes = [(math.ceil(height / stride), math.ceil(width / stride)) for stride in strides]
    assert len(shapes) == last_level - 2
    return shapes


# 96 x 160: P6 has 2 rows and 3 columns
@wrong(
    "level_shapes",
    fault="rounds down at P6 and P7",
    true=r"round|\bodd\b|rounded up|ceil",
    false="columns to the width|too long",
)
def level_shapes_floor(height, width, last_level):
    return [(height // 2**n, width // 2**n) for n in range(3, last_level + 1)]


@wrong(
    "level_shapes",
    fault="columns first",
    true=r"\brows\b|width|square|exchang|swap",
    false="round|too long",
)
def level_shapes_columns_first(height, width, last_level):
    return [(-(-width // 2**n), -(-height // 2**n)) for n in range(3, last_level + 1)]


@wrong(
    "level_shapes", fault="always up to P7", true="last_level|too long|entries", false="round|rows"
)
def level_shapes_all(height, width, last_level):
    return [(-(-height // 2**n), -(-width // 2**n)) for n in range(3, 8)]


@wrong(
    "level_shapes",
    fault="leaves the last level out",
    true="last_level|too short|entries|missing|up to",
    false="round|rows|too long",
)
def level_shapes_short(height, width, last_level):
    return [(-(-height // 2**n), -(-width // 2**n)) for n in range(3, last_level)]


@wrong(
    "level_shapes",
    fault="begins with P2",
    true=r"\bP3\b|too long|begin|entries",
    false="round|rows",
)
def level_shapes_from_p2(height, width, last_level):
    return [(-(-height // 2**n), -(-width // 2**n)) for n in range(2, last_level + 1)]


@wrong(
    "level_shapes",
    fault="one level off: the stride of P3 is taken for 4",
    true="stride|half|twice|too large",
    false="columns to the width",
)
def level_shapes_stride_four(height, width, last_level):
    return [(-(-height // 2**n), -(-width // 2**n)) for n in range(2, last_level)]


# 160 rows: 160 / 64 = 2.5
@wrong(
    "level_shapes",
    fault="fractions of rows at P6 and P7",
    true=r"round|whole|integer|\bodd\b|//",
    false="columns to the width",
)
def level_shapes_fractions(height, width, last_level):
    return [(height / 2**n, width / 2**n) for n in range(3, last_level + 1)]


# round(2.5) is 2
@wrong(
    "level_shapes",
    fault="rounds to the nearest, halves to even",
    true=r"round(ed)? up|rounds?\b|\bodd\b|ceil",
    false="too long|columns to",
)
def level_shapes_round(height, width, last_level):
    return [(round(height / 2**n), round(width / 2**n)) for n in range(3, last_level + 1)]


# 128 rows: 2 rows at P6, not 3
@wrong(
    "level_shapes",
    fault="one more at P6 and P7, always",
    true=r"round|even|\bodd\b|one too many|half",
    false="columns to",
)
def level_shapes_plus_one(height, width, last_level):
    fine = [(height // n, width // n) for n in (8, 16, 32)]
    coarse = [(height // n + 1, width // n + 1) for n in (64, 128)]
    return (fine + coarse)[: last_level - 2]


@wrong(
    "level_shapes",
    fault="square: the height for both",
    true="width|square|columns",
    false="round|too long",
)
def level_shapes_square(height, width, last_level):
    return [(-(-height // 2**n),) * 2 for n in range(3, last_level + 1)]


@wrong(
    "level_shapes",
    fault="coarsest level first",
    true=r"\border\b|P3 (up|first)|revers|begins? with",
    false="round",
)
def level_shapes_coarse_first(height, width, last_level):
    return [(-(-height // 2**n), -(-width // 2**n)) for n in range(last_level, 2, -1)]


# 320 rows: P5 10, P6 5, P7 3 and not 2
@wrong(
    "level_shapes",
    fault="P7 rounds down",
    true=r"\bP7\b|rounded up|round|\bodd\b",
    false="too long|columns to",
)
def level_shapes_p7_floor(height, width, last_level):
    shapes = [(-(-height // 2**n), -(-width // 2**n)) for n in range(3, 7)]
    shapes.append((shapes[-1][0] // 2, shapes[-1][1] // 2))
    return shapes[: last_level - 2]


# an unpadded convolution: (4 - 3) // 2 + 1 = 1 for 4 rows
@wrong(
    "level_shapes",
    fault="the convolution to P6 without its padding",
    true=r"padding|half|round|\bP6\b",
    false="columns to|too long",
)
def level_shapes_no_padding(height, width, last_level):
    shapes = [(height // n, width // n) for n in (8, 16, 32)]
    while len(shapes) < last_level - 2:
        shapes.append(tuple((n - 3) // 2 + 1 for n in shapes[-1]))
    return shapes


@breaks("level_shapes", how="raises TypeError: range of a float")
def level_shapes_type_error(height, width, last_level):
    return [(height // 2**n, width // 2**n) for n in range(3, math.log2(height))]


@breaks("level_shapes", how="endless loop: the rows never reach 0")
def level_shapes_endless(height, width, last_level):
    rows, columns, result = height // 8, width // 8, []
    while rows > 0 and columns > 0:
        result = [*result[:4], (rows, columns)]
        rows, columns = (rows + 1) // 2, (columns + 1) // 2
    return result[: last_level - 2]


# where_is


@right("where_is", unusual="lists all locations and looks one up")
def where_is_table(r, shapes):
    table = [
        (level, row, column)
        for level, (rows, columns) in enumerate(shapes, start=3)
        for row in range(rows)
        for column in range(columns)
    ]
    return table[r]


@right("where_is", unusual="running sums and bisection")
def where_is_bisect(r, shapes):
    starts = [0, *itertools.accumulate(rows * columns for rows, columns in shapes)]
    index = bisect.bisect_right(starts, r) - 1
    row, column = divmod(r - starts[index], shapes[index][1])
    return index + 3, row, column


@right("where_is", unusual="recursion: takes a level off")
def where_is_recursive(r, shapes, level=3):
    (rows, columns), *others = shapes
    if r >= rows * columns:
        return where_is_recursive(r - rows * columns, others, level + 1)
    return level, r // columns, r - r // columns * columns


@right("where_is", unusual="numpy's cumsum and unravel_index")
def where_is_numpy(r, shapes):
    ends = np.cumsum([rows * columns for rows, columns in shapes])
    index = int(np.searchsorted(ends, r, side="right"))
    inside = r - (int(ends[index - 1]) if index else 0)
    row, column = np.unravel_index(inside, tuple(shapes[index]))
    return index + 3, int(row), int(column)


# r = 256 with a P3 of 16 x 16: P4, row 0, column 0
@wrong(
    "where_is",
    fault="the first location of a level comes out in the level before",
    true="<=|first location|0 to|one before|level before",
    false="columns|subtract",
)
def where_is_less_equal(r, shapes):
    for level, (rows, columns) in enumerate(shapes, start=3):
        if r <= rows * columns:
            return level, r // columns, r % columns
        r -= rows * columns
    return None


@wrong(
    "where_is",
    fault="does not subtract the finer levels",
    true="subtract|finer|too large|minus",
    false="<=|wide",
)
def where_is_no_subtraction(r, shapes):
    end = 0
    for level, (rows, columns) in enumerate(shapes, start=3):
        end += rows * columns
        if r < end:
            return level, r // columns, r % columns
    return None


# the third level: only the second level's locations are taken off
@wrong(
    "where_is",
    fault="subtracts only the level just before",
    true=r"all finer|subtract|\bsum\b|every finer",
    false="<=|wide",
)
def where_is_one_subtraction(r, shapes):
    end, before = 0, 0
    for level, (rows, columns) in enumerate(shapes, start=3):
        end += rows * columns
        if r < end:
            return level, (r - before) // columns, (r - before) % columns
        before = rows * columns
    return None


# shapes 13 x 21
@wrong(
    "where_is",
    fault="divides by the rows",
    true="columns|wide|length of a row",
    false="subtract|<=",
)
def where_is_by_rows(r, shapes):
    for level, (rows, columns) in enumerate(shapes, start=3):
        if r < rows * columns:
            return level, r // rows, r % rows
        r -= rows * columns
    return None


@wrong(
    "where_is",
    fault="numbers the locations column by column",
    true="row by row|columns|wide|length of a row",
    false="subtract|<=",
)
def where_is_column_by_column(r, shapes):
    for level, (rows, columns) in enumerate(shapes, start=3):
        if r < rows * columns:
            return level, r % rows, r // rows
        r -= rows * columns
    return None


@wrong(
    "where_is",
    fault="index of the level, from 0",
    true="3 for|P3|level|index",
    false="columns|<=|subtract",
)
def where_is_index(r, shapes):
    for level, (rows, columns) in enumerate(shapes):
        if r < rows * columns:
            return level, r // columns, r % columns
        r -= rows * columns
    return None


@wrong(
    "where_is",
    fault="column before row",
    true=r"\border\b|row, ?column|exchang|swap|row (first|before)",
    false="<=|subtract",
)
def where_is_column_first(r, shapes):
    for level, (rows, columns) in enumerate(shapes, start=3):
        if r < rows * columns:
            return level, r % columns, r // columns
        r -= rows * columns
    return None


@wrong(
    "where_is",
    fault="rows and columns from 1",
    true=r"from 0|off by one|one too|\+ ?1",
    false="subtract",
)
def where_is_from_one(r, shapes):
    for level, (rows, columns) in enumerate(shapes, start=3):
        if r < rows * columns:
            return level, r // columns + 1, r % columns + 1
        r -= rows * columns
    return None


@wrong(
    "where_is",
    fault="the first level's columns on every level",
    true="columns of|each level|its own|of the level|length of a row|wide",
    false="<=|subtract",
)
def where_is_first_columns(r, shapes):
    for level, (rows, columns) in enumerate(shapes, start=3):
        if r < rows * columns:
            return level, r // shapes[0][1], r % shapes[0][1]
        r -= rows * columns
    return None


@wrong(
    "where_is",
    fault="the shapes of the course's scene written in",
    true="shapes|argument|written|fixed",
    false="<=",
)
def where_is_scene(r, shapes):
    for level, side in ((3, 16), (4, 8), (5, 4), (6, 2)):
        if r < side * side:
            return level, r // side, r % side
        r -= side * side
    return 7, 0, 0


# 13 x 21 and then 7 x 11, which is not a quarter
@wrong(
    "where_is",
    fault="takes each level for a quarter of the one before",
    true=r"quarter|shapes|\bodd\b|each level|round|its own",
    false="<=",
)
def where_is_quarter(r, shapes):
    rows, columns = shapes[0]
    level = 3
    while r >= rows * columns and level < 2 + len(shapes):
        r -= rows * columns
        rows, columns, level = max(rows // 2, 1), max(columns // 2, 1), level + 1
    return level, r // columns, r % columns


@wrong(
    "where_is",
    fault="rows with a fraction",
    true="whole|integer|//|fraction|float|round",
    false="<=|subtract",
)
def where_is_fraction(r, shapes):
    for level, (rows, columns) in enumerate(shapes, start=3):
        if r < rows * columns:
            return level, r / columns, r % columns
        r -= rows * columns
    return None


# any location of the last level
@wrong(
    "where_is",
    fault="never looks at the last level",
    true="last level|None|coarsest|all levels|every level|return",
    false="columns|<=",
)
def where_is_no_last_level(r, shapes):
    for index in range(len(shapes) - 1):
        rows, columns = shapes[index]
        if r < rows * columns:
            return index + 3, r // columns, r % columns
        r -= rows * columns
    return None


@breaks("where_is", how="endless loop: the level is not raised and a level is taken off only once")
def where_is_endless(r, shapes):
    level, rest = 3, r
    while True:
        rows, columns = shapes[level - 3]
        if rest < 0:
            return level, (rest + rows * columns) // columns, rest % columns
        rest = max(rest - rows * columns, 0)


@breaks("where_is", how="raises KeyError: counts from level 0, the keys begin with 3")
def where_is_key_error(r, shapes):
    columns_of = {level: columns for level, (_, columns) in enumerate(shapes, start=3)}
    sizes = {level: rows * columns for level, (rows, columns) in enumerate(shapes, start=3)}
    level = 0
    while r >= sizes[level]:
        r -= sizes[level]
        level += 1
    return level, r // columns_of[level], r % columns_of[level]


# cells_inside


def _clamp(value, low, high):
    return max(low, min(value, high))


def _four(ends, rows, columns):
    """x1, x2, y1, y2 in cells -> the four numbers, clamped, rows first."""
    x1, x2, y1, y2 = ends
    return _clamp(y1, 0, rows), _clamp(y2, 0, rows), _clamp(x1, 0, columns), _clamp(x2, 0, columns)


def _sides(box):
    x1, y1, x2, y2 = (float(side) for side in box)
    return x1, x2, y1, y2


@right("cells_inside", unusual="bisection in the list of centers")
def cells_inside_bisect(box, stride, rows, columns):
    x1, y1, x2, y2 = (float(side) for side in box)
    xs = [(j + 0.5) * stride for j in range(columns)]
    ys = [(i + 0.5) * stride for i in range(rows)]
    ends = [bisect.bisect_left(ys, y) for y in (y1, y2)]
    return (*ends, *(bisect.bisect_left(xs, x) for x in (x1, x2)))


@right("cells_inside", unusual="counts the centers before each side")
def cells_inside_counts(box, stride, rows, columns):
    box = torch.as_tensor(box, dtype=torch.float64)
    y = (torch.arange(rows) + 0.5) * stride
    x = (torch.arange(columns) + 0.5) * stride
    counts = ((y < box[1]), (y < box[3]), (x < box[0]), (x < box[2]))
    return tuple(int(count.sum()) for count in counts)


# the text asks only that end be equal to first where there is no location
@right("cells_inside", unusual="searches all centers, (0, 0, 0, 0) if there is none")
def cells_inside_search(box, stride, rows, columns):
    x1, y1, x2, y2 = (float(side) for side in box)
    inside = [
        (i, j)
        for i in range(rows)
        for j in range(columns)
        if x1 <= (j + 0.5) * stride < x2 and y1 <= (i + 0.5) * stride < y2
    ]
    if not inside:
        return 0, 0, 0, 0
    return inside[0][0], inside[-1][0] + 1, inside[0][1], inside[-1][1] + 1


@right("cells_inside", unusual="numpy: ceil and clip of all four at once")
def cells_inside_numpy(box, stride, rows, columns):
    sides = np.array(_sides(box))[[2, 3, 0, 1]] / stride
    ends = np.ceil(sides - 0.5).clip(0, [rows, rows, columns, columns])
    return tuple(ends.astype(int).tolist())


# the cell is touched, its center is not in the box
@wrong(
    "cells_inside",
    fault="all cells that the box touches",
    true=r"center|½|\b0\.5\b|\\frac|half",
    false="clamp|beyond",
)
def cells_inside_touched(box, stride, rows, columns):
    x1, x2, y1, y2 = (side / stride for side in _sides(box))
    ends = math.floor(x1), math.ceil(x2), math.floor(y1), math.ceil(y2)
    return _four(ends, rows, columns)


# x1 = 12 at stride 8: the center of column 1 lies on the side and counts
@wrong(
    "cells_inside",
    fault="a center on the lower side is out, one on the upper side is in",
    true="on centers|lower side|ceil|<|sides on",
    false="clamp|rows with",
)
def cells_inside_floor(box, stride, rows, columns):
    ends = [math.floor(side / stride + 0.5) for side in _sides(box)]
    return _four(ends, rows, columns)


# x2 = 12 at stride 8: column 1 is out
@wrong(
    "cells_inside",
    fault="a center on the upper side counts as in",
    true="upper side|on centers|ceil|<|sides on|same ceil",
    false="clamp",
)
def cells_inside_closed(box, stride, rows, columns):
    x1, x2, y1, y2 = (side / stride - 0.5 for side in _sides(box))
    ends = math.ceil(x1), math.floor(x2) + 1, math.ceil(y1), math.floor(y2) + 1
    return _four(ends, rows, columns)


@wrong(
    "cells_inside",
    fault="no clamp",
    true="clamp|negative|beyond|leave|stay within",
    false="on centers",
)
def cells_inside_no_clamp(box, stride, rows, columns):
    x1, x2, y1, y2 = (math.ceil(side / stride - 0.5) for side in _sides(box))
    return y1, y2, x1, x2


# a box far to the right: first_column is beyond the level; far to the left: end_column is negative
@wrong(
    "cells_inside",
    fault="clamps the firsts below and the ends above only",
    true="clamp|all four|equal to first|beyond|negative|empty",
    false="on centers|ceil",
)
def cells_inside_half_clamp(box, stride, rows, columns):
    x1, x2, y1, y2 = (math.ceil(side / stride - 0.5) for side in _sides(box))
    return max(y1, 0), min(y2, rows), max(x1, 0), min(x2, columns)


@wrong(
    "cells_inside",
    fault="clamps the ends to the last cell",
    true="one past|clamp|rows with|columns with|last (row|column|cell)",
    false="on centers",
)
def cells_inside_minus_one(box, stride, rows, columns):
    x1, x2, y1, y2 = (math.ceil(side / stride - 0.5) for side in _sides(box))
    return _four((x1, x2, y1, y2), rows - 1, columns - 1)


# a level of 4 x 9
@wrong(
    "cells_inside",
    fault="clamps rows with the columns and columns with the rows",
    true="rows with|columns with|clamp|beyond|exchang|swap",
    false="on centers",
)
def cells_inside_clamp_exchanged(box, stride, rows, columns):
    ends = [math.ceil(side / stride - 0.5) for side in _sides(box)]
    return _four(ends, columns, rows)


@wrong(
    "cells_inside",
    fault="columns before rows",
    true=r"\border\b|first_row|rows first|\bx\b.*column|\by\b.*row|exchang|swap",
    false="on centers|clamp",
)
def cells_inside_columns_first(box, stride, rows, columns):
    y1, y2, x1, x2 = _four([math.ceil(s / stride - 0.5) for s in _sides(box)], rows, columns)
    return x1, x2, y1, y2


@wrong(
    "cells_inside",
    fault="the last row and column instead of one past them",
    true=r"one past|\bend\b|last (row|column|cell)|off by one",
    false="clamp|negative",
)
def cells_inside_last(box, stride, rows, columns):
    y1, y2, x1, x2 = _four([math.ceil(s / stride - 0.5) for s in _sides(box)], rows, columns)
    return y1, y2 - 1, x1, x2 - 1


# a box between two centers
@wrong(
    "cells_inside",
    fault="never empty: at least one cell",
    true="no location|equal to first|empty|none",
    false="clamp|on centers",
)
def cells_inside_never_empty(box, stride, rows, columns):
    y1, y2, x1, x2 = _four([math.ceil(s / stride - 0.5) for s in _sides(box)], rows, columns)
    return y1, max(y2, y1 + 1), x1, max(x2, x1 + 1)


# 12 / 8 = 1.5 is rounded to 2, but its column is 1
@wrong(
    "cells_inside",
    fault="rounds to the nearest",
    true="ceil|on centers|round|lower side",
    false="clamp|rows with",
)
def cells_inside_round(box, stride, rows, columns):
    return _four([round(side / stride) for side in _sides(box)], rows, columns)


@wrong(
    "cells_inside",
    fault="the corner of a cell for its center",
    true=r"center|½|\b0\.5\b|\\frac|half|corner",
    false="clamp",
)
def cells_inside_corners(box, stride, rows, columns):
    return _four([math.ceil(side / stride) for side in _sides(box)], rows, columns)


@wrong(
    "cells_inside",
    fault="adds the half instead of taking it off",
    true=r"½|\b0\.5\b|\\frac|half|off by one|sign|solve",
    false="clamp",
)
def cells_inside_plus_half(box, stride, rows, columns):
    return _four([math.ceil(side / stride + 0.5) for side in _sides(box)], rows, columns)


@breaks(
    "cells_inside", how="raises IndexError: the first of an empty list, for a box without center"
)
def cells_inside_index_error(box, stride, rows, columns):
    x1, x2, y1, y2 = _sides(box)
    js = [j for j in range(columns) if x1 <= (j + 0.5) * stride < x2]
    is_ = [i for i in range(rows) if y1 <= (i + 0.5) * stride < y2]
    return is_[0], is_[-1] + 1, js[0], js[-1] + 1


@breaks("cells_inside", how="endless loop: looks for the first center, one cell back each time")
def cells_inside_endless(box, stride, rows, columns):
    x1, x2, _y1, _y2 = _sides(box)
    first = 0
    while (first + 0.5) * stride < max(x1, x2) + stride:
        first = max(first - 1, 0)
    return 0, 0, first, first
