"""Notebook 09's exercises: other right ways pass, wrong answers put otherwise are told the fault."""

import numpy as np
import pytest
import torch
from checks.ch09 import (
    check_area_under_curve,
    check_average_precision,
    check_match,
    check_nms_by_class,
)
from solutions import ch09
from torchvision.ops import batched_nms, nms


def by_loop(boxes, scores, labels, threshold):
    kept = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        others = [other for other in kept if labels[other] == labels[index]]
        if (
            len(
                nms(
                    boxes[[*others, index]], torch.arange(len(others) + 1, 0, -1).float(), threshold
                )
            )
            == len(others) + 1
        ):
            kept.append(index)
    return kept


def test_other_right_ways_pass(verdict) -> None:
    assert verdict(check_nms_by_class, batched_nms).startswith("done")
    assert verdict(check_nms_by_class, by_loop).startswith("done")


def class_after_class(boxes, scores, labels, threshold):
    kept = []
    for label in sorted(set(labels.tolist())):
        own = torch.where(labels == label)[0]
        kept += own[nms(boxes[own], scores[own], threshold)].tolist()
    return kept


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda b, s, k, t: nms(b, s, t), "one NMS for all"),
        (class_after_class, "class after class"),
        (lambda b, s, k, t: batched_nms(b, s, k, t).sort()[0], "not by index"),
        (lambda b, s, k, t: nms(b + k[:, None], s, t), "one pixel"),
        (lambda b, s, k, t: nms(b + 128 * k[:, None], s, t), "take it from the boxes"),
        (lambda b, s, k, t: batched_nms(b, s, k, 0.5), "not always 0.5"),
        (lambda b, s, k, t: b[batched_nms(b, s, k, t)], "not boxes"),
        (lambda b, s, k, t: batched_nms(b, 1 - s, k, t), "not the lowest"),
    ],
)
def test_wrong_nms_is_named(refused, wrong, hint) -> None:
    refused(check_nms_by_class, wrong, hint)


def curve(hits, objects):
    found = np.cumsum(np.array(hits, bool))
    return found / np.arange(1, len(hits) + 1), found / objects


def no_envelope(hits, objects):
    precision, recall = curve(hits, objects)
    return float((precision * np.diff(recall, prepend=0)).sum())


def by_numpy(hits, objects, direction=-1):
    precision, recall = curve(hits, objects)
    best = np.maximum.accumulate(precision[::direction])[::direction]
    return float((best * np.diff(recall, prepend=0)).sum())


def many_points(hits, objects):
    precision, recall = curve(hits, objects)
    return float(np.mean([precision[recall >= i / 100 - 1e-9].max(initial=0) for i in range(101)]))


def test_another_right_area_passes(verdict) -> None:
    assert verdict(check_area_under_curve, by_numpy).startswith("done")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (no_envelope, "at the entry itself"),
        (many_points, "101-point"),
        (lambda hits, objects: by_numpy(hits, objects, 1), "not the best so far"),
        (lambda hits, objects: by_numpy(hits, max(sum(hits), 1)), "not by those that were found"),
        (lambda hits, objects: np.mean(hits) if hits else 0, "precision of the whole list"),
        (lambda hits, objects: sum(hits) / objects, "recall of the whole list"),
    ],
)
def test_wrong_areas_are_named(refused, wrong, hint) -> None:
    refused(check_area_under_curve, wrong, hint)


def test_a_new_reader_s_wrong_answers_are_named(refused) -> None:
    def mask(boxes, scores, labels, threshold):
        kept = torch.zeros(len(boxes), dtype=torch.bool)
        kept[batched_nms(boxes, scores, labels, threshold)] = True
        return kept

    def by_left_side(boxes, scores, labels, threshold):
        moved = boxes.clone()
        moved[:, 0] += labels * 1000
        return nms(moved, scores, threshold)

    def along_the_zigzag(hits, objects):
        area, before, found = 0, (0, 1), 0
        for entry, hit in enumerate(hits, 1):
            found += hit
            here = (found / objects, found / entry)
            area, before = area + (here[0] - before[0]) * (here[1] + before[1]) / 2, here
        return area

    refused(check_nms_by_class, mask, "a mask of the kept boxes")
    refused(check_nms_by_class, by_left_side, "all four sides")
    refused(check_nms_by_class, lambda b, s, k, t: nms(b + 500.0 * k, s, t), "labels[:, None]")
    refused(check_area_under_curve, along_the_zigzag, "slanted lines along the zigzag")


def match_by_arrays(overlap, threshold):
    if not overlap:
        return []
    table, objects = np.array(overlap, float).reshape(len(overlap), -1), []
    for row in table:
        best = int(row.argmax()) if row.size and row.max() >= threshold else -1
        objects.append(best)
        if best >= 0:
            table[:, best] = -1
    return objects


def without_memory(overlap, threshold):
    return [
        max(range(len(row)), key=row.__getitem__) if row and max(row) >= threshold else -1
        for row in overlap
    ]


def first_good(overlap, threshold):
    taken = []
    for row in overlap:
        good = [i for i, value in enumerate(row) if value >= threshold and i not in taken]
        taken.append(good[0] if good else -1)
    return taken


def test_solution_and_another_right_matching_pass(verdict) -> None:
    assert verdict(check_match, ch09.match).startswith("done")
    assert verdict(check_match, match_by_arrays).startswith("done")
    assert verdict(check_match, lambda overlap, threshold: ...).startswith("to do")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (without_memory, "only once"),
        (first_good, "not the first that is good enough"),
        (lambda overlap, t: [one >= 0 for one in ch09.match(overlap, t)], "not True or False"),
        (lambda overlap, t: ch09.match(overlap, t + 1e-6), "exactly t"),
        (lambda overlap, t: ch09.match(overlap, 0), "below it a detection takes nothing"),
    ],
)
def test_wrong_matchings_are_named(refused, wrong, hint) -> None:
    refused(check_match, wrong, hint)


def test_solution_and_another_right_ap_pass(verdict) -> None:
    assert verdict(check_average_precision, ch09.average_precision).startswith("done")
    assert verdict(check_average_precision, many_points).startswith("done")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (by_numpy, "the exact area"),
        (
            lambda hits, objects: many_points(hits, max(sum(hits), 1)),
            "not by those that were found",
        ),
        (lambda hits, objects: 100 * many_points(hits, objects), "not percent"),
        (lambda hits, objects: 1.01 * many_points(hits, objects), "101 numbers"),
    ],
)
def test_wrong_aps_are_named(refused, wrong, hint) -> None:
    refused(check_average_precision, wrong, hint)
