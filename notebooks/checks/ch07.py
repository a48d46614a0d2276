"""Checkers of notebook 07: means by instance and level, the choice of a level, the loss that trains."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from solutions.ch07 import anchor_free_loss, choose_level, focal, iou_loss, level_means
from torch import Tensor
from torch.nn.functional import logsigmoid

from . import Case, Checker, Slip, nothing, within
from .runs import DETACHED, numbers, with_slopes


def means(
    kind: str = "mean", none: float = math.inf, shift: int = 0, share: str = "own"
) -> Callable[..., Tensor]:
    """Return the solution with one change: a source of slips."""

    def function(
        cell_loss: Tensor, assigned: Tensor, level: Tensor, num_instances: int, num_levels: int
    ) -> Tensor:
        result = torch.full((num_instances, num_levels), none)
        for n in range(num_instances):
            for at in range(num_levels):
                own_losses = cell_loss[(assigned == n + shift) & (level == at)]
                count = {
                    "level": (level == at).sum(),
                    "instance": (assigned == n + shift).sum(),
                    "all": len(level),
                }.get(share, len(own_losses))
                if len(own_losses):
                    worst = {
                        "sum": own_losses.sum(),
                        "min": own_losses.min(),
                        "max": own_losses.max(),
                        "last": own_losses[-1],
                    }
                    result[n, at] = worst.get(kind, own_losses.sum() / count)
        return result

    return function


def background_last(
    cell_loss: Tensor, assigned: Tensor, level: Tensor, num_instances: int, num_levels: int
) -> Tensor:
    """Return the means as if background locations were assigned to the last instance."""
    instance = assigned.where(assigned >= 0, num_instances - 1)
    return level_means(cell_loss, instance, level, num_instances, num_levels)


_ASSIGNED = torch.tensor([-1, 0, 0, 1, 1, -1, 0, 1, 1, 1, -1, 2])
_LEVEL = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
_LOSS = torch.tensor([9.0, 1.0, 3.0, 0.5, 0.7, 9.0, 1.5, 0.25, 0.35, 0.9, 9.0, 2.0])
NONE = "an instance without a location at a level: its loss is inf there, so that it is never the least"
_MEAN = "the mean over the locations that are assigned to the instance at that level"


_MANY = torch.randint(-1, 4, (60,), generator=numbers(0))
MEANS_CASES = (
    Case(
        "one instance, two locations at P3 and one at P4",
        (_LOSS[[1, 2, 6]], torch.tensor([0, 0, 0]), torch.tensor([0, 0, 1]), 1, 2),
        _MEAN,
        expected=torch.tensor([[2.0, 1.5]]),
    ),
    Case(
        "background locations in between",
        (_LOSS[:6], _ASSIGNED[:6], _LEVEL[:6], 2, 1),
        "the numbers: −1 is background, and n is instance n",
    ),
    Case("three instances at three levels", (_LOSS, _ASSIGNED, _LEVEL, 3, 3), _MEAN),
    Case("an instance without any location", (_LOSS, _ASSIGNED, _LEVEL, 4, 3), NONE),
    Case(
        "losses of zero",
        (_LOSS * 0, _ASSIGNED, _LEVEL, 3, 3),
        "a mean of 0 is the least loss there is, and does not mean an empty region",
    ),
    Case(
        "60 locations",
        (torch.rand(60, generator=numbers(1)), _MANY, torch.arange(60) * 3 // 60, 4, 3),
        _MEAN,
    ),
    Case(
        "no instance",
        (_LOSS, _ASSIGNED * 0 - 1, _LEVEL, 0, 3),
        "an image without objects: a table of 0 rows",
    ),
)
MEANS_SLIPS = (
    Slip(
        means("sum"),
        "mean or sum: a sum grows with the number of locations, so coarse levels with few locations always win",
    ),
    Slip(
        means("sum", none=0.0),
        "mean or sum: a sum grows with the number of locations, and without a location it is 0, the least of all",
    ),
    Slip(
        means(share="level"),
        "the divisor: the instance's own locations at the level, not all locations of the level",
    ),
    Slip(
        means(share="instance"),
        "the divisor: the instance's locations at this level, not at all levels",
    ),
    Slip(means(share="all"), "the divisor: the instance's own locations at the level, not all R"),
    Slip(means("min"), "the mean: you take its best location"),
    Slip(means("max"), "the mean: you take its worst location"),
    Slip(
        means("last"),
        "the mean: each location overwrites the one before; yours is the last one's loss",
    ),
    Slip(means(none=0.0), f"{NONE}; yours is 0, the least of all"),
    Slip(means(none=float("nan")), f"{NONE}; yours is nan, the mean of nothing"),
    Slip(means(none=-1.0), f"{NONE}; yours is −1, which is less than any loss"),
    Slip(means(none=1e6), f"{NONE}; MMDetection has 1e6 here, this core has inf"),
    Slip(means(none=1e5), f"{NONE}; a large number is not inf"),
    Slip(means(shift=1), "the numbers: −1 is background, and n is instance n; yours is one off"),
    Slip(
        background_last,
        "a background location: index −1 means the last instance in PyTorch; leave it out",
    ),
)
_AXES = Slip(lambda *args: level_means(*args).T, "the axes: instances are rows, levels are columns")
check_level_means = Checker(level_means, MEANS_CASES, (*MEANS_SLIPS, _AXES))


_ALPHA = "alpha: 0.25 where the target is 1, 0.75 where it is 0"


def other_focal(
    alpha: float = 0.25,
    gamma: float = 2,
    whole: float = 1,
    swapped: bool = False,
    twice: bool = False,
    naive: bool = False,
    frozen: bool = False,
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the focal loss with one change: a source of slips."""

    def function(logits: Tensor, answers: Tensor) -> Tensor:
        hit = torch.where(answers > 0, 1, -1) * (logits.sigmoid() if twice else logits)
        easy = (hit if swapped else -hit).sigmoid()
        easy = easy.detach() if frozen else easy
        log = hit.sigmoid().log() if naive else logsigmoid(hit)
        return -whole * torch.where(answers > 0, alpha, 1 - alpha) * easy**gamma * log

    return function


def _softmax(logits: Tensor, answers: Tensor) -> Tensor:
    p = logits.softmax(-1)
    return torch.where(answers > 0, -0.25 * (1 - p) ** 2 * p.log(), -0.75 * p**2 * (1 - p).log())


FOCAL_SLIPS = (
    Slip(other_focal(alpha=0.75), f"{_ALPHA}; yours are swapped"),
    Slip(other_focal(alpha=0.5), _ALPHA),
    Slip(other_focal(alpha=0.5, whole=2), f"{_ALPHA}; it is missing"),
    Slip(other_focal(alpha=0.5, whole=0.5), f"{_ALPHA}; yours is 0.25 for both"),
    Slip(other_focal(gamma=0), "gamma: the factor (1 − p)² is missing"),
    Slip(other_focal(gamma=1), "gamma: it is 2"),
    Slip(other_focal(alpha=0.5, gamma=0, whole=2), "alpha and gamma: this is plain cross entropy"),
    Slip(
        other_focal(swapped=True),
        "the factor: (1 − p)² where the target is 1, p² where it is 0; yours are swapped",
    ),
    Slip(other_focal(twice=True), "the sigmoid: it is applied twice"),
    Slip(_softmax, "p: each class has a sigmoid of its own; a softmax makes them share one"),
)
FROZEN = Slip(
    other_focal(frozen=True),
    "the gradient: p is in the factor (1 − p)², too; yours is detached there",
)
IOU_SLIPS = (
    Slip(lambda a, b: 1 - (-iou_loss(a, b)).exp(), "the box loss: −ln IoU, not 1 − IoU"),
    Slip(lambda a, b: (-iou_loss(a, b)).exp(), "the box loss: −ln IoU, not the IoU itself"),
    Slip(lambda a, b: -iou_loss(a, b), "the sign: −ln IoU is positive"),
    Slip(lambda a, b: iou_loss(a, b) / math.log(2), "the logarithm: take the natural one"),
    Slip(lambda a, b: iou_loss(a, b) / math.log(10), "the logarithm: take the natural one"),
    Slip(
        lambda a, b: (1 + iou_loss(a, b).exp()).log(),
        "the union: area + area − overlap; you count the overlap twice",
    ),
)


def cell_loss(
    cls: Callable[[Tensor, Tensor], Tensor] = focal,
    box: Callable[[Tensor, Tensor], Tensor] = iou_loss,
    classes: str = "sum",
    parts: tuple[float, float] = (1, 1),
) -> Callable[[Tensor, Tensor, Tensor, int], Tensor]:
    """Return the loss (n,) of an instance's n locations, with one change: a source of slips."""

    def function(logits: Tensor, offsets: Tensor, targets: Tensor, label: int) -> Tensor:
        wanted = torch.zeros_like(logits)
        wanted[:, label] = 1
        entries = cls(logits, wanted)
        focal_part = {"sum": entries.sum(1), "mean": entries.mean(1), "own": entries[:, label]}[
            classes
        ]
        return parts[0] * focal_part + parts[1] * box(offsets, targets)

    return function


OF_A_CELL = cell_loss()
CELL_SLIPS = (
    Slip(
        cell_loss(classes="mean"), "the classes: the focal loss is summed over them, not averaged"
    ),
    Slip(
        cell_loss(classes="own"),
        "the classes: the focal loss is summed over all of them; yours has the instance's own only",
    ),
    Slip(cell_loss(parts=(1, 0)), "the two parts: −ln IoU is missing"),
    Slip(cell_loss(parts=(0, 1)), "the two parts: the focal loss is missing"),
    Slip(
        cell_loss(parts=(0.5, 0.5)),
        "the two parts: they are added; λ weighs the training loss, not the selection",
    ),
    *within(cell_loss, FOCAL_SLIPS),
    *within(lambda box: cell_loss(box=box), IOU_SLIPS),
)


def _as_corners(offsets: Tensor, targets: Tensor) -> Tensor:
    """Return the loss as if the sides were the corners x1 y1 x2 y2."""
    low = torch.maximum(offsets[..., :2], targets[..., :2])
    high = torch.minimum(offsets[..., 2:], targets[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = [(one[..., 2:] - one[..., :2]).prod(-1) for one in (offsets, targets)]
    return -(shared / (areas[0] + areas[1] - shared)).clamp(min=1e-6).log()


def _crossed(offsets: Tensor, targets: Tensor) -> Tensor:
    """Return the loss as if the order were l r t b."""
    return iou_loss(offsets[..., [0, 2, 1, 3]], targets[..., [0, 2, 1, 3]])


def _choose(
    loss: Callable[[Tensor, Tensor, Tensor, int], Tensor] = OF_A_CELL,
    cells: str = "mean",
    none: float = math.inf,
    worst: bool = False,
    last: bool = False,
    nowhere: int = -1,
    detached: bool = True,
) -> Callable[..., tuple[Tensor, int]]:
    """Return the solution with one change: a source of slips."""

    def function(levels: Sequence[tuple[Tensor, Tensor, Tensor]], label: int) -> tuple[Tensor, int]:
        losses = []
        for level in levels:
            both = loss(*level, label)
            reduced = (
                both.sum()
                if cells == "sum"
                else both.amin()
                if cells == "best" and len(both)
                else both.mean()
            )
            losses.append(reduced if len(both) else torch.tensor(none))
        table = torch.stack(losses)
        table = table.detach() if detached else table
        order = table.flip(0) if last else table
        best = int(order.argmax() if worst else order.argmin())
        best = len(table) - 1 - best if last else best
        return table, nowhere if all(len(logits) == 0 for logits, _, _ in levels) else best

    return function


def _ask_choice(function: Callable, levels: Sequence, label: int) -> Any:
    """Return what the reader's function gives, and whether a gradient could flow through it."""
    levels = [tuple(part.clone().requires_grad_() for part in level) for level in levels]
    given = function(levels, label)
    if nothing(given):
        return given
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        return {"losses": given, "level": None, "gradient flows": False}
    losses, level = given
    flows = any(
        isinstance(one, Tensor) and one.requires_grad
        for one in (losses, *(losses if isinstance(losses, (list, tuple)) else ()))
    )
    return {"losses": losses, "level": level, "gradient flows": flows}


def _levels(
    seed: int, *counts: int, classes: int = 4, better: int = 0
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return outputs and targets of locations at some levels; those of level `better` fit best."""
    random = numbers(seed)
    result = []
    for index, count in enumerate(counts):
        targets = 0.2 + torch.rand(count, 4, generator=random)
        offsets = targets * (0.5 if index != better else 0.9) + 0.1 * torch.rand(
            count, 4, generator=random
        )
        logits = torch.randn(count, classes, generator=random) - 1
        logits[:, 1] += 2.5 if index == better else 0.0
        result.append((logits, offsets, targets))
    return result


_PART = "the loss at a level: the mean over its locations of (focal loss summed over the classes + −ln IoU)"
_EMPTY = "a level without a location: its loss is inf, so that it is not chosen"
_TIED = _levels(5, 2)[0]
_MISSED = [  # a cell before its object, a cell with a dead output, a good one
    (_TIED[0][:1], torch.full((1, 4), 0.1), torch.tensor([[-0.5, -0.4, 1.0, 0.9]])),
    (_TIED[0][:1], torch.zeros(1, 4), _TIED[2][:1]),
    tuple(part[:1] for part in _TIED),
]
_SATURATED = "large logits: the sigmoid rounds to 0 or 1 and its logarithm is −inf; use logsigmoid(x) for ln p and logsigmoid(−x) for ln(1 − p)"
_SURE = [
    (torch.tensor([[200.0, -200.0, 0.5]]), *_TIED[1:]),
    (torch.tensor([[-200.0, 200.0, 0.5]]), *_TIED[1:]),
]
_SURE = [tuple(part[:1] for part in level) for level in _SURE]
CHOICE_CASES = (
    Case("one location at each of two levels", (_levels(0, 1, 1), 1), _PART),
    Case("four locations at P3, one at P4", (_levels(1, 4, 1, better=0), 1), _PART),
    Case(
        "another class",
        (_levels(2, 3, 2, 1, better=1), 3),
        "label: the target is 1 for this class and 0 for all others",
    ),
    Case("the best level is the last", (_levels(3, 9, 4, 2, 1, better=3), 1), _PART),
    Case("no location at P3", (_levels(4, 0, 2, 1, better=2), 1), _EMPTY),
    Case("two levels are equal", ([_TIED, _TIED], 1), "ties: the first of equal levels is chosen"),
    Case(
        "no location at any level",
        (_levels(6, 0, 0), 1),
        "an instance without any location: level −1",
    ),
    Case(
        "boxes that do not overlap",
        (_MISSED, 1),
        "no overlap: clamp the IoU to at least 1e-6, so that the loss is 13.816",
    ),
    Case("logits of 200 and −200", (_SURE, 1), _SATURATED),
)


def _numbered(levels: Sequence[tuple[Tensor, Tensor, Tensor]], label: int) -> tuple[Tensor, int]:
    losses, level = choose_level(levels, label)
    return losses, level + 3


def _mean_first(levels: Sequence[tuple[Tensor, Tensor, Tensor]], label: int) -> tuple[Tensor, int]:
    """Return the choice as if the IoU were averaged before its logarithm is taken."""
    table, level = choose_level(
        [(logits, targets, targets) for logits, _, targets in levels], label
    )
    shares = [(-iou_loss(offsets, targets)).exp().mean().detach() for _, offsets, targets in levels]
    table = torch.where(table.isinf(), math.inf, table - torch.stack(shares).log())
    return table, level if level < 0 else int(table.argmin())


def _unclamped(least: float, below: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return -ln IoU with other limits of the IoU and of the two shared sides."""

    def function(offsets: Tensor, targets: Tensor) -> Tensor:
        shared = torch.minimum(offsets, targets)
        areas = [
            (x[..., :2] + x[..., 2:]).clamp(min=below).prod(-1) for x in (shared, offsets, targets)
        ]
        return -(areas[0] / (areas[1] + areas[2] - areas[0])).clamp(min=least).log()

    return function


_BACK = "what comes back: the pair (losses, level)"
CHOICE_SLIPS = (
    Slip(
        _choose(detached=False),
        "the gradient: the selection must not train the network; compute it under torch.no_grad() or detach the losses",
    ),
    Slip(
        _choose(cells="sum"),
        "mean or sum: a sum grows with the number of locations, so coarse levels with few locations always win",
    ),
    Slip(
        _choose(cells="sum", none=0.0),
        "mean or sum: a sum grows with the number of locations, and without a location it is 0, the least of all",
    ),
    *within(_choose, CELL_SLIPS),
    Slip(
        _choose(cell_loss(box=_crossed)),
        "the order of the sides: l t r b, so a width is l + r, the first and the third",
    ),
    Slip(
        _choose(cell_loss(box=_as_corners)),
        "the boxes: they are distances l t r b, so a width is l + r; you read them as corners x1 y1 x2 y2",
    ),
    Slip(_choose(cell_loss(other_focal(naive=True))), _SATURATED),
    Slip(
        _choose(cell_loss(box=lambda a, b: (a - b).abs().sum(-1))),
        "the box part: −ln IoU, not a distance of the offsets",
    ),
    Slip(_choose(none=0.0), f"{_EMPTY}; yours is 0, the least of all"),
    Slip(_choose(none=float("nan")), f"{_EMPTY}; yours is nan, the mean of nothing"),
    Slip(_choose(worst=True), "which level: the one with the least loss, not the greatest"),
    Slip(_choose(last=True), "ties: the first of equal levels is chosen"),
    Slip(
        _choose(nowhere=0), "an instance without any location: −1; argmin of a row of inf gives 0"
    ),
    Slip(_choose(cells="best"), "the mean over its locations; you take the best of them"),
    Slip(_mean_first, "the mean of −ln IoU over the locations; yours is −ln of the mean IoU"),
    Slip(
        _choose(cell_loss(box=_unclamped(1e-6, -math.inf))),
        "no overlap: a shared side below 0 is 0; two negative factors give a positive overlap",
    ),
    Slip(
        _choose(cell_loss(box=_unclamped(0.0, 0.0))),
        "no overlap: clamp the IoU to at least 1e-6, because −ln 0 would be infinite",
    ),
    Slip(lambda *args: choose_level(*args)[0], f"{_BACK}; the level is missing"),
    Slip(lambda *args: choose_level(*args)[1], f"{_BACK}; the losses are missing"),
    Slip(lambda *args: choose_level(*args)[::-1], f"{_BACK}, in this order"),
    Slip(_numbered, "which level: its place in the list, counted from 0 on, not the number of P"),
)


check_choose_level = Checker(choose_level, CHOICE_CASES, CHOICE_SLIPS, _ask_choice)


def training_loss(
    cls: Callable[[Tensor, Tensor], Tensor] = focal,
    box: Callable[[Tensor, Tensor], Tensor] = iou_loss,
    divisor: str = "positive",
    box_divisor: str = "",
    counted: str = "right",
    boxes: str = "positive",
    labelled: str = "positive",
    weigh: tuple[bool, bool] = (True, True),
) -> Callable[..., Tensor]:
    """Return the solution with one change: a source of slips."""

    def function(
        logits: Tensor,
        offsets: Tensor,
        targets: Tensor,
        labels: Tensor,
        positive: Tensor,
        ignored: Tensor,
        weight: float = 1.0,
    ) -> Tensor:
        everywhere = torch.ones_like(positive)
        at = positive if labelled == "positive" else everywhere
        wanted = torch.zeros_like(logits)
        wanted[at, labels[at]] = 1
        keep = {
            "right": (wanted > 0) | ~ignored,
            "all": torch.ones_like(ignored),
            "not ignored": ~ignored,
            "only ignored": (wanted > 0) | ignored,
            "cells": (wanted > 0) | ~ignored.any(1, keepdim=True),
            "positive cells": positive[:, None].expand_as(ignored),
        }[counted]
        sizes = {
            "positive": positive.sum().clamp(min=1),
            "one": 1,
            "bare": positive.sum(),
            "more": positive.sum() + 1,
            "cells": len(logits),
            "entries": logits.numel(),
            "kept": keep.sum().clamp(min=1),
        }
        chosen = positive if boxes == "positive" else everywhere
        both = box(offsets[chosen], targets[chosen])
        both = (both * positive if boxes == "masked" else both).sum() / sizes[
            box_divisor or divisor
        ]
        entries = (cls(logits, wanted) * keep).sum() / sizes[divisor]
        return (weight if weigh[0] else 1) * entries + (weight if weigh[1] else 1) * both

    return function


def training_case(
    name: str, look: str, seed: int, cells: int, positives: int, ignored: float
) -> Case:
    """Return logits, offsets, targets, labels, positive locations and ignored entries of some locations."""
    random = numbers(seed)
    logits, targets = (
        torch.randn(cells, 3, generator=random) - 1,
        0.3 + torch.rand(cells, 4, generator=random),
    )
    offsets = targets * (0.6 + 0.6 * torch.rand(cells, 4, generator=random))
    labels = torch.randint(0, 3, (cells,), generator=random)
    left_out = torch.rand(cells, 3, generator=random) < ignored
    if ignored:
        left_out[0, labels[0]] = True  # an entry that is ignored and positive is positive
    return Case(
        name, (logits, offsets, targets, labels, torch.arange(cells) < positives, left_out), look
    )


_SUM = "the two sums: focal loss over all entries that count, −ln IoU over positive locations, both divided by the number of positive locations"
TRAINING_CASES = (
    training_case("one positive location", _SUM, 0, 1, 1, 0.0),
    training_case("two positive locations of five", _SUM, 1, 5, 2, 0.0),
    training_case(
        "ignored entries", "ignored entries: they add nothing, and have no gradient", 2, 8, 3, 0.4
    ),
    training_case(
        "no positive location",
        "an image without objects: the divisor is at least 1, and negatives still count",
        4,
        6,
        0,
        0.0,
    ),
)
_CONFIDENT = training_case("logits of 200 and −200", _SATURATED, 5, 4, 2, 0.0)
_CONFIDENT.args[0][:, 0], _CONFIDENT.args[0][:, 1] = 200.0, -200.0
TRAINING_CASES = (*TRAINING_CASES, _CONFIDENT)
TRAINING_SLIPS = (
    Slip(training_loss(other_focal(naive=True)), _SATURATED),
    Slip(lambda *args: training_loss()(*args).detach(), DETACHED),
    Slip(lambda *args: training_loss()(*args).item(), DETACHED),
    Slip(
        training_loss(divisor="one"),
        "the normalizer: both sums are divided by the number of positive locations",
    ),
    Slip(
        training_loss(divisor="cells"),
        "the normalizer: the number of positive locations, not of all locations",
    ),
    Slip(
        training_loss(divisor="entries", box_divisor="positive"),
        "the normalizer: positive locations; in a mean over all entries they hardly count",
    ),
    Slip(
        training_loss(divisor="kept", box_divisor="positive"),
        "the normalizer: positive locations, not the entries that count",
    ),
    Slip(
        training_loss(divisor="cells", box_divisor="positive"),
        "the normalizer: the focal sum too is divided by positive locations, not by all",
    ),
    Slip(
        training_loss(divisor="one", box_divisor="positive"),
        "the normalizer: the focal sum is divided by it too",
    ),
    Slip(training_loss(box_divisor="one"), "the normalizer: the IoU sum is divided by it too"),
    Slip(
        training_loss(divisor="bare"),
        "an image without objects: the divisor is at least 1, or everything becomes nan",
    ),
    Slip(
        training_loss(divisor="more"),
        "the normalizer: the number of positive locations, at least 1; you always add 1",
    ),
    Slip(training_loss(counted="all"), "ignored entries: yours count as negatives"),
    Slip(
        training_loss(counted="not ignored"), "an entry that is positive and ignored: positive wins"
    ),
    Slip(
        training_loss(counted="only ignored"),
        "ignored entries: they are the ones to leave out; you keep them",
    ),
    Slip(
        training_loss(counted="cells"),
        "ignored entries: one class of a location is left out, not the whole location",
    ),
    Slip(
        training_loss(counted="positive cells"),
        "negatives: locations that are not positive learn to be background; yours have no loss",
    ),
    Slip(training_loss(boxes="all"), "the box part: only positive locations have a target"),
    Slip(
        training_loss(labelled="all"),
        "labels: outside positive locations they have no meaning, and every target there is 0",
    ),
    Slip(training_loss(box=lambda a, b: 0 * iou_loss(a, b)), "the two sums: −ln IoU is missing"),
    Slip(training_loss(lambda x, y: 0 * focal(x, y)), "the two sums: the focal loss is missing"),
    Slip(
        training_loss(box=lambda a, b: iou_loss(a.detach(), b)),
        "the gradient: it must flow into the boxes too",
    ),
    Slip(
        training_loss(lambda x, y: focal(x.detach(), y)),
        "the gradient: it must flow into the logits too",
    ),
    *within(training_loss, (*FOCAL_SLIPS, FROZEN)),
    *within(lambda box: training_loss(box=box), IOU_SLIPS),
)
_DEAD = Case(
    "a negative location with a dead ReLU",
    (*training_case("", "", 4, 7, 3, 0.0).args, 1.0),
    "locations that are not positive: leave them out before the IoU loss is taken; masked afterwards, 0 · nan is nan",
)
_DEAD.args[1][-1], _DEAD.args[2][-1] = 0.0, 0.0
LOSS_CASES = (
    *(Case(one.name, (*one.args, 1.0), one.look) for one in TRAINING_CASES),
    Case(
        "lambda 0.5",
        (*training_case("", "", 3, 6, 2, 0.2).args, 0.5),
        "weight: it multiplies both parts",
    ),
    _DEAD,
)
LOSS_SLIPS = (
    *TRAINING_SLIPS,
    Slip(training_loss(boxes="masked"), _DEAD.look),
    Slip(training_loss(weigh=(False, True)), "weight: it multiplies the focal part too"),
    Slip(training_loss(weigh=(True, False)), "weight: it multiplies the IoU part too"),
    Slip(training_loss(weigh=(False, False)), "weight: it is missing"),
)
check_anchor_free_loss = Checker(anchor_free_loss, LOSS_CASES, LOSS_SLIPS, with_slopes(0, 1))
