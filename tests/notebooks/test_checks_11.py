"""Notebook 11's ten steps: each hands on a function, wrong answers are told the fault, ten make the core's detector."""

import contextlib
import io
import math
import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from checks import ch11 as checks
from checks.runs import DETACHED, LIST
from solutions import ch11
from torch.nn.functional import one_hot
from torchvision.ops import sigmoid_focal_loss

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.mark.parametrize("number", range(1, 11))
def test_solutions_are_taken(capsys, number) -> None:
    solution = checks.STEPS[number - 1].solution
    assert checks.step(number, solution) is solution
    done, told = capsys.readouterr().out.splitlines()
    assert done.startswith("done: ") and told == f"step {number}: the next steps use your function"


STEPS = {step.solution.__name__: step for step in checks.STEPS}


@pytest.mark.parametrize("number", range(1, 11))
def test_a_stub_is_to_do_and_the_course_stands_in(capsys, number) -> None:
    for stub in (lambda *args: None, lambda *args: ..., None):
        assert checks.step(number, stub) is checks.STEPS[number - 1].solution
        line, told = capsys.readouterr().out.splitlines()
        assert line.startswith("to do: ")
        assert told == f"step {number}: the solution is used until yours is right"


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("plain", [torch.Tensor.tolist, torch.Tensor.numpy])
def test_a_result_that_is_no_tensor_is_told_so(name, plain) -> None:
    def answer(*args):
        result = STEPS[name].solution(*args)
        return (
            plain(result.detach())
            if isinstance(result, torch.Tensor)
            else [plain(one) for one in result]
        )

    line = STEPS[name].verdict(answer)
    assert line.startswith("case")
    assert line.endswith(
        DETACHED if name == "anchor_free_loss" and plain is torch.Tensor.tolist else LIST
    )


def test_yours_are_counted() -> None:
    solutions = [step.solution for step in checks.STEPS]
    assert checks.yours(*solutions) == 0
    assert checks.yours(*solutions[:4], *([lambda *args: 0] * 6)) == 6


def raises(*args):
    raise KeyError("no")


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(
    "wrong",
    [
        raises,
        lambda: 0,
        lambda *args: 3,
        lambda *args: "a box",
        lambda *args: [],
        lambda *args: {},
        lambda *args: (1, 2, 3),
        lambda *args: (None, torch.zeros(2), "x"),
        lambda *args: object,
        lambda *args: torch.tensor(0.5),
        lambda *args: torch.full((3, 3), float("nan")),
        lambda *args: torch.zeros(0),
        lambda *args: torch.zeros(2, 2, dtype=torch.complex64),
        lambda *args: torch.zeros(4, 4, requires_grad=True) * 1,
        lambda *args: args[0],
        lambda *args: np.zeros(3),
        lambda *args: torch.nn.Linear(2, 2),
        lambda *args: (x for x in args),
    ],
)
def test_strange_answers_are_refused_in_a_few_lines(capsys, name, wrong) -> None:
    step = STEPS[name]
    line = step.verdict(wrong)
    assert line.startswith("case 1 of ") and 2 <= len(line.splitlines()) <= 4
    assert "look at" in line or "your function raises" in line


def zeroes_its_argument(name, place):
    def function(*args):
        result = STEPS[name].solution(*args)
        with torch.no_grad():
            args[place].zero_()
        return result

    return function


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("merge", 0),
        ("decode", 0),
        ("iou_loss", 0),
        ("region", 0),
        ("resolve_overlaps", 1),
        ("focal_loss", 0),
        ("assign", 0),
        ("anchor_free_loss", 1),
    ],
)
def test_changed_arguments_are_found(name, place) -> None:
    line = STEPS[name].verdict(zeroes_its_argument(name, place))
    assert line.startswith("case")
    assert (
        "arguments" in line
        or "backward" in line
        or "in place" in line.replace("inplace", "in place")
    )


def centers_by_loop(rows, columns, stride):
    return torch.tensor(
        [[(j + 0.5) * stride, (i + 0.5) * stride] for i in range(rows) for j in range(columns)]
    )


def merge_by_index(coarse, lateral):
    rows, columns = (torch.arange(n) * m // n for n, m in zip(lateral.shape[2:], coarse.shape[2:]))
    return coarse[:, :, rows][..., columns] + lateral


def decode_by_sides(offsets, centers, stride, S):
    l, t, r, b = (offsets * S * stride.view(-1, 1)).unbind(1)
    x, y = centers.unbind(1)
    return torch.stack([x - l, y - t, x + r, y + b], dim=1)


def iou_by_sides(boxes, targets):
    a, b = boxes.unbind(1), targets.unbind(1)
    wide = (torch.min(a[2], b[2]) - torch.max(a[0], b[0])).relu()
    high = (torch.min(a[3], b[3]) - torch.max(a[1], b[1])).relu()
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return -torch.log((wide * high / (both - wide * high)).clamp(min=1e-6))


def region_by_loop(boxes, stride, rows, columns, scale):
    result = torch.zeros(len(boxes), rows, columns, dtype=torch.bool)
    for one, (x1, y1, x2, y2) in zip(result, boxes.tolist()):
        x, y, w, h = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) * scale, (y2 - y1) * scale
        left, top = (
            min(max(math.floor(v / stride), 0), n - 1)
            for v, n in ((x - w / 2, columns), (y - h / 2, rows))
        )
        right, bottom = math.ceil((x + w / 2) / stride), math.ceil((y + h / 2) / stride)
        one[top : max(bottom, top + 1), left : max(right, left + 1)] = True
    return result


def overlaps_by_minimum(effective, boxes):
    if not len(boxes):
        return torch.full((effective.shape[1],), -1)
    area = torch.where(effective, (boxes[:, 2:] - boxes[:, :2]).prod(1)[:, None], torch.inf).flip(0)
    least, which = area.min(0)
    return torch.where(least.isinf(), -1, len(boxes) - 1 - which)


def focal_by_library(logits, answers):
    return sigmoid_focal_loss(logits, answers, alpha=0.25, gamma=2)


def table_by_index(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    n = assigned.clamp(min=0)
    if not len(gt_boxes):
        return torch.zeros(0, num_levels)
    loss = focal_by_library(logits, one_hot(gt_labels[n], logits.shape[1]).float()).sum(
        1
    ) + iou_by_sides(boxes, gt_boxes[n])
    place = (assigned + 1) * num_levels + level
    total = torch.zeros((len(gt_boxes) + 1) * num_levels).index_add_(0, place, loss.detach())
    count = torch.bincount(place, minlength=len(total))
    return torch.where(count > 0, total / count, torch.inf).view(-1, num_levels)[1:]


def assign_by_cells(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = torch.tensor(
        [-1 if math.isinf(min(row)) else row.index(min(row)) for row in table.tolist()],
        dtype=torch.int64,
    )
    positive = torch.tensor(
        [o >= 0 and int(selected[o]) == at for o, at in zip(assigned.tolist(), level.tolist())]
    )
    ignored = torch.zeros(len(level), num_classes, dtype=torch.bool)
    for n, chosen in enumerate(selected.tolist()):
        for cell in range(len(level)):
            if chosen != -1 and ignoring[n, cell] and abs(int(level[cell]) - chosen) <= 1:
                ignored[cell, gt_labels[n]] = True
    return [selected, positive, ignored]


def loss_by_library(logits, boxes, targets, labels, positive, ignored, over=None, keep=None):
    answers = one_hot(labels, logits.shape[1]) * positive[:, None]
    counts = ((answers > 0) | ~ignored) if keep is None else keep(answers, ignored)
    n = max(int(positive.sum()), 1) if over is None else over(positive)
    focal = focal_by_library(logits, answers.float()) * counts
    return focal.sum() / n + iou_by_sides(boxes[positive], targets[positive]).sum() / n


RIGHT = (
    centers_by_loop, merge_by_index, decode_by_sides, iou_by_sides, region_by_loop, overlaps_by_minimum, focal_by_library,
    table_by_index, assign_by_cells, loss_by_library,
)  # fmt: skip


@pytest.mark.parametrize("number", range(1, 11))
def test_other_right_ways_pass(number) -> None:
    assert checks.STEPS[number - 1].verdict(RIGHT[number - 1]).startswith("done")


def stacked(*args):
    return torch.stack([ch11.region(box[None], *args[1:])[0] for box in args[0]])


@pytest.mark.parametrize(
    ("name", "wrong", "hint"),
    [
        ("cell_centers", lambda m, n, s: centers_by_loop(m, n, s) - s / 2, "upper left corner"),
        ("cell_centers", lambda m, n, s: centers_by_loop(m, n, s).flip(1), "swapped"),
        ("cell_centers", lambda m, n, s: centers_by_loop(m, n, s).numpy(), "a tensor"),
        ("cell_centers", lambda m, n, s: centers_by_loop(n, m, s), "rows"),
        ("merge", lambda c, f: f + torch.nn.functional.interpolate(c, scale_factor=2), "twice"),
        ("merge", lambda c, f: f + torch.nn.Upsample(size=f.shape[2:], mode="bilinear")(c), "bilinear"),
        ("merge", lambda c, f: merge_by_index(c.detach(), f), "gradient"),
        ("decode", lambda o, c, s, S: decode_by_sides(o, c, s, 1), "S: "),
        ("decode", lambda o, c, s, S: decode_by_sides(o[:, [0, 2, 1, 3]], c, s, S), "l r t b"),
        ("decode", lambda o, c, s, S: decode_by_sides(o, c, s, S).data, "detach"),
        ("decode", lambda o, c, s, S: decode_by_sides(o, c + s[:, None] / 2, s, S), "the formula"),
        ("iou_loss", lambda a, b: -iou_by_sides(a, b), "the sign"),
        ("iou_loss", lambda a, b: 1 - (-iou_by_sides(a, b)).exp(), "not 1 − IoU"),
        ("iou_loss", lambda a, b: iou_by_sides(a, b).tolist(), "a tensor"),
        ("region", stacked, "no boxes"),
        ("region", lambda b, s, m, n, e: region_by_loop(b, s, m, n, e**0.5), "shrinks the area to ε"),
        ("region", lambda b, s, m, n, e: region_by_loop(b - s / 2, s, m, n, e), "touches"),
        ("region", lambda b, s, m, n, e: region_by_loop(b[:, [1, 0, 3, 2]], s, m, n, e), "swapped"),
        ("region", lambda b, s, m, n, e: region_by_loop(b, s, m, n, e).int(), "bools"),
        ("resolve_overlaps", lambda e, b: overlaps_by_minimum(e, b.neg()[:, [2, 1, 0, 3]]), "larger one"),
        ("resolve_overlaps", lambda e, b: overlaps_by_minimum(e.flip(0), b.flip(0)), "instance"),
        ("resolve_overlaps", lambda e, b: overlaps_by_minimum(e, b).double(), "whole numbers"),
        ("focal_loss", lambda x, y: sigmoid_focal_loss(x, y, alpha=0.75), "swapped"),
        ("focal_loss", lambda x, y: sigmoid_focal_loss(x, y, reduction="mean"), "averaged"),
        ("focal_loss", lambda x, y: sigmoid_focal_loss(x, y, alpha=-1), "missing"),
        ("focal_loss", lambda x, y: sigmoid_focal_loss(x.sigmoid(), y), "twice"),
        ("focal_loss", lambda x, y: sigmoid_focal_loss(x, y).detach(), "no torch.no_grad()"),
        ("level_losses", lambda *args: table_by_index(*args).nan_to_num(posinf=0.0), "the least of all"),
        ("level_losses", lambda *args: table_by_index(*args).nan_to_num(posinf=1e9), "inf there"),
        ("level_losses", lambda x, b, g, k, o, *rest: table_by_index(x, b, g.flip(1), k, o, *rest), "the mean"),
        ("assign", lambda *args: [*assign_by_cells(*args)[:2], ~assign_by_cells(*args)[2]], "ignored"),
        ("assign", lambda t, *rest: assign_by_cells(t.nan_to_num(posinf=99.0), *rest), "without a location"),
        ("assign", lambda *args: torch.stack(assign_by_cells(*args)[1:2]), "three tensors"),
        ("anchor_free_loss", lambda *args: loss_by_library(*args, over=lambda p: 1), "the normalizer"),
        ("anchor_free_loss", lambda *args: loss_by_library(*args, over=len), "not of all"),
        ("anchor_free_loss", lambda *args: loss_by_library(*args, over=lambda p: p.sum()), "at least 1"),
        ("anchor_free_loss", lambda *args: loss_by_library(*args, keep=lambda a, i: ~i), "positive wins"),
        ("anchor_free_loss", lambda *args: loss_by_library(*args, keep=lambda a, i: True), "count as negatives"),
        ("anchor_free_loss", lambda *args: loss_by_library(*args).item(), "detach"),
    ],
)  # fmt: skip
def test_other_wrong_answers_are_named(name, wrong, hint) -> None:
    line = STEPS[name].verdict(wrong)
    assert line.startswith("case")
    assert hint in line


def under_name(function, name):
    def renamed(*args):
        return function(*args)

    renamed.__name__ = name
    return renamed


def assembled(functions) -> tuple[SimpleNamespace, str]:
    """What the notebook has made, and printed, up to its training, with these functions in place of its stubs."""
    space: dict = {
        "__name__": "capstone",
        **{function.__name__: function for function in functions},
    }
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        for cell in nbformat.read(NOTEBOOKS / "11_capstone.ipynb", as_version=4).cells:
            if cell.id == "capstone-train-prepare":
                break
            if cell.cell_type == "code":
                stub = re.match(r"capstone-step(\d+)-code", cell.id)
                source = cell.source[cell.source.index(" = step(") :] if stub else cell.source
                name = checks.STEPS[int(stub[1]) - 1].solution.__name__ if stub else ""
                exec(compile(name + source, cell.id, "exec"), space)
    return SimpleNamespace(**space), said.getvalue()


@pytest.mark.parametrize(
    "functions", [[step.solution for step in checks.STEPS], RIGHT], ids=["solutions", "another way"]
)
def test_ten_functions_in_the_notebook_build_the_core_s_detector(functions, monkeypatch) -> None:
    renamed = [
        under_name(function, step.solution.__name__)
        for function, step in zip(functions, checks.STEPS)
    ]
    monkeypatch.chdir(NOTEBOOKS)
    own, said = assembled(renamed)
    assert [f"step {number}: the next steps use" in said for number in range(1, 11)] == [True] * 10
    assert "the solution is used" not in said
    assert own.yours(*(vars(own)[name] for name in STEPS)) == 10
    generator = torch.Generator().manual_seed(5)
    for seed in range(4):
        middle, half = (
            128 * torch.rand(2, 12, 2, generator=generator),
            1 + 40 * torch.rand(2, 12, 2, generator=generator) ** 2,
        )
        boxes, labels = (
            torch.cat([middle - half, middle + half], 2),
            torch.randint(0, 6, (2, 12), generator=generator),
        )
        assert max(own.compare(100 + seed, [*zip(boxes, labels)])) < 1e-3


def cut_doubling(coarse, lateral):
    return (
        lateral
        + coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)[
            :, :, : lateral.shape[2], : lateral.shape[3]
        ]
    )


def stacked_rows(offsets, centers, stride, S):
    # a right answer in a loop: of no cells it is a table without a gradient
    rows = [
        ch11.decode(*(part[[r]] for part in (offsets, centers, stride)), S)
        for r in range(len(offsets))
    ]
    return torch.cat(rows) if rows else torch.zeros(0, 4)


def unwrapped(table, assigned, ignoring, gt_labels, level, num_classes):
    # the -1 for nobody is missing, so nobody reads the last instance
    selected, positive, ignored = ch11.assign(
        table, assigned, ignoring, gt_labels, level, num_classes
    )
    return selected, selected[assigned] == level if len(selected) else positive, ignored


def overwriting(table, assigned, ignoring, gt_labels, level, num_classes):
    selected, positive, ignored = ch11.assign(
        table, assigned, ignoring, gt_labels, level, num_classes
    )
    for n, at in enumerate(selected.tolist()):
        if at >= 0:
            ignored[:, gt_labels[n]] = ignoring[n] & ((level - at).abs() <= 1)
    return selected, positive, ignored


def of_anybody(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    table = torch.full((len(gt_boxes), num_levels), torch.inf)
    for n, (box, label) in enumerate(zip(gt_boxes, gt_labels)):
        cost = ch11.focal_loss(
            logits, one_hot(label, logits.shape[1]).float().expand_as(logits)
        ).sum(1)
        cost = (cost + ch11.iou_loss(boxes, box.expand_as(boxes))).detach()
        for at in range(num_levels):
            if ((assigned >= 0) & (level == at)).any():
                table[n, at] = cost[(assigned >= 0) & (level == at)].mean()
    return table


def of_softmax(logits, answers):
    p = logits.softmax(-1)
    right = torch.where(answers > 0, p, 1 - p)
    return -torch.where(answers > 0, 0.25, 0.75) * (1 - right) ** 2 * right.log()


def held_factor(logits, boxes, targets, labels, positive, ignored):
    # sigmoid_focal_loss with its factor (1 - p)^2 taken as a number
    answers = one_hot(labels, logits.shape[1]).float() * positive[:, None]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, answers, reduction="none"
    )
    factor = (focal_by_library(logits, answers) / entropy).detach()
    focal = (factor * entropy * ((answers > 0) | ~ignored)).sum()
    return (focal + ch11.iou_loss(boxes[positive], targets[positive]).sum()) / positive.sum().clamp(
        min=1
    )


def box_mean(logits, boxes, targets, labels, positive, ignored):
    without = ch11.anchor_free_loss(logits, targets, targets, labels, positive, ignored)
    box = ch11.iou_loss(boxes[positive], targets[positive])
    return without + (box.mean() if len(box) else 0) / positive.sum().clamp(min=1)


@pytest.mark.parametrize(
    ("name", "wrong", "hint"),
    [
        ("merge", cut_doubling, "is right for H = 2h and 2h − 1 only"),
        (
            "merge",
            lambda c, f: f + torch.nn.functional.interpolate(c, f.shape[2:], mode="nearest-exact"),
            "nearest-exact",
        ),
        ("decode", lambda o, c, s, S: ch11.decode(o, c, s, S).relu(), "yours ends at 0"),
        (
            "resolve_overlaps",
            lambda e, b: ch11.resolve_overlaps(
                e, torch.cat([0 * b[:, :2], 1 + 0 * b[:, 2:] * 1], 1) * e.sum(1, True)
            ),
            "of its locations",
        ),
        ("focal_loss", of_softmax, "a softmax makes them share one"),
        ("level_losses", of_anybody, "takes all positive locations"),
        ("assign", unwrapped, "reads −1 as the last"),
        ("assign", overwriting, "wipes out the first's"),
        ("assign", lambda *args: ch11.assign(*args)[::-1], "the order"),
        ("anchor_free_loss", held_factor, "yours is detached there"),
        ("anchor_free_loss", box_mean, "a mean, divided again"),
    ],
)
def test_a_new_reader_s_wrong_answers_are_named(name, wrong, hint) -> None:
    line = STEPS[name].verdict(wrong)
    assert line.startswith("case") and hint in line, line


def test_a_loop_over_no_cells_needs_no_gradient() -> None:
    assert STEPS["decode"].verdict(stacked_rows).startswith("done")


@pytest.mark.parametrize("number", [0, 11, -1])
def test_a_step_that_does_not_exist_is_said(number) -> None:
    with pytest.raises(ValueError, match=f"There is no step {number}: the steps are 1 to 10."):
        checks.step(number, print)
