"""Checkers of chapter 05: distances of a location, boxes of a level, the share of dead outputs."""

import math
from collections.abc import Callable

import torch
from solutions.ch05 import dead_share, decode_level, encode_cell
from torch import Tensor

from . import STAR, Case, Checker, Slip

_FROM = "the formula: x − x1, y − y1, x2 − x, y2 − y with x = (j + c) * stride, y = (i + c) * stride, over S * stride"
_ENCODE = (
    ("the star from row 3, column 1 of P4", (STAR, 3, 1, 16, 4.0, 0.5)),
    ("the same from the cell's corner, c = 0", (STAR, 3, 1, 16, 4.0, 0.0)),
    ("at P3", (STAR, 7, 3, 8, 4.0, 0.5)),
    ("from a location outside the box", (STAR, 0, 7, 16, 4.0, 0.5)),
    ("another S", (STAR, 1, 0, 32, 2.0, 0.5)),
)
ENCODE_CASES = tuple(Case(name, args, _FROM) for name, args in _ENCODE)


def _each(change: Callable[[float, int, float], float]) -> Callable[..., list[float]]:
    """Return the solution with each of the four numbers changed by stride and S."""
    return lambda box, i, j, s, S, c: [change(v, s, S) for v in encode_cell(box, i, j, s, S, c)]


def _in_order(*places: int) -> Callable[..., list[float]]:
    return lambda *args: [encode_cell(*args)[place] for place in places]


ENCODE_SLIPS = (
    Slip(
        lambda box, i, j, s, S, c: encode_cell(box, j, i, s, S, c),
        "i and j: the row i gives y, the column j gives x",
    ),
    Slip(
        lambda box, i, j, s, S, c: encode_cell(box, i, j, s, S, 0.0),
        "half a cell: the location is at (j + c) · stride, not at j · stride",
    ),
    Slip(
        lambda box, i, j, s, S, c: encode_cell(box, i, j, s, S, 0.5),
        "half a cell: c is an argument, not always 0.5",
    ),
    Slip(lambda box, i, j, s, S, c: encode_cell(box, i, j, s, 1.0, c), "S: divide by it as well"),
    Slip(
        lambda box, i, j, s, S, c: encode_cell(box, i, j, s, 4.0, c),
        "S: it is an argument, not always 4",
    ),
    Slip(_each(lambda v, s, S: v * s), "the stride: divide by it, because distances are in cells"),
    Slip(_each(lambda v, s, S: v * s * S), "the units: these are pixels; divide by S * stride"),
    Slip(_each(lambda v, s, S: v * S * S), "S: divide by it; you multiply"),
    Slip(
        _each(lambda v, s, S: float(math.floor(v))),
        "the division: // cuts the fraction off; use /",
    ),
    Slip(
        _each(lambda v, s, S: v * s * s),
        "the brackets: `/ S * stride` divides by S and multiplies by stride; write / (S * stride)",
    ),
    Slip(_each(lambda v, s, S: -v), "the signs: inside the box all four are positive"),
    Slip(
        _each(lambda v, s, S: max(v, 0.0)),
        "a location outside: keep its negative distances",
    ),
    Slip(_in_order(1, 0, 3, 2), "the order: l t r b, not t l b r"),
    Slip(_in_order(0, 2, 1, 3), "the order: l t r b, not l r t b"),
    Slip(_in_order(1, 3, 0, 2), "the order: l t r b, not t b l r"),
    Slip(
        lambda box, i, j, s, S, c: encode_cell(box, i, j, s, S, c / s),
        "half a cell: c is in cells; multiply it by the stride to get pixels",
    ),
    Slip(
        lambda box, i, j, s, S, c: encode_cell(
            [*box[:2], box[0] + box[2], box[1] + box[3]], i, j, s, S, c
        ),
        "the box: x1 y1 x2 y2 are two corners; you read the last two as width and height",
    ),
    Slip(
        _each(lambda v, s, S: abs(v)),
        "the signs: from a location outside the box some distances are negative; keep them",
    ),
)


check_encode_cell = Checker(encode_cell, ENCODE_CASES, ENCODE_SLIPS)


_ONE = torch.tensor([0.2, 0.4, 0.6, 0.8])[:, None, None]
_MAP = torch.arange(24.0).reshape(4, 2, 3) / 10
_BOX = "the formula: x − S * stride * l, y − S * stride * t, x + S * stride * r, y + S * stride * b"
_DECODE = (
    ("a level of one cell", (_ONE, 16, 4.0, 0.5)),
    ("a level of 2 x 3 cells", (_MAP, 8, 4.0, 0.5)),
    ("locations at the corners of their cells, c = 0", (_MAP, 8, 4.0, 0.0)),
    ("outputs below zero", (_MAP - 1, 8, 4.0, 0.5)),
    ("another S", (_MAP, 32, 2.0, 0.5)),
)
DECODE_CASES = tuple(Case(name, args, _BOX) for name, args in _DECODE)


def _no_relu(o: Tensor, s: int, S: float, c: float) -> Tensor:
    return decode_level(o.relu(), s, S, c) + (o - o.relu()).permute(1, 2, 0) * S * s * torch.tensor(
        [-1.0, -1.0, 1.0, 1.0]
    )


def _mixed(o: Tensor, s: int, S: float, c: float) -> Tensor:
    """Return the boxes as if the row gave x and the column y."""
    row, column = ((torch.arange(count) + c) * s for count in o.shape[1:])
    apart = row[:, None] - column[None]
    return decode_level(o, s, S, c) + torch.stack([apart, -apart, apart, -apart], -1)


def _both_sides(o: Tensor, s: int, S: float, c: float) -> Tensor:
    return decode_level(o, s, S, c) + 2 * S * s * (
        o.relu() * torch.tensor([1, 1, 0, 0])[:, None, None]
    ).permute(1, 2, 0)


def _reshaped(o: Tensor, s: int, S: float, c: float) -> Tensor:
    right = decode_level(o, s, S, c)
    return right.permute(2, 0, 1).reshape(right.shape)


def _with_sides(o: Tensor, s: int, S: float, c: float) -> Tensor:
    right = decode_level(o, s, S, c)
    return torch.cat([right[..., :2], right[..., 2:] - right[..., :2]], -1)


DECODE_SLIPS = (
    Slip(_no_relu, "the ReLU: a distance below zero becomes 0"),
    Slip(
        lambda o, s, S, c: decode_level(o, s, S, 0.0),
        "half a cell: the location is at (j + c) · stride, not at j · stride",
    ),
    Slip(
        lambda o, s, S, c: decode_level(o, s, S, 0.5),
        "half a cell: c is an argument, not always 0.5",
    ),
    Slip(
        lambda o, s, S, c: decode_level(o, s, 1.0, c), "S: the outputs are in units of S * stride"
    ),
    Slip(lambda o, s, S, c: decode_level(o, s, 4.0, c), "S: it is an argument, not always 4"),
    Slip(
        lambda o, s, S, c: decode_level(o / s, s, S, c),
        "the stride: the outputs are in units of S * stride",
    ),
    Slip(
        lambda o, s, S, c: decode_level(o, s, S, c).transpose(0, 1),
        "rows and columns: the result is (h, w, 4)",
    ),
    Slip(
        lambda o, s, S, c: decode_level(o, s, S, c).permute(2, 0, 1),
        "the axes: the result is (h, w, 4), the four sides last",
    ),
    Slip(
        lambda o, s, S, c: decode_level(o[[1, 0, 3, 2]], s, S, c),
        "the order: channels are l t r b; you read t l b r",
    ),
    Slip(
        lambda o, s, S, c: decode_level(o[[0, 2, 1, 3]], s, S, c),
        "the order: channels are l t r b; you read l r t b",
    ),
    Slip(_mixed, "x and y: x runs over the columns, y over the rows; yours are swapped"),
    Slip(
        _reshaped,
        "the axes: reshape separates the four numbers of a location; stack or permute keeps them together",
    ),
    Slip(
        lambda o, s, S, c: decode_level(o.reshape(*o.shape[1:], 4).permute(2, 0, 1), s, S, c),
        "the axes: reshape mixes the four outputs of different locations; use permute(1, 2, 0)",
    ),
    Slip(_both_sides, "the signs: left and top lie before the location, so x − ... and y − ..."),
    Slip(
        lambda o, s, S, c: decode_level(o, s, S, c).relu(),
        "the ReLU: it is for distances; a box may begin before the image",
    ),
    Slip(
        lambda o, s, S, c: decode_level(o.exp(), s, S, c),
        "the ReLU: FSAF takes max(z, 0), not e to the z",
    ),
    Slip(
        lambda o, s, S, c: decode_level(o.sigmoid(), s, S, c),
        "the ReLU: the sigmoid belongs to the class output",
    ),
    Slip(
        lambda o, s, S, c: decode_level(o.abs(), s, S, c),
        "the ReLU: a distance below zero becomes 0; its sign is not dropped",
    ),
    Slip(_with_sides, "the box: x1 y1 x2 y2, two corners; yours ends with width and height"),
)


check_decode_level = Checker(decode_level, DECODE_CASES, DECODE_SLIPS)


_SHARE = "what is counted: outputs of positive locations that are 0 or less before the ReLU, over all four outputs of these locations"
_SOME = torch.tensor(
    [[0.5, -0.2, 0.0, 0.1], [-1.0, -2.0, -0.5, -0.1], [0.3, 0.2, 0.1, 0.4], [-0.3, 0.7, 0.2, -0.4]]
)


def _mask(*flags: int) -> Tensor:
    return torch.tensor(flags, dtype=torch.bool)


_DEAD = (
    (
        "one positive location, one output below zero",
        (torch.tensor([[0.5, -0.2, 0.3, 0.1]]), _mask(1)),
        _SHARE,
    ),
    ("two positive locations of four", (_SOME, _mask(1, 1, 0, 0)), _SHARE),
    (
        "an output of exactly 0",
        (_SOME, _mask(1, 0, 0, 0)),
        "exactly 0: the slope of PyTorch's ReLU is 0 there too",
    ),
    (
        "outputs just above 0",
        (torch.tensor([[0.005, 0.0005, -0.2, 0.3]]), _mask(1)),
        "exactly 0 or less: an output just above 0 still has a gradient",
    ),
    ("all alive", (_SOME, _mask(0, 0, 1, 0)), _SHARE),
    ("all positive", (_SOME, _mask(1, 1, 1, 1)), _SHARE),
    (
        "no positive location",
        (_SOME, _mask(0, 0, 0, 0)),
        "no positive location: the mean of no numbers is nan; return 0.0",
    ),
)
DEAD_CASES = tuple(Case(name, args, look) for name, args, look in _DEAD)


def _dead(
    test: Callable[[Tensor], Tensor] = lambda x: x <= 0,
    cells: str = "positive",
    count: Callable[[Tensor], Tensor] = lambda dead: dead.float().mean(),
    none: float = 0.0,
) -> Callable[[Tensor, Tensor], float]:
    """Return the solution with one change: a source of slips."""

    def function(before: Tensor, positive: Tensor) -> float:
        own = {"positive": before[positive], "all": before, "negative": before[~positive]}[cells]
        return float(count(test(own))) if len(own) else none

    return function


DEAD_SLIPS = (
    Slip(
        _dead(lambda x: x < 0),
        "exactly 0: the slope of PyTorch's ReLU is 0 there too, so <= and not <",
    ),
    Slip(
        _dead(lambda x: x < 0.01),
        "small outputs: a small positive output has a gradient and is not dead; compare with 0",
    ),
    Slip(
        _dead(lambda x: x.relu() < 0),
        "below zero: after the ReLU no output is; test for 0 or less before it",
    ),
    Slip(
        _dead(lambda x: x == 0),
        "before the ReLU: a dead output is below zero here; it becomes 0 only after it",
    ),
    Slip(_dead(lambda x: x > 0), "dead or alive: yours is the share that is alive"),
    Slip(_dead(cells="all"), "which locations: only positive ones have a target; you count all"),
    Slip(_dead(cells="negative"), "which locations: the positive ones; you count all others"),
    Slip(
        _dead(count=lambda dead: dead.any(1).float().mean()),
        "outputs, not locations: each of the four counts for itself",
    ),
    Slip(
        _dead(count=lambda dead: dead.all(1).float().mean()),
        "outputs, not locations: each of the four counts for itself",
    ),
    Slip(
        _dead(count=lambda dead: dead.sum() / len(dead)), "the divisor: a location has four outputs"
    ),
    Slip(
        _dead(count=lambda dead: dead.sum()),
        "a share: divide by the number of outputs of positive locations",
    ),
    Slip(
        _dead(count=lambda dead: 100 * dead.float().mean()),
        "a share: between 0 and 1, not percent",
    ),
    Slip(
        lambda before, positive: float(((before <= 0) & positive[:, None]).float().mean()),
        "the divisor: the outputs of positive locations, not of all",
    ),
    Slip(
        _dead(none=float("nan")), "no positive location: the mean of no numbers is nan; return 0.0"
    ),
    Slip(_dead(none=1.0), "no positive location: no output is dead; return 0.0"),
)


check_dead_share = Checker(dead_share, DEAD_CASES, DEAD_SLIPS)
