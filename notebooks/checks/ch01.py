"""Checkers of notebook 01: labels from category ids, mirrored boxes, boxes seen through a window."""

from collections.abc import Callable

import torch
from solutions.ch01 import boxes_in_window, flip_boxes, labels_of
from torch import Tensor

from . import STAR, Case, Checker, Slip


def _appearance(used: list[int], categories: list[int]) -> list[int]:
    order = list(dict.fromkeys(used))
    return [order.index(one) for one in used]


_GAPS = "the ascending order of all category ids of the file: a label is an id's place in this order, counted from 0"
LABELS_CASES = (
    Case("ids 1, 2, 3", ([2, 1, 3, 2], [1, 2, 3]), _GAPS, expected=[1, 0, 2, 1]),
    Case("ids with gaps, as COCO has", ([90, 1, 13], [1, 13, 90]), _GAPS, expected=[2, 0, 1]),
    Case("categories listed in no order", ([90, 1, 13], [13, 90, 1]), _GAPS, expected=[2, 0, 1]),
    Case("a class that no object has", ([7, 7], [2, 5, 7]), _GAPS, expected=[2, 2]),
    Case("ids of one and of two digits", ([10, 2, 1], [1, 2, 10]), _GAPS, expected=[2, 1, 0]),
    Case(
        "no object", ([], [4, 2]), "an image without objects: no labels, an empty list", expected=[]
    ),
)
LABELS_SLIPS = (
    Slip(
        lambda used, ids: [one - 1 for one in used],
        "ids with gaps: COCO's 80 ids run to 90, so id − 1 is not a label",
    ),
    Slip(
        lambda used, ids: list(used), "the ids themselves: they are names; labels are places 0..K−1"
    ),
    Slip(
        lambda used, ids: [ids.index(one) for one in used],
        "the order: the file's own order has no meaning; sort the ids first",
    ),
    Slip(
        lambda used, ids: [sorted(ids).index(one) + 1 for one in used],
        "where counting starts: at 0, because background has no label",
    ),
    Slip(
        _appearance,
        "the order: you number the classes as they come up among the objects, not by ascending id",
    ),
    Slip(
        lambda used, ids: [sorted(ids).index(one) for one in set(used)],
        "how many labels you return: one for each object, also where two have the same category",
    ),
    Slip(
        lambda used, ids: [sorted(ids).index(one) for one in dict.fromkeys(used)],
        "how many labels you return: one for each object, also where two have the same category",
    ),
    Slip(
        lambda used, ids: sorted(sorted(ids).index(one) for one in used),
        "the order of the labels: keep that of the objects in `used`; do not sort the labels",
    ),
    Slip(
        lambda used, ids: [sorted(ids, key=str).index(one) for one in used],
        "the order of the ids: they are numbers; yours are sorted as text, where 10 comes before 2",
    ),
    Slip(
        lambda used, ids: [sorted(ids, reverse=True).index(one) for one in used],
        "the ascending order of the ids: the smallest id has label 0; yours is descending",
    ),
    Slip(
        lambda used, ids: [{1: 0, 13: 1, 90: 2}.get(one, 0) for one in used],
        "category_ids: it is an argument, and other files have other ids than 1, 13 and 90",
    ),
    Slip(
        lambda used, ids: [sorted(set(used)).index(one) for one in used],
        "classes without an object: they keep their place, or a label would mean another class in each image",
    ),
)


check_labels_of = Checker(labels_of, LABELS_CASES, LABELS_SLIPS)


_BOXES = torch.tensor([STAR, (0.0, 10.0, 30.0, 20.0), (100.0, 0.0, 128.0, 128.0)])


def _columns(x1: Callable, x2: Callable) -> Callable[[Tensor, float], Tensor]:
    return lambda boxes, width: torch.stack(
        [x1(boxes, width), boxes[:, 1], x2(boxes, width), boxes[:, 3]], 1
    )


def _upside_down(boxes: Tensor, width: float) -> Tensor:
    return torch.stack([boxes[:, 0], width - boxes[:, 3], boxes[:, 2], width - boxes[:, 1]], 1)


_MIRROR = "where a side goes: a point at x goes to width − x, so the new left side is width − x2, and y stays"
FLIP_CASES = (
    Case("the star", (_BOXES[:1], 128), _MIRROR),
    Case("a box at the left border goes to the right border", (_BOXES[1:2], 128), _MIRROR),
    Case("several boxes, in an image of width 200", (_BOXES, 200), _MIRROR),
    Case("no box", (_BOXES[:0], 128), "an image without objects: 0 x 4 in, 0 x 4 out"),
)
FLIP_SLIPS = (
    Slip(
        _columns(lambda b, w: w - b[:, 0], lambda b, w: w - b[:, 2]),
        "x1 and x2: they change roles; in yours, x1 > x2",
    ),
    Slip(
        _columns(lambda b, w: w - 1 - b[:, 2], lambda b, w: w - 1 - b[:, 0]),
        "the − 1: x is a place, not a pixel's number; the right border lies at x = width",
    ),
    Slip(
        lambda b, w: _columns(lambda b, w: w - b[:, 2], lambda b, w: w - b[:, 0])(
            _upside_down(b, w), w
        ),
        "y: it stays as it is",
    ),
    Slip(
        _columns(lambda b, w: w - b[:, 2], lambda b, w: b[:, 2]),
        "the order of the two lines: x1 is overwritten before x2 is computed from it; read both, then write both",
    ),
    Slip(_upside_down, "x and y: the mirror swaps left and right; you swapped top and bottom"),
    Slip(
        lambda b, w: flip_boxes(b, w).flip(0),
        "the order of the boxes: keep it, or labels belong to other boxes",
    ),
    Slip(lambda b, w: flip_boxes(b, 128), "the width: it is an argument, not always 128"),
    *(
        Slip(
            lambda b, w, to=to: _columns(
                lambda b, w: to(w - b[:, 2]), lambda b, w: to(w - b[:, 0])
            )(b, w),
            "whole pixels: sides are real numbers and keep their fraction; do not round them",
        )
        for to in (torch.floor, torch.round, torch.ceil)
    ),
    Slip(
        _columns(lambda b, w: b[:, 2] - w, lambda b, w: b[:, 0] - w),
        "the sign: a point at x goes to width − x; yours goes to x − width, outside the image",
    ),
    Slip(lambda b, w: b, "what you return: these are the unchanged boxes"),
)


check_flip_boxes = Checker(flip_boxes, FLIP_CASES, FLIP_SLIPS)


_WINDOW = torch.tensor([20.0, 30.0, 84.0, 94.0])
_WIDE = torch.tensor([0.0, 0.0, 100.0, 60.0])
_SEEN = torch.tensor([[30.0, 40.0, 50.0, 80.0]])
_HALF = torch.tensor([[10.0, 40.0, 30.0, 60.0]])
_MANY = torch.tensor(
    [
        STAR,
        [0.0, 40.0, 22.0, 60.0],
        [30.69, 21.94, 91.5, 115.47],
        [2.0, 2.0, 12.0, 12.0],
        [88.0, 98.0, 120.0, 126.0],
        [82.0, 10.0, 86.0, 40.0],
        [70.0, 80.0, 90.0, 100.0],
    ]
)


def _in_window(
    shift: bool = True,
    cut: bool = True,
    clamp: bool = True,
    share: str = "own",
    strict: bool = False,
) -> Callable[[Tensor, Tensor, float], Tensor]:
    """Return the solution with parts left out: a source of slips."""

    def function(boxes: Tensor, window: Tensor, min_visible: float) -> Tensor:
        limits = torch.as_tensor(window)
        inside = torch.cat(
            [torch.maximum(boxes[:, :2], limits[:2]), torch.minimum(boxes[:, 2:], limits[2:])], 1
        )
        sides = inside[:, 2:] - inside[:, :2]
        overlap = (sides.clamp(min=0) if clamp else sides).prod(1)
        own, frame = (boxes[:, 2:] - boxes[:, :2]).prod(1), (limits[2:] - limits[:2]).prod()
        whole = {"own": own, "window": frame, "union": own + frame - overlap}.get(share, own)
        keep = overlap > min_visible * whole if strict else overlap >= min_visible * whole
        if share == "any":
            keep = overlap > 0
        if share == "centre":
            middle = (boxes[:, :2] + boxes[:, 2:]) / 2
            keep = ((middle > limits[:2]) & (middle < limits[2:])).all(1)
        if share == "all":
            keep = torch.ones(len(boxes), dtype=torch.bool)
        result = inside if cut else boxes
        return (result - limits[:2].repeat(2) if shift else result)[keep]

    return function


def _half_moved(boxes: Tensor, window: Tensor, min_visible: float) -> Tensor:
    result = _in_window(shift=False)(boxes, window, min_visible)
    return torch.cat([result[:, :2] - window[:2], result[:, 2:]], 1)


def _square(boxes: Tensor, window: Tensor, min_visible: float) -> Tensor:
    """Return the boxes with y cut at the window's width too."""
    width = float(window[2] - window[0])
    moved = (boxes - window[:2].repeat(2)).clamp(0, width)
    return moved[_visible(moved, boxes) >= min_visible]


def _cut_first(boxes: Tensor, window: Tensor, min_visible: float) -> Tensor:
    """Return the boxes cut at the window's sides, in the image's pixels."""
    cut = boxes.clamp(min=0).minimum((window[2:] - window[:2]).repeat(2))
    moved = (cut - window[:2].repeat(2)).clamp(min=0)
    return moved[_visible(cut, boxes) >= min_visible]


def _best_first(boxes: Tensor, window: Tensor, min_visible: float) -> Tensor:
    cut = _in_window(share="all")(boxes, window, 0)
    share = _visible(cut, boxes)
    order = share.argsort(descending=True)
    return cut[order[share[order] >= min_visible]]


def _by_side(boxes: Tensor, window: Tensor, min_visible: float) -> Tensor:
    cut = _in_window(share="all")(boxes, window, 0)
    keep = (cut[:, 2:] - cut[:, :2]) >= min_visible * (boxes[:, 2:] - boxes[:, :2])
    return cut[keep.all(1)]


def _visible(cut: Tensor, boxes: Tensor) -> Tensor:
    own = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return (cut[:, 2:] - cut[:, :2]).clamp(min=0).prod(1) / own


_ORIGIN = "the origin: in the window's own pixels its upper left corner is (0, 0), so subtract the window's x1 and y1"
_SHARE = "which boxes stay: those with at least min_visible of their own area inside the window"


WINDOW_CASES = (
    Case("a box inside the window", (_SEEN, _WINDOW, 0.4), _ORIGIN),
    Case("a box cut by the window", (_MANY[:1], _WINDOW, 0.4), "the cut, then the shift"),
    Case("a box of which 9 % is left", (_MANY[1:2], _WINDOW, 0.4), _SHARE),
    Case("exactly min_visible is left", (_HALF, _WINDOW, 0.5), "the limit: equal counts as enough"),
    Case(
        "60 % is left, and 70 % is required",
        (torch.tensor([[0.0, 40.0, 50.0, 60.0]]), _WINDOW, 0.7),
        _SHARE,
    ),
    Case(
        "a box much larger than the window",
        (torch.tensor([[0.0, 0.0, 200.0, 200.0]]), _WINDOW, 0.4),
        _SHARE,
    ),
    Case("a box beyond the corner", (_MANY[3:4], _WINDOW, 0.4), "boxes outside: drop them"),
    Case("seven boxes", (_MANY, _WINDOW, 0.4), _SHARE),
    Case("another window and another share", (_MANY, _WIDE, 0.7), _SHARE),
    Case(
        "49 % is left, and 60 % is required",
        (torch.tensor([[10.0, 20.0, 30.0, 40.0]]), torch.tensor([16.0, 26.0, 90.0, 99.0]), 0.6),
        _SHARE,
    ),
    Case("no box", (_MANY[:0], _WINDOW, 0.4), "an image without objects: 0 x 4 in, 0 x 4 out"),
)
WINDOW_SLIPS = (
    Slip(_in_window(shift=False), f"{_ORIGIN} (yours are still in the image's pixels)"),
    Slip(
        _in_window(cut=False), "the sides: what reaches out of the window is cut off at its border"
    ),
    Slip(
        _in_window(shift=False, cut=False),
        "the cut and the shift: yours leaves the boxes that stay unchanged",
    ),
    Slip(
        _in_window(clamp=False),
        "boxes beyond a corner: both sides of the overlap are negative, and their product is positive; clamp both at 0",
    ),
    Slip(
        _in_window(share="union"),
        "the share: you divide by the union; a small box inside the window would be dropped",
    ),
    Slip(
        _in_window(share="window"),
        "the share: it is a share of the box's own area, not of the window's",
    ),
    Slip(
        _in_window(share="any"),
        "the share: in yours, every box that touches the window stays, however little of it is left",
    ),
    Slip(
        _in_window(share="centre"),
        "which boxes stay: how much of the area is inside decides; you test whether the center is inside",
    ),
    Slip(
        _in_window(share="all"), "which boxes stay: in yours all do, even those outside the window"
    ),
    Slip(
        _in_window(strict=True),
        "the limit: a box of which exactly min_visible is left stays (≥, not >)",
    ),
    Slip(
        lambda b, w, m: _in_window()(b, w, 1 - m),
        "the threshold: it is the share that is left, not the share that is lost",
    ),
    Slip(
        lambda b, w, m: _in_window()(b, torch.cat([w[:2], w[:2] + w[2:]]), m),
        "the window: it is x1 y1 x2 y2; you read its last two numbers as sides",
    ),
    Slip(
        _half_moved,
        "the shift: subtract the window's upper left corner from both corners of a box; yours moves one",
    ),
    Slip(_square, "the cut: y ends at the window's height, not at its width"),
    Slip(
        _cut_first,
        "the order of the cut and the shift: you cut at the window's width and height before you move the boxes",
    ),
    Slip(
        _best_first, "the order of the boxes: it stays as it was; yours are sorted by their share"
    ),
    Slip(
        _by_side,
        "the share: it is a share of the area, not of each side; 0.7 of both sides is 0.49 of the area",
    ),
    Slip(lambda b, w, m: _in_window()(b, w, 0.5), "min_visible: it is an argument, not always 0.5"),
    Slip(lambda b, w, m: _in_window()(b, w, 0.4), "min_visible: it is an argument, not always 0.4"),
)


check_boxes_in_window = Checker(boxes_in_window, WINDOW_CASES, WINDOW_SLIPS)
