"""Notebook 01's exercises: other right ways pass, wrong answers put otherwise are told the fault."""

import pytest
import torch
from checks.ch01 import check_boxes_in_window, check_flip_boxes, check_labels_of
from solutions import ch01


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda used, ids: [i - 1 for i in used], "gaps"),
        (lambda used, ids: used, "names"),
        (lambda used, ids: [{c: n for n, c in enumerate(ids)}[i] for i in used], "sort the ids"),
        (lambda used, ids: [sorted(ids).index(i) + 1 for i in used], "at 0"),
        (lambda used, ids: [sorted(ids, reverse=True).index(i) for i in used], "ascending order"),
        (lambda used, ids: [sorted(set(used)).index(i) for i in used], "classes without an object"),
    ],
)
def test_wrong_labels_are_named(refused, wrong, hint) -> None:
    refused(check_labels_of, wrong, hint)


def in_place(boxes, width):
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    return boxes


def overwritten(boxes, width):
    boxes = boxes.clone()
    boxes[:, 0] = width - boxes[:, 2]
    boxes[:, 2] = width - boxes[:, 0]  # of the new x1
    return boxes


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda b, w: torch.stack([w - b[:, 0], b[:, 1], w - b[:, 2], b[:, 3]], 1), "change roles"),
        (lambda b, w: torch.stack([w - 1 - b[:, 2], b[:, 1], w - 1 - b[:, 0], b[:, 3]], 1), "− 1"),
        (
            lambda b, w: torch.stack([b[:, 0], w - b[:, 3], b[:, 2], w - b[:, 1]], 1),
            "top and bottom",
        ),
        (lambda b, w: w - b[:, [2, 3, 0, 1]], "y: it stays"),
        (
            lambda b, w: torch.stack([128 - b[:, 2], b[:, 1], 128 - b[:, 0], b[:, 3]], 1),
            "not always 128",
        ),
        (overwritten, "overwritten"),
        (in_place, "changes its arguments"),
    ],
)
def test_wrong_flips_are_named(refused, wrong, hint) -> None:
    refused(check_flip_boxes, wrong, hint)


def written_otherwise(boxes, window, min_visible, shift_first=True, clamp=True, below=False):
    """The same by another way: shift, clamp to the window's own frame, compare areas."""
    x1, y1, x2, y2 = window
    moved = boxes - torch.tensor([x1, y1, x1, y1]) if shift_first else boxes
    cut = moved.clone()
    cut[:, 0::2] = moved[:, 0::2].clamp(0, x2 - x1)
    cut[:, 1::2] = moved[:, 1::2].clamp(0, y2 - y1)
    own = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = (cut[:, 2] - cut[:, 0]) * (cut[:, 3] - cut[:, 1])
    return cut[left > min_visible * own] if below else cut[left >= min_visible * own]


def test_another_right_way_through_the_window_passes(verdict) -> None:
    assert verdict(check_boxes_in_window, written_otherwise).startswith("done")


def no_shift(boxes, window, min_visible):
    seen = ch01.boxes_in_window(boxes, window, min_visible)
    return seen + torch.tensor([*window[:2], *window[:2]])


def no_cut(boxes, window, min_visible):
    keep = [len(ch01.boxes_in_window(box[None], window, min_visible)) > 0 for box in boxes]
    return boxes[torch.tensor(keep, dtype=torch.bool)] - torch.tensor([*window[:2], *window[:2]])


def centre_inside(boxes, window, min_visible):
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    keep = (x > window[0]) & (x < window[2]) & (y > window[1]) & (y < window[3])
    return written_otherwise(boxes[keep], window, 0)


def no_clamp(boxes, window, min_visible):
    w = torch.tensor(window)
    cut = torch.cat([boxes[:, :2].maximum(w[:2]), boxes[:, 2:].minimum(w[2:])], 1)
    share = (cut[:, 2:] - cut[:, :2]).prod(1) / (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return cut[share >= min_visible] - w[:2].repeat(2)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (no_shift, "the origin"),
        (no_cut, "cut off"),
        (centre_inside, "center"),
        (no_clamp, "their product is positive"),
        (lambda b, w, m: written_otherwise(b, w, m, below=True), "≥, not >"),
        (lambda b, w, m: written_otherwise(b, w, 1 - m), "not the share that is lost"),
        (lambda b, w, m: written_otherwise(b, w, 0.4), "not always 0.4"),
        (
            lambda b, w, m: written_otherwise(b, (w[0], w[1], w[0] + w[2], w[1] + w[3]), m),
            "as sides",
        ),
        (lambda b, w, m: no_clamp(b, w, -1e9), "even those outside"),
        (lambda b, w, m: written_otherwise(b, w, 0, below=True), "however little"),
        (lambda b, w, m: written_otherwise(b, w, m, shift_first=False), "the origin"),
    ],
)
def test_wrong_windows_are_named(refused, wrong, hint) -> None:
    refused(check_boxes_in_window, wrong, hint)


def test_solution_agrees_with_counting_pixels() -> None:
    torch.manual_seed(0)
    for _ in range(20):
        boxes = torch.randint(0, 40, (6, 2)).repeat(1, 2) + torch.cat(
            [torch.zeros(6, 2), torch.randint(1, 20, (6, 2))], 1
        )
        x1, y1 = torch.randint(0, 20, (2,)).tolist()
        window = (float(x1), float(y1), float(x1 + 25), float(y1 + 30))
        expected = []
        for left, top, right, bottom in boxes.long().tolist():
            image = torch.zeros(70, 70)
            image[top:bottom, left:right] = 1
            seen = image[y1 : y1 + 30, x1 : x1 + 25]
            if seen.sum() >= 0.4 * image.sum():
                rows, columns = seen.nonzero().T
                expected.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        found = ch01.boxes_in_window(boxes, window, 0.4)
        assert torch.equal(found.long(), torch.tensor(expected).reshape(-1, 4))
