"""Steps 7 to 10 of notebook 11: the focal loss, the table of losses, the assignment, and the loss that trains."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from solutions import ch11 as own
from torch import Tensor

from . import Case, Slip, ch06, ch07, nothing, within
from .ch11_boxes import SIDES, in_pixels
from .runs import DETACHED, Step, kind, numbers, with_slopes, without_slopes

# Step 7

_FL = "the formula: −0.25 (1 − p)² ln p where the target is 1, −0.75 p² ln(1 − p) where it is 0, p the sigmoid of the logit"
_LARGE_LOGIT = "large logits: p rounds to 0 or 1 and its logarithm to −inf; logsigmoid(logit) is ln p, logsigmoid(−logit) is ln(1 − p)"


FOCAL_CASES = (
    Case("p = 0.5, target 1", (torch.zeros(2), torch.ones(2)), _FL),
    Case("p = 0.5, target 0", (torch.zeros(2), torch.zeros(2)), _FL),
    Case(
        "four logits, both targets",
        (torch.tensor([[-2.0, -0.5, 1.0, 3.0]] * 2), torch.tensor([[1.0] * 4, [0.0] * 4])),
        _FL,
    ),
    Case(
        "two locations of three classes",
        (
            torch.tensor([[-1.0, 0.3, 2.0], [0.7, -3.0, -0.2]]),
            torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]),
        ),
        _FL,
    ),
    Case(
        "logits of 200 and −200",
        (torch.tensor([200.0, -200.0, 200.0, -200.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])),
        _LARGE_LOGIT,
    ),
    Case(
        "no location",
        (torch.zeros(0, 3), torch.zeros(0, 3)),
        "no locations: return an empty loss of the same shape",
    ),
)
FOCAL_SLIPS = (
    *ch07.FOCAL_SLIPS,
    ch07.FROZEN,
    Slip(ch07.other_focal(naive=True), _LARGE_LOGIT),
    Slip(lambda x, y: -own.focal_loss(x, y), "the sign: a loss is positive, and ln p is negative"),
    Slip(lambda x, y: own.focal_loss(x, 1 - y), "the targets: 1 and 0 are swapped"),
    Slip(
        lambda x, y: own.focal_loss(x, y) * y,
        "the target 0: it has a loss too, or no location learns the background",
    ),
    Slip(lambda x, y: own.focal_loss(x, y) * (1 - y), "the target 1: it has a loss too"),
    Slip(
        lambda x, y: own.focal_loss(x, y).sum(),
        "the shape: a loss for each entry; nothing is summed here",
    ),
    Slip(
        lambda x, y: own.focal_loss(x, y).mean(),
        "the shape: a loss for each entry; nothing is averaged here",
    ),
    Slip(
        lambda x, y: own.focal_loss(x, y).sum(-1),
        "the shape: a loss for each entry; the classes are summed later",
    ),
    Slip(
        lambda x, y: own.focal_loss(x, y) / torch.log(torch.tensor(2.0)),
        "the logarithm: take the natural one",
    ),
    Slip(lambda x, y: own.focal_loss(x, y).detach(), DETACHED),
)
FOCAL = Step(own.focal_loss, FOCAL_CASES, FOCAL_SLIPS, with_slopes(0))


# Step 8


def _table(
    means: Callable[..., Tensor] = ch07.level_means,
    loss: Callable[..., Tensor] = ch07.OF_A_CELL,
    label: Callable[[int, Tensor], Any] = lambda n, labels: labels[n],
    detached: bool = True,
) -> Callable[..., Tensor]:
    """Return the solution with a change made of notebook 07's functions: a source of slips."""

    def function(
        logits: Tensor,
        boxes: Tensor,
        gt_boxes: Tensor,
        gt_labels: Tensor,
        assigned: Tensor,
        level: Tensor,
        num_levels: int,
    ) -> Tensor:
        rows = [torch.zeros(0, num_levels)]
        for n, box in enumerate(gt_boxes):
            cells = in_pixels(loss, 1)(logits, boxes, box.expand_as(boxes), label(n, gt_labels))
            rows.append(means(cells, assigned, level, len(gt_boxes), num_levels)[n : n + 1])
        return torch.cat(rows).detach() if detached else torch.cat(rows)

    return function


def _scene(
    seed: int,
    assigned: Sequence[int],
    level: Sequence[int],
    num: int,
    levels: int,
    classes: int = 3,
) -> tuple:
    """Return the arguments of `level_losses`: outputs of locations, instances, assigned instances and levels."""
    random = numbers(seed)
    low = 60 * torch.rand(num, 2, generator=random)
    gt = torch.cat([low, low + 20 + 40 * torch.rand(num, 2, generator=random)], 1)
    assigned, level = torch.tensor(assigned), torch.tensor(level)
    boxes = torch.cat([gt, torch.zeros(1, 4)])[assigned] + torch.tensor(
        [-4.0, -4, 4, 4]
    ) * torch.rand(len(assigned), 4, generator=random)
    logits = torch.randn(len(assigned), classes, generator=random) - 1
    labels = torch.randint(0, classes, (num,), generator=random)
    return logits, boxes, gt, labels, assigned, level, levels


_PART = "the loss of instance n at level l: the mean, over the locations assigned to it there, of focal loss (summed over classes) + −ln IoU"
_ONE_EACH = _scene(0, [0, 0], [0, 1], 1, 2)


def _anybodys(
    logits: Tensor,
    boxes: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    assigned: Tensor,
    level: Tensor,
    num_levels: int,
) -> Tensor:
    one_by_one = zip(gt_boxes[:, None], gt_labels[:, None])
    rows = [
        own.level_losses(logits, boxes, *one, assigned.clamp(max=0), level, num_levels)
        for one in one_by_one
    ]
    return torch.cat([torch.zeros(0, num_levels), *rows])


TABLE_CASES = (
    Case("one instance, one location at each of two levels", _ONE_EACH, _PART),
    Case(
        "three locations at one level, one at the next",
        _scene(1, [0, 0, 0, 0], [0, 0, 0, 1], 1, 2),
        _PART,
    ),
    Case(
        "background locations in between",
        _scene(2, [-1, 0, -1, 0, -1, 0], [0, 0, 0, 0, 1, 1], 1, 2),
        "assigned: −1 is background, and n is instance n",
    ),
    Case(
        "three instances",
        _scene(3, [0, 0, 1, 2, 2, -1, 0, 1, 2, 1], [0, 0, 0, 0, 0, 0, 1, 1, 1, 2], 3, 3, 4),
        ch07.NONE,
    ),
    Case(
        "an instance without an assigned location",
        _scene(4, [0, 0, 2, -1], [0, 1, 1, 1], 3, 2),
        ch07.NONE,
    ),
    Case(
        "a coarsest level without an assigned location",
        _scene(6, [0, 0, 1, -1], [0, 1, 1, 2], 2, 3),
        "the columns: num_levels of them, even if nothing is assigned at a level",
    ),
    Case(
        "no instance",
        _scene(5, [-1, -1, -1], [0, 0, 1], 0, 2),
        "an image without objects: a table of 0 rows, (0, L)",
    ),
)


def _detached_in_place(logits: Tensor, boxes: Tensor, *rest: Any) -> Tensor:
    return own.level_losses(logits.detach_(), boxes.detach_(), *rest)


def _seen_levels(*args: Any) -> Tensor:
    """Return the table as if its columns were the levels with an assigned location."""
    assigned, level = args[4:6]
    return own.level_losses(*args)[:, : int(level[assigned >= 0].max()) + 1]


TABLE_SLIPS = (
    Slip(
        _seen_levels,
        "the columns: num_levels of them; you count the levels that have an assigned location",
    ),
    Slip(
        _detached_in_place,
        "the arguments: detach_() changes the caller's tensors; use detach() or torch.no_grad()",
    ),
    Slip(
        _table(label=lambda n, labels: labels[n] - 1),
        "the class: column gt_labels[n]; yours is one off",
    ),
    Slip(
        _table(label=lambda n, labels: labels[0]),
        "the class: gt_labels[n]; yours is the first instance's for all",
    ),
    Slip(
        lambda *args: own.level_losses(*args[:2], args[2][:1].expand_as(args[2]), *args[3:]),
        "the box: gt_boxes[n]; yours is the first instance's for all",
    ),
    Slip(
        _table(detached=False),
        "the gradient: the selection must not train the network; work under torch.no_grad() or detach the table",
    ),
    *within(_table, ch07.MEANS_SLIPS),
    *within(lambda loss: _table(loss=loss), ch07.CELL_SLIPS),
    Slip(_table(label=lambda n, labels: n % 3), "the class: gt_labels[n], not n"),
    Slip(
        _table(label=lambda n, labels: slice(0)),
        "the targets: 1 for the instance's class; in yours all are 0",
    ),
    Slip(
        _anybodys,
        "assigned: only the locations of instance n, assigned == n; yours takes all positive locations",
    ),
    Slip(
        lambda *args: own.level_losses(*args).T, "the axes: instances are rows, levels are columns"
    ),
)
TABLE = Step(own.level_losses, TABLE_CASES, TABLE_SLIPS, without_slopes(0, 1))


# Step 9


def _three(function: Callable, *args: Any) -> Any:
    """Return the three tensors by their names."""
    value = function(*args)
    if not isinstance(value, (tuple, list)) or len(value) != 3:
        return (
            value
            if nothing(value)
            else dict.fromkeys(("three tensors", "selected", "positive", "ignored", "kinds"), False)
        )
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
    ignores: str = "all",
    ghosts: bool = False,
) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Return the solution with one change: a source of slips."""

    def function(
        table: Tensor,
        assigned: Tensor,
        ignoring: Tensor,
        gt_labels: Tensor,
        level: Tensor,
        num_classes: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        order = table if least else torch.where(table.isinf(), -1, -table)
        selected = table.shape[1] - 1 - order.flip(1).argmin(1) if last else order.argmin(1)
        empty = table.isinf().all(1)
        selected[empty] = nowhere
        chosen = torch.cat([selected, torch.tensor([-1])])[assigned]
        learns = {
            "own": chosen == level,
            "assigned": assigned >= 0,
            "near": (assigned >= 0) & ((chosen - level).abs() <= 1),
            "other": (assigned >= 0) & (chosen != level),
            "background too": (chosen == level) | (assigned < 0),
            "last's": (selected[assigned] if len(selected) else chosen) == level,
        }[positive]
        ignored = torch.zeros(len(level), num_classes, dtype=torch.bool)
        for n in range(len(selected)):
            if not empty[n] or ghosts:
                where = ignoring[n] & near(int(selected[n]), level)
                if ignores == "not assigned":
                    where = where & (assigned != n)
                if ignores == "not positive":
                    where = where & ~learns
                if classes == "over":
                    ignored[:, gt_labels[n]] = False
                ignored[
                    where,
                    slice(None)
                    if classes == "all"
                    else n % num_classes
                    if classes == "index"
                    else gt_labels[n],
                ] = True
        return selected, learns, ignored

    return function


def _unmade(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    selected, positive, ignored = own.assign(*args)
    return selected, positive & ~ignored.any(1), ignored


def _random_regions(seed: int, count: int, *levels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return assigned instance (R,), ignoring region (N, R) and level (R,) of locations at some levels."""
    level = torch.cat([torch.full((cells,), index) for index, cells in enumerate(levels)])
    random = numbers(seed)
    ignoring = torch.rand(count, len(level), generator=random) < 0.5
    assigned = torch.full((len(level),), -1)
    for n in range(count):
        assigned[ignoring[n] & (torch.rand(len(level), generator=random) < 0.5)] = n
    return assigned, ignoring, level


def _assign_case(
    name: str, look: str, table: list, labels: list[int], seed: int, *levels: int
) -> Case:
    assigned, ignoring, level = _random_regions(seed, len(labels), *levels)
    losses = torch.tensor(table, dtype=torch.float32).view(-1, len(levels))
    return Case(
        name, (losses, assigned, ignoring, torch.tensor(labels, dtype=torch.long), level, 3), look
    )


_WHERE = "ignored: the ignoring region at the selected level and the two adjacent levels, for the instance's own class"
ASSIGN_CASES = (
    _assign_case(
        "one instance, two levels",
        "selected: the level of the least loss",
        [[0.9, 0.4]],
        [1],
        0,
        4,
        4,
    ),
    _assign_case("four levels", _WHERE, [[0.3, 0.5, 0.7, 0.9]], [2], 1, 6, 6, 6, 6),
    _assign_case("the last of four levels", _WHERE, [[0.9, 0.8, 0.7, 0.1]], [0], 2, 6, 6, 6, 6),
    _assign_case(
        "no location at two levels",
        "inf: it is never the least",
        [[math.inf, 0.8, math.inf, 0.9]],
        [1],
        3,
        6,
        6,
        6,
        6,
    ),
    _assign_case(
        "a tie", "a tie: the first, finer level", [[0.7, 0.4, 0.4, 0.9]], [1], 4, 6, 6, 6, 6
    ),
    _assign_case(
        "no location anywhere",
        "an instance without a location: −1, and nothing of it is ignored",
        [[math.inf] * 3],
        [1],
        5,
        4,
        4,
        4,
    ),
    _assign_case(
        "three instances",
        _WHERE,
        [[0.2, 0.9, 3.0, 4.0], [2.0, 1.0, 0.5, 3.0], [math.inf, math.inf, 2.0, 1.0]],
        [2, 0, 0],
        6,
        *(9, 9, 9, 9),
    ),
    _assign_case(
        "no instance",
        "an image without objects: nothing is positive, nothing ignored",
        [],
        [],
        7,
        4,
        4,
    ),
)
ASSIGN_SLIPS = (
    Slip(_assigned(least=False), "selected: the level of the least loss; yours has the greatest"),
    Slip(_assigned(last=True), "a tie: the first, finer level is selected"),
    Slip(
        _assigned(nowhere=0),
        "an instance without a location: −1; argmin of a row that is all inf gives 0",
    ),
    *within(lambda near: _assigned(near=near), ch06.NEAR_SLIPS, f"{_WHERE}; "),
    Slip(_assigned(near=lambda s, level: level < -1), "ignored: it is never True in yours"),
    Slip(
        _assigned(ghosts=True),
        "selected = −1: it is no level, but |0 − (−1)| = 1 makes it a neighbor of level 0",
    ),
    Slip(
        _assigned(positive="assigned"),
        "positive: only locations at the selected level of their instance; yours are positive at every level",
    ),
    Slip(
        _assigned(positive="near"),
        "positive: the selected level only; the adjacent ones are ignored",
    ),
    Slip(
        _assigned(positive="other"),
        "positive: only at the selected level; yours is positive at all others",
    ),
    Slip(_assigned(positive="background too"), "positive: background locations are never positive"),
    Slip(
        _assigned(positive="last's"),
        "positive: background locations; selected[assigned] reads −1 as the last instance and gives them its level",
    ),
    Slip(
        _assigned(classes="over"),
        "ignored: the regions of two instances of one class add up; in yours the second wipes out the first's",
    ),
    Slip(lambda *args: own.assign(*args)[::-1], "the order: selected, positive, ignored"),
    Slip(
        lambda *args: (*own.assign(*args)[1:], own.assign(*args)[0]),
        "the order: selected, positive, ignored",
    ),
    Slip(
        _unmade,
        "positive: a positive location stays positive even if its entry is ignored; step 10 counts it",
    ),
    Slip(
        _assigned(classes="all"),
        "ignored: for the instance's own class; other classes are negative there",
    ),
    Slip(_assigned(classes="index"), "the class: gt_labels[n], not n"),
    Slip(
        _assigned(ignores="not assigned"),
        "ignored: the whole ignoring region, the effective locations too; step 10 counts positives all the same",
    ),
    Slip(
        _assigned(ignores="not positive"),
        "ignored: the whole ignoring region, positive locations too; step 10 counts positives all the same",
    ),
    Slip(
        lambda *args: own.assign(*args)[0],
        "what you return: three tensors in the order selected, positive, ignored",
    ),
    Slip(
        lambda *args: (*own.assign(*args)[:2], own.assign(*args)[2].T),
        "the shape: ignored is (R, K), with a row for each location",
    ),
    Slip(
        lambda *args: (own.assign(*args)[0], *(one.float() for one in own.assign(*args)[1:])),
        "the kinds: positive and ignored are bools",
    ),
    Slip(
        lambda *args: (own.assign(*args)[0] + 3, *own.assign(*args)[1:]),
        "selected: an index 0..L−1 of a level, not its number 3, 4, ...",
    ),
)
ASSIGN = Step(own.assign, ASSIGN_CASES, ASSIGN_SLIPS, _three)


# Step 10


_DEAD = "locations that are not positive: leave them out before the loss is taken; masked afterwards, 0 · nan is nan"


def _in_scene(case: Case) -> tuple:
    """Return the arguments of notebook 07's loss with boxes in pixels."""
    logits, offsets, targets, *rest = case.args
    return logits, 50 + 40 * SIDES * offsets, 50 + 40 * SIDES * targets, *rest


_CELLS = _in_scene(ch07.training_case("", "", 4, 7, 3, 0.0))
_CELLS[1][-2:], _CELLS[2][-2:] = (
    torch.tensor([30.0, 40.0, 30.0, 40.0]),
    0.0,
)  # predicted and target boxes are points: IoU 0 / 0
LOSS_CASES = (
    *(Case(one.name, _in_scene(one), one.look) for one in ch07.TRAINING_CASES),
    Case("boxes without area among the negatives", _CELLS, _DEAD),
)


def _loss(**otherwise: Any) -> Callable[..., Tensor]:
    """Return notebook 07's loss with one change, for boxes in pixels."""
    return in_pixels(ch07.training_loss(**otherwise), 1)


_FOCAL_PART, _IOU_PART = (
    _loss(box=lambda a, b: 0 * ch07.iou_loss(a, b)),
    _loss(cls=lambda x, y: 0 * x),
)


LOSS_SLIPS = (
    *within(lambda function: in_pixels(function, 1), ch07.TRAINING_SLIPS),
    Slip(_loss(boxes="masked"), _DEAD),
    Slip(
        lambda *args: own.anchor_free_loss(*args[:5], args[5] & ~args[4][:, None]),
        "ignored entries: a positive location's own class counts even if it is ignored, but its other ignored classes do not",
    ),
    Slip(
        _loss(box=lambda a, b: ch07.iou_loss(a, b) / max(len(a), 1)),
        "the IoU part: a sum over N₊; yours is a mean, divided again",
    ),
    Slip(
        lambda *args: (_FOCAL_PART(*args), _IOU_PART(*args)),
        "what you return: one number, the sum of the two parts",
    ),
    Slip(
        _loss(box=lambda a, b: 0.5 * ch07.iou_loss(a, b)),
        "the two parts: they have equal weights, because the anchor-free branch is alone here",
    ),
    Slip(lambda *args: own.anchor_free_loss(*args)[None], "the shape: one number, without an axis"),
)
LOSS = Step(own.anchor_free_loss, LOSS_CASES, LOSS_SLIPS, with_slopes(0, 1))
