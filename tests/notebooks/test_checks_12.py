"""Notebook 12's exercise: other right ways pass, wrong answers put otherwise get the hint."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from checks.ch12 import check_threshold
from examples.atss import TOPK, atss, square_anchors
from solutions.ch12 import atss_threshold
from torchvision.ops import box_iou

from fsaf_core.method.locations import pyramid_locations


def by_topk(overlaps, distances, k=9):
    chosen = [o[d.topk(min(k, len(d)), largest=False).indices] for o, d in zip(overlaps, distances)]
    values = np.concatenate([one.numpy() for one in chosen])
    return values.mean() + values.std(ddof=1)


def loops(overlaps, distances, k=9):
    values = []
    for overlap, distance in zip(overlaps, distances):
        pairs = sorted(zip(distance.tolist(), overlap.tolist()))[:k]
        values += [value for _, value in pairs]
    mean = sum(values) / len(values)
    return mean + (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5


@pytest.mark.parametrize("answer", [by_topk, loops])
def test_other_ways_pass(verdict, answer) -> None:
    assert verdict(check_threshold, answer).startswith("done")


def numpy_std(overlaps, distances, k=9):
    chosen = [o[d.argsort()[:k]] for o, d in zip(overlaps, distances)]
    values = np.concatenate([one.numpy() for one in chosen])
    return values.mean() + values.std()


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (numpy_std, "n - 1"),
        (lambda o, d, k=9: float(torch.cat([x[:k] for x in o]).mean()), "the mean alone"),
        (lambda o, d, k=9: float(torch.cat(o).mean() + torch.cat(o).std()), "all locations"),
        (
            lambda o, d, k=9: loops([torch.cat(o)], [torch.cat(d)], k),
            "k of each level, not k of all levels",
        ),
        (lambda o, d, k=9: by_topk(o, [-x for x in d], k), "the farthest"),
    ],
)
def test_wrong_thresholds_are_named(refused, wrong, hint) -> None:
    refused(check_threshold, wrong, hint)


def test_the_solution_is_the_examples_threshold() -> None:
    """Locations of the example are positive exactly where the anchor reaches the solution's threshold."""
    generator = torch.Generator().manual_seed(0)
    locations = pyramid_locations(((16, 16), (8, 8), (4, 4), (2, 2)), (8, 16, 32, 64), 0.5)
    for _ in range(20):
        corner, side = torch.rand(2, 2, generator=generator)
        box = torch.cat([60 * corner, 60 * corner + 5 + 60 * side])[None]
        overlap = box_iou(box, square_anchors(locations, 2))[0]
        center = (box[0, :2] + box[0, 2:]) / 2
        distance = (locations.centers - center).pow(2).sum(1).sqrt()
        levels = overlap.split(locations.sizes), distance.split(locations.sizes)
        threshold = atss_threshold(*levels, TOPK)
        truth = SimpleNamespace(boxes=box, image=torch.zeros(1, dtype=torch.long))
        given = SimpleNamespace(logits=torch.zeros(1, 1, len(overlap)))
        positive = atss(locations, given, truth, 2).assigned[0] >= 0
        assert (overlap[positive] >= threshold - 1e-6).all()
        near = torch.cat([d <= d.sort().values[:TOPK][-1] for d in levels[1]])
        inside = (
            (locations.centers > box[:, :2] + 0.01) & (locations.centers < box[:, 2:] - 0.01)
        ).all(1)
        assert torch.equal(positive, near & inside & (overlap >= threshold - 1e-6))
