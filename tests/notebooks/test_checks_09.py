"""Notebook 09's exercises: other right ways pass, wrong answers put otherwise are told the fault."""

import numpy as np
import pytest
import torch
from checks.ch09 import check_area_under_curve, check_nms_by_class
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
