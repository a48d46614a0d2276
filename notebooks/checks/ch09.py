"""Checkers of notebook 09: matching, average precision, NMS by class, and the exact area under a curve."""

from collections.abc import Callable

import torch
from solutions.ch09 import area_under_curve, average_precision, match, nms_by_class
from torch import Tensor
from torchvision.ops import nms

from . import Case, Checker, Slip

_TAKEN = "rule 1: an object that a detection with a better score has taken is no longer free"
MATCH_CASES = (
    Case("one detection on one object", ([[0.8]], 0.5), "the threshold", expected=[0]),
    Case("a poor box", ([[0.3]], 0.5), "the threshold: below it, -1", expected=[-1]),
    Case(
        "an IoU of exactly the threshold",
        ([[0.5]], 0.5),
        "the threshold: an IoU of exactly t is enough",
        expected=[0],
    ),
    Case("two detections on one object", ([[0.8], [0.9]], 0.5), _TAKEN, expected=[0, -1]),
    Case(
        "the best object is taken, another is free",
        ([[0.8, 0.1], [0.7, 0.6]], 0.5),
        "the best of the free objects, not the best of all",
        expected=[0, 1],
    ),
    Case(
        "the first object is good, the second is better",
        ([[0.6, 0.9]], 0.5),
        "the object with the largest IoU, not the first that is good enough",
        expected=[1],
    ),
    Case(
        "a poor box takes nothing",
        ([[0.4, 0.1], [0.7, 0.2]], 0.5),
        "what is taken: a false positive leaves its object free",
        expected=[-1, 0],
    ),
    Case(
        "a threshold of 0.75",
        ([[0.6], [0.8]], 0.75),
        "the threshold: it is an argument, not always 0.5",
        expected=[-1, 0],
    ),
    Case("an image without objects", ([[], []], 0.5), "rows without an entry", expected=[-1, -1]),
    Case("no detection", ([], 0.5), "an empty list", expected=[]),
)


def _matching(pick: Callable, memory: bool = True, takes_poor: bool = False) -> Callable:
    """Return a matching with another choice among the free objects, or without memory of what is taken."""

    def answer(overlap: list[list[float]], threshold: float) -> list[int]:
        taken, objects = set(), []
        for row in overlap:
            free = [index for index in range(len(row)) if not memory or index not in taken]
            best = pick(free, row, threshold)
            good = best >= 0 and row[best] >= threshold
            objects.append(best if good else -1)
            taken |= {best} if good or takes_poor else set()
        return objects

    return answer


def _largest(free: list[int], row: list[float], threshold: float) -> int:
    return max(free, key=lambda index: row[index], default=-1)


def _first(free: list[int], row: list[float], threshold: float) -> int:
    return next((index for index in free if row[index] >= threshold), -1)


def _best_or_nothing(overlap: list[list[float]], threshold: float) -> list[int]:
    taken, objects = set(), []
    for row in overlap:
        best = _largest(list(range(len(row))), row, threshold)
        good = best >= 0 and row[best] >= threshold and best not in taken
        objects.append(best if good else -1)
        taken |= {best} if good else set()
    return objects


MATCH_SLIPS = (
    Slip(_matching(_largest, memory=False), "what is taken: an object can be taken only once"),
    Slip(_matching(_first), "the object with the largest IoU, not the first that is good enough"),
    Slip(_best_or_nothing, "the second choice: the best of the free objects, not the best of all"),
    Slip(
        _matching(_largest, takes_poor=True),
        "what is taken: a box below the threshold leaves its object free",
    ),
    Slip(
        lambda overlap, t: [index >= 0 for index in match(overlap, t)],
        "what you return: the index of the object or -1, not True or False",
    ),
    Slip(
        lambda overlap, t: match(overlap, t + 1e-9), "the threshold: an IoU of exactly t is enough"
    ),
    Slip(
        lambda overlap, t: match(overlap, 0.5),
        "the threshold: it is an argument, not always 0.5",
    ),
    Slip(
        lambda overlap, t: match(overlap, 0.0), "the threshold: below it a detection takes nothing"
    ),
)


check_match = Checker(match, MATCH_CASES, MATCH_SLIPS)

_STAR = [4.0, 37.0, 41.0, 85.0]
_NEAR = [6.0, 38.0, 42.0, 86.0]
_RING = [31.0, 22.0, 92.0, 115.0]
_FAR = [400.0, 300.0, 420.0, 320.0]
_CHAIN = [[0.0, 0, 100, 10], [25.0, 0, 125, 10], [54.0, 0, 154, 10]]


def _asked(name: str, boxes: list, scores: list, labels: list, threshold: float, look: str) -> Case:
    args = (
        torch.tensor(boxes).reshape(-1, 4),
        torch.tensor(scores),
        torch.tensor(labels, dtype=torch.int64),
        threshold,
    )
    return Case(name, args, look)


_CLASSES = "the classes: a box may only suppress boxes of its own class"
_ORDER = "the order: all kept boxes in one list, best score first"
NMS_CASES = (
    _asked(
        "one class, two boxes on one star",
        [_STAR, _NEAR],
        [0.9, 0.8],
        [3, 3],
        0.5,
        "NMS itself: the second overlaps the first",
    ),
    _asked(
        "the same two boxes, but of two classes", [_STAR, _NEAR], [0.9, 0.8], [3, 5], 0.5, _CLASSES
    ),
    _asked(
        "best score last, classes mixed",
        [_RING, _STAR, _NEAR, _RING],
        [0.3, 0.5, 0.7, 0.9],
        [5, 3, 3, 4],
        0.5,
        _ORDER,
    ),
    _asked(
        "a chain of three",
        _CHAIN,
        [0.9, 0.8, 0.7],
        [0, 0, 0],
        0.5,
        "the chain: only kept boxes suppress others",
    ),
    _asked(
        "boxes far out",
        [_FAR, _FAR, _STAR, _FAR],
        [0.5, 0.9, 0.7, 0.6],
        [0, 1, 0, 1],
        0.5,
        _CLASSES,
    ),
    _asked("tiny boxes", [[9.0, 9, 11, 11], [9.0, 9, 11, 11]], [0.9, 0.8], [0, 5], 0.5, _CLASSES),
    _asked(
        "boxes as large as a poster",
        [[0.0, 0, 9000, 9000], [0.0, 0, 9000, 9000]],
        [0.9, 0.8],
        [0, 1],
        0.5,
        "how far you move each class: further than the boxes reach",
    ),
    _asked(
        "side by side, of two classes",
        [[0.0, 0, 100, 100], [100.0, 100, 200, 200]],
        [0.9, 0.8],
        [1, 0],
        0.5,
        "how far you move each class: further than from the smallest to the largest coordinate",
    ),
    _asked(
        "a box that begins before the image",
        [[98.0, 0, 100, 2], [-2.0, -100, 0, -98]],
        [0.9, 0.8],
        [0, 1],
        0.5,
        "how far you move each class: boxes may begin below 0, so add the smallest coordinate's distance",
    ),
    _asked(
        "another threshold",
        [_STAR, _NEAR],
        [0.9, 0.8],
        [3, 3],
        0.9,
        "the threshold: it is an argument",
    ),
    _asked("no box", [], [], [], 0.5, "an image without candidates: an empty tensor of indices"),
)


def _class_after_class(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    kept = [torch.empty(0, dtype=torch.int64)]
    for label in labels.unique():
        own = (labels == label).nonzero()[:, 0]
        kept.append(own[nms(boxes[own], scores[own], threshold)])
    return torch.cat(kept)


def _positions_in_class(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    parts = [
        nms(boxes[labels == label], scores[labels == label], threshold) for label in labels.unique()
    ]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)


def _moved(step: float) -> Callable:
    return lambda boxes, scores, labels, threshold: nms(
        boxes + step * labels[:, None], scores, threshold
    )


def _mask(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    return torch.zeros(len(boxes), dtype=torch.bool).index_fill(
        0, nms_by_class(boxes, scores, labels, threshold), True
    )


def _stretched(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    return nms(boxes + 1000 * labels[:, None] * torch.tensor([1, 0, 0, 0]), scores, threshold)


def _by_width(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    far = (boxes[:, 2] - boxes[:, 0]).mean() if len(boxes) else 0
    return nms(boxes + labels[:, None] * far, scores, threshold)


NMS_SLIPS = (
    Slip(
        _by_width,
        "how far you move each class: a width is too short for boxes that lie apart; take max − min + 1 of the coordinates",
    ),
    Slip(lambda b, s, k, t: nms(b, s, t), "the classes: this is one NMS for all of them"),
    Slip(
        _class_after_class,
        "the order: you list class after class; all kept boxes go in one list, best score first",
    ),
    Slip(
        lambda *args: nms_by_class(*args).sort().values, "the order: best score first, not by index"
    ),
    Slip(
        _positions_in_class,
        "the indices: yours count within a class; return places among all boxes",
    ),
    Slip(
        _moved(1),
        "how far you move each class: by one pixel a class; it must be further than the boxes reach",
    ),
    Slip(
        _moved(1000),
        "how far you move each class: a fixed number is too small for some images; take it from the boxes",
    ),
    Slip(lambda b, s, k, t: b[nms_by_class(b, s, k, t)], "what you return: indices, not boxes"),
    Slip(
        _mask, "what you return: indices, best score first; a mask of the kept boxes has no order"
    ),
    Slip(
        _stretched,
        "how you move a box: all four sides by the same distance; if you move one side, the box grows",
    ),
    Slip(
        lambda b, s, k, t: nms(b + 1000 * k, s, t),
        "the shapes: labels (N,) plus boxes (N, 4) mixes the axes; write labels[:, None]",
    ),
    Slip(
        lambda b, s, k, t: nms_by_class(b, -s, k, t),
        "the scores: the best one goes first, not the lowest",
    ),
    Slip(
        lambda b, s, k, t: nms_by_class(b, s, k, 0.5),
        "the threshold: it is an argument, not always 0.5",
    ),
)


check_nms_by_class = Checker(nms_by_class, NMS_CASES, NMS_SLIPS)


def _curve(hits: list[bool], objects: int) -> tuple[list[float], list[float]]:
    found = [sum(hits[: entry + 1]) for entry in range(len(hits))]
    return [one / entry for entry, one in enumerate(found, 1)], [
        one / max(objects, 1) for one in found
    ]


def _steps(height: Callable[[list[float], int], float]) -> Callable[[list[bool], int], float]:
    """Return an area under steps with another height at each entry."""

    def area(hits: list[bool], objects: int) -> float:
        precision, recall = _curve(hits, objects)
        return sum(
            height(precision, at) * (right - left)
            for at, (right, left) in enumerate(zip(recall, [0.0, *recall]))
        )

    return area


def _points(count: int) -> Callable[[list[bool], int], float]:
    def mean(hits: list[bool], objects: int) -> float:
        curve = list(zip(*_curve(hits, objects)))
        values = [
            max((p for p, r in curve if r >= i / (count - 1) - 1e-9), default=0.0)
            for i in range(count)
        ]
        return sum(values) / count

    return mean


def _first_precision(hits: list[bool], objects: int) -> float:
    curve = list(zip(*_curve(hits, objects)))
    return sum(next((p for p, r in curve if r >= i / 100 - 1e-9), 0.0) for i in range(101)) / 101


def _mean_at_hits(hits: list[bool], objects: int) -> float:
    precision, _ = _curve(hits, objects)
    return sum(p for p, hit in zip(precision, hits) if hit) / objects


def _trapezia(hits: list[bool], objects: int) -> float:
    precision, recall = _curve(hits, objects)
    points = [(max(precision[place:]), recall[place]) for place, hit in enumerate(hits) if hit]
    return sum(
        (p + before) / 2 * (r - left)
        for (p, r), (before, left) in zip(points, [(1.0, 0.0), *points])
    )


def _raw_trapezia(hits: list[bool], objects: int) -> float:
    precision, recall = _curve(hits, objects)
    pairs = zip(precision, [1.0, *precision], recall, [0.0, *recall])
    return sum((p + before) / 2 * (right - left) for p, before, right, left in pairs)


def _every_entry(hits: list[bool], objects: int) -> float:
    precision, _ = _curve(hits, objects)
    return sum(max(precision[at:]) for at in range(len(precision))) / objects


def _point_means(
    height: Callable[[list[bool], int, float], float],
) -> Callable[[list[bool], int], float]:
    """Return a mean over 101 recalls of another height."""
    return lambda hits, objects: sum(height(hits, objects, i / 100) for i in range(101)) / 101


def _more_than(hits: list[bool], objects: int, point: float) -> float:
    curve = zip(*_curve(hits, objects))
    return max((p for p, r in curve if r > point + 1e-9), default=0.0)


def _of_whole_list(hits: list[bool], objects: int, point: float) -> float:
    curve = zip(*_curve(hits, objects))
    return max((r * objects / len(hits) for p, r in curve if r >= point - 1e-9), default=0.0)


def _carried_on(hits: list[bool], objects: int, point: float) -> float:
    precision, recall = _curve(hits, objects)
    last = precision[-1] if precision else 0.0
    return max((p for p, r in zip(precision, recall) if r >= point - 1e-9), default=last)


_STEP = "the step line: at each recall the best precision that still comes, and 0 beyond the last recall"
AREA_CASES = (
    Case("every object found, no false positive", ([True, True], 2), _STEP, expected=1.0),
    Case(
        "one of two objects found",
        ([True], 2),
        "recall: true positives divided by all objects, found or not",
        expected=0.5,
    ),
    Case(
        "a false positive first",
        ([False, True], 1),
        "precision: true positives divided by the entries so far",
        expected=0.5,
    ),
    Case(
        "five entries, four objects",
        ([True, False, True, True, False], 4),
        _STEP,
        expected=0.25 + 0.5 * 0.75,
    ),
    Case("a precision that climbs again", ([False, True, True, True], 3), _STEP, expected=0.75),
    Case("no detection", ([], 3), "an empty list: nothing found, area 0", expected=0.0),
    Case("only false positives", ([False, False], 3), _STEP, expected=0.0),
)
AREA_SLIPS = (
    Slip(
        _every_entry,
        "the width of a step: only a true positive increases recall; your false positives widen the area too",
    ),
    Slip(
        lambda hits, objects: area_under_curve(hits, objects) // 1 if objects == 1 else 0,
        "the division: // cuts the width of a step to a whole number; use /",
    ),
    Slip(
        _steps(lambda precision, at: precision[at]),
        "the best precision that still comes: you take the precision at the entry itself",
    ),
    Slip(
        _points(101), "the number of points: this is COCO's 101-point mean; here the area is exact"
    ),
    Slip(
        _points(11), "the number of points: this is the old 11-point mean; here the area is exact"
    ),
    Slip(
        _steps(lambda precision, at: max(precision[: at + 1])),
        "the direction: the best precision that still comes, not the best so far",
    ),
    Slip(_trapezia, "the shape: steps, not slanted lines between the points"),
    Slip(
        _raw_trapezia,
        "the shape: steps of the best precision that still comes, not slanted lines along the zigzag",
    ),
    Slip(
        lambda hits, objects: 100 * area_under_curve(hits, objects),
        "the unit: a share from 0 to 1, not percent",
    ),
    Slip(
        lambda hits, objects: area_under_curve(hits, max(sum(hits), 1)),
        "recall: true positives divided by all objects, not by those that were found",
    ),
    Slip(
        lambda hits, objects: sum(hits) / len(hits) if hits else 0.0,
        "what you return: this is the precision of the whole list",
    ),
    Slip(
        lambda hits, objects: sum(hits) / objects,
        "what you return: this is the recall of the whole list",
    ),
)


_MEAN = "the mean of 101 points: recall 0, 0.01, ..., 1"
_FIVE = [True, False, True, False, True]
AP_CASES = (
    Case("every object found, no false positive", ([True, True], 2), _MEAN, expected=1.0),
    Case(
        "one of two objects found",
        ([True], 2),
        "recall: 51 of 101 points are reached",
        expected=51 / 101,
    ),
    Case(
        "a false positive first",
        ([False, True], 1),
        "precision: true positives / entries so far",
        expected=0.5,
    ),
    Case("the worked example", (_FIVE, 4), _MEAN, expected=(26 + 25 * 2 / 3 + 25 * 0.6) / 101),
    Case(
        "a precision that rises again",
        ([False, True, True, True], 3),
        "rule 3: the best precision that is still reachable",
        expected=0.75,
    ),
    Case(
        "three of four found",
        ([True] * 3, 4),
        "a recall of exactly 0.75 is reached",
        expected=76 / 101,
    ),
    Case("no detection", ([], 3), "an empty list: AP is 0", expected=0.0),
    Case("only false positives", ([False, False], 3), "no true positive: AP is 0", expected=0.0),
)
AP_SLIPS = (
    Slip(
        _point_means(_more_than),
        "the comparison: a recall of at least the point reaches it (>=); yours requires more",
    ),
    Slip(
        _point_means(_of_whole_list),
        "precision: divide by the entries so far, not by the length of the whole list",
    ),
    Slip(
        _point_means(_carried_on),
        "recalls that are never reached: the precision there is 0; yours continues with the last one",
    ),
    Slip(
        lambda hits, objects: average_precision(hits, 4),
        "recall: divide by num_objects, the argument; yours has the 4 of the worked example",
    ),
    Slip(area_under_curve, "the points: this is the exact area; COCO takes the mean of 101 points"),
    Slip(_points(11), "the points: 101 of them, not 11"),
    Slip(
        lambda hits, objects: average_precision(hits, max(sum(hits), 1)),
        "recall: divide by all objects, not by those that were found",
    ),
    Slip(
        lambda hits, objects: 100 * average_precision(hits, objects),
        "the unit: a number from 0 to 1, not percent",
    ),
    Slip(
        _first_precision,
        "rule 3: the best precision still reachable, not the first that reaches it",
    ),
    Slip(
        lambda hits, objects: average_precision(hits, objects) * 101 / 100,
        "the number of points: 0, 0.01, ..., 1 are 101 numbers",
    ),
    Slip(_mean_at_hits, "the mean: over the 101 recalls, not over the true positives"),
)


check_average_precision = Checker(average_precision, AP_CASES, AP_SLIPS)
check_area_under_curve = Checker(area_under_curve, AREA_CASES, AREA_SLIPS)
