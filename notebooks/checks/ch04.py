"""Checkers of chapter 04: the FPN level heuristic, anchors matched by IoU."""

import math
from collections.abc import Callable, Sequence

import torch
from solutions.ch04 import heuristic_level, match_anchors
from torch import Tensor

from . import STAR, Case, Checker, Slip

_FORMULA = "the formula: floor(l0 + log2(sqrt(w h) / s0)), then clamped to first..last"
_LEVEL_ARGS = (
    ("the star", (STAR, 4, 32.0, 3, 6)),
    ("a square of 32 px, exactly s0", ([10.0, 20.0, 42.0, 52.0], 4, 32.0, 3, 6)),
    ("a square of 31 px, just below s0", ([10.0, 20.0, 41.0, 51.0], 4, 32.0, 3, 6)),
    ("a wide box, 60 x 16", ([0.0, 0.0, 60.0, 16.0], 4, 32.0, 2, 6)),
    ("a tall box, 12 x 70", ([5.0, 0.0, 17.0, 70.0], 4, 32.0, 2, 6)),
    ("a square of 80 px", ([0.0, 0.0, 80.0, 80.0], 4, 32.0, 3, 6)),
    ("tiny: below the first level", ([0.0, 0.0, 4.0, 4.0], 4, 32.0, 3, 6)),
    ("large: above the last level", ([0.0, 0.0, 500.0, 500.0], 4, 32.0, 3, 6)),
    ("tiny, with a level 2", ([0.0, 0.0, 4.0, 4.0], 4, 32.0, 2, 6)),
    ("large, with a level 7", ([0.0, 0.0, 500.0, 500.0], 4, 32.0, 3, 7)),
    ("the paper's constants, a box of 300 x 200", ([50.0, 50.0, 350.0, 250.0], 5, 224.0, 3, 7)),
)
LEVEL_CASES = tuple(Case(name, args, _FORMULA) for name, args in _LEVEL_ARGS)


def _level(
    size: Callable[[float, float], float] = lambda w, h: math.sqrt(w * h),
    whole: Callable[[float], float] = math.floor,
    log: Callable[[float], float] = math.log2,
    clamp: bool = True,
    index: bool = False,
    flip: bool = False,
) -> Callable[[Sequence[float], int, float, int, int], int]:
    """Return the solution with one change: a source of slips."""

    def function(box: Sequence[float], l0: int, s0: float, first: int, last: int) -> int:
        ratio = size(box[2] - box[0], box[3] - box[1]) / s0
        level = whole(l0 + (-log(ratio) if flip else log(ratio)))
        level = min(max(level, first), last) if clamp else level
        return int(level) - first if index else int(level)

    return function


def _outside(box: Sequence[float], l0: int, s0: float, first: int, last: int) -> int:
    size = math.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    return min(max(math.floor(l0 + math.log2(size) / s0), first), last)


LEVEL_SLIPS = (
    Slip(
        lambda box, l0, s0, first, last: heuristic_level(box, 4, 32.0, first, last),
        "the constants: l0 and s0 are arguments, not always 4 and 32",
    ),
    Slip(
        _level(size=lambda w, h: w * h),
        "the root: the size is sqrt(w h); you use the area w h",
    ),
    Slip(_level(size=max), "the size: it is sqrt(w h), not the longer side"),
    Slip(_level(size=min), "the size: it is sqrt(w h), not the shorter side"),
    Slip(
        _level(size=lambda w, h: (w + h) / 2),
        "the size: it is sqrt(w h), not the mean of the sides",
    ),
    Slip(_level(size=lambda w, h: w), "the size: it is sqrt(w h), not the width"),
    Slip(_level(whole=round), "the rounding: always down, with floor; you round to the nearest"),
    Slip(_level(whole=math.ceil), "the rounding: always down, with floor; you round upwards"),
    Slip(
        _level(log=math.log),
        "the logarithm: to base 2, because twice the size is one level more; yours is the natural one",
    ),
    Slip(
        _level(log=math.log10),
        "the logarithm: to base 2, because twice the size is one level more; yours is to base 10",
    ),
    Slip(_level(clamp=False), "the ends: only the levels first..last exist; clamp to them"),
    Slip(
        lambda box, l0, s0, first, last: heuristic_level(box, l0, s0, 3, 6),
        "the ends: first and last are arguments, not always 3 and 6",
    ),
    Slip(
        lambda box, l0, s0, first, last: last,
        "the clamp: min and max are exchanged; yours always gives the last level",
    ),
    Slip(
        lambda box, l0, s0, first, last: first,
        "the clamp: min and max are exchanged; yours always gives the first level",
    ),
    Slip(
        _level(index=True), "what you return: the level's number (3 for P3), not its index from 0"
    ),
    Slip(
        lambda box, *rest: heuristic_level([0.0, 0.0, *box[2:]], *rest),
        "the sides: they are x2 − x1 and y2 − y1; you take x2 and y2 themselves",
    ),
    Slip(
        _outside, "s0: it divides the size inside the logarithm, log2(size / s0), not the logarithm"
    ),
    Slip(
        _level(flip=True), "the fraction: size over s0, so that larger objects go to higher levels"
    ),
)


check_heuristic_level = Checker(heuristic_level, LEVEL_CASES, LEVEL_SLIPS)


_IOU = torch.tensor(
    [
        [0.70, 0.10, 0.45, 0.50, 0.40, 0.00, 0.30, 0.00],
        [0.60, 0.20, 0.10, 0.90, 0.05, 0.39, 0.00, 0.00],
    ]
)
_POOR = torch.tensor(
    [[0.8, 0.3, 0.1, 0.0], [0.1, 0.0, 0.2, 0.27]]
)  # instance 1 has only a bad anchor, the last
_STOLEN = torch.tensor(
    [[0.60, 0.55, 0.10], [0.05, 0.12, 0.02]]
)  # the best anchor of instance 1 overlaps instance 0 more
_THIEF = torch.tensor(
    [[0.60, 0.30, 0.10], [0.05, 0.20, 0.02]]
)  # the same, below 0.4: rescued, but for instance 0
_TIES = torch.tensor([[0.3, 0.3, 0.2, 0.3], [0.0, 0.0, 0.6, 0.0]])
_FAR = torch.tensor([[0.7, 0.2, 0.0], [0.0, 0.0, 0.0]])
_HALF = torch.tensor([[0.5, 0.6, 0.1], [0.1, 0.0, 0.9]])
_SECOND = torch.tensor([[0.30, 0.29, 0.1]])
_BOTH = torch.tensor([[0.3, 0.0, 0.0], [0.42, 0.0, 0.45]])
_RULE = "the rule: >= 0.5 is positive, < 0.4 negative, in between left out; then come the best anchors of each box"
_MATCH = (
    ("every box has a good anchor", _IOU),
    ("a box whose best anchor has IoU 0.27", _POOR),
    ("the best anchor of a box overlaps another box more", _STOLEN),
    ("the same, and the anchor is bad for both", _THIEF),
    ("several anchors share the best IoU", _TIES),
    ("a box that no anchor touches", _FAR),
    ("an anchor of exactly 0.5 that is not its box's best", _HALF),
    ("an anchor just below the best", _SECOND),
    ("the best anchor of a box that has a good one already", _BOTH),
)
MATCH_CASES = (
    *(Case(name, (iou,), _RULE) for name, iou in _MATCH),
    Case(
        "no box", (torch.zeros(0, 3),), "an image without boxes (N = 0): every anchor is negative"
    ),
)


def _match(
    rescue: str = "own",
    low: float = 0.4,
    strict: bool = False,
    far: bool = True,
    between: int = -2,
    negative: int = -1,
) -> Callable[[Tensor], Tensor]:
    """Return the solution with one change: a source of slips."""

    def function(iou: Tensor) -> Tensor:
        if len(iou) == 0:
            return torch.full((iou.shape[1],), negative)
        overlap, instance = iou.max(0)
        result = instance.clone()
        result[(overlap <= 0.5) if strict else (overlap < 0.5)] = between
        result[(overlap <= low) if strict else (overlap < low)] = negative
        top = iou.max(1).values
        for n, row in enumerate(iou):
            anchors = (
                torch.nonzero(row == top[n])[:, 0] if rescue != "first" else row.argmax()[None]
            )
            if rescue != "none" and (top[n] > 0 or not far):
                result[anchors] = n if rescue == "box" else instance[anchors]
        return result

    return function


def _nearly(iou: Tensor) -> Tensor:
    result = match_anchors(iou)
    if len(iou):
        best = iou.max(1, keepdim=True).values
        kept = ((iou >= 0.9 * best) & (best > 0)).any(0)
        result[kept] = iou.argmax(0)[kept]
    return result


MATCH_SLIPS = (
    Slip(_match(rescue="none"), "section 5: the best anchors of each box are positive in any case"),
    Slip(
        _match(rescue="box"),
        "the kept anchor's instance: the one that this anchor overlaps most",
    ),
    Slip(
        _match(rescue="first"),
        "ties: all anchors that reach the box's highest IoU are kept; argmax gives only one",
    ),
    Slip(
        _match(far=False),
        "a box with IoU 0 everywhere: its highest IoU is 0, and every anchor far away reaches it; keep anchors only where it is > 0",
    ),
    Slip(
        _nearly,
        "the best anchors: only those that reach the box's highest IoU exactly; yours keeps anchors near it",
    ),
    Slip(_match(low=0.5), "the gap: IoU between 0.4 and 0.5 is left out (−2), not negative"),
    Slip(_match(low=0.0), "the gap: below 0.4 is negative (−1); only 0.4 to 0.5 is left out"),
    Slip(_match(strict=True), "the borders: exactly 0.5 is positive, exactly 0.4 is left out"),
    Slip(
        _match(between=-1, negative=-2),
        "the two codes: −1 is negative, −2 is left out; yours are swapped",
    ),
    Slip(
        lambda iou: iou.argmax(0) if len(iou) else torch.full((iou.shape[1],), -1),
        "the thresholds: few anchors are positive; in yours all are",
    ),
    Slip(
        lambda iou: iou.argmax(1),
        "the axis: one number for each anchor, (A,); you give one for each box",
    ),
)


check_match_anchors = Checker(match_anchors, MATCH_CASES, MATCH_SLIPS)
