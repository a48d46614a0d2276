"""Notebook 12's exercises: other right ways pass, wrong answers put otherwise get the hint."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from checks.ch12 import check_simota, check_threshold
from examples.atss import TOPK, atss, square_anchors
from solutions.ch12 import atss_threshold, simota
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


# SimOTA


def loops_of_simota(cost, overlap, q=10):
    """Return a list, by plain loops over objects and locations."""
    chosen = []
    for costs, overlaps in zip(cost.tolist(), overlap.tolist()):
        k = max(1, int(sum(sorted(overlaps, reverse=True)[:q])))
        chosen.append(sorted(range(len(costs)), key=costs.__getitem__)[:k])
    assigned = [-1] * cost.shape[1]
    for place in range(cost.shape[1]):
        wanted = [index for index in range(len(cost)) if place in chosen[index]]
        if len(wanted) == 1:
            assigned[place] = wanted[0]
        elif wanted:
            assigned[place] = min(range(len(cost)), key=cost[:, place].tolist().__getitem__)
    return assigned


def among_those_that_chose(cost, overlap, q=10):
    """Give a shared location to the cheapest of the objects that chose it: the text allows this too."""
    best = overlap.sort(1, descending=True).values[:, :q]
    counts = best.sum(1).int().clamp(min=1)
    price = cost.where(cost.argsort(1).argsort(1) < counts[:, None], torch.inf)
    least, index = price.min(0)
    return index.where(least.isfinite(), -1).numpy()


@pytest.mark.parametrize("answer", [loops_of_simota, among_those_that_chose])
def test_other_ways_to_write_simota_pass(verdict, answer) -> None:
    assert verdict(check_simota, answer).startswith("done")


def test_the_solution_of_simota_equals_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    for count in (1, 2, 5, 12):
        for places in (3, 10, 40):
            cost, overlap = torch.rand(2, count, places, generator=generator)
            for q in (1, 4, 10):
                assert simota(cost, overlap, q).tolist() == loops_of_simota(cost, overlap, q)


def rounded(cost, overlap, q=10):
    counts = [max(1, round(sum(sorted(row, reverse=True)[:q]))) for row in overlap.tolist()]
    return _of_counts(cost, counts)


def without_minimum(cost, overlap, q=10):
    counts = [int(sum(sorted(row, reverse=True)[:q])) for row in overlap.tolist()]
    return _of_counts(cost, counts)


def of_all_ious(cost, overlap, q=10):
    return _of_counts(cost, [max(1, int(sum(row))) for row in overlap.tolist()])


def ten_written_in(cost, overlap, q=10):
    return simota(cost, overlap)


def last_object_wins(cost, overlap, q=10):
    assigned = [-1] * cost.shape[1]
    for index in range(len(cost)):
        for place, one in enumerate(simota(cost[index, None], overlap[index, None], q).tolist()):
            assigned[place] = index if one == 0 else assigned[place]
    return assigned


def first_object_wins(cost, overlap, q=10):
    assigned = last_object_wins(cost.flip(0), overlap.flip(0), q)
    return [len(cost) - 1 - one if one >= 0 else -1 for one in assigned]


def shared_becomes_background(cost, overlap, q=10):
    own = [simota(cost[index, None], overlap[index, None], q) == 0 for index in range(len(cost))]
    chosen = torch.stack(own)
    return chosen.int().argmax(0).where(chosen.sum(0) == 1, -1)


def one_object_after_another(cost, overlap, q=10):
    assigned = [-1] * cost.shape[1]
    for index, row in enumerate(cost.tolist()):
        k = max(1, int(overlap[index].sort(descending=True).values[:q].sum()))
        free = [place for place in range(len(row)) if assigned[place] < 0]
        for place in sorted(free, key=row.__getitem__)[:k]:
            assigned[place] = index
    return assigned


def _of_counts(cost, counts):
    chosen = torch.stack([row.argsort().argsort() < count for row, count in zip(cost, counts)])
    least = cost.argmin(0)
    return torch.where(chosen.sum(0) > 1, least, chosen.int().argmax(0)).where(chosen.any(0), -1)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (rounded, "down, not to the nearest"),
        (without_minimum, "at least 1"),
        (of_all_ious, "the q highest IoUs, not of all"),
        (ten_written_in, "not always 10"),
        (lambda c, o, q=10: simota(-c, o, q), "the lowest cost, not the highest"),
        (lambda c, o, q=10: simota(-o, o, q), "the IoUs give only their number"),
        (last_object_wins, "yours goes to the last object"),
        (first_object_wins, "not the lower index"),
        (shared_becomes_background, "yours becomes background"),
        (one_object_after_another, "every object chooses among all locations"),
        (lambda c, o, q=10: simota(c, o, q).clamp(min=0), "0 is the first object"),
        (lambda c, o, q=10: c.min(0).indices, "that no object chooses gets -1"),
    ],
)
def test_wrong_ways_of_simota_are_named(refused, answer, hint) -> None:
    refused(check_simota, answer, hint)
