"""Notebook 07's exercises: solutions equal the core, other right ways pass, wrong answers put otherwise are told the fault."""

import pytest
import torch
from checks import ch07 as checks
from helpers import random_outputs, random_target, shapes_of
from solutions import ch07
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

import fsaf_core as fsaf
from fsaf_core.method.locations import encode

CONFIG = fsaf.presets.get("tiny").model


def by_index_add(loss, assigned, level, n, levels, none=torch.inf):
    place = (assigned + 1) * levels + level
    total = torch.zeros((n + 1) * levels).index_add_(0, place, loss)
    count = torch.bincount(place, minlength=(n + 1) * levels)
    return torch.where(count > 0, total / count, none).view(-1, levels)[1:]


def chosen_in_one_go(levels, label, gradient=False, reduce="mean", order=(0, 1, 2, 3)):
    """The same with the library's focal loss."""
    table = []
    for logits, offsets, targets in levels:
        if not len(logits):
            table.append(torch.tensor(torch.inf))
            continue
        wanted = F.one_hot(torch.full((len(logits),), label), logits.shape[1]).float()
        cls = sigmoid_focal_loss(logits, wanted).sum(1)
        both = cls + ch07.iou_loss(offsets[:, order], targets[:, order])
        table.append(getattr(both, reduce)())
    table = torch.stack(table) if gradient else torch.stack(table).detach()
    return table, -1 if table.isinf().all() else table.argmin().item()


def trained(logits, offsets, targets, labels, positive, ignored, weight, over=None, kept=True):
    """The same with the library's focal loss."""
    wanted = F.one_hot(labels, logits.shape[1]).float() * positive[:, None]
    loss = sigmoid_focal_loss(logits, wanted)
    if kept:
        loss = loss * ((wanted > 0) | ~ignored)
    n = positive.sum().clamp(min=1) if over is None else over(positive, logits)
    return weight * (loss.sum() + ch07.iou_loss(offsets[positive], targets[positive]).sum()) / n


def test_other_right_ways_pass(verdict) -> None:
    assert verdict(checks.check_level_means, by_index_add).startswith("done")
    assert verdict(checks.check_choose_level, chosen_in_one_go).startswith("done")
    assert verdict(
        checks.check_choose_level,
        lambda *args: [chosen_in_one_go(*args)[0].tolist(), chosen_in_one_go(*args)[1]],
    ).startswith("done")
    assert verdict(checks.check_anchor_free_loss, trained).startswith("done")


@pytest.mark.parametrize(
    ("checker", "wrong", "hint"),
    [
        (checks.check_level_means, lambda *args: by_index_add(*args, none=0.0), "the least of all"),
        (checks.check_level_means, lambda *args: by_index_add(*args).nan_to_num(posinf=1e6), "1e6"),
        (
            checks.check_level_means,
            lambda loss, *rest: by_index_add(loss.clamp(min=1e-3).log(), *rest),
            "the mean",
        ),
        (
            checks.check_level_means,
            lambda loss, assigned, level, n, levels: by_index_add(
                loss, assigned % max(n, 1), level, n, levels
            ),
            "index −1",
        ),
        (
            checks.check_choose_level,
            lambda *args: chosen_in_one_go(*args, gradient=True),
            "no_grad",
        ),
        (
            checks.check_choose_level,
            lambda *args: chosen_in_one_go(*args, reduce="sum"),
            "coarse levels",
        ),
        (
            checks.check_choose_level,
            lambda *args: chosen_in_one_go(*args, reduce="amax"),
            "the mean over its locations",
        ),
        (
            checks.check_choose_level,
            lambda *args: chosen_in_one_go(*args, order=(0, 2, 1, 3)),
            "l t r b",
        ),
        (checks.check_choose_level, lambda *args: chosen_in_one_go(*args)[1], "losses"),
        (
            checks.check_anchor_free_loss,
            lambda *args: trained(*args, over=lambda p, x: 1),
            "the normalizer",
        ),
        (
            checks.check_anchor_free_loss,
            lambda *args: trained(*args, over=lambda p, x: len(p)),
            "not of all locations",
        ),
        (
            checks.check_anchor_free_loss,
            lambda *args: trained(*args, over=lambda p, x: p.sum()),
            "at least 1",
        ),
        (
            checks.check_anchor_free_loss,
            lambda *args: trained(*args, kept=False),
            "count as negatives",
        ),
        (checks.check_anchor_free_loss, lambda *args: trained(*args).item(), "detach"),
        (
            checks.check_anchor_free_loss,
            lambda *args: trained(args[0].sigmoid(), *args[1:]),
            "twice",
        ),
    ],
)
def test_other_wrong_answers_are_named(refused, checker, wrong, hint) -> None:
    refused(checker, wrong, hint)


@pytest.mark.parametrize("seed", range(3))
def test_solutions_equal_the_core(seed) -> None:
    outputs = random_outputs(
        seed, batch=1, classes=CONFIG.num_classes, shapes=shapes_of(128, 128, len(CONFIG.strides))
    )
    target = [random_target(9, 128, 128, seed, CONFIG.num_classes)]
    boxes, labels = target[0]["boxes"], target[0]["labels"]
    detector = fsaf.build_detector(CONFIG)
    assignment = detector.assign(outputs, target)
    locations, assigned = detector.locations(outputs), assignment.before_selection[0]
    logits = torch.cat([m.flatten(2) for m in outputs.cls_logits], 2)[0].T
    offsets = torch.cat([m.flatten(2) for m in outputs.box_offsets], 2)[0].T
    targets = encode(boxes[assigned], locations.centers, 4 * locations.stride)
    for n in range(9):
        cells = [
            torch.nonzero((assigned == n) & (locations.level == level))[:, 0] for level in range(4)
        ]
        losses, level = ch07.choose_level(
            [(logits[at], offsets[at], targets[at]) for at in cells], int(labels[n])
        )
        assert torch.allclose(losses, assignment.level_losses[n], atol=1e-4)
        assert level == assignment.selected_level[n]
    rest = (
        targets,
        labels[assigned],
        assignment.positive[0],
        assignment.ignore[0].T,
        CONFIG.af_weight,
    )
    sum(detector.losses(outputs, assignment, target).values()).backward()
    core = [
        torch.cat([m.grad.flatten(2) for m in maps], 2)[0].T
        for maps in (outputs.cls_logits, outputs.box_offsets)
    ]
    mine = torch.autograd.grad(ch07.anchor_free_loss(logits, offsets, *rest), (logits, offsets))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(mine, core))


def reader(
    levels,
    label,
    box=None,
    reduce=None,
    back=lambda losses, level: (losses, level),
    focal=ch07.focal,
):
    """A choice of level as a new reader writes it: a loop, and the IoU by hand."""
    losses = []
    for logits, offsets, targets in [[part.detach() for part in level] for level in levels]:
        shared = torch.minimum(offsets, targets)
        sides = [(x[:, :2] + x[:, 2:]).clamp(min=0) for x in (shared, offsets, targets)]
        overlap, mine, true = (side.prod(1) for side in sides)
        iou = box(overlap, mine, true, shared) if box else overlap / (mine + true - overlap)
        cells = focal(
            logits, F.one_hot(torch.tensor(label), logits.shape[1]).expand_as(logits)
        ).sum(1)
        each = cells - iou.clamp(min=1e-6).log() if reduce is None else reduce(cells, iou)
        losses.append(float(each.mean()) if len(logits) else float("inf"))
    return back(losses, losses.index(min(losses)) if min(losses) < float("inf") else -1)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (
            {
                "box": lambda i, a, b, shared: (
                    (m := (shared[:, :2] + shared[:, 2:]).prod(1)) / (a + b - m)
                )
            },
            "two negative factors",
        ),  # passed
        ({"reduce": lambda cells, iou: cells - iou.log()}, "at least 1e-6"),  # passed
        ({"reduce": lambda cells, iou: cells - iou.clamp(min=1e-3).log()}, "13.816"),  # passed
        ({"box": lambda i, a, b, shared: i / (a + b)}, "the overlap twice"),
        (
            {"reduce": lambda cells, iou: cells.mean() - iou.mean().clamp(min=1e-6).log()},
            "−ln of the mean IoU",
        ),
        (
            {"reduce": lambda cells, iou: (cells - iou.clamp(min=1e-6).log()).sort().values[:1]},
            "the best of them",
        ),
        ({"back": lambda losses, level: (losses, level + 3)}, "from 0 on"),
        ({"back": lambda losses, level: (level, losses)}, "in this order"),
        ({"back": lambda losses, level: torch.tensor(losses)}, "the level is missing"),
        ({"back": lambda losses, level: level}, "the losses are missing"),
    ],
)
def test_wrong_choices_of_a_new_reader_are_named(refused, verdict, wrong, hint) -> None:
    assert verdict(checks.check_choose_level, reader).startswith("done")
    refused(checks.check_choose_level, lambda *args: reader(*args, **wrong), hint)


def test_a_table_of_lists_may_have_no_row(verdict) -> None:
    """Of no instance it is [], which cannot say its columns; and torch.zeros(0) can, so it is refused."""
    assert verdict(checks.check_level_means, lambda *args: by_index_add(*args).tolist()).startswith(
        "done"
    )
    assert verdict(
        checks.check_level_means, lambda *args: by_index_add(*args) if args[3] else torch.zeros(0)
    ).startswith("case 7")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (
            lambda x, o, t, l, p, ignored, w: trained(
                x.masked_fill(ignored, 0), o, t, l, p, ignored & False, w
            ),
            "ignored entries",
        ),
        (lambda x, o, t, l, p, ignored, w: trained(x, o, t, l, p, ~ignored, w), "you keep them"),
    ],
)
def test_wrong_training_losses_of_a_new_reader_are_named(refused, wrong, hint) -> None:
    refused(checks.check_anchor_free_loss, wrong, hint)
