"""Checkers of notebook 07: means by instance and level, the choice of a level, the loss that trains."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from solutions.ch07 import anchor_free_loss, choose_level, focal, iou_loss, level_means
from torch import Tensor

from . import Case, Checker, Slip

INF = float("inf")


def _random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _means(kind: str = "mean", none: float = INF, shift: int = 1, share: str = "own") -> Callable[..., Tensor]:
    """The solution with one thing otherwise: a source of slips."""

    def function(cell_loss: Tensor, owner: Tensor, level: Tensor, num_instances: int, num_levels: int) -> Tensor:
        result = torch.full((num_instances, num_levels), none)
        for n in range(num_instances):
            for at in range(num_levels):
                mine = cell_loss[(owner == n + shift) & (level == at)]
                count = {"level": (level == at).sum(), "instance": (owner == n + shift).sum(), "all": len(level)}.get(
                    share, len(mine)
                )
                if len(mine):
                    worst = {"sum": mine.sum(), "min": mine.min(), "max": mine.max()}
                    result[n, at] = worst.get(kind, mine.sum() / count)
        return result

    return function


_OWNER = torch.tensor([0, 1, 1, 2, 2, 0, 1, 2, 2, 2, 0, 3])
_LEVEL = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
_LOSS = torch.tensor([9.0, 1.0, 3.0, 0.5, 0.7, 9.0, 1.5, 0.25, 0.35, 0.9, 9.0, 2.0])
_NONE = "an instance without a cell at a level: its loss is inf there, so that it is never the least"
_MEAN = "the mean over the cells that the instance owns at that level"


_MANY = torch.randint(0, 5, (60,), generator=_random(0))
MEANS_CASES = (
    Case(
        "one instance, two cells at P3 and one at P4",
        (_LOSS[[1, 2, 6]], torch.tensor([1, 1, 1]), torch.tensor([0, 0, 1]), 1, 2),
        _MEAN,
        expected=torch.tensor([[2.0, 1.5]]),
    ),
    Case("cells of nobody in between", (_LOSS[:6], _OWNER[:6], _LEVEL[:6], 2, 1), "owner: 0 is nobody, instance n is n + 1"),
    Case("three instances at three levels", (_LOSS, _OWNER, _LEVEL, 3, 3), _MEAN),
    Case("an instance that owns nothing", (_LOSS, _OWNER, _LEVEL, 4, 3), _NONE),
    Case(
        "losses of zero",
        (_LOSS * 0, _OWNER, _LEVEL, 3, 3),
        "a mean of 0 is the best loss there is, and no sign of an empty region",
    ),
    Case("60 cells", (torch.rand(60, generator=_random(1)), _MANY, torch.arange(60) * 3 // 60, 4, 3), _MEAN),
    Case("no instance", (_LOSS, _OWNER * 0, _LEVEL, 0, 3), "an image without objects: a table of 0 rows"),
)
MEANS_SLIPS = (
    Slip(_means("sum"), "mean or sum: a sum grows with the number of cells, so that coarse levels with few cells always win"),
    Slip(_means(share="level"), "the divisor: the instance's own cells at the level, not all cells of the level"),
    Slip(_means(share="instance"), "the divisor: the instance's cells at this level, not at all levels"),
    Slip(_means(share="all"), "the divisor: the instance's own cells at the level, not all R"),
    Slip(_means("min"), "the mean: you take its best cell"),
    Slip(_means("max"), "the mean: you take its worst cell"),
    Slip(_means(none=0.0), f"{_NONE}; yours is 0, the least of all"),
    Slip(_means(none=float("nan")), f"{_NONE}; yours is nan, the mean of nothing"),
    Slip(_means(none=-1.0), f"{_NONE}; yours is −1, which is less than any loss"),
    Slip(_means(none=1e6), f"{_NONE}; the reference has 1e6 here, this core has inf"),
    Slip(_means(shift=0), "owner: 0 is nobody, and instance n is n + 1; yours is one off"),
    Slip(
        lambda loss, owner, level, n, at: level_means(loss, owner, level, n, at).T,
        "the axes: instances are rows, levels are columns",
    ),
)


check_level_means = Checker(level_means, MEANS_CASES, MEANS_SLIPS)


def _other_focal(
    alpha: float = 0.25, gamma: float = 2, swapped: bool = False, twice: bool = False
) -> Callable[[Tensor, Tensor], Tensor]:
    def function(logits: Tensor, targets: Tensor) -> Tensor:
        p = (logits.sigmoid() if twice else logits).sigmoid()
        hit = torch.where(targets > 0, p, 1 - p)
        easy = hit if swapped else 1 - hit
        return -torch.where(targets > 0, alpha, 1 - alpha) * easy**gamma * hit.log()

    return function


def _crossed(offsets: Tensor, targets: Tensor) -> Tensor:
    """As if the order were l r t b."""
    return iou_loss(offsets[..., [0, 2, 1, 3]], targets[..., [0, 2, 1, 3]])


def _choose(
    cls: Callable[[Tensor, Tensor], Tensor] = focal,
    box: Callable[[Tensor, Tensor], Tensor] = iou_loss,
    classes: str = "sum",
    cells: str = "mean",
    parts: tuple[float, float] = (1, 1),
    none: float = INF,
    worst: bool = False,
    last: bool = False,
    nowhere: int = -1,
    detached: bool = True,
) -> Callable[..., tuple[Tensor, int]]:
    """The solution with one thing otherwise: a source of slips."""

    def function(levels: Sequence[tuple[Tensor, Tensor, Tensor]], label: int) -> tuple[Tensor, int]:
        losses = []
        for logits, offsets, targets in levels:
            wanted = torch.zeros_like(logits)
            wanted[:, label] = 1
            entries = cls(logits, wanted)
            focal_part = {"sum": entries.sum(1), "mean": entries.mean(1), "own": entries[:, label]}[classes]
            both = parts[0] * focal_part + parts[1] * box(offsets, targets)
            reduced = both.sum() if cells == "sum" else both.mean()
            losses.append(reduced if len(logits) else torch.tensor(none))
        table = torch.stack(losses)
        table = table.detach() if detached else table
        order = table.flip(0) if last else table
        best = int(order.argmax() if worst else order.argmin())
        best = len(table) - 1 - best if last else best
        return table, nowhere if all(len(logits) == 0 for logits, _, _ in levels) else best

    return function


def _ask_choice(function: Callable, levels: Sequence, label: int) -> Any:
    """What the reader's function gives, and whether a gradient could flow through it."""
    levels = [tuple(part.clone().requires_grad_() for part in level) for level in levels]
    given = function(levels, label)
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        return given
    losses, level = given
    flows = any(
        isinstance(one, Tensor) and one.requires_grad for one in (losses, *(losses if isinstance(losses, (list, tuple)) else ()))
    )
    return {"losses": losses, "level": level, "gradient flows": flows}


def _levels(seed: int, *counts: int, classes: int = 4, better: int = 0) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Outputs and targets of cells at some levels; those of level `better` fit best."""
    random = _random(seed)
    result = []
    for index, count in enumerate(counts):
        targets = 0.2 + torch.rand(count, 4, generator=random)
        offsets = targets * (0.5 if index != better else 0.9) + 0.1 * torch.rand(count, 4, generator=random)
        logits = torch.randn(count, classes, generator=random) - 1
        logits[:, 1] += 2.5 if index == better else 0.0
        result.append((logits, offsets, targets))
    return result


_PART = "the loss at a level: the mean over its cells of (focal loss summed over the classes + −ln IoU)"
_EMPTY = "a level without a cell: its loss is inf, so that it is not chosen"
_TIED = _levels(5, 2)[0]
CHOICE_CASES = (
    Case("one cell at each of two levels", (_levels(0, 1, 1), 1), _PART),
    Case("four cells at P3, one at P4", (_levels(1, 4, 1, better=0), 1), _PART),
    Case("another class", (_levels(2, 3, 2, 1, better=1), 3), "label: the target is 1 for this class and 0 for all others"),
    Case("the best level is the last", (_levels(3, 9, 4, 2, 1, better=3), 1), _PART),
    Case("no cell at P3", (_levels(4, 0, 2, 1, better=2), 1), _EMPTY),
    Case("two levels are equal", ([_TIED, _TIED], 1), "ties: the first of equal levels is chosen"),
    Case("no cell at any level", (_levels(6, 0, 0), 1), "an instance without any cell: level −1"),
)
CHOICE_SLIPS = (
    Slip(_choose(detached=False), "gradient: choosing must not teach; compute it under torch.no_grad() or detach the losses"),
    Slip(
        _choose(cells="sum"), "mean or sum: a sum grows with the number of cells, so that coarse levels with few cells always win"
    ),
    Slip(
        _choose(cells="sum", none=0.0),
        "mean or sum: a sum grows with the number of cells; and of no cell it is 0, the least of all",
    ),
    Slip(_choose(classes="mean"), "the classes: the focal loss is summed over them, not averaged"),
    Slip(_choose(classes="own"), "the classes: the focal loss is summed over all of them; yours has the instance's own only"),
    Slip(_choose(parts=(1, 0)), "the two parts: −ln IoU is missing"),
    Slip(_choose(parts=(0, 1)), "the two parts: the focal loss is missing"),
    Slip(_choose(parts=(0.5, 0.5)), "the two parts: they are added; λ weighs the training loss, not the selection"),
    Slip(
        _choose(_other_focal(alpha=0.75)),
        "alpha: 0.25 belongs to the positive entry, 0.75 to the negative ones; yours are swapped",
    ),
    Slip(_choose(_other_focal(alpha=0.5)), "alpha: 0.25 for the positive entry, 0.75 for the negative ones"),
    Slip(
        _choose(lambda x, y: 2 * _other_focal(alpha=0.5)(x, y)), "alpha: 0.25 for the positive entry, 0.75 for the negative ones"
    ),
    Slip(_choose(_other_focal(gamma=0)), "gamma: (1 − p)² is missing"),
    Slip(_choose(_other_focal(gamma=1)), "gamma: it is 2"),
    Slip(
        _choose(_other_focal(swapped=True)),
        "the factor: (1 − p)² for the positive entry, p² for a negative one; yours are swapped",
    ),
    Slip(_choose(_other_focal(twice=True)), "the sigmoid: it is applied twice"),
    Slip(_choose(box=lambda a, b: 1 - (-iou_loss(a, b)).exp()), "the box part: −ln IoU, not 1 − IoU"),
    Slip(_choose(box=lambda a, b: (-iou_loss(a, b)).exp()), "the box part: −ln IoU, not the IoU itself"),
    Slip(_choose(box=lambda a, b: -iou_loss(a, b)), "the sign: −ln IoU is positive"),
    Slip(_choose(box=lambda a, b: iou_loss(a, b) / torch.log(torch.tensor(2.0))), "the logarithm: the natural one"),
    Slip(_choose(box=_crossed), "the order of the sides: l t r b, so a width is l + r, the first and the third"),
    Slip(_choose(box=lambda a, b: (a - b).abs().sum(-1)), "the box part: −ln IoU, not a distance of the offsets"),
    Slip(_choose(none=0.0), f"{_EMPTY}; yours is 0, the least of all"),
    Slip(_choose(none=float("nan")), f"{_EMPTY}; yours is nan, the mean of nothing"),
    Slip(_choose(worst=True), "which level: the one with the least loss, not the greatest"),
    Slip(_choose(last=True), "ties: the first of equal levels is chosen"),
    Slip(_choose(nowhere=0), "an instance without any cell: −1; argmin of nothing but inf says 0"),
)


check_choose_level = Checker(choose_level, CHOICE_CASES, CHOICE_SLIPS, _ask_choice)


def _loss(
    cls: Callable[[Tensor, Tensor], Tensor] = focal,
    divisor: str = "positive",
    box_divisor: str = "",
    counted: str = "right",
    box_cells: str = "positive",
    weigh: tuple[bool, bool] = (True, True),
    stopped: bool = False,
) -> Callable[..., Tensor]:
    """The solution with one thing otherwise: a source of slips."""

    def function(
        logits: Tensor, offsets: Tensor, targets: Tensor, labels: Tensor, positive: Tensor, ignored: Tensor, weight: float
    ) -> Tensor:
        wanted = torch.zeros_like(logits, dtype=torch.bool)
        wanted[torch.arange(len(logits))[positive], labels[positive]] = True
        everywhere = wanted.scatter(1, labels[:, None], True)
        keep = {
            "right": wanted | ~ignored,
            "all": torch.ones_like(ignored),
            "not ignored": ~ignored,
            "cells": wanted | ~ignored.any(1, keepdim=True),
            "positive cells": positive[:, None].expand_as(ignored),
        }[counted]
        entries = cls(logits, everywhere if box_cells == "labels" else wanted) * keep
        sizes = {
            "positive": positive.sum().clamp(min=1),
            "none": 1,
            "bare": positive.sum(),
            "cells": len(logits),
            "entries": logits.numel(),
            "kept": keep.sum().clamp(min=1),
        }
        n = sizes[divisor]
        at = positive if box_cells != "all" else torch.ones_like(positive)
        box = iou_loss(offsets[at], targets[at]).sum() / sizes[box_divisor or divisor]
        total = (weight if weigh[0] else 1) * entries.sum() / n + (weight if weigh[1] else 1) * box
        return total.detach() if stopped else total

    return function


def _ask_loss(function: Callable, logits: Tensor, offsets: Tensor, *rest: Any) -> Any:
    """Value and gradient."""
    logits, offsets = logits.clone().requires_grad_(), offsets.clone().requires_grad_()
    loss = function(logits, offsets, *rest)
    if not isinstance(loss, (Tensor, float)) or (isinstance(loss, Tensor) and loss.numel() != 1):
        return loss
    flows = isinstance(loss, Tensor) and loss.requires_grad
    if flows:
        loss.sum().backward()
        loss = loss.detach()
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in (logits, offsets)]
    return {"loss": loss, "gradient flows": flows, "logits' gradient": gradients[0], "offsets' gradient": gradients[1]}


def _loss_case(name: str, look: str, seed: int, cells: int, positives: int, ignored: float, weight: float = 1.0) -> Case:
    random = _random(seed)
    logits, targets = torch.randn(cells, 3, generator=random) - 1, 0.3 + torch.rand(cells, 4, generator=random)
    offsets = targets * (0.6 + 0.6 * torch.rand(cells, 4, generator=random))
    labels = torch.randint(0, 3, (cells,), generator=random)
    positive = torch.arange(cells) < positives
    left_out = torch.rand(cells, 3, generator=random) < ignored
    if ignored:
        left_out[0, labels[0]] = True  # an entry that is ignored and positive is positive
    args = (logits, offsets, targets, labels, positive, left_out, weight)
    return Case(name, args, look)


_SUM = "the two sums: focal loss over all entries that are not ignored, −ln IoU over positive cells, both divided by their number"
LOSS_CASES = (
    _loss_case("one positive cell", _SUM, 0, 1, 1, 0.0),
    _loss_case("two positive cells of five", _SUM, 1, 5, 2, 0.0),
    _loss_case("ignored entries", "ignored entries: they add nothing, and have no gradient", 2, 8, 3, 0.4),
    _loss_case("lambda 0.5", "weight: it multiplies both parts", 3, 6, 2, 0.2, 0.5),
    _loss_case("no positive cell", "no objects: the divisor is at least 1, and the negatives still count", 4, 6, 0, 0.0),
)
LOSS_SLIPS = (
    Slip(_loss(stopped=True), "gradient: this is the loss that trains; no torch.no_grad() and no detach here"),
    Slip(_loss(divisor="none"), "the divisor: both sums are divided by the number of positive cells"),
    Slip(_loss(divisor="cells"), "the divisor: the number of positive cells, not of all cells"),
    Slip(
        _loss(divisor="entries", box_divisor="positive"),
        "the divisor: the number of positive cells; a mean over all entries drowns them",
    ),
    Slip(
        _loss(divisor="kept", box_divisor="positive"), "the divisor: the number of positive cells, not of the entries that count"
    ),
    Slip(
        _loss(divisor="cells", box_divisor="positive"),
        "the divisor: the focal sum too is divided by the positive cells, not by all",
    ),
    Slip(_loss(divisor="none", box_divisor="positive"), "the divisor: the focal sum is divided by it too"),
    Slip(_loss(box_divisor="none"), "the divisor: the IoU sum is divided by it too"),
    Slip(_loss(divisor="bare"), "an image without objects: the divisor is at least 1, else everything becomes nan"),
    Slip(_loss(counted="all"), "ignored entries: yours count as negatives"),
    Slip(_loss(counted="not ignored"), "an entry that is positive and ignored: positive wins"),
    Slip(_loss(counted="cells"), "ignored entries: one class of a cell is left out, not the whole cell"),
    Slip(_loss(counted="positive cells"), "negatives: cells that are not positive learn to say nothing; yours have no loss"),
    Slip(_loss(box_cells="all"), "the box part: only positive cells have a target"),
    Slip(_loss(box_cells="labels"), "labels: outside positive cells they mean nothing, there all classes are negative"),
    Slip(_loss(weigh=(False, True)), "weight: it multiplies the focal part too"),
    Slip(_loss(weigh=(True, False)), "weight: it multiplies the IoU part too"),
    Slip(_loss(weigh=(False, False)), "weight: it is missing"),
    Slip(
        _loss(_other_focal(alpha=0.75)), "alpha: 0.25 belongs to the positive entry, 0.75 to the negative ones; yours are swapped"
    ),
    Slip(_loss(_other_focal(gamma=0)), "gamma: (1 − p)² is missing"),
    Slip(
        _loss(_other_focal(swapped=True)), "the factor: (1 − p)² for the positive entry, p² for a negative one; yours are swapped"
    ),
    Slip(_loss(_other_focal(twice=True)), "the sigmoid: it is applied twice"),
)


check_anchor_free_loss = Checker(anchor_free_loss, LOSS_CASES, LOSS_SLIPS, _ask_loss)
