"""Functions as students write them for chapter 04, with what a tutor should make of each."""

import bisect
import math

import numpy as np
import torch
from torchvision.models.detection._utils import Matcher

from . import breaks, right, wrong

# heuristic_level


def _w_h(box):
    x1, y1, x2, y2 = (float(side) for side in box)
    return x2 - x1, y2 - y1


@right("heuristic_level", unusual="doubles and halves instead of a logarithm")
def heuristic_level_doubling(box, l0, s0, first, last):
    w, h = _w_h(box)
    size, level = math.sqrt(w * h), l0
    while size >= 2 * s0 and level < last:
        size, level = size / 2, level + 1
    while size < s0 and level > first:
        size, level = size * 2, level - 1
    return max(first, min(level, last))


@right("heuristic_level", unusual="bisection in the squared sizes at which the levels begin")
def heuristic_level_bisect(box, l0, s0, first, last):
    w, h = _w_h(box)
    begins = [(s0 * 2.0 ** (level - l0)) ** 2 for level in range(first + 1, last + 1)]
    return first + bisect.bisect_right(begins, w * h)


@right("heuristic_level", unusual="numpy, half the logarithm of the area, plain int in the end")
def heuristic_level_numpy(box, l0, s0, first, last):
    w, h = _w_h(box)
    return int(np.clip(np.floor(l0 + np.log2(w * h / s0**2) / 2), first, last))


@right("heuristic_level", unusual="torch from end to end, with a print")
def heuristic_level_torch(box, l0, s0, first, last):
    sides = torch.tensor(_w_h(box), dtype=torch.float64)
    level = torch.floor(l0 + torch.log2(sides.prod().sqrt() / s0)).clamp(first, last)
    print("level", level)
    return int(level.item())


@wrong(
    "heuristic_level",
    fault="the longer side for the size",
    true=r"\bwh\b|w h\b|longer|area|root|size is",
    false="floor|number of the level",
)
def heuristic_level_longer(box, l0, s0, first, last):
    level = math.floor(l0 + math.log2(max(_w_h(box)) / s0))
    return min(max(level, first), last)


@wrong(
    "heuristic_level",
    fault="the mean of the sides for the size",
    true=r"\bwh\b|w h\b|\bmean\b|area|root|size is",
    false="floor|number of the level",
)
def heuristic_level_mean(box, l0, s0, first, last):
    level = math.floor(l0 + math.log2(sum(_w_h(box)) / 2 / s0))
    return min(max(level, first), last)


# 31 x 31 with s0 = 32 belongs to l0 - 1
@wrong(
    "heuristic_level",
    fault="rounds to the nearest",
    true="floor|round|just under",
    false="wh|index",
)
def heuristic_level_round(box, l0, s0, first, last):
    w, h = _w_h(box)
    return min(max(round(l0 + math.log2(math.sqrt(w * h) / s0)), first), last)


@wrong("heuristic_level", fault="rounds up", true="floor|round|too high", false="wh|index|longer")
def heuristic_level_ceil(box, l0, s0, first, last):
    w, h = _w_h(box)
    return min(max(math.ceil(l0 + math.log2(math.sqrt(w * h) / s0)), first), last)


# 30 x 30 with s0 = 32: the logarithm is -0.09, its floor -1
@wrong(
    "heuristic_level",
    fault="cuts the logarithm towards zero",
    true=r"floor|just under|int\(|negative|trunc|toward",
    false="wh|index",
)
def heuristic_level_truncated(box, l0, s0, first, last):
    w, h = _w_h(box)
    return min(max(l0 + int(math.log2(math.sqrt(w * h) / s0)), first), last)


@wrong("heuristic_level", fault="no clamp", true="clamp|beyond|range|first.*last", false="wh|floor")
def heuristic_level_no_clamp(box, l0, s0, first, last):
    w, h = _w_h(box)
    return math.floor(l0 + math.log2(math.sqrt(w * h) / s0))


@wrong(
    "heuristic_level",
    fault="clamps above only",
    true=r"clamp|`?first`?\b|below|small",
    false="wh|floor takes",
)
def heuristic_level_half_clamp(box, l0, s0, first, last):
    w, h = _w_h(box)
    return min(math.floor(l0 + math.log2(math.sqrt(w * h) / s0)), last)


@wrong(
    "heuristic_level",
    fault="index of the level",
    true="number|index|3 for|0, 1",
    false="wh|floor takes",
)
def heuristic_level_index(box, l0, s0, first, last):
    w, h = _w_h(box)
    level = math.floor(l0 + math.log2(math.sqrt(w * h) / s0))
    return min(max(level, first), last) - first


@wrong(
    "heuristic_level",
    fault="the area for the size",
    true=r"root|sqrt|\bwh\b|size is",
    false="floor|index",
)
def heuristic_level_area(box, l0, s0, first, last):
    w, h = _w_h(box)
    return min(max(math.floor(l0 + math.log2(w * h / s0)), first), last)


@wrong(
    "heuristic_level",
    fault="the natural logarithm",
    true="log_?2|base|logarithm|doubl",
    false="wh|index",
)
def heuristic_level_natural(box, l0, s0, first, last):
    w, h = _w_h(box)
    return min(max(math.floor(l0 + math.log(math.sqrt(w * h) / s0)), first), last)


@wrong(
    "heuristic_level",
    fault="4 and 32 written in",
    true=r"\bl0\b|\bs0\b|argument|constant|written|fixed",
    false="wh|index",
)
def heuristic_level_constants(box, l0, s0, first, last):
    w, h = _w_h(box)
    return min(max(math.floor(4 + math.log2(math.sqrt(w * h) / 32)), first), last)


@wrong(
    "heuristic_level",
    fault="takes x2 and y2 for the sides",
    true=r"\bx_?2\b|corner|format|\bsides?\b",
    false="floor|index",
)
def heuristic_level_xywh(box, l0, s0, first, last):
    _, _, w, h = (float(side) for side in box)
    return min(max(math.floor(l0 + math.log2(math.sqrt(w * h) / s0)), first), last)


@wrong(
    "heuristic_level",
    fault="s0 over the size: large objects get fine levels",
    true=r"\bs0\b|invert|upside|divide|large|sign|turned|fraction",
    false="wh|index",
)
def heuristic_level_inverted(box, l0, s0, first, last):
    w, h = _w_h(box)
    return min(max(math.floor(l0 + math.log2(s0 / math.sqrt(w * h))), first), last)


@wrong(
    "heuristic_level",
    fault="3 and 6 written in as ends",
    true=r"\bfirst\b.*\blast\b|clamp|argument",
    false="wh|floor",
)
def heuristic_level_fixed_ends(box, l0, s0, first, last):
    w, h = _w_h(box)
    return min(max(math.floor(l0 + math.log2(math.sqrt(w * h) / s0)), 3), 6)


@breaks("heuristic_level", how="raises ValueError: the logarithm of a negative number")
def heuristic_level_value_error(box, l0, s0, first, last):
    x1, _y1, x2, _y2 = (float(side) for side in box)
    return math.floor(l0 + math.log2((x1 - x2) / s0))


@breaks("heuristic_level", how="endless loop: the size is never halved")
def heuristic_level_endless(box, l0, s0, first, last):
    w, h = _w_h(box)
    level = first
    while math.sqrt(w * h) > 0:
        level = min(level + 1, last)
    return level


# match_anchors


def _thresholds(iou):
    """The rule of section 4, and the instance of each anchor."""
    overlap, instance = iou.max(0)
    result = instance.clone()
    result[overlap < 0.5] = -2
    result[overlap < 0.4] = -1
    return result, instance


def _no_box(iou):
    return torch.full((iou.shape[1],), -1)


@right("match_anchors", unusual="plain loops over boxes and anchors")
def match_anchors_loop(iou):
    table = iou.tolist()
    result = []
    for a in range(iou.shape[1]):
        column = [row[a] for row in table]
        if not column:
            result.append(-1)
            continue
        best = column.index(max(column))
        is_best_of_a_box = any(row[a] > 0 and row[a] == max(row) for row in table)
        if column[best] >= 0.5 or is_best_of_a_box:
            result.append(best)
        else:
            result.append(-2 if column[best] >= 0.4 else -1)
    return torch.tensor(result)


@right(
    "match_anchors",
    unusual="rescues only for boxes whose best IoU is below 0.5: the others need none",
)
def match_anchors_needy(iou):
    if iou.shape[0] == 0:
        return _no_box(iou)
    result, instance = _thresholds(iou)
    for row in iou:
        if 0 < row.max() < 0.5:
            rescued = row == row.max()
            result[rescued] = instance[rescued]
    return result


@right(
    "match_anchors", unusual="torchvision's Matcher, and its thresholds alone for boxes with IoU 0"
)
def match_anchors_torchvision(iou):
    if len(iou) == 0:
        return _no_box(iou)
    result = Matcher(0.5, 0.4)(iou)
    real = iou[iou.max(1).values > 0]
    if len(real):
        rescued = (real == real.max(1, keepdim=True).values).any(0)
        result = torch.where(rescued, iou.argmax(0), result)
    return result


@right("match_anchors", unusual="numpy's select, from the strongest rule to the weakest")
def match_anchors_numpy(iou):
    values = iou.numpy()
    if values.shape[0] == 0:
        return torch.from_numpy(-np.ones(values.shape[1], dtype=np.int64))
    best = values.max(axis=1, keepdims=True)
    rescued = ((values == best) & (values > 0)).any(axis=0)
    overlap, instance = values.max(axis=0), values.argmax(axis=0)
    rules = [rescued | (overlap >= 0.5), overlap >= 0.4]
    return torch.from_numpy(np.select(rules, [instance, -2], -1))


@wrong(
    "match_anchors",
    fault="no rescue",
    true="best anchor|highest|each box|rescue|section 5|in any case",
    false="N = 0|argmax over",
)
def match_anchors_no_rescue(iou):
    return _thresholds(iou)[0] if len(iou) else _no_box(iou)


# an anchor that is the best of box 0, but overlaps box 1 more
@wrong(
    "match_anchors",
    fault="the rescued anchor goes to the rescued box",
    true="wrong box|overlaps most|argmax over|itself|belong",
    false="N = 0|==",
)
def match_anchors_wrong_owner(iou):
    if len(iou) == 0:
        return _no_box(iou)
    result, _ = _thresholds(iou)
    for n, row in enumerate(iou):
        if row.max() > 0:
            result[row == row.max()] = n
    return result


# two anchors with the same highest IoU
@wrong(
    "match_anchors",
    fault="rescues one anchor of each box although several share the highest IoU",
    true="several|share|argmax|==|equal|all anchors|too few",
    false="N = 0|wrong box",
)
def match_anchors_argmax(iou):
    if len(iou) == 0:
        return _no_box(iou)
    result, instance = _thresholds(iou)
    best = iou.argmax(1)[iou.max(1).values > 0]
    result[best] = instance[best]
    return result


# a box far away from all anchors: every anchor "reaches" its highest IoU, 0
@wrong(
    "match_anchors",
    fault="a box with IoU 0 everywhere gets all anchors",
    true="IoU (of )?0|zero|> ?0|everywhere|no anchor",
    false="N = 0|share|several",
)
def match_anchors_zero(iou):
    if len(iou) == 0:
        return _no_box(iou)
    result, instance = _thresholds(iou)
    rescued = (iou == iou.max(1, keepdim=True).values).any(0)
    result[rescued] = instance[rescued]
    return result


# iou of shape (0, 5): raises
@wrong(
    "match_anchors",
    fault="no case for N = 0",
    true="N ?= ?0|no box|without box|empty",
    false="argmax over|several",
)
def match_anchors_no_empty(iou):
    result, instance = _thresholds(iou)
    best = iou.max(1, keepdim=True).values
    rescued = ((iou == best) & (best > 0)).any(0)
    result[rescued] = instance[rescued]
    return result


# an IoU of exactly 0.5
@wrong(
    "match_anchors",
    fault="the thresholds are taken strictly the other way",
    true="exactly|>=|≥|thresh|<",
    false="N = 0|several|wrong box",
)
def match_anchors_strict(iou):
    if len(iou) == 0:
        return _no_box(iou)
    overlap, instance = iou.max(0)
    result = torch.where(overlap > 0.5, instance, -2)
    result[overlap <= 0.4] = -1
    best = iou.max(1, keepdim=True).values
    rescued = ((iou == best) & (best > 0)).any(0)
    result[rescued] = instance[rescued]
    return result


@wrong(
    "match_anchors",
    fault="nothing is left out: below 0.5 is negative",
    true=r"\b0\.4\b|left out|between",
    false="N = 0|several",
)
def match_anchors_no_between(iou):
    if len(iou) == 0:
        return _no_box(iou)
    overlap, instance = iou.max(0)
    best = iou.max(1, keepdim=True).values
    rescued = ((iou == best) & (best > 0)).any(0)
    return torch.where(rescued | (overlap >= 0.5), instance, -1)


@wrong(
    "match_anchors",
    fault="-1 and -2 exchanged",
    true="exchang|swap|negative|left out",
    false="N = 0|several",
)
def match_anchors_codes(iou):
    if len(iou) == 0:
        return _no_box(iou)
    overlap, instance = iou.max(0)
    result = torch.where(overlap >= 0.5, instance, torch.where(overlap < 0.4, -2, -1))
    best = iou.max(1, keepdim=True).values
    rescued = ((iou == best) & (best > 0)).any(0)
    result[rescued] = instance[rescued]
    return result


@wrong(
    "match_anchors",
    fault="the thresholds overwrite the rescued anchors",
    true=r"\border\b|overwr|best anchor|rescue|each box|in any case",
    false="N = 0",
)
def match_anchors_rescue_first(iou):
    if len(iou) == 0:
        return _no_box(iou)
    overlap, instance = iou.max(0)
    result = instance.clone()
    best = iou.max(1, keepdim=True).values
    rescued = ((iou == best) & (best > 0)).any(0)
    result[rescued] = instance[rescued]
    result[overlap < 0.5] = -2
    result[overlap < 0.4] = -1
    return result


# the best anchor of a box has IoU 0.2
@wrong(
    "match_anchors",
    fault="rescues only anchors that were left out, not negative ones",
    true=r"however low|negative|below 0\.4|any case|each box|too few|every box",
    false="N = 0|wrong box",
)
def match_anchors_between_only(iou):
    if len(iou) == 0:
        return _no_box(iou)
    result, instance = _thresholds(iou)
    rescued = (iou == iou.max(1, keepdim=True).values).any(0) & (result == -2)
    result[rescued] = instance[rescued]
    return result


# two boxes without an anchor of IoU 0.5: only the better one is rescued
@wrong(
    "match_anchors",
    fault="the highest IoU of all, not that of each box",
    true="each box|every box|per box|too few|its highest",
    false="N = 0|wrong box",
)
def match_anchors_global(iou):
    if len(iou) == 0:
        return _no_box(iou)
    result, instance = _thresholds(iou)
    rescued = ((iou == iou.max()) & (iou > 0)).any(0)
    result[rescued] = instance[rescued]
    return result


@wrong(
    "match_anchors",
    fault="the maximum over the wrong axis: one number for each box",
    true=r"axis|each anchor|shape|\(A|instances",
    false="several|IoU 0",
)
def match_anchors_axis(iou):
    if len(iou) == 0:
        return _no_box(iou)
    overlap, anchor = iou.max(1)
    return torch.where(overlap >= 0.5, anchor, torch.where(overlap < 0.4, -1, -2))


@wrong(
    "match_anchors",
    fault="without a box nothing is returned for the anchors",
    true="N ?= ?0|no box|without box|negative|empty|every anchor",
    false="several|wrong box",
)
def match_anchors_empty_result(iou):
    if len(iou) == 0:
        return torch.zeros(0, dtype=torch.int64)
    return match_anchors_numpy(iou)


# best 0.30, another anchor 0.28
@wrong(
    "match_anchors",
    fault="rescues anchors that are nearly the best, too",
    true="only the|highest|exact|too many|==|reach",
    false="N = 0|too few",
)
def match_anchors_nearly(iou):
    if len(iou) == 0:
        return _no_box(iou)
    result, instance = _thresholds(iou)
    best = iou.max(1, keepdim=True).values
    rescued = ((iou >= 0.9 * best) & (best > 0)).any(0)
    result[rescued] = instance[rescued]
    return result


@breaks("match_anchors", how="raises IndexError: the mask over boxes indexes the anchors")
def match_anchors_index_error(iou):
    result = torch.full((iou.shape[1],), -1)
    rescued = torch.cat([iou.any(0), iou.any(0)])
    result[rescued] = 0
    return result


@breaks("match_anchors", how="endless loop: waits until every box has an anchor")
def match_anchors_endless(iou):
    result = torch.full((iou.shape[1],), -1)
    while not all((result == n).any() for n in range(len(iou) + 1)):
        result[iou.sum(0) > 0] = 0
    return result
