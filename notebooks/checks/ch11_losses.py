"""Steps 7 to 10 of notebook 11: the focal loss, the table of losses, who learns what, and the loss that trains."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from solutions import ch11 as own
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from . import nothing
from .ch07 import _other_focal as other_focal
from .ch11_parts import DETACHED, LIST, Step, kind, make_cases, make_slips, numbers, with_slopes, without_slopes

INF = float("inf")


# Step 7

_ALPHA = "alpha: 0.25 belongs to the answer 1, 0.75 to the answer 0"
_FL = "the formula: −0.25 (1 − p)² ln p where the answer is 1, −0.75 p² ln(1 − p) where it is 0, p the sigmoid of the logit"
_LARGE_LOGIT = (
    "large logits: p rounds to 0 or 1 and its logarithm to −inf; logsigmoid(logit) is ln p, logsigmoid(−logit) is ln(1 − p)"
)


def _half(which: int) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, y: own.focal_loss(x, y) * (y == which)


def _detour(alpha: float = 0.25, gamma: float = 2.0) -> Callable[[Tensor, Tensor], Tensor]:
    def function(logits: Tensor, answers: Tensor) -> Tensor:
        log = torch.where(answers > 0, logits, -logits)
        weight = torch.where(answers > 0, alpha, 1 - alpha)
        return -weight * (-log).sigmoid() ** gamma * logsigmoid(log)

    return function


FOCAL = Step(
    own.focal_loss,
    make_cases(
        own.focal_loss,
        with_slopes(0),
        ("p = 0.5, answer 1", (torch.tensor([0.0]), torch.tensor([1.0])), _FL),
        ("p = 0.5, answer 0", (torch.tensor([0.0]), torch.tensor([0.0])), _FL),
        (
            "four logits, both answers",
            (torch.tensor([[-2.0, -0.5, 1.0, 3.0]] * 2), torch.tensor([[1.0] * 4, [0.0] * 4])),
            _FL,
        ),
        (
            "two cells of three classes",
            (torch.tensor([[-1.0, 0.3, 2.0], [0.7, -3.0, -0.2]]), torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])),
            _FL,
        ),
        (
            "logits of 200 and −200",
            (torch.tensor([200.0, -200.0, 200.0, -200.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])),
            _LARGE_LOGIT,
        ),
        ("no cell", (torch.zeros(0, 3), torch.zeros(0, 3)), "no cells: nothing in, nothing out"),
    ),
    make_slips(
        (_detour(alpha=0.75), f"{_ALPHA}; yours are swapped"),
        (_detour(alpha=0.5), _ALPHA),
        (lambda x, y: 4 * _detour()(x, y) / torch.where(y > 0, 1, 3), f"{_ALPHA}; it is missing"),
        (lambda x, y: _detour()(x, y) / torch.where(y > 0, 1, 3), f"{_ALPHA}; yours is 0.25 for both"),
        (_detour(gamma=0), "gamma: the factor (1 − p)² is missing"),
        (_detour(gamma=1), "gamma: it is 2"),
        (lambda x, y: binary_cross_entropy_with_logits(x, y, reduction="none"), "alpha and gamma: this is plain cross entropy"),
        (other_focal(), _LARGE_LOGIT),
        (other_focal(swapped=True), "the factor: (1 − p)² where the answer is 1, p² where it is 0; yours are swapped"),
        (other_focal(twice=True), "the sigmoid: it is applied twice"),
        (lambda x, y: -own.focal_loss(x, y), "the sign: a loss is positive, and ln p is negative"),
        (lambda x, y: own.focal_loss(x, 1 - y), "the answers: 1 and 0 are swapped"),
        (_half(1), "the answer 0: it costs too, else nobody learns to be silent"),
        (_half(0), "the answer 1: it costs too"),
        (lambda x, y: own.focal_loss(x, y).sum(), "the shape: a loss for each entry; nothing is summed here"),
        (lambda x, y: own.focal_loss(x, y).mean(), "the shape: a loss for each entry; nothing is averaged here"),
        (lambda x, y: own.focal_loss(x, y).sum(-1), "the shape: a loss for each entry; the classes are summed later"),
        (
            lambda x, y: own.focal_loss((x.softmax(-1) + 1e-30).log(), y),
            "the probabilities: a sigmoid of each logit alone, not a softmax over classes",
        ),
        (
            lambda x, y: own.focal_loss(x, y) / torch.log(torch.tensor(2.0)),
            "the logarithm: the natural one",
        ),
        (lambda x, y: own.focal_loss(x, y).detach(), DETACHED),
        (lambda x, y: own.focal_loss(x, y).tolist(), LIST),
    ),
    with_slopes(0),
)


# Step 8


def _table(
    cls: Callable[[Tensor, Tensor], Tensor] = own.focal_loss,
    box: Callable[[Tensor, Tensor], Tensor] = own.iou_loss,
    classes: str = "sum",
    cells: str = "mean",
    parts: tuple[float, float] = (1, 1),
    none: float = INF,
    shift: int = 1,
    detached: bool = True,
    label: str = "own",
) -> Callable[..., Tensor]:
    """The solution with one thing otherwise: a source of slips."""

    def function(
        logits: Tensor, boxes: Tensor, gt_boxes: Tensor, gt_labels: Tensor, owner: Tensor, level: Tensor, num_levels: int
    ) -> Tensor:
        rows = []
        for n in range(len(gt_boxes)):
            for at in range(num_levels):
                mine = (owner == n + shift) & (level == at)
                answers = torch.zeros_like(logits[mine])
                if label == "own":
                    answers[:, gt_labels[n]] = 1
                elif label == "index":
                    answers[:, n % logits.shape[1]] = 1
                entries = cls(logits[mine], answers)
                focal = {"sum": entries.sum(1), "mean": entries.mean(1), "own": entries[:, gt_labels[n]]}[classes]
                both = parts[0] * focal + parts[1] * box(boxes[mine], gt_boxes[n].expand(int(mine.sum()), 4))
                counts = {"level": (level == at).sum(), "instance": (owner == n + shift).sum(), "sum": 1}
                value = both.sum() / counts.get(cells, max(len(both), 1))
                if cells == "min" and len(both):
                    value = both.min()
                rows.append(value if mine.any() else torch.tensor(none))
        table = torch.stack(rows).view(-1, num_levels) if rows else torch.zeros(0, num_levels)
        return table.detach() if detached else table

    return function


def _scene(seed: int, owner: Sequence[int], level: Sequence[int], num: int, levels: int, classes: int = 3) -> tuple:
    """Outputs of cells, instances, owners and levels, as `level_losses` takes them."""
    random = numbers(seed)
    low = 60 * torch.rand(num, 2, generator=random)
    gt = torch.cat([low, low + 20 + 40 * torch.rand(num, 2, generator=random)], 1)
    owner, level = torch.tensor(owner), torch.tensor(level)
    boxes = torch.cat([torch.zeros(1, 4), gt])[owner] + torch.tensor([-4.0, -4, 4, 4]) * torch.rand(
        len(owner), 4, generator=random
    )
    logits = torch.randn(len(owner), classes, generator=random) - 1
    labels = torch.randint(0, classes, (num,), generator=random)
    return logits, boxes, gt, labels, owner, level, levels


_PART = "the loss of instance n at level l: the mean, over the cells it owns there, of focal loss (summed over classes) + −ln IoU"
_NONE = "an instance without a cell at a level: its loss is inf there, so that it is never the least"
_ONE_EACH = _scene(0, [1, 1], [0, 1], 1, 2)
TABLE = Step(
    own.level_losses,
    make_cases(
        own.level_losses,
        without_slopes(0, 1),
        ("one instance, one cell at each of two levels", _ONE_EACH, _PART),
        ("three cells at one level, one at the next", _scene(1, [1, 1, 1, 1], [0, 0, 0, 1], 1, 2), _PART),
        (
            "cells of nobody in between",
            _scene(2, [0, 1, 0, 1, 0, 1], [0, 0, 0, 0, 1, 1], 1, 2),
            "owner: 0 is nobody, instance n is n + 1",
        ),
        ("three instances", _scene(3, [1, 1, 2, 3, 3, 0, 1, 2, 3, 2], [0, 0, 0, 0, 0, 0, 1, 1, 1, 2], 3, 3, 4), _NONE),
        ("an instance that owns nothing", _scene(4, [1, 1, 3, 0], [0, 1, 1, 1], 3, 2), _NONE),
        ("no instance", _scene(5, [0, 0, 0], [0, 0, 1], 0, 2), "an image without objects: a table of 0 rows, (0, L)"),
    ),
    make_slips(
        (_table(detached=False), "the gradient: choosing must not teach; work under torch.no_grad() or detach the table"),
        (_table(cells="sum"), "mean or sum: a sum grows with the number of cells, so that coarse levels with few cells win"),
        (_table(cells="sum", none=0.0), "mean or sum: a sum grows with the cells; and of no cell it is 0, the least of all"),
        (_table(cells="min"), "the mean: you take its best cell"),
        (_table(cells="level"), "the divisor: the instance's own cells at the level, not all cells of the level"),
        (_table(cells="instance"), "the divisor: the instance's cells at this level, not at all levels"),
        (_table(classes="mean"), "the classes: the focal loss is summed over them, not averaged"),
        (_table(classes="own"), "the classes: summed over all of them; yours has the instance's own only"),
        (_table(parts=(1, 0)), "the two parts: −ln IoU is missing"),
        (_table(parts=(0, 1)), "the two parts: the focal loss is missing"),
        (_table(parts=(0.5, 0.5)), "the two parts: they are added, not averaged"),
        (_table(label="index"), "the class: gt_labels[n], not n"),
        (_table(label="none"), "the answers: 1 for the instance's class; yours are all 0"),
        (_table(_detour(alpha=0.75)), f"{_ALPHA}; yours are swapped"),
        (_table(box=lambda a, b: 1 - (-own.iou_loss(a, b)).exp()), "the box part: −ln IoU, not 1 − IoU"),
        (_table(none=0.0), f"{_NONE}; yours is 0, the least of all"),
        (_table(none=float("nan")), f"{_NONE}; yours is nan, the mean of nothing"),
        (_table(none=-1.0), f"{_NONE}; yours is −1, which is less than any loss"),
        (_table(none=1e6), f"{_NONE}; the reference has 1e6 here, this core has inf"),
        (_table(none=1e5), f"{_NONE}; a large number is not inf"),
        (_table(shift=0), "owner: 0 is nobody, and instance n is n + 1; yours is one off"),
        (lambda *args: own.level_losses(*args).T, "the axes: instances are rows, levels are columns"),
        (lambda *args: own.level_losses(*args).tolist(), LIST),
    ),
    without_slopes(0, 1),
)


# Step 9


def _three(function: Callable, *args: Any) -> Any:
    """The three tensors by their names."""
    value = function(*args)
    if not isinstance(value, (tuple, list)) or len(value) != 3:
        return value if nothing(value) else dict.fromkeys(("three tensors", "selected", "positive", "ignored", "kinds"), False)
    if all(map(nothing, value)):
        return None
    names = ("selected", "positive", "ignored")
    return {"three tensors": True, **dict(zip(names, value)), "kinds": [kind(one) for one in value]}


def _assigned(
    near: Callable[[int, Tensor], Tensor] = lambda s, level: (level - s).abs() <= 1,
    least: bool = True,
    last: bool = False,
    nowhere: int = -1,
    positive: str = "own",
    classes: str = "own",
    belt: str = "all",
    ghosts: bool = False,
) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """The solution with one thing otherwise: a source of slips."""

    def function(
        table: Tensor, owner: Tensor, ignoring: Tensor, gt_labels: Tensor, level: Tensor, num_classes: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        order = table if least else torch.where(table.isinf(), -1, -table)
        selected = table.shape[1] - 1 - order.flip(1).argmin(1) if last else order.argmin(1)
        empty = table.isinf().all(1)
        selected[empty] = nowhere
        chosen = torch.cat([torch.tensor([-1]), selected])[owner]
        learns = {
            "own": chosen == level,
            "owned": owner > 0,
            "near": (owner > 0) & ((chosen - level).abs() <= 1),
            "other": (owner > 0) & (chosen != level),
            "nobody too": (chosen == level) | (owner == 0),
        }[positive]
        ignored = torch.zeros(len(level), num_classes, dtype=torch.bool)
        for n in range(len(selected)):
            if not empty[n] or ghosts:
                where = ignoring[n] & near(int(selected[n]), level)
                if belt == "belt":
                    where = where & (owner != n + 1)
                if belt == "positive":
                    where = where & ~learns
                ignored[where, slice(None) if classes == "all" else n % num_classes if classes == "index" else gt_labels[n]] = (
                    True
                )
        return selected, learns, ignored

    return function


def _belts(seed: int, count: int, *levels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Owner (R,), ignoring region (N, R) and level (R,) of cells at some levels: three instances side by side."""
    level = torch.cat([torch.full((cells,), index) for index, cells in enumerate(levels)])
    random = numbers(seed)
    ignoring = torch.rand(count, len(level), generator=random) < 0.5
    owner = torch.zeros(len(level), dtype=torch.long)
    for n in range(count):
        owner[ignoring[n] & (torch.rand(len(level), generator=random) < 0.5)] = n + 1
    return owner, ignoring, level


def _assign_case(name: str, look: str, table: list, labels: list[int], seed: int, *levels: int) -> tuple[str, tuple, str]:
    owner, ignoring, level = _belts(seed, len(labels), *levels)
    losses = torch.tensor(table, dtype=torch.float32).view(-1, len(levels))
    return name, (losses, owner, ignoring, torch.tensor(labels, dtype=torch.long), level, 3), look


_WHERE = "ignored: the ignoring region at the selected level and at the two beside it, for the instance's own class"
ASSIGN = Step(
    own.assign,
    make_cases(
        own.assign,
        _three,
        _assign_case("one instance, two levels", "selected: the level of the least loss", [[0.9, 0.4]], [1], 0, 4, 4),
        _assign_case("four levels", _WHERE, [[0.3, 0.5, 0.7, 0.9]], [2], 1, 6, 6, 6, 6),
        _assign_case("the last of four levels", _WHERE, [[0.9, 0.8, 0.7, 0.1]], [0], 2, 6, 6, 6, 6),
        _assign_case("no cell at two levels", "inf: never the least", [[INF, 0.8, INF, 0.9]], [1], 3, 6, 6, 6, 6),
        _assign_case("a tie", "a tie: the first, finer level", [[0.7, 0.4, 0.4, 0.9]], [1], 4, 6, 6, 6, 6),
        _assign_case(
            "no cell anywhere", "an instance without a cell: −1, and nothing of it is ignored", [[INF] * 3], [1], 5, 4, 4, 4
        ),
        _assign_case(
            "three instances",
            _WHERE,
            [[0.2, 0.9, 3.0, 4.0], [2.0, 1.0, 0.5, 3.0], [INF, INF, 2.0, 1.0]],
            [2, 0, 0],
            6,
            *(9, 9, 9, 9),
        ),
        _assign_case("no instance", "an image without objects: nothing is positive, nothing ignored", [], [], 7, 4, 4),
    ),
    make_slips(
        (_assigned(least=False), "selected: the level of the least loss, yours is the greatest"),
        (_assigned(last=True), "a tie: the first, finer level is selected"),
        (_assigned(nowhere=0), "an instance without a cell: −1; argmin of nothing but inf says 0"),
        (_assigned(near=lambda s, level: level == s), f"{_WHERE}; yours has the selected level only"),
        (_assigned(near=lambda s, level: (level - s).abs() == 1), f"{_WHERE}; yours is missing at the selected level itself"),
        (_assigned(near=lambda s, level: level > -1), f"{_WHERE}; yours has all levels"),
        (_assigned(near=lambda s, level: (level - s).abs() != 1), f"{_WHERE}; yours is turned round"),
        (_assigned(near=lambda s, level: (level == s) | (level == s + 1)), f"{_WHERE}; you look to the coarser side only"),
        (_assigned(near=lambda s, level: (level == s) | (level == s - 1)), f"{_WHERE}; you look to the finer side only"),
        (_assigned(near=lambda s, level: (level - s).abs() <= 2), f"{_WHERE}; yours reaches two levels far"),
        (_assigned(near=lambda s, level: level < -1), "ignored: it is never True in yours"),
        (_assigned(ghosts=True), "selected = −1: no level at all, but |0 − (−1)| = 1 makes it a neighbour of level 0"),
        (_assigned(positive="owned"), "positive: only cells at the level that their owner selected; yours learn at every level"),
        (_assigned(positive="near"), "positive: the selected level only; the ones beside it are ignored"),
        (_assigned(positive="other"), "positive: at the selected level; yours at all others"),
        (_assigned(positive="nobody too"), "positive: cells of nobody never learn an object"),
        (_assigned(classes="all"), "ignored: for the instance's own class; other classes are negative there"),
        (_assigned(classes="index"), "the class: gt_labels[n], not n"),
        (_assigned(belt="belt"), "ignored: the whole ignoring region, the effective cells too; step 10 lets positives through"),
        (_assigned(belt="positive"), "ignored: the whole ignoring region, positive cells too; step 10 lets positives through"),
        (lambda *args: [one.tolist() for one in own.assign(*args)], LIST),
        (lambda *args: own.assign(*args)[0], "what you return: three tensors, selected, positive, ignored"),
        (lambda *args: own.assign(*args)[:2], "what you return: three tensors, selected, positive, ignored"),
        (lambda *args: (*own.assign(*args)[:2], own.assign(*args)[2].T), "the shape: ignored is (R, K), a row for each cell"),
        (
            lambda *args: (own.assign(*args)[0], *(one.float() for one in own.assign(*args)[1:])),
            "the kinds: positive and ignored are bools",
        ),
        (
            lambda *args: (own.assign(*args)[0] + 3, *own.assign(*args)[1:]),
            "selected: an index 0..L−1 of a level, not its number 3, 4, ...",
        ),
    ),
    _three,
)


# Step 10


def _total(
    cls: Callable[[Tensor, Tensor], Tensor] = own.focal_loss,
    box: Callable[[Tensor, Tensor], Tensor] = own.iou_loss,
    divisor: str = "positive",
    box_divisor: str = "",
    counted: str = "right",
    box_cells: str = "positive",
    labelled: str = "positive",
    stopped: bool = False,
) -> Callable[..., Tensor]:
    """The solution with one thing otherwise: a source of slips."""

    def function(logits: Tensor, boxes: Tensor, targets: Tensor, labels: Tensor, positive: Tensor, ignored: Tensor) -> Tensor:
        wanted = torch.zeros_like(logits)
        at = positive if labelled == "positive" else torch.ones_like(positive)
        wanted[at, labels[at]] = 1
        keep = {
            "right": (wanted > 0) | ~ignored,
            "all": torch.ones_like(ignored),
            "not ignored": ~ignored,
            "cells": (wanted > 0) | ~ignored.any(1, keepdim=True),
            "positive cells": positive[:, None].expand_as(ignored),
        }[counted]
        sizes = {
            "positive": positive.sum().clamp(min=1),
            "one": 1,
            "bare": positive.sum(),
            "cells": len(logits),
            "entries": logits.numel(),
            "kept": keep.sum().clamp(min=1),
            "more": positive.sum() + 1,
        }
        if box_cells == "masked":
            loss = (box(boxes, targets) * positive).sum()
        else:
            chosen = positive if box_cells == "positive" else torch.ones_like(positive)
            loss = box(boxes[chosen], targets[chosen]).sum()
        total = (cls(logits, wanted) * keep).sum() / sizes[divisor] + loss / sizes[box_divisor or divisor]
        return total.detach() if stopped else total

    return function


def _cells_case(name: str, look: str, seed: int, cells: int, positives: int, ignored: float, dead: int = 0) -> tuple:
    random = numbers(seed)
    low = 60 * torch.rand(cells, 2, generator=random)
    targets = torch.cat([low, low + 20 + 40 * torch.rand(cells, 2, generator=random)], 1)
    boxes = targets + torch.tensor([-4.0, -4, 4, 4]) * torch.rand(cells, 4, generator=random)
    if dead:  # negative cells say a point, and their target is a point: IoU 0 / 0
        boxes[-dead:], targets[-dead:] = torch.tensor([30.0, 40.0, 30.0, 40.0]), 0.0
    labels = torch.randint(0, 3, (cells,), generator=random)
    left_out = torch.rand(cells, 3, generator=random) < ignored
    if ignored:
        left_out[0, labels[0]] = True  # an entry that is ignored and positive is positive
    logits = torch.randn(cells, 3, generator=random) - 1
    return name, (logits, boxes, targets, labels, torch.arange(cells) < positives, left_out), look


_SUM = "the two sums: focal loss over all entries that count, −ln IoU over positive cells, both over the number of positive cells"
LOSS = Step(
    own.anchor_free_loss,
    make_cases(
        own.anchor_free_loss,
        with_slopes(0, 1),
        _cells_case("one positive cell", _SUM, 0, 1, 1, 0.0),
        _cells_case("two positive cells of five", _SUM, 1, 5, 2, 0.0),
        _cells_case("ignored entries", "ignored entries: they add nothing, and have no gradient", 2, 8, 3, 0.4),
        _cells_case(
            "no positive cell", "an image without objects: the divisor is at least 1, and negatives still count", 3, 6, 0, 0.0
        ),
        _cells_case(
            "dead cells among the negatives",
            "cells that are not positive: leave them out before the loss is taken; masked afterwards, 0 · nan is nan",
            *(4, 7, 3, 0.0, 2),
        ),
    ),
    make_slips(
        (_total(stopped=True), DETACHED),
        (_total(divisor="one"), "the normaliser: both sums are divided by the number of positive cells"),
        (_total(divisor="cells"), "the normaliser: the number of positive cells, not of all cells"),
        (
            _total(divisor="entries", box_divisor="positive"),
            "the normaliser: positive cells; a mean over all entries drowns them",
        ),
        (
            _total(divisor="cells", box_divisor="positive"),
            "the normaliser: the focal sum too is divided by positive cells, not by all",
        ),
        (_total(divisor="kept", box_divisor="positive"), "the normaliser: positive cells, not the entries that count"),
        (_total(divisor="one", box_divisor="positive"), "the normaliser: the focal sum is divided by it too"),
        (_total(box_divisor="one"), "the normaliser: the IoU sum is divided by it too"),
        (_total(divisor="bare"), "an image without objects: the divisor is at least 1, else everything becomes nan"),
        (_total(divisor="more"), "the normaliser: the number of positive cells, at least 1; you add 1 always"),
        (_total(counted="all"), "ignored entries: yours count as negatives"),
        (_total(counted="not ignored"), "an entry that is positive and ignored: positive wins"),
        (_total(counted="cells"), "ignored entries: one class of a cell is left out, not the whole cell"),
        (_total(counted="positive cells"), "negatives: cells that are not positive learn to be silent; yours cost nothing"),
        (_total(box_cells="all"), "the box part: only positive cells have a target"),
        (
            _total(box_cells="masked"),
            "cells that are not positive: leave them out before the loss is taken; masked afterwards, 0 · nan is nan",
        ),
        (_total(labelled="all"), "labels: outside positive cells they mean nothing, there every answer is 0"),
        (_total(box=lambda a, b: 0 * own.iou_loss(a, b)), "the two sums: −ln IoU is missing"),
        (_total(box=lambda a, b: own.iou_loss(a.detach(), b)), "the gradient: it must flow into the boxes too"),
        (_total(lambda x, y: own.focal_loss(x.detach(), y)), "the gradient: it must flow into the logits too"),
        (_total(lambda x, y: 0 * own.focal_loss(x, y)), "the two sums: the focal loss is missing"),
        (_total(_detour(alpha=0.75)), f"{_ALPHA}; yours are swapped"),
        (_total(_detour(gamma=0)), "gamma: the factor (1 − p)² is missing"),
        (lambda *args: own.anchor_free_loss(*args)[None], "the shape: one number, without an axis"),
        (lambda *args: own.anchor_free_loss(*args).item(), DETACHED),
    ),
    with_slopes(0, 1),
)
