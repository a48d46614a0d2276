"""Checker of notebook 12: the threshold of ATSS."""

from collections.abc import Callable

import torch
from solutions.ch12 import atss_threshold
from torch import Tensor

from . import Case, Checker, Slip

_NEAR = "the candidates: of each level, the k locations with the smallest distance"
THRESHOLD_CASES = (
    Case(
        "one level, all its locations",
        ([torch.tensor([0.1, 0.2, 0.6])], [torch.tensor([3.0, 1.0, 2.0])], 3),
        "mean plus standard deviation; the three IoUs have the mean 0.3",
        expected=0.3 + 0.07**0.5,
    ),
    Case(
        "one level, the two nearest",
        ([torch.tensor([0.1, 0.2, 0.6])], [torch.tensor([3.0, 1.0, 2.0])], 2),
        _NEAR,
        expected=0.4 + 0.08**0.5,
    ),
    Case(
        "two levels, two candidates of each",
        (
            [torch.tensor([0.5, 0.0, 0.3, 0.4]), torch.tensor([0.1, 0.7])],
            [torch.tensor([1.0, 2.0, 9.0, 3.0]), torch.tensor([8.0, 4.0])],
            2,
        ),
        _NEAR,
    ),
    Case(
        "a level with fewer locations than k",
        (
            [torch.linspace(0, 0.9, 16), torch.tensor([0.3])],
            [torch.linspace(5, 1, 16), torch.tensor([2.0])],
            9,
        ),
        "a level with fewer than k locations: all of them are candidates",
    ),
)


def _variant(
    nearest: bool = True,
    per_level: bool = True,
    by_overlap: bool = False,
    unbiased: bool = True,
    sign: float = 1.0,
    levels: str = "joined",
) -> Callable:
    """Return the solution with some of its rules changed."""

    def changed(overlaps: list[Tensor], distances: list[Tensor], k: int) -> float:
        if not per_level:
            overlaps, distances = [torch.cat(overlaps)], [torch.cat(distances)]
        candidates = []
        for overlap, distance in zip(overlaps, distances):
            key = -overlap if by_overlap else distance if nearest else -distance
            candidates.append(overlap[key.argsort()[:k]])
        if levels == "each":
            parts = [one.mean() + (one.std() if len(one) > 1 else 0) for one in candidates]
            return float(sum(parts) / len(parts))
        values = torch.cat(candidates)
        return float(values.mean() + sign * values.std(unbiased=unbiased))

    return changed


def _all(overlaps: list[Tensor], distances: list[Tensor], k: int) -> float:
    values = torch.cat(overlaps)
    return float(values.mean() + values.std())


def _variance(overlaps: list[Tensor], distances: list[Tensor], k: int) -> float:
    mean = _variant(sign=0.0)(overlaps, distances, k)
    return mean + (atss_threshold(overlaps, distances, k) - mean) ** 2


THRESHOLD_SLIPS = (
    Slip(
        lambda overlaps, distances, k: atss_threshold(overlaps, distances, 9),
        "k: it is an argument, not always 9",
    ),
    Slip(_variant(sign=0.0), "the standard deviation: this is the mean alone"),
    Slip(_variant(sign=-1.0), "the sign: mean plus, not minus, the standard deviation"),
    Slip(
        _variant(unbiased=False),
        "the standard deviation: divide by n - 1, as torch.std does, not by n",
    ),
    Slip(_variance, "the standard deviation: this is the variance; take its root"),
    Slip(_variant(nearest=False), "the candidates: yours are the farthest locations"),
    Slip(_variant(by_overlap=True), "the candidates: choose them by distance, not by IoU"),
    Slip(_variant(per_level=False), "the candidates: k of each level, not k of all levels"),
    Slip(
        _variant(levels="each"),
        "the statistics: join the candidates of all levels before the mean; yours is the mean of the levels' thresholds",
    ),
    Slip(_all, "the candidates: yours are all locations"),
)
check_threshold = Checker(atss_threshold, THRESHOLD_CASES, THRESHOLD_SLIPS)
