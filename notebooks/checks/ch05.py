"""Checkers of notebook 05: a box seen from a cell, and back for a whole level."""

from collections.abc import Callable, Sequence

import torch
from solutions.ch05 import decode_level, encode_cell
from torch import Tensor

from . import Case, Slip, check

_STAR = [6.46, 38.64, 40.25, 89.75]
_FROM = "the formula: x − x1, y − y1, x2 − x, y2 − y with x = (j + c) * stride, y = (i + c) * stride, over S * stride"
_ENCODE = (
    ("the star from row 3, column 1 of P4", (_STAR, 3, 1, 16, 4.0, 0.5)),
    ("the same from the cell's corner, c = 0", (_STAR, 3, 1, 16, 4.0, 0.0)),
    ("at P3", (_STAR, 7, 3, 8, 4.0, 0.5)),
    ("from a cell outside the box", (_STAR, 0, 7, 16, 4.0, 0.5)),
    ("another S", (_STAR, 1, 0, 32, 2.0, 0.5)),
)
ENCODE_CASES = tuple(Case(name, args, encode_cell(*args), _FROM) for name, args in _ENCODE)
ENCODE_SLIPS = (
    Slip(lambda box, i, j, s, S, c: encode_cell(box, j, i, s, S, c), "i and j: the row i gives y, the column j gives x"),
    Slip(lambda box, i, j, s, S, c: encode_cell(box, i, j, s, S, 0.0), "half a cell: the cell stands at (j + c), not at j"),
    Slip(lambda box, i, j, s, S, c: encode_cell(box, i, j, s, S, 0.5), "half a cell: c is an argument, not always 0.5"),
    Slip(lambda box, i, j, s, S, c: encode_cell(box, i, j, s, 1.0, c), "S: divide by it as well"),
    Slip(lambda box, i, j, s, S, c: encode_cell(box, i, j, s, 4.0, c), "S: it is an argument, not always 4"),
    Slip(
        lambda box, i, j, s, S, c: [v * s for v in encode_cell(box, i, j, s, S, c)],
        "the stride: divide by it, distances are in cells",
    ),
    Slip(
        lambda box, i, j, s, S, c: [v * s * S for v in encode_cell(box, i, j, s, S, c)],
        "the units: these are pixels, divide by S * stride",
    ),
    Slip(lambda box, i, j, s, S, c: [v * S * S for v in encode_cell(box, i, j, s, S, c)], "S: divide by it, you multiply"),
    Slip(
        lambda box, i, j, s, S, c: [-v for v in encode_cell(box, i, j, s, S, c)],
        "the signs: inside the box all four are positive",
    ),
    Slip(
        lambda box, i, j, s, S, c: [max(v, 0.0) for v in encode_cell(box, i, j, s, S, c)],
        "a cell outside: its negative distances tell so, keep them",
    ),
    Slip(
        lambda box, i, j, s, S, c: [encode_cell(box, i, j, s, S, c)[k] for k in (1, 0, 3, 2)], "the order: l t r b, not t l b r"
    ),
    Slip(
        lambda box, i, j, s, S, c: [encode_cell(box, i, j, s, S, c)[k] for k in (0, 2, 1, 3)], "the order: l t r b, not l r t b"
    ),
    Slip(
        lambda box, i, j, s, S, c: [encode_cell(box, i, j, s, S, c)[k] for k in (1, 3, 0, 2)], "the order: l t r b, not t b l r"
    ),
)


def check_encode_cell(answer: Callable[[Sequence[float], int, int, int, float, float], list[float]]) -> None:
    """A box and a cell to l t r b."""
    check(answer, ENCODE_CASES, ENCODE_SLIPS)


_ONE = torch.tensor([0.2, 0.4, 0.6, 0.8])[:, None, None]
_MAP = torch.arange(24.0).reshape(4, 2, 3) / 10
_BOX = "the formula: x − S * stride * l, y − S * stride * t, x + S * stride * r, y + S * stride * b"
_DECODE = (
    ("a level of one cell", (_ONE, 16, 4.0, 0.5)),
    ("a level of 2 x 3 cells", (_MAP, 8, 4.0, 0.5)),
    ("cells at their corners, c = 0", (_MAP, 8, 4.0, 0.0)),
    ("outputs below zero", (_MAP - 1, 8, 4.0, 0.5)),
    ("another S", (_MAP, 32, 2.0, 0.5)),
)
DECODE_CASES = tuple(Case(name, args, decode_level(*args), _BOX) for name, args in _DECODE)


def _no_relu(o: Tensor, s: int, S: float, c: float) -> Tensor:
    return decode_level(o.relu(), s, S, c) + (o - o.relu()).permute(1, 2, 0) * S * s * torch.tensor([-1.0, -1.0, 1.0, 1.0])


DECODE_SLIPS = (
    Slip(_no_relu, "the ReLU: a distance below zero is none, it becomes 0"),
    Slip(lambda o, s, S, c: decode_level(o, s, S, 0.0), "half a cell: the cell stands at (j + c), not at j"),
    Slip(lambda o, s, S, c: decode_level(o, s, S, 0.5), "half a cell: c is an argument, not always 0.5"),
    Slip(lambda o, s, S, c: decode_level(o, s, 1.0, c), "S: the outputs are in units of S * stride"),
    Slip(lambda o, s, S, c: decode_level(o, s, 4.0, c), "S: it is an argument, not always 4"),
    Slip(lambda o, s, S, c: decode_level(o / s, s, S, c), "the stride: the outputs are in units of S * stride"),
    Slip(lambda o, s, S, c: decode_level(o, s, S, c).transpose(0, 1), "rows and columns: the result is (h, w, 4)"),
    Slip(lambda o, s, S, c: decode_level(o, s, S, c).permute(2, 0, 1), "the axes: the result is (h, w, 4), the four sides last"),
    Slip(lambda o, s, S, c: decode_level(o[[1, 0, 3, 2]], s, S, c), "the order: channels are l t r b, you read t l b r"),
    Slip(lambda o, s, S, c: decode_level(o[[0, 2, 1, 3]], s, S, c), "the order: channels are l t r b, you read l r t b"),
)


def check_decode_level(answer: Callable[[Tensor, int, float, float], Tensor]) -> None:
    """(4, h, w) outputs to (h, w, 4) boxes."""
    check(answer, DECODE_CASES, DECODE_SLIPS)
