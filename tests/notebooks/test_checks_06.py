"""Notebook 06's exercises: solutions equal the core, other right ways pass, wrong answers put otherwise are told the fault."""

import dataclasses
import math

import pytest
import torch
from checks import ch06 as checks
from helpers import random_outputs, random_target, shapes_of
from solutions import ch06

import fsaf_core as fsaf

CONFIG = fsaf.presets.get("tiny").model


def by_loop(low=math.floor, high=math.ceil, grow=0.5, swap=False, empty=False):
    """The same rule asked of every cell, written as a student might."""

    def function(box, stride, rows, columns, scale):
        x1, y1, x2, y2 = box
        cx, cy, w, h = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) * scale, (y2 - y1) * scale
        left, right = low((cx - grow * w) / stride), high((cx + grow * w) / stride)
        top, bottom = low((cy - grow * h) / stride), high((cy + grow * h) / stride)
        left, top = min(max(left, 0), columns - 1), min(max(top, 0), rows - 1)
        right, bottom = min(right, columns), min(bottom, rows)
        if not empty:
            right, bottom = max(right, left + 1), max(bottom, top + 1)
        cells = [
            [top <= row < bottom and left <= column < right for column in range(columns)]
            for row in range(rows)
        ]
        return torch.tensor(cells).T if swap else torch.tensor(cells)

    return function


def test_the_rule_as_nested_lists_passes(verdict) -> None:
    assert verdict(checks.check_effective_map, by_loop()).startswith("done")
    assert verdict(checks.check_effective_map, lambda *args: by_loop()(*args).tolist()).startswith(
        "done"
    )


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (by_loop(low=round, high=round), "nearest line"),
        (by_loop(low=int, high=int), "ceil"),
        (by_loop(high=lambda x: int(x) + 1), "ceil, not floor + 1"),
        (by_loop(grow=1), "half a side"),
        (by_loop(grow=0.5 * 5**0.5), "rea"),  # 5 ** 0.5 * 0.2 is the root of 0.2
        (by_loop(swap=True), "swapped"),
        (by_loop(empty=True), "yours is empty"),
        (
            lambda box, stride, rows, columns, scale: by_loop()(box, 8, rows, columns, scale),
            "floor of its low edge",
        ),
        (
            lambda box, stride, rows, columns, scale: by_loop()(
                [side - stride / 2 for side in box], stride, rows, columns, scale
            ),
            "floor",
        ),
    ],
)
def test_other_wrong_maps_are_refused(refused, wrong, hint) -> None:
    refused(checks.check_effective_map, wrong, hint)


OUTPUTS = random_outputs(
    3, batch=1, classes=CONFIG.num_classes, shapes=shapes_of(128, 128, len(CONFIG.strides))
)


@pytest.mark.parametrize(
    ("convention", "rule"), [("paper", ch06.effective_map), ("reference", ch06.reference_map)]
)
def test_solutions_equal_the_core(convention, rule) -> None:
    detector = fsaf.build_detector(dataclasses.replace(CONFIG, convention=convention))
    target = random_target(60, 128, 128, seed=1)
    assignment = detector.assign(OUTPUTS, [target])
    locations = detector.locations(OUTPUTS)
    for box, row in zip(target["boxes"].tolist(), assignment.effective):
        levels = zip(row.split(locations.sizes), locations.shapes, locations.strides)
        for part, (rows, columns), stride in levels:
            assert torch.equal(rule(box, stride, rows, columns, 0.2).flatten(), part)


def test_targets_equal_the_core() -> None:
    detector = fsaf.build_detector(CONFIG)
    for seed in range(4):
        target = random_target(12, 128, 128, seed, CONFIG.num_classes)
        boxes, labels = target["boxes"], target["labels"]
        locations = detector.locations(OUTPUTS)
        assignment = detector.assign(OUTPUTS, [target])
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        core = -assignment.ignore[0].long()
        place = assignment.positive[0].nonzero()[:, 0]
        core[labels[assignment.assigned[0, place]], place] = 1
        parts = [
            every.split(locations.sizes, 1)
            for every in (assignment.effective, assignment.ignoring, core)
        ]
        for level, (shape, *own) in enumerate(zip(locations.shapes, *parts)):
            effective, ignoring, expected = (part.unflatten(1, shape) for part in own)
            mine = ch06.class_targets(
                effective,
                ignoring,
                area,
                labels,
                assignment.selected_level,
                level,
                CONFIG.num_classes,
            )
            assert torch.equal(mine, expected)


def by_rule(point=0.0, both=True, square=True, half=0.5, whole=False):
    """The reference's rule by broadcasting, and what a reader makes of it who misses one word of the text."""

    def function(box, stride, rows, columns, scale):
        x1, y1, x2, y2 = box
        x, y, w, h = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) * scale / 2, (y2 - y1) * scale / 2
        px, py = ((torch.arange(count) + point) * stride for count in (columns, rows))
        wide = (px + half * stride).clamp(max=x + w) - (px - half * stride).clamp(min=x - w)
        high = (py + half * stride).clamp(max=y + h) - (py - half * stride).clamp(min=y - h)
        share = (
            high.clamp(min=0)[:, None] * wide.clamp(min=0)[None]
            if both
            else high[:, None] * wide[None]
        ) / stride**2
        inside = ((y1 < py) & (py < y2))[:, None] & ((x1 < px) & (px < x2))[None]
        return (share > 0.01) & inside if square else inside

    return function


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (by_rule(square=False), "you left it out"),  # was told to halve its sides
        (by_rule(half=1.0), "twice as wide"),
        (by_rule(both=False), "two negative factors"),
        (by_rule(point=0.5), "where a location is"),
        (lambda *args: by_rule(square=False)(*args) | ch06.reference_map(*args), "you left it out"),
    ],
)
def test_wrong_readings_of_the_reference_are_named(refused, verdict, wrong, hint) -> None:
    assert verdict(checks.check_reference_map, by_rule()).startswith("done")
    refused(checks.check_reference_map, wrong, hint)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (
            lambda box, *rest: by_loop()([side // 1 for side in box], *rest),
            "fractions",
        ),  # once passed
        (lambda box, stride, *rest: by_loop()([side // stride for side in box], 1, *rest), "floor"),
        (lambda *args: by_loop()(*args).nonzero(), "the shape first"),
    ],
)
def test_wrong_maps_of_a_new_reader_are_named(refused, wrong, hint) -> None:
    refused(checks.check_effective_map, wrong, hint)


def painted(effective, ignoring, area, labels, selected, level, num_classes, order=None):
    """The level's targets, painted instance by instance in an order of its own."""
    result, owner = (
        torch.zeros(num_classes, *effective.shape[1:]),
        torch.full(effective.shape[1:], -1),
    )
    for n in (area.argsort(descending=True) if order is None else order(effective)).tolist():
        owner[effective[n]] = n
    for n, at in enumerate(selected.tolist()):
        if at >= 0 and abs(at - level) <= 1:
            result[labels[n]][ignoring[n]] = -1
    for n, at in enumerate(selected.tolist()):
        if at == level:
            result[labels[n]][owner == n] = 1
    return result


@pytest.mark.parametrize(
    ("order", "hint"),
    [
        (
            lambda effective: torch.arange(len(effective)),
            "the last in the list",
        ),  # these two once passed
        (lambda effective: effective.flatten(1).sum(1).argsort(descending=True), "effective cells"),
        (lambda effective: torch.arange(len(effective)).flip(0), "the first in the list"),
    ],
)
def test_the_smallest_is_the_one_of_least_area(refused, verdict, order, hint) -> None:
    assert verdict(checks.check_class_targets, painted).startswith("done")
    refused(checks.check_class_targets, lambda *args: painted(*args, order=order), hint)


def search(center, first, end, stride, scale):
    """Try all widths in steps of 0.01 px and return the ends of those that fit."""
    fits = [
        step / 100
        for step in range(1, 60000)
        if math.floor((center - step / 200 * scale) / stride) == first
        and math.ceil((center + step / 200 * scale) / stride) == end
    ]
    return (fits[0], fits[-1]) if fits else None


def test_the_range_of_widths_is_what_a_search_finds() -> None:
    for case in checks.WIDTH_CASES:
        found, expected = search(*case.args), ch06.width_range(*case.args)
        assert (found is None) == (expected is None)
        assert found is None or found == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda *args: (0.0, ch06.width_range(*args) and ch06.width_range(*args)[1]), "lower end"),
        (lambda c, a, b, s, e: (0.0, (b - a) * s / e), "lower end"),
        (lambda c, a, b, s, e: ch06.width_range(c / 1, a, b + 1, s, e), "one past the last"),
    ],
)
def test_wrong_ranges_are_refused(refused, wrong, hint) -> None:
    refused(checks.check_width_range, wrong, hint)


def test_a_point_on_the_far_edges_is_not_inside() -> None:
    def far_edges_inside(box, stride, rows, columns, scale):
        x1, y1, x2, y2 = box
        ys, xs = torch.arange(rows)[:, None] * stride, torch.arange(columns)[None] * stride
        inside = (x1 < xs) & (xs <= x2) & (y1 < ys) & (ys <= y2)
        wide = (x1, y1, x2 + 0.001, y2 + 0.001)  # strict for this box, so both edges are inside
        return checks.check_reference_map.solution(wide, stride, rows, columns, scale) & inside

    assert "edges" in checks.check_reference_map.verdict(far_edges_inside)
