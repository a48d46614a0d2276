"""Solutions of chapter 03."""

from math import ceil


def level_shapes(height: int, width: int, last_level: int) -> list[tuple[int, int]]:
    """(rows, columns) of P3 .. P`last_level` of an image whose sides are multiples of 32."""
    shapes = [(height // stride, width // stride) for stride in (8, 16, 32)]
    while len(shapes) < last_level - 2:
        rows, columns = shapes[-1]
        shapes.append(((rows + 1) // 2, (columns + 1) // 2))
    return shapes


def where_is(r: int, shapes: list[tuple[int, int]]) -> tuple[int, int, int]:
    """(level, row, column) of cell `r`, counted level by level, row by row; the first level is 3."""
    for level, (rows, columns) in enumerate(shapes, start=3):
        if r < rows * columns:
            return level, r // columns, r % columns
        r -= rows * columns
    raise IndexError(r)


def cells_inside(
    box: tuple[float, float, float, float], stride: int, rows: int, columns: int
) -> tuple[int, int, int, int]:
    """(first_row, end_row, first_column, end_column) of the cells with their center in the box; lower sides are in."""
    x1, y1, x2, y2 = (
        ceil(side / stride - 0.5) for side in box
    )  # (j + 0.5) stride >= x  <=>  j >= x / stride - 0.5
    return tuple(
        min(max(edge, 0), limit)
        for edge, limit in ((y1, rows), (y2, rows), (x1, columns), (x2, columns))
    )
