"""Notebook 04's exercises: solutions equal the core, other right ways pass, wrong answers put otherwise are told the fault."""

import math

import pytest
import torch
from checks import ch04 as checks
from solutions import ch04
from torchvision.models.detection._utils import Matcher

from fsaf_core.method.selection import select_heuristic


def area_in_the_log(box, l0, s0, first, last):
    area = (box[2] - box[0]) * (box[3] - box[1])
    return min(max(math.floor(l0 + math.log2(area / s0)), first), last)


def truncated(box, l0, s0, first, last):
    side = math.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    return min(max(l0 + int(math.log2(side / s0)), first), last)  # int goes towards zero


def corner_for_side(box, l0, s0, first, last):
    return min(max(math.floor(l0 + math.log2((box[2] * box[3]) ** 0.5 / s0)), first), last)


def divided_too_late(box, l0, s0, first, last):
    x1, y1, x2, y2 = box
    return max(first, min(last, math.floor(l0 + math.log2(((x2 - x1) * (y2 - y1)) ** 0.5) / s0)))


WRONG = {
    area_in_the_log: "the root",
    truncated: "floor",
    corner_for_side: "x2 − x1",
    divided_too_late: "inside the logarithm",
}


@pytest.mark.parametrize(("wrong", "hint"), WRONG.items())
def test_wrong_levels_are_named(refused, wrong, hint) -> None:
    refused(checks.check_heuristic_level, wrong, hint)


def by_anchor(iou, keep=True):
    """The rule asked of every anchor, as nested lists."""
    result = []
    for a in range(iou.shape[1]):
        column = iou[:, a].tolist()
        mine = max(range(len(column)), key=lambda n: column[n], default=-1)
        rescued = keep and any(
            value > 0 and value == iou[n].max() for n, value in enumerate(column)
        )
        high = max(column, default=0)
        result.append(mine if high >= 0.5 or rescued else -1 if high < 0.4 else -2)
    return result


def test_the_rule_as_a_list_passes(verdict) -> None:
    assert verdict(checks.check_match_anchors, by_anchor).startswith("done")
    assert "in any case" in verdict(
        checks.check_match_anchors, lambda iou: by_anchor(iou, keep=False)
    )


def test_solutions_equal_the_core() -> None:
    torch.manual_seed(0)
    for _ in range(20):
        iou = torch.rand(5, 40).mul(20).round() / 20  # with ties
        assert torch.equal(
            ch04.match_anchors(iou), Matcher(0.5, 0.4, allow_low_quality_matches=True)(iou)
        )
    boxes = torch.rand(50, 2).mul(60).repeat(1, 2) + torch.cat(
        [torch.zeros(50, 2), 1 + 300 * torch.rand(50, 2)], 1
    )
    core = 3 + select_heuristic(boxes, torch.zeros(50, 5), 3, 224.0, 5)
    assert [ch04.heuristic_level(box, 5, 224.0, 3, 7) for box in boxes.tolist()] == core.tolist()
