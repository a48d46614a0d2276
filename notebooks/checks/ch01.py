"""Checkers of notebook 01: labels from category ids, mirrored boxes, boxes seen through a window."""

from collections.abc import Callable

import torch
from solutions.ch01 import boxes_in_window, flip_boxes, labels_of
from torch import Tensor

from . import STAR, Case, Checker, Slip


def _appearance(used: list[int], categories: list[int]) -> list[int]:
    order = list(dict.fromkeys(used))
    return [order.index(one) for one in used]


_GAPS = "the ascending order of all category ids of the file: the label is the place of the id in it, counted from 0"
LABELS_CASES = (
    Case("ids 1, 2, 3", ([2, 1, 3, 2], [1, 2, 3]), _GAPS, expected=[1, 0, 2, 1]),
    Case("ids with gaps, as COCO has", ([90, 1, 13], [1, 13, 90]), _GAPS, expected=[2, 0, 1]),
    Case("categories listed in no order", ([90, 1, 13], [13, 90, 1]), _GAPS, expected=[2, 0, 1]),
    Case("a class that no object has", ([7, 7], [2, 5, 7]), _GAPS, expected=[2, 2]),
    Case(
        "no object", ([], [4, 2]), "an image without objects: no labels, an empty list", expected=[]
    ),
)
LABELS_SLIPS = (
    Slip(
        lambda used, ids: [one - 1 for one in used],
        "ids with gaps: COCO's 80 ids run to 90, so id − 1 is no label",
    ),
    Slip(
        lambda used, ids: list(used), "the ids themselves: they are names, labels are places 0..K−1"
    ),
    Slip(
        lambda used, ids: [ids.index(one) for one in used],
        "the order: the file's own order says nothing, sort the ids first",
    ),
    Slip(
        lambda used, ids: [sorted(ids).index(one) + 1 for one in used],
        "where counting starts: at 0, background has no label",
    ),
    Slip(
        _appearance,
        "the order: you number the classes as they come up among the objects, not by ascending id",
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
        "x1 and x2: they change roles, yours has x1 > x2",
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
        "the order of the two lines: x1 is overwritten before x2 is made of it; read both, then write both",
    ),
    Slip(_upside_down, "x and y: the mirror swaps left and right, you swapped top and bottom"),
    Slip(
        lambda b, w: flip_boxes(b, w).flip(0),
        "the order of the boxes: it stays, else labels go to other boxes",
    ),
    Slip(lambda b, w: flip_boxes(b, 128), "the width: it is an argument, not always 128"),
    Slip(lambda b, w: b, "what you return: these are the boxes as they came"),
)


check_flip_boxes = Checker(flip_boxes, FLIP_CASES, FLIP_SLIPS)


_WINDOW = (20.0, 30.0, 84.0, 94.0)
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
) -> Callable[[Tensor, tuple, float], Tensor]:
    """The solution with parts left out: a source of slips."""

    def function(boxes: Tensor, window: tuple, min_visible: float) -> Tensor:
        limits = torch.tensor(window)
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


_ORIGIN = "the origin: in the window's own pixels its upper left corner is (0, 0), so take the window's x1, y1 off"
_SHARE = "which boxes stay: those with at least min_visible of their own area inside the window"


WINDOW_CASES = (
    Case("a box inside the window", (_SEEN, _WINDOW, 0.4), _ORIGIN),
    Case("a box cut by the window", (_MANY[:1], _WINDOW, 0.4), "the cut, then the shift"),
    Case("a box of which 9 % is left", (_MANY[1:2], _WINDOW, 0.4), _SHARE),
    Case("exactly min_visible is left", (_HALF, _WINDOW, 0.5), "at least: equal counts as enough"),
    Case(
        "60 % is left, and 70 % are asked for",
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
    Case("another window and another share", (_MANY, (0.0, 0.0, 100.0, 60.0), 0.7), _SHARE),
    Case("no box", (_MANY[:0], _WINDOW, 0.4), "an image without objects: 0 x 4 in, 0 x 4 out"),
)
WINDOW_SLIPS = (
    Slip(_in_window(shift=False), f"{_ORIGIN} (yours are still in the image's pixels)"),
    Slip(
        _in_window(cut=False), "the sides: what reaches out of the window is cut off at its border"
    ),
    Slip(
        _in_window(shift=False, cut=False),
        "the cut and the shift: the boxes that stay come out as they went in",
    ),
    Slip(
        _in_window(clamp=False),
        "boxes beyond a corner: both sides of the overlap are negative, and minus times minus is plus",
    ),
    Slip(
        _in_window(share="union"),
        "the share: you divide by the union; a small box inside the window would go",
    ),
    Slip(_in_window(share="window"), "the share: it is of the box's own area, not of the window's"),
    Slip(
        _in_window(share="any"),
        "the share: every box that touches the window stays, however little is left",
    ),
    Slip(
        _in_window(share="centre"),
        "which boxes stay: you ask whether the centre is inside, asked is how much of the area",
    ),
    Slip(_in_window(share="all"), "which boxes stay: all do, even those outside the window"),
    Slip(
        _in_window(strict=True),
        "at least: a box of which exactly min_visible is left stays (≥, not >)",
    ),
    Slip(
        lambda b, w, m: _in_window()(b, w, 1 - m),
        "the threshold: it is the share that is left, not the share that is lost",
    ),
    Slip(
        lambda b, w, m: _in_window()(b, (*w[:2], w[0] + w[2], w[1] + w[3]), m),
        "the window: it is x1 y1 x2 y2, you read its last two numbers as sides",
    ),
    Slip(lambda b, w, m: _in_window()(b, w, 0.4), "min_visible: it is an argument, not always 0.4"),
)


check_boxes_in_window = Checker(boxes_in_window, WINDOW_CASES, WINDOW_SLIPS)
