"""Steps 1 to 6 of notebook 11: cells, levels, boxes, regions and owners."""

from collections.abc import Callable, Sequence

import torch
from solutions import ch11 as own
from torch import Tensor
from torch.nn.functional import interpolate

from . import Slip, ch06
from .ch11_parts import DETACHED, LIST, Step, make_cases, make_slips, numbers, result, with_slopes

# Step 1


def _centres(c: float = 0.5, swap: bool = False, by_column: bool = False, mixed: bool = False) -> Callable[..., Tensor]:
    def function(rows: int, columns: int, stride: int) -> Tensor:
        rows, columns = (columns, rows) if mixed else (rows, columns)
        i, j = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        if by_column:
            i, j = i.T, j.T
        return (torch.stack([i, j] if swap else [j, i], 2).reshape(-1, 2) + c) * stride

    return function


_MIDDLE = "the middle of a cell: x = (j + 0.5) · stride from its column j, y = (i + 0.5) · stride from its row i"
CENTRES = Step(
    own.cell_centres,
    make_cases(
        own.cell_centres,
        result,
        ("a level of one cell", (1, 1, 64), _MIDDLE),
        ("one row of three cells", (1, 3, 8), _MIDDLE),
        ("two rows of three cells", (2, 3, 8), "the order: row by row, x before y"),
        ("more rows than columns", (5, 2, 16), "rows and columns: rows · columns cells, row by row"),
        ("P3 of a scene", (16, 16, 8), _MIDDLE),
        ("an odd stride", (2, 2, 5), _MIDDLE),
    ),
    make_slips(
        (_centres(0.0), "half a cell: a cell stands in its middle, (j + 0.5) · stride; yours stands in its upper left corner"),
        (_centres(1.0), "half a cell: a cell stands in its middle, (j + 0.5) · stride; yours stands in its lower right corner"),
        (_centres(swap=True), "x and y: they are swapped; the column j gives x, the row i gives y, and x comes first"),
        (_centres(0.0, swap=True), "x and y, and the half: the column j gives x, and a cell stands in its middle"),
        (_centres(by_column=True), "the order: row by row; yours goes down the columns"),
        (_centres(mixed=True), "rows and columns: they are swapped"),
        (lambda r, c, s: _centres(0.0)(r, c, s) + 0.5, "half a cell: it is half a stride; you add half a pixel"),
        (lambda r, c, s: _centres()(r, c, 1), "the stride: centres are in pixels, yours are in cells"),
        (lambda r, c, s: _centres(0.0)(r, c, 1), "the stride and the half: centres are in pixels, (j + 0.5) · stride"),
        (lambda r, c, s: _centres()(r, c, s).view(r, c, 2), "the shape: one row for each cell, (rows · columns, 2)"),
        (lambda r, c, s: _centres()(r, c, s).T, "the shape: one row for each cell, (rows · columns, 2); yours is turned"),
        (lambda r, c, s: _centres()(r, c, s).long(), "whole numbers: half of an odd stride is none; and boxes are floats"),
        (lambda r, c, s: _centres(0.0)(r, c, s) + s // 2, "half a stride: s // 2 cuts off; and boxes are floats"),
        (lambda r, c, s: _centres()(r, c, s).tolist(), LIST),
    ),
    result,
)


# Step 2


def _tile(coarse: Tensor, lateral: Tensor) -> Tensor:
    i, j = (torch.arange(n) % m for n, m in zip(lateral.shape[-2:], coarse.shape[-2:]))
    return coarse[..., i[:, None], j]


def _twice(coarse: Tensor, lateral: Tensor) -> Tensor:
    return coarse.repeat_interleave(2, -2).repeat_interleave(2, -1)


def _spread(coarse: Tensor, lateral: Tensor) -> Tensor:
    result = torch.zeros_like(lateral)
    part = coarse[..., : (lateral.shape[-2] + 1) // 2, : (lateral.shape[-1] + 1) // 2]
    result[..., ::2, ::2] = part
    return result


def _bilinear(coarse: Tensor, lateral: Tensor) -> Tensor:
    return interpolate(coarse, size=lateral.shape[-2:], mode="bilinear")


def _add_in_place(coarse: Tensor, lateral: Tensor) -> Tensor:
    lateral += interpolate(coarse, size=lateral.shape[-2:])
    return lateral


def _maps(seed: int, small: tuple[int, int], large: tuple[int, int], batch: int = 1, channels: int = 2) -> tuple[Tensor, Tensor]:
    random = numbers(seed)
    return torch.randn(batch, channels, *small, generator=random), torch.randn(batch, channels, *large, generator=random)


_UP = "the enlarging: fine row i takes coarse row ⌊i · h / H⌋, columns alike; then the lateral map is added"
_SIZE = "the size: the lateral map's own, which need not be twice the coarse one's"
MERGE = Step(
    own.merge,
    make_cases(
        own.merge,
        with_slopes(0, 1),
        ("one cell becomes four", (torch.tensor([[[[3.0]]]]), torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])), _UP),
        ("2 x 2 to 4 x 4, lateral zero", (_maps(0, (2, 2), (4, 4))[0], torch.zeros(1, 2, 4, 4)), _UP),
        ("4 x 4 to 8 x 8", _maps(1, (4, 4), (8, 8)), _UP),
        ("2 x 4 to 4 x 8, two images", _maps(2, (2, 4), (4, 8), batch=2, channels=3), "rows and columns: each has its own size"),
        ("7 x 5 to 13 x 10", _maps(3, (7, 5), (13, 10)), _SIZE),
        ("one row", _maps(4, (1, 3), (1, 5)), _SIZE),
    ),
    make_slips(
        (lambda c, f: interpolate(c, size=f.shape[-2:]), "the sum: the lateral map is missing"),
        (lambda c, f: f + 0 * c.sum(), "the sum: the coarse map is missing"),
        (lambda c, f: f.clone(), "the sum: the coarse map is missing"),
        (lambda c, f: f + _bilinear(c, f), "the enlarging: nearest neighbour, blocks of equal values; yours is bilinear"),
        (lambda c, f: f + _twice(c, f), f"{_SIZE}; you take twice"),
        (lambda c, f: f + interpolate(c, scale_factor=2), f"{_SIZE}; you take twice"),
        (lambda c, f: f + _tile(c, f), "the enlarging: each coarse cell becomes a block; you lay copies of the map side by side"),
        (lambda c, f: f + _spread(c, f), "the enlarging: each coarse cell fills its block; yours stands alone among zeros"),
        (lambda c, f: (f + interpolate(c, size=f.shape[-2:])) / 2, "the sum: a sum, not the mean of the two"),
        (lambda c, f: torch.cat([f, interpolate(c, size=f.shape[-2:])], 1), "the sum: added, not one behind the other"),
        (lambda c, f: f * interpolate(c, size=f.shape[-2:]), "the sum: added, not multiplied"),
        (lambda c, f: f - interpolate(c, size=f.shape[-2:]), "the sum: added, not subtracted"),
        (lambda c, f: f + interpolate(c, size=f.shape[-2:]).flip(-1), "the enlarging: left and right are swapped"),
        (lambda c, f: c + interpolate(f, size=c.shape[-2:]), "which map is enlarged: the coarse one, to the lateral's size"),
        (lambda c, f: f + interpolate(c.transpose(-1, -2), size=f.shape[-2:]), "rows and columns: they are swapped"),
        (lambda c, f: f + interpolate(c, size=f.shape[-2:]).detach(), "the gradient: it must flow into the coarse map too"),
        (lambda c, f: own.merge(c, f).detach(), DETACHED),
        (lambda c, f: own.merge(c, f).tolist(), LIST),
        (_add_in_place, "the sum: += writes into the lateral map itself; make a new tensor"),
    ),
    with_slopes(0, 1),
)


# Step 3


def _decoded(order: tuple[int, ...] = (0, 1, 2, 3), signs: tuple[int, ...] = (-1, -1, 1, 1)) -> Callable[..., Tensor]:
    def function(offsets: Tensor, centres: Tensor, stride: Tensor, S: float) -> Tensor:
        distances = offsets[:, order] * (S * stride)[:, None]
        return centres.repeat(1, 2) + distances * torch.tensor(signs)

    return function


def _seen(seed: int, *strides: int) -> tuple[Tensor, Tensor, Tensor]:
    random, stride = numbers(seed), torch.tensor(strides, dtype=torch.float32)
    return torch.rand(len(strides), 4, generator=random), 128 * torch.rand(len(strides), 2, generator=random), stride


_BOX = "the formula: x − S·stride·l, y − S·stride·t, x + S·stride·r, y + S·stride·b"
DECODE = Step(
    own.decode,
    make_cases(
        own.decode,
        with_slopes(0),
        (
            "one cell of P4",
            (torch.tensor([[0.1, 0.2, 0.3, 0.4]]), torch.tensor([[24.0, 56.0]]), torch.tensor([16.0]), 4.0),
            _BOX,
        ),
        ("three cells of three levels", (*_seen(0, 8, 16, 32), 4.0), "the stride: each cell has its level's own"),
        ("four cells of three levels", (*_seen(1, 8, 8, 16, 32), 4.0), "the stride: each cell has its level's own"),
        ("another S", (*_seen(2, 64, 8), 2.0), "S: it is an argument"),
        ("a dead cell", (torch.zeros(1, 4), *_seen(3, 8)[1:], 4.0), "all four zero: the box is the cell's own point"),
        ("no cell", (torch.zeros(0, 4), torch.zeros(0, 2), torch.zeros(0), 4.0), "no cells: a table of 0 rows"),
    ),
    make_slips(
        (lambda o, c, s, S: _decoded()(o, c, s, 1.0), "S: the outputs are in units of S · stride"),
        (lambda o, c, s, S: _decoded()(o, c, s, 4.0), "S: it is an argument, not always 4"),
        (lambda o, c, s, S: _decoded()(o, c, s / s, S), "the stride: the outputs are in units of S · stride"),
        (lambda o, c, s, S: _decoded()(o, c, s / s, 1.0), "the units: outputs are in units of S · stride, not in pixels"),
        (lambda o, c, s, S: _decoded()(o / S / S, c, s, S), "S: multiply by it, you divide"),
        (lambda o, c, s, S: _decoded()(o / s / s / S / S, c, s, S), "the units: multiply by S · stride, you divide"),
        (
            lambda o, c, s, S: torch.cat([c - (o * S * s)[:, :2], c + (o * S * s)[:, 2:]], 1),
            "the stride's shape: (R,) times (R, 4) goes along the sides, not along the cells; write stride[:, None]",
        ),
        (_decoded(signs=(1, 1, 1, 1)), "the signs: l and t go to the left and up, so they are subtracted"),
        (_decoded(signs=(1, 1, -1, -1)), "the signs: l and t are subtracted, r and b added; yours are the other way round"),
        (_decoded((1, 0, 3, 2)), "the order: l t r b, you read t l b r"),
        (_decoded((1, 3, 0, 2)), "the order: l t r b, you read b l t r"),
        (_decoded((2, 0, 3, 1)), "the order: l t r b, you read t b l r (the reference's order)"),
        (_decoded((0, 2, 1, 3)), "the order: l t r b, you read l r t b"),
        (lambda o, c, s, S: _decoded()(o, c.flip(1), s, S), "x and y: centres are x y, so x goes with l and r"),
        (
            lambda o, c, s, S: torch.cat([c - (S * s)[:, None] * o[:, :2], (S * s)[:, None] * (o[:, :2] + o[:, 2:])], 1),
            "what you return: x1 y1 x2 y2; yours is x1 y1 and the sides",
        ),
        (
            lambda o, c, s, S: torch.cat([c, (S * s)[:, None] * (o[:, :2] + o[:, 2:])], 1),
            "what you return: x1 y1 x2 y2; yours is the cell's point and the sides",
        ),
        (
            lambda o, c, s, S: own.decode(o, c, s, S).clamp(0, 128),
            "the border: nothing is cut off here, the losses want it whole",
        ),
        (lambda o, c, s, S: own.decode(o, c, s, S).round(), "whole pixels: boxes are not rounded"),
        (lambda o, c, s, S: own.decode(o, c, s, S).T, "the shape: a row for each cell, (R, 4)"),
        (lambda o, c, s, S: own.decode(o, c, s, S).detach(), DETACHED),
        (lambda o, c, s, S: own.decode(o, c, s, S).tolist(), LIST),
    ),
    with_slopes(0),
)


# Step 4


def _iou(
    clamp: bool = True, floor: float = 1e-6, union: str = "right", extra: float = 0.0, log: Callable = torch.log
) -> Callable[[Tensor, Tensor], Tensor]:
    def function(boxes: Tensor, targets: Tensor) -> Tensor:
        low, high = torch.maximum(boxes[:, :2], targets[:, :2]), torch.minimum(boxes[:, 2:], targets[:, 2:])
        sides = high - low + extra
        overlap = (sides.clamp(min=0) if clamp else sides).prod(1)
        one, other = ((box[:, 2:] - box[:, :2] + extra).prod(1) for box in (boxes, targets))
        whole = {
            "right": one + other - overlap,
            "sum": one + other,
            "target": other,
            "box": one,
            "smaller": torch.minimum(one, other),
            "hull": (torch.maximum(boxes[:, 2:], targets[:, 2:]) - torch.minimum(boxes[:, :2], targets[:, :2])).prod(1),
        }[union]
        return -log((overlap / whole).clamp(min=floor))

    return function


_STAR = torch.tensor([[6.46, 38.64, 40.25, 89.75]])
_PAIRS = (
    torch.tensor([[10.0, 20.0, 50.0, 60.0], [0.0, 0.0, 30.0, 20.0], [5.0, 5.0, 9.0, 9.0]]),
    torch.tensor([[20.0, 30.0, 70.0, 90.0], [8.0, 4.0, 22.0, 15.0], [1.0, 2.0, 33.0, 44.0]]),
)
_NO_OVERLAP = (
    "boxes that do not meet: no side of the overlap may be below 0 (minus times minus is plus), and the IoU is at least 1e-6"
)
_IOU = "−ln (overlap / union), union = area + area − overlap"
IOU_LOSS = Step(
    own.iou_loss,
    make_cases(
        own.iou_loss,
        with_slopes(0),
        ("a box of half the star", (torch.tensor([[6.0, 39.0, 23.0, 89.0]]), _STAR), _IOU),
        ("three pairs", _PAIRS, _IOU),
        ("side by side", (torch.tensor([[50.0, 41.0, 80.0, 88.0]]), _STAR), _NO_OVERLAP),
        ("apart on both axes", (torch.tensor([[70.0, 100.0, 90.0, 120.0]]), _STAR), _NO_OVERLAP),
        (
            "a dead cell: a box without area",
            (torch.tensor([[24.0, 56.0, 24.0, 56.0]]), _STAR),
            "the floor: an IoU of 0 counts as 1e-6",
        ),
        ("no pair", (torch.zeros(0, 4), torch.zeros(0, 4)), "no pairs: nothing in, nothing out"),
    ),
    make_slips(
        (_iou(log=lambda x: x - 1), "the loss: −ln IoU, not 1 − IoU"),
        (_iou(log=lambda x: -x, floor=0.0), "the loss: −ln IoU; this is the IoU itself"),
        (_iou(log=lambda x: x - 1, floor=0.0), "the loss: −ln IoU, not 1 − IoU"),
        (_iou(log=lambda x: -x.log()), "the sign: −ln IoU is positive"),
        (_iou(log=torch.log2), "the logarithm: the natural one"),
        (_iou(log=torch.log10), "the logarithm: the natural one"),
        (_iou(clamp=False), "boxes apart on both axes: minus times minus is plus; clamp each side of the overlap at 0"),
        (
            _iou(clamp=False, floor=0.0),
            "boxes apart on both axes: minus times minus is plus; clamp each side of the overlap at 0",
        ),
        (_iou(floor=0.0), "the floor: −ln 0 is infinite; the IoU is taken as at least 1e-6"),
        (_iou(floor=1e-7), "the floor: 1e-6, so that the loss ends at 13.816"),
        (_iou(floor=1e-8), "the floor: 1e-6, so that the loss ends at 13.816"),
        (_iou(floor=1e-3), "the floor: 1e-6, so that the loss ends at 13.816"),
        (_iou(union="sum"), "the union: the overlap is counted twice, take it off once"),
        (_iou(union="target"), "the divisor: the union of both, not the target's area"),
        (_iou(union="box"), "the divisor: the union of both, not the box's own area"),
        (_iou(union="smaller"), "the divisor: the union of both, not the smaller area"),
        (_iou(union="hull"), "the divisor: the union, not the box around both"),
        (_iou(extra=1.0), "the sides: x2 − x1, without + 1"),
        (lambda a, b: own.iou_loss(a, b).mean(), "the shape: a loss for each pair, (R,); nothing is averaged here"),
        (lambda a, b: own.iou_loss(a, b).sum(), "the shape: a loss for each pair, (R,); nothing is summed here"),
        (lambda a, b: own.iou_loss(a, b)[:, None], "the shape: (R,), not (R, 1)"),
        (
            lambda a, b: torch.stack([own.iou_loss(one.expand_as(b), b) for one in a]) if len(a) else a.new_zeros(0, 0),
            "the pairs: row by row, not each box with every target",
        ),
        (lambda a, b: own.iou_loss(a, b).detach(), DETACHED),
        (lambda a, b: own.iou_loss(a, b).tolist(), LIST),
    ),
    with_slopes(0),
)


# Step 5


def _each(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The rule for one box of notebook 06, box by box."""

    def of_all(boxes: Tensor, stride: int, rows: int, columns: int, scale: float) -> Tensor:
        maps = [function(tuple(box), stride, rows, columns, scale) for box in boxes.tolist()]
        return torch.stack(maps) if maps else torch.zeros(0, rows, columns, dtype=torch.bool)

    return of_all


_BOXES = torch.tensor([[6.46, 38.64, 40.25, 89.75], [40.39, 61.63, 59.0, 67.92], [70.0, 4.0, 110.0, 24.0]])
_OVER = torch.tensor([[-30.0, 40.0, 34.0, 104.0], [-60.0, 40.0, 20.0, 104.0], [110.0, 100.0, 170.0, 180.0]])
_TOUCHED = "which cells the scaled box touches: from floor of its low edge to ceil of its high edge, the end not included"
_EMPTY_STACK = "no boxes: torch.stack wants at least one map; an image without objects gives (0, rows, columns)"
REGION = Step(
    own.region,
    make_cases(
        own.region,
        result,
        ("the star at P4", (_STAR, 16, 8, 8, 0.2), _TOUCHED),
        ("the star at P3", (_STAR, 8, 16, 16, 0.2), _TOUCHED),
        ("three boxes, half their sides", (_BOXES, 8, 16, 16, 0.5), "the scale: it is an argument"),
        ("a map of 4 rows and 16 columns", (_BOXES[2:], 8, 4, 16, 0.5), "rows and columns: y belongs to rows"),
        ("edges that lie on lines", (torch.tensor([[0.0, 16.0, 64.0, 80.0]]), 8, 16, 16, 0.5), _TOUCHED),
        (
            "a box smaller than a cell",
            (torch.tensor([[34.0, 34.0, 38.0, 38.0]]), 16, 8, 8, 0.2),
            "a box within one cell: it keeps the cell that it stands in",
        ),
        (
            "a box whose middle lies on a corner of four cells",
            (torch.tensor([[32.0, 32.0, 32.0, 32.0]]), 16, 8, 8, 0.5),
            "a box on a line between two cells: one cell all the same, the later one",
        ),
        (
            "boxes over the border",
            (_OVER, 8, 16, 16, 0.5),
            "the border: rows 0..rows−1, columns 0..columns−1, and one must remain",
        ),
        ("boxes over the border of a coarse map", (_OVER, 64, 2, 2, 0.2), "the border: one cell must remain"),
        ("an image without objects", (torch.zeros(0, 4), 8, 16, 16, 0.2), _EMPTY_STACK),
    ),
    (
        *(Slip(_each(one.function), one.look) for one in ch06.EFFECTIVE_SLIPS),
        *make_slips(
            (
                lambda b, s, m, n, e: torch.stack([ch06.effective_map(tuple(box), s, m, n, e) for box in b.tolist()]),
                _EMPTY_STACK,
            ),
            (lambda b, s, m, n, e: own.region(b, s, m, n, e).flatten(1), "the shape: (N, rows, columns)"),
            (lambda b, s, m, n, e: own.region(b, s, m, n, e).any(0), "the shape: a map for each box, (N, rows, columns)"),
            (lambda b, s, m, n, e: own.region(b, s, m, n, e).transpose(1, 2), "rows and columns: (N, rows, columns), rows first"),
            (lambda b, s, m, n, e: own.region(b, 1, m, n, e), "the stride: boxes are in pixels, cells are stride pixels apart"),
            (lambda b, s, m, n, e: own.region(b, 8, m, n, e), "the stride: it is an argument, not always 8"),
            (lambda b, s, m, n, e: own.region(b, s, m, n, e).float(), "what you return: bools, they will choose cells"),
            (lambda b, s, m, n, e: own.region(b, s, m, n, e).long(), "what you return: bools, they will choose cells"),
            (lambda b, s, m, n, e: own.region(b, s, m, n, e).tolist(), LIST),
        ),
    ),
    result,
)


# Step 6


def _owned(
    size: Callable[[Tensor], Tensor] = lambda b: (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]),
    descending: bool = True,
    first: int = 1,
    nobody: int = 0,
    flip: bool = False,
    shared: bool = True,
) -> Callable[[Tensor, Tensor], Tensor]:
    """The solution with one thing otherwise: a source of slips."""

    def function(effective: Tensor, boxes: Tensor) -> Tensor:
        result = torch.full((effective.shape[1],), nobody)
        order = size(boxes).argsort(descending=descending, stable=True).tolist()
        if flip:  # of equal sizes the first is painted last
            order = size(boxes).flip(0).argsort(descending=descending, stable=True).tolist()
            order = [len(order) - 1 - n for n in order]
        for n in order:
            result[effective[n]] = n + first
        if not shared:
            result[effective.sum(0) > 1] = nobody
        return result

    return function


def _cells(count: int, *told: Sequence[int]) -> Tensor:
    result = torch.zeros(len(told), count, dtype=torch.bool)
    for row, cells in zip(result, told):
        row[list(cells)] = True
    return result


_SMALLER = "a shared cell: it goes to the instance of the smallest area"
_LARGE, _SMALL = [0.0, 0.0, 60.0, 50.0], [20.0, 20.0, 50.0, 40.0]  # 3000 and 600 px²
_LONG, _SQUARE = [0.0, 30.0, 100.0, 34.0], [30.0, 20.0, 55.0, 45.0]  # 400 and 625 px², but 104 and 50 px for w + h
_HIGH = [10.0, 0.0, 14.0, 100.0]  # 400 px²
_CORNER = [80.0, 90.0, 100.0, 120.0]  # 600 px², with far x2 and y2
OWNERS = Step(
    own.owners,
    make_cases(
        own.owners,
        result,
        ("one instance", (_cells(6, [1, 2]), torch.tensor([_LARGE])), "the numbers: 0 is nobody, instance n is n + 1"),
        ("two that share no cell", (_cells(6, [0, 1], [4]), torch.tensor([_LARGE, _SMALL])), "the numbers: instance n is n + 1"),
        ("a shared cell, the large one first", (_cells(6, [0, 1, 2], [2, 3]), torch.tensor([_LARGE, _SMALL])), _SMALLER),
        ("a shared cell, the small one first", (_cells(6, [2, 3], [0, 1, 2]), torch.tensor([_SMALL, _LARGE])), _SMALLER),
        ("a long thin one and a square", (_cells(6, [0, 1, 2], [2, 3]), torch.tensor([_LONG, _SQUARE])), f"{_SMALLER}: w · h"),
        ("one far from the origin", (_cells(6, [1, 2, 3], [3, 4]), torch.tensor([_LARGE, _CORNER])), f"{_SMALLER}: w · h"),
        (
            "three over each other",
            (_cells(7, [0, 1, 2, 3], [1, 2, 5], [2, 3, 6]), torch.tensor([_SMALL, _LARGE, _LONG])),
            _SMALLER,
        ),
        ("a high thin one and a square", (_cells(6, [0, 1, 2], [2, 3]), torch.tensor([_HIGH, _SQUARE])), f"{_SMALLER}: w · h"),
        (
            "a square and a longer box",
            (_cells(5, [0, 1], [1, 2]), torch.tensor([[0.0, 0.0, 30.0, 30.0], [0.0, 0.0, 40.0, 10.0]])),
            f"{_SMALLER}: w · h",
        ),
        (
            "two of one area",
            (_cells(4, [0, 1], [1, 2]), torch.tensor([_SMALL, _SMALL])),
            "equal areas: the later one in the list",
        ),
        ("no instance", (torch.zeros(0, 5, dtype=torch.bool), torch.zeros(0, 4)), "no instances: every cell is nobody's, 0"),
    ),
    make_slips(
        (_owned(descending=False), f"{_SMALLER}; you give it to the larger one"),
        (_owned(lambda b: -torch.arange(len(b)).float()), f"{_SMALLER}; you give it to the last in the list"),
        (_owned(lambda b: -torch.arange(len(b)).float(), descending=False), f"{_SMALLER}; you give it to the first in the list"),
        (_owned(first=0), "the numbers: 0 is nobody, so instance n is n + 1; yours is n, and instance 0 looks like nobody"),
        (_owned(first=0, nobody=-1), "the numbers: 0 is nobody and instance n is n + 1; yours are −1 and n"),
        (_owned(lambda b: b[:, 2] + b[:, 3] - b[:, 0] - b[:, 1]), "the area: w · h, not w + h"),
        (_owned(lambda b: (b[:, 2:] - b[:, :2]).amax(1)), "the area: w · h, not the longer side"),
        (_owned(lambda b: b[:, 2] - b[:, 0]), "the area: w · h, not the width"),
        (_owned(lambda b: b[:, 3] - b[:, 1]), "the area: w · h, not the height"),
        (_owned(lambda b: b[:, 2] * b[:, 3]), "the area: (x2 − x1) · (y2 − y1); boxes are corners, not sides"),
        (_owned(flip=True), "equal areas: the later one in the list gets the cell"),
        (_owned(shared=False), f"{_SMALLER}; yours is nobody's"),
        (
            lambda e, b: e.long().argmax(0) + 1 if len(e) else torch.zeros(e.shape[1], dtype=torch.long),
            "a cell of nobody: 0; argmax of nothing but False says the first",
        ),
        (lambda e, b: own.owners(e, b).float(), "what you return: whole numbers, they will be indices"),
        (lambda e, b: own.owners(e, b).tolist(), LIST),
        (lambda e, b: own.owners(e, b) * e, "the shape: one number for each cell, (R,)"),
    ),
    result,
)
