"""Steps 1 to 6 of notebook 11: cells, levels, boxes, regions and overlaps."""

from collections.abc import Callable, Sequence

import torch
from solutions import ch11 as own
from torch import Tensor
from torch.nn.functional import interpolate

from . import STAR, Case, Slip, ch06, ch07, within
from .runs import DETACHED, Step, numbers, result, with_slopes

SIDES = torch.tensor([-1.0, -1.0, 1.0, 1.0])


def in_pixels(function: Callable[..., Tensor], first: int = 0) -> Callable[..., Tensor]:
    """Return a loss of notebook 07 that takes boxes in pixels (arguments `first` and the next) instead of l t r b."""

    def of_pixels(*args: Tensor) -> Tensor:
        return function(
            *(one * SIDES if place in (first, first + 1) else one for place, one in enumerate(args))
        )

    return of_pixels


# Step 1


def _centers(
    c: float = 0.5, swap: bool = False, by_column: bool = False, mixed: bool = False
) -> Callable[..., Tensor]:
    def function(rows: int, columns: int, stride: int) -> Tensor:
        rows, columns = (columns, rows) if mixed else (rows, columns)
        i, j = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        if by_column:
            i, j = i.T, j.T
        return (torch.stack([i, j] if swap else [j, i], 2).reshape(-1, 2) + c) * stride

    return function


_MIDDLE = "the center of a cell: x = (j + 0.5) · stride from its column j, y = (i + 0.5) · stride from its row i"
CENTRES_CASES = (
    Case("a level of one cell", (1, 1, 64), _MIDDLE),
    Case("one row of three cells", (1, 3, 8), _MIDDLE),
    Case("two rows of three cells", (2, 3, 8), "the order: row by row, x before y"),
    Case(
        "more rows than columns",
        (5, 2, 16),
        "rows and columns: rows · columns locations, row by row",
    ),
    Case("P3 of a scene", (16, 16, 8), _MIDDLE),
    Case("an odd stride", (2, 2, 5), _MIDDLE),
)
CENTRES_SLIPS = (
    Slip(
        _centers(0.0),
        "half a cell: a location is the center of its cell, (j + 0.5) · stride; yours is the upper left corner",
    ),
    Slip(
        _centers(1.0),
        "half a cell: a location is the center of its cell, (j + 0.5) · stride; yours is the lower right corner",
    ),
    Slip(
        _centers(swap=True),
        "x and y: they are swapped; the column j gives x, the row i gives y, and x comes first",
    ),
    Slip(
        _centers(0.0, swap=True),
        "x and y, and the half: the column j gives x, and a location is the center of its cell",
    ),
    Slip(_centers(by_column=True), "the order: row by row; yours goes down the columns"),
    Slip(_centers(mixed=True), "rows and columns: they are swapped"),
    Slip(
        lambda r, c, s: _centers(0.0)(r, c, s) + 0.5,
        "half a cell: it is half a stride; you add half a pixel",
    ),
    Slip(
        lambda r, c, s: _centers()(r, c, 1), "the stride: centers are in pixels; yours are in cells"
    ),
    Slip(
        lambda r, c, s: _centers(0.0)(r, c, 1),
        "the stride and the half: centers are in pixels, (j + 0.5) · stride",
    ),
    Slip(
        lambda r, c, s: _centers()(r, c, s).view(r, c, 2),
        "the shape: one row for each location, (rows · columns, 2)",
    ),
    Slip(
        lambda r, c, s: _centers()(r, c, s).T.reshape(-1, 2),
        "the shape: reshape does not transpose (2, locations) to (locations, 2) but mixes x and y; stack along the last axis",
    ),
    Slip(
        lambda r, c, s: _centers()(r, c, s).T,
        "the shape: one row for each location, (rows · columns, 2); yours is transposed",
    ),
    Slip(
        lambda r, c, s: _centers()(r, c, s).long(),
        "whole numbers: half of an odd stride is not one, and boxes are floats",
    ),
    Slip(
        lambda r, c, s: _centers(0.0)(r, c, s) + s // 2,
        "half a stride: s // 2 rounds down, and boxes are floats",
    ),
)
CENTRES = Step(own.cell_centers, CENTRES_CASES, CENTRES_SLIPS, result)


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


def _up(coarse: Tensor, lateral: Tensor, mode: str = "nearest") -> Tensor:
    return interpolate(coarse, size=lateral.shape[-2:], mode=mode)


def _add_in_place(coarse: Tensor, lateral: Tensor) -> Tensor:
    lateral += _up(coarse, lateral)
    return lateral


def _add_to_data(coarse: Tensor, lateral: Tensor) -> Tensor:
    lateral.data += _up(coarse, lateral).data
    return lateral


def _maps(
    seed: int, small: tuple[int, int], large: tuple[int, int], batch: int = 1, channels: int = 2
) -> tuple[Tensor, Tensor]:
    random = numbers(seed)
    return torch.randn(batch, channels, *small, generator=random), torch.randn(
        batch, channels, *large, generator=random
    )


_ENLARGE = "the enlarging: fine row i takes coarse row ⌊i · h / H⌋, and columns are analogous; then the lateral map is added"
_SIZE = "the size: the lateral map's own, which need not be twice the coarse one's"
MERGE_CASES = (
    Case(
        "one value becomes four",
        (torch.tensor([[[[3.0]]]]), torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])),
        _ENLARGE,
    ),
    Case(
        "2 x 2 to 4 x 4, lateral zero",
        (_maps(0, (2, 2), (4, 4))[0], torch.zeros(1, 2, 4, 4)),
        _ENLARGE,
    ),
    Case("4 x 4 to 8 x 8", _maps(1, (4, 4), (8, 8)), _ENLARGE),
    Case(
        "2 x 4 to 4 x 8, two images",
        _maps(2, (2, 4), (4, 8), batch=2, channels=3),
        "rows and columns: each has its own size",
    ),
    Case("7 x 5 to 13 x 10", _maps(3, (7, 5), (13, 10)), _SIZE),
    Case("one row", _maps(4, (1, 3), (1, 5)), _SIZE),
    Case("4 x 3 to 6 x 4", _maps(5, (4, 3), (6, 4)), _SIZE),
)
MERGE_SLIPS = (
    Slip(_up, "the sum: the lateral map is missing"),
    Slip(lambda c, f: f.clone(), "the sum: the coarse map is missing"),
    Slip(
        lambda c, f: f + _up(c, f, "bilinear"),
        "the enlarging: nearest neighbor, blocks of equal values; yours is bilinear",
    ),
    Slip(lambda c, f: f + _twice(c, f), f"{_SIZE}; you take twice the coarse map's"),
    Slip(
        lambda c, f: f + _twice(c, f)[..., : f.shape[-2], : f.shape[-1]],
        f"{_SIZE}; twice, and the rest cut off, is right for H = 2h and 2h − 1 only",
    ),
    Slip(
        lambda c, f: f + _up(c, f, "nearest-exact"),
        "the enlarging: ⌊i · h / H⌋ is the mode nearest; nearest-exact rounds differently",
    ),
    Slip(
        lambda c, f: f + _tile(c, f),
        "the enlarging: each coarse value is repeated as a block; you tile copies of the whole map side by side",
    ),
    Slip(
        lambda c, f: f + _spread(c, f),
        "the enlarging: each coarse value fills its block; yours has zeros around it",
    ),
    Slip(lambda c, f: (f + _up(c, f)) / 2, "the sum: add the two maps; you take the mean"),
    Slip(
        lambda c, f: torch.cat([f, _up(c, f)], 1), "the sum: add the two maps; you concatenate them"
    ),
    Slip(lambda c, f: f * _up(c, f), "the sum: add the two maps; you multiply them"),
    Slip(lambda c, f: f - _up(c, f), "the sum: add the two maps; you subtract one"),
    Slip(lambda c, f: f + _up(c, f).flip(-1), "the enlarging: left and right are swapped"),
    Slip(
        lambda c, f: c + _up(f, c), "which map is enlarged: the coarse one, to the lateral's size"
    ),
    Slip(lambda c, f: f + _up(c.transpose(-1, -2), f), "rows and columns: they are swapped"),
    Slip(lambda c, f: f + _up(c, f).detach(), "the gradient: it must flow into the coarse map too"),
    Slip(lambda c, f: own.merge(c, f).detach(), DETACHED),
    Slip(_add_in_place, "the sum: += writes into the lateral map itself; make a new tensor"),
    Slip(
        _add_to_data,
        "the argument: you change the lateral map in place and without a gradient; return a new tensor",
    ),
)
MERGE = Step(own.merge, MERGE_CASES, MERGE_SLIPS, with_slopes(0, 1))


# Step 3


def _decoded(
    order: tuple[int, ...] = (0, 1, 2, 3), signs: tuple[int, ...] = (-1, -1, 1, 1)
) -> Callable[..., Tensor]:
    def function(offsets: Tensor, centers: Tensor, stride: Tensor, S: float) -> Tensor:
        distances = offsets[:, order] * (S * stride)[:, None]
        return centers.repeat(1, 2) + distances * torch.tensor(signs)

    return function


def _scaled_in_place(offsets: Tensor, centers: Tensor, stride: Tensor, S: float) -> Tensor:
    with torch.no_grad():
        offsets *= (S * stride)[:, None]
    return torch.cat([centers - offsets[:, :2], centers + offsets[:, 2:]], 1)


def _seen(seed: int, *strides: int) -> tuple[Tensor, Tensor, Tensor]:
    random, stride = numbers(seed), torch.tensor(strides, dtype=torch.float32)
    return (
        torch.rand(len(strides), 4, generator=random),
        128 * torch.rand(len(strides), 2, generator=random),
        stride,
    )


_BOX = "the formula: x − S·stride·l, y − S·stride·t, x + S·stride·r, y + S·stride·b"
DECODE_CASES = (
    Case(
        "one location of P4",
        (
            torch.tensor([[0.1, 0.2, 0.3, 0.4]]),
            torch.tensor([[24.0, 56.0]]),
            torch.tensor([16.0]),
            4.0,
        ),
        _BOX,
    ),
    Case(
        "three locations of three levels",
        (*_seen(0, 8, 16, 32), 4.0),
        "the stride: each location has its level's own",
    ),
    Case(
        "four locations of three levels",
        (*_seen(1, 8, 8, 16, 32), 4.0),
        "the stride: each location has its level's own",
    ),
    Case("another S", (*_seen(2, 64, 8), 2.0), "S: it is an argument"),
    Case(
        "a location with a dead ReLU",
        (torch.zeros(1, 4), *_seen(3, 8)[1:], 4.0),
        "all four zero: the box is the location itself",
    ),
    Case(
        "no location",
        (torch.zeros(0, 4), torch.zeros(0, 2), torch.zeros(0), 4.0),
        "no locations: return a table of 0 rows",
    ),
)
DECODE_SLIPS = (
    Slip(lambda o, c, s, S: _decoded()(o, c, s, 1.0), "S: the outputs are in units of S · stride"),
    Slip(lambda o, c, s, S: _decoded()(o, c, s, 4.0), "S: it is an argument, not always 4"),
    Slip(
        lambda o, c, s, S: _decoded()(o, c, s / s, S),
        "the stride: the outputs are in units of S · stride",
    ),
    Slip(
        lambda o, c, s, S: _decoded()(o, c, s / s, 1.0),
        "the units: outputs are in units of S · stride, not in pixels",
    ),
    Slip(lambda o, c, s, S: _decoded()(o / S / S, c, s, S), "S: multiply by it; you divide"),
    Slip(
        lambda o, c, s, S: _decoded()(o / s / s / S / S, c, s, S),
        "the units: multiply by S · stride; you divide",
    ),
    Slip(
        lambda o, c, s, S: torch.cat([c - (o * S * s)[:, :2], c + (o * S * s)[:, 2:]], 1),
        "the stride's shape: (R,) times (R, 4) goes along the sides, not along the locations; write stride[:, None]",
    ),
    Slip(
        _decoded(signs=(1, 1, 1, 1)),
        "the signs: l and t go to the left and up, so they are subtracted",
    ),
    Slip(
        _decoded(signs=(1, 1, -1, -1)),
        "the signs: l and t are subtracted, r and b added; yours are the other way round",
    ),
    Slip(_decoded((1, 0, 3, 2)), "the order: l t r b; you read t l b r"),
    Slip(_decoded((2, 0, 3, 1)), "the order: l t r b; you read t b l r (MMDetection's order)"),
    Slip(_decoded((0, 2, 1, 3)), "the order: l t r b; you read l r t b"),
    Slip(
        lambda o, c, s, S: _decoded()(o, c.flip(1), s, S),
        "x and y: centers are x y, so x goes with l and r",
    ),
    Slip(
        lambda o, c, s, S: torch.cat(
            [c - (S * s)[:, None] * o[:, :2], (S * s)[:, None] * (o[:, :2] + o[:, 2:])], 1
        ),
        "what you return: x1 y1 x2 y2; yours is x1 y1 and the sides",
    ),
    Slip(
        lambda o, c, s, S: torch.cat([c, (S * s)[:, None] * (o[:, :2] + o[:, 2:])], 1),
        "what you return: x1 y1 x2 y2; yours is the location and the sides",
    ),
    Slip(
        lambda o, c, s, S: own.decode(o, c, s, S).clamp(0, 128),
        "the border: boxes are not clipped here, because the losses need them whole",
    ),
    Slip(
        lambda o, c, s, S: own.decode(o, c, s, S).clamp(min=0),
        "the border: boxes are not clipped here, because the losses need them whole; yours ends at 0",
    ),
    Slip(lambda o, c, s, S: own.decode(o, c, s, S).round(), "whole pixels: boxes are not rounded"),
    Slip(
        lambda o, c, s, S: own.decode(o, c, s, S).T, "the shape: one row for each location, (R, 4)"
    ),
    Slip(
        _scaled_in_place,
        "the arguments: you change offsets in place and without a gradient; make a new tensor",
    ),
    Slip(
        lambda o, c, s, S: own.decode(o.exp(), c, s, S),
        "the exponential: the offsets are distances already; FCOS takes their exp, FSAF does not",
    ),
    Slip(
        lambda o, c, s, S: own.decode(o.sigmoid(), c, s, S),
        "the sigmoid: it belongs to the class outputs; the offsets are distances already",
    ),
    Slip(lambda o, c, s, S: own.decode(o, c, s, S).detach(), DETACHED),
)
DECODE = Step(own.decode, DECODE_CASES, DECODE_SLIPS, with_slopes(0))


# Step 4


def _iou(
    clamp: bool = True, floor: float = 1e-6, union: str = "right", extra: float = 0.0
) -> Callable[[Tensor, Tensor], Tensor]:
    def function(boxes: Tensor, targets: Tensor) -> Tensor:
        low, high = (
            torch.maximum(boxes[:, :2], targets[:, :2]),
            torch.minimum(boxes[:, 2:], targets[:, 2:]),
        )
        sides = high - low + extra
        overlap = (sides.clamp(min=0) if clamp else sides).prod(1)
        one, other = ((box[:, 2:] - box[:, :2] + extra).prod(1) for box in (boxes, targets))
        whole = {
            "right": one + other - overlap,
            "target": other,
            "box": one,
            "smaller": torch.minimum(one, other),
            "hull": (
                torch.maximum(boxes[:, 2:], targets[:, 2:])
                - torch.minimum(boxes[:, :2], targets[:, :2])
            ).prod(1),
        }[union]
        return -(overlap / whole).clamp(min=floor).log()

    return function


_STAR = torch.tensor([STAR])
_PAIRS = (
    torch.tensor([[10.0, 20.0, 50.0, 60.0], [0.0, 0.0, 30.0, 20.0], [5.0, 5.0, 9.0, 9.0]]),
    torch.tensor([[20.0, 30.0, 70.0, 90.0], [8.0, 4.0, 22.0, 15.0], [1.0, 2.0, 33.0, 44.0]]),
)
_NO_OVERLAP = "boxes that do not meet: clamp both sides of the overlap at 0 (two negative factors would give a positive overlap), and the IoU is at least 1e-6"
_IOU = "−ln (overlap / union), union = area + area − overlap"
IOU_LOSS_CASES = (
    Case("a box of half the star", (torch.tensor([[6.0, 39.0, 23.0, 89.0]]), _STAR), _IOU),
    Case("three pairs", _PAIRS, _IOU),
    Case(
        "a small box inside a large one, IoU 0.0001",
        (torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[0.0, 0.0, 100.0, 100.0]])),
        "the floor: only an IoU below 1e-6 is raised to 1e-6; every other keeps its value",
    ),
    Case("side by side", (torch.tensor([[50.0, 41.0, 80.0, 88.0]]), _STAR), _NO_OVERLAP),
    Case("apart on both axes", (torch.tensor([[70.0, 100.0, 90.0, 120.0]]), _STAR), _NO_OVERLAP),
    Case(
        "a location with a dead ReLU: a box without area",
        (torch.tensor([[24.0, 56.0, 24.0, 56.0]]), _STAR),
        "the floor: an IoU of 0 counts as 1e-6",
    ),
    Case(
        "no pair", (torch.zeros(0, 4), torch.zeros(0, 4)), "no pairs: return a loss of shape (0,)"
    ),
)
IOU_LOSS_SLIPS = (
    *within(in_pixels, ch07.IOU_SLIPS),
    Slip(
        _iou(clamp=False),
        "boxes apart on both axes: two negative factors give a positive overlap; clamp each side of the overlap at 0",
    ),
    Slip(
        _iou(clamp=False, floor=0.0),
        "boxes apart on both axes: two negative factors give a positive overlap; clamp each side of the overlap at 0",
    ),
    Slip(_iou(floor=0.0), "the floor: −ln 0 is infinite; the IoU is taken as at least 1e-6"),
    Slip(_iou(floor=1e-7), "the floor: 1e-6, so that the loss ends at 13.816"),
    Slip(_iou(floor=1e-8), "the floor: 1e-6, so that the loss ends at 13.816"),
    Slip(_iou(floor=1e-3), "the floor: 1e-6, so that the loss ends at 13.816"),
    Slip(
        lambda a, b: -((-own.iou_loss(a, b)).exp() + 1e-6).log(),
        "the floor: clamp the IoU at 1e-6; you add 1e-6 to every IoU",
    ),
    Slip(_iou(union="target"), "the divisor: the union of both, not the target's area"),
    Slip(_iou(union="box"), "the divisor: the union of both, not the box's own area"),
    Slip(_iou(union="smaller"), "the divisor: the union of both, not the smaller area"),
    Slip(_iou(union="hull"), "the divisor: the union, not the box around both"),
    Slip(_iou(extra=1.0), "the sides: x2 − x1, without + 1"),
    Slip(
        lambda a, b: own.iou_loss(a, b).mean(),
        "the shape: a loss for each pair, (R,); nothing is averaged here",
    ),
    Slip(
        lambda a, b: own.iou_loss(a, b).sum(),
        "the shape: a loss for each pair, (R,); nothing is summed here",
    ),
    Slip(lambda a, b: own.iou_loss(a, b)[:, None], "the shape: (R,), not (R, 1)"),
    Slip(
        lambda a, b: (
            torch.stack([own.iou_loss(one.expand_as(b), b) for one in a])
            if len(a)
            else a.new_zeros(0, 0)
        ),
        "the pairs: row by row, not each box with every target",
    ),
    Slip(lambda a, b: own.iou_loss(a, b).detach(), DETACHED),
)
IOU_LOSS = Step(own.iou_loss, IOU_LOSS_CASES, IOU_LOSS_SLIPS, with_slopes(0))


# Step 5


def _each(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the rule of notebook 06 for one box, applied box by box."""

    def of_all(boxes: Tensor, stride: int, rows: int, columns: int, scale: float) -> Tensor:
        maps = [function(tuple(box), stride, rows, columns, scale) for box in boxes.tolist()]
        return torch.stack(maps) if maps else torch.zeros(0, rows, columns, dtype=torch.bool)

    return of_all


_BOXES = torch.tensor([STAR, ch06.TRIANGLE, (70.0, 4.0, 110.0, 24.0)])
_OVER = torch.tensor(
    [[-30.0, 40.0, 34.0, 104.0], [-60.0, 40.0, 20.0, 104.0], [110.0, 100.0, 170.0, 180.0]]
)
_EMPTY_STACK = "no boxes: torch.stack needs at least one map; an image without objects gives (0, rows, columns)"
REGION_CASES = (
    *(
        Case(one.name, (torch.tensor([one.args[0]]), *one.args[1:]), one.look)
        for one in ch06.EFFECTIVE_CASES
    ),
    Case("three boxes, half their sides", (_BOXES, 8, 16, 16, 0.5), "the scale: it is an argument"),
    Case(
        "a box whose middle lies on a corner of four cells",
        (torch.tensor([[32.0, 32.0, 32.0, 32.0]]), 16, 8, 8, 0.5),
        "a box on a line between two cells: one location all the same, the later one",
    ),
    Case(
        "boxes over the border of a coarse map",
        (_OVER, 64, 2, 2, 0.2),
        "the border: one location must remain",
    ),
    Case("an image without objects", (torch.zeros(0, 4), 8, 16, 16, 0.2), _EMPTY_STACK),
)
REGION_SLIPS = (
    *within(_each, ch06.EFFECTIVE_SLIPS),
    Slip(
        lambda b, s, m, n, e: torch.stack(
            [ch06.effective_map(tuple(box), s, m, n, e) for box in b.tolist()]
        ),
        _EMPTY_STACK,
    ),
    Slip(lambda *args: own.region(*args).flatten(1), "the shape: (N, rows, columns)"),
    Slip(
        lambda *args: own.region(*args).any(0), "the shape: a map for each box, (N, rows, columns)"
    ),
    Slip(
        lambda *args: own.region(*args).transpose(1, 2),
        "rows and columns: (N, rows, columns), rows first",
    ),
    Slip(
        lambda b, s, m, n, e: own.region(
            b.clamp(min=0).minimum(s * torch.tensor([n, m, n, m])), s, m, n, e
        ),
        "the border: clamp the locations, not the box; a box that is clipped first has another center",
    ),
    Slip(
        lambda b, s, *rest: own.region(b, 8, *rest), "the stride: it is an argument, not always 8"
    ),
    Slip(
        lambda *args: own.region(*args).float(),
        "what you return: bools, because they select locations",
    ),
    Slip(
        lambda *args: own.region(*args).long(),
        "what you return: bools, because they select locations",
    ),
)
REGION = Step(own.region, REGION_CASES, REGION_SLIPS, result)


# Step 6


def _resolved(
    size: Callable[[Tensor], Tensor] = lambda b: (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]),
    descending: bool = True,
    first: int = 0,
    background: int = -1,
    flip: bool = False,
    shared: bool = True,
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the solution with one change: a source of slips."""

    def function(effective: Tensor, boxes: Tensor) -> Tensor:
        result = torch.full((effective.shape[1],), background)
        order = size(boxes).argsort(descending=descending, stable=True).tolist()
        if flip:  # of equal sizes the first is painted last
            order = size(boxes).flip(0).argsort(descending=descending, stable=True).tolist()
            order = [len(order) - 1 - n for n in order]
        for n in order:
            result[effective[n]] = n + first
        if not shared:
            result[effective.sum(0) > 1] = background
        return result

    return function


def _ranks(effective: Tensor, boxes: Tensor) -> Tensor:
    order = (boxes[:, 2:] - boxes[:, :2]).prod(1).argsort(descending=True, stable=True)
    return torch.cat([order.argsort(), order.new_tensor([-1])])[
        own.resolve_overlaps(effective, boxes)
    ]


def _cells(count: int, *told: Sequence[int]) -> Tensor:
    result = torch.zeros(len(told), count, dtype=torch.bool)
    for row, cells in zip(result, told):
        row[list(cells)] = True
    return result


_SMALLER = "a shared location: it goes to the instance of the smallest area"
_LARGE, _SMALL = [0.0, 0.0, 60.0, 50.0], [20.0, 20.0, 50.0, 40.0]  # 3000 and 600 px²
_LONG, _SQUARE = (
    [0.0, 30.0, 100.0, 34.0],
    [30.0, 20.0, 55.0, 45.0],
)  # 400 and 625 px², but 104 and 50 px for w + h
_HIGH = [10.0, 0.0, 14.0, 100.0]  # 400 px²
_CORNER = [80.0, 90.0, 100.0, 120.0]  # 600 px², with far x2 and y2
OVERLAPS_CASES = (
    Case(
        "one instance",
        (_cells(6, [1, 2]), torch.tensor([_LARGE])),
        "the numbers: −1 is background, and n is instance n",
    ),
    Case(
        "two that share no location",
        (_cells(6, [0, 1], [4]), torch.tensor([_LARGE, _SMALL])),
        "the numbers: n is instance n",
    ),
    Case(
        "a shared location, the large one first",
        (_cells(6, [0, 1, 2], [2, 3]), torch.tensor([_LARGE, _SMALL])),
        _SMALLER,
    ),
    Case(
        "a shared location, the small one first",
        (_cells(6, [2, 3], [0, 1, 2]), torch.tensor([_SMALL, _LARGE])),
        _SMALLER,
    ),
    Case(
        "a long thin one and a square",
        (_cells(6, [0, 1, 2], [2, 3]), torch.tensor([_LONG, _SQUARE])),
        f"{_SMALLER}: w · h",
    ),
    Case(
        "one far from the origin",
        (_cells(6, [1, 2, 3], [3, 4]), torch.tensor([_LARGE, _CORNER])),
        f"{_SMALLER}: w · h",
    ),
    Case(
        "three over each other",
        (_cells(7, [0, 1, 2, 3], [1, 2, 5], [2, 3, 6]), torch.tensor([_SMALL, _LARGE, _LONG])),
        _SMALLER,
    ),
    Case(
        "a high thin one and a square",
        (_cells(6, [0, 1, 2], [2, 3]), torch.tensor([_HIGH, _SQUARE])),
        f"{_SMALLER}: w · h",
    ),
    Case(
        "a square and a longer box",
        (_cells(5, [0, 1], [1, 2]), torch.tensor([[0.0, 0.0, 30.0, 30.0], [0.0, 0.0, 40.0, 10.0]])),
        f"{_SMALLER}: w · h",
    ),
    Case(
        "two of one area",
        (_cells(4, [0, 1], [1, 2]), torch.tensor([_SMALL, _SMALL])),
        "equal areas: the later one in the list",
    ),
    Case(
        "no instance",
        (torch.zeros(0, 5, dtype=torch.bool), torch.zeros(0, 4)),
        "no instances: every location is background, −1",
    ),
)
OVERLAPS_SLIPS = (
    Slip(_resolved(descending=False), f"{_SMALLER}; you assign it to the larger one"),
    Slip(
        _resolved(lambda b: -torch.arange(len(b)).float()),
        f"{_SMALLER}; you assign it to the last in the list",
    ),
    Slip(
        _resolved(lambda b: -torch.arange(len(b)).float(), descending=False),
        f"{_SMALLER}; you assign it to the first in the list",
    ),
    Slip(
        _resolved(background=0),
        "the numbers: −1 is background; yours is 0, and looks like instance 0",
    ),
    Slip(
        _resolved(first=1, background=0),
        "the numbers: −1 is background, and n is instance n; yours are 0 and n + 1",
    ),
    Slip(_resolved(lambda b: b[:, 2] + b[:, 3] - b[:, 0] - b[:, 1]), "the area: w · h, not w + h"),
    Slip(
        _resolved(lambda b: (b[:, 2:] - b[:, :2]).amax(1)), "the area: w · h, not the longer side"
    ),
    Slip(_resolved(lambda b: b[:, 2] - b[:, 0]), "the area: w · h, not the width"),
    Slip(_resolved(lambda b: b[:, 3] - b[:, 1]), "the area: w · h, not the height"),
    Slip(
        _resolved(lambda b: b[:, 2] * b[:, 3]),
        "the area: (x2 − x1) · (y2 − y1); boxes are corners, not sides",
    ),
    Slip(
        lambda e, b: _resolved(lambda _: e.sum(1))(e, b),
        "the area: w · h of the box, not the number of its locations",
    ),
    Slip(_ranks, "the numbers: n is the place in the given list, not in the sorted one"),
    Slip(_resolved(flip=True), "equal areas: the later one in the list gets the location"),
    Slip(_resolved(shared=False), f"{_SMALLER}; you make it background"),
    Slip(
        lambda e, b: e.long().argmax(0) if len(e) else torch.full((e.shape[1],), -1),
        "a background location: −1; argmax of a column that is all False gives 0",
    ),
    Slip(
        lambda e, b: own.resolve_overlaps(e, b).float(),
        "what you return: whole numbers, because they are used as indices",
    ),
    Slip(
        lambda e, b: own.resolve_overlaps(e, b) * e, "the shape: one number for each location, (R,)"
    ),
)
OVERLAPS = Step(own.resolve_overlaps, OVERLAPS_CASES, OVERLAPS_SLIPS, result)
