"""Checkers of notebook 12: the threshold of ATSS and the locations of SimOTA."""

from collections.abc import Callable

import torch
from solutions.ch12 import atss_threshold, simota
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


def _row(*values: float) -> Tensor:
    return torch.tensor([values])


_K = "k: the sum of the q highest IoUs, rounded down, and at least 1"
_SHARED = "a location that several objects choose: the object with the lowest cost there gets it"
SIMOTA_CASES = (
    Case(
        "one object; its highest IoUs sum to 2.2",
        (_row(3.0, 1.0, 2.0, 5.0), _row(0.7, 0.9, 0.6, 0.1), 3),
        "background is -1; k is 2 here, and the two locations of the lowest cost get the index 0",
        expected=[-1, 0, 0, -1],
    ),
    Case(
        "a sum of 1.7",
        (_row(2.0, 4.0, 1.0, 3.0), _row(0.8, 0.6, 0.3, 0.1), 3),
        _K,
        expected=[-1, -1, 0, -1],
    ),
    Case(
        "an object that no predicted box overlaps well",
        (_row(4.0, 2.0, 3.0), _row(0.1, 0.0, 0.2), 2),
        _K,
        expected=[-1, 0, -1],
    ),
    Case(
        "the best boxes are not the cheapest",
        (_row(1.0, 2.0, 5.0, 6.0, 3.0), _row(0.9, 0.2, 0.9, 0.8, 0.3), 3),
        _K,
        expected=[0, 0, -1, -1, -1],
    ),
    Case(
        "twelve locations, and q = 4",
        (
            _row(3.0, 7.0, 1.0, 9.0, 4.0, 12.0, 6.0, 2.0, 11.0, 5.0, 10.0, 8.0),
            _row(0.4, 0.9, 0.8, 0.5, 0.45, 0.45, 0.9, 0.45, 0.8, 0.45, 0.5, 0.45),
            4,
        ),
        _K,
        expected=[0, -1, 0, -1, -1, -1, -1, 0, -1, -1, -1, -1],
    ),
    Case(
        "two objects that choose different locations",
        (
            torch.tensor([[9.0, 8.0, 1.0, 7.0, 6.0], [2.0, 9.0, 8.0, 3.0, 9.0]]),
            torch.tensor([[0.4, 0.1, 0.9, 0.0, 0.1], [0.9, 0.1, 0.1, 0.8, 0.7]]),
            3,
        ),
        "k: each object has its own",
        expected=[1, -1, 0, 1, -1],
    ),
    Case(
        "two objects that choose the same location",
        (
            torch.tensor([[1.0, 2.0, 9.0, 8.0, 7.0], [9.0, 1.5, 3.0, 6.0, 8.0]]),
            torch.tensor([[0.9, 0.8, 0.5, 0.0, 0.0], [0.1, 0.6, 0.9, 0.8, 0.2]]),
            3,
        ),
        _SHARED,
        expected=[0, 1, 1, -1, -1],
    ),
    Case(
        "an object that loses its only location",
        (
            torch.tensor([[0.5, 4.0, 7.0, 9.0], [1.0, 5.0, 6.0, 8.0]]),
            torch.tensor([[0.6, 0.5, 0.2, 0.1], [0.9, 0.4, 0.3, 0.0]]),
            3,
        ),
        f"{_SHARED}; the other gets no location in exchange",
        expected=[0, -1, -1, -1],
    ),
    Case(
        "three objects and fewer locations than q",
        (
            torch.tensor([[3.0, 2.0, 1.0, 9.0], [4.0, 1.0, 1.5, 8.0], [0.5, 6.0, 2.0, 7.0]]),
            torch.tensor([[0.9, 0.9, 0.7, 0.0], [0.6, 0.8, 0.9, 0.1], [0.8, 0.0, 0.5, 0.3]]),
            10,
        ),
        "fewer than q locations: the sum of all their IoUs",
        expected=[2, 1, 0, -1],
    ),
)


def _by_cost(cost: Tensor, choices: Tensor) -> Tensor:
    return cost.argmin(0)


def _assigner(
    number: Callable | None = None,
    key: Callable = lambda cost, overlap: cost,
    shared: Callable = _by_cost,
    background: int = -1,
) -> Callable:
    """Return the solution with some of its rules changed.

    Args:
        number: of the locations of each object (N,), from cost, overlap and q.
        key: what is lowest at the chosen locations (N, R).
        shared: the object that gets a location which several choose (R,), from cost and choices.
        background: the index of a location that no object chooses.
    """

    def changed(cost: Tensor, overlap: Tensor, q: int = 10) -> Tensor:
        counts = (number or _floor)(cost, overlap, q).int()
        is_chosen = key(cost, overlap).argsort(1).argsort(1) < counts[:, None]
        choices = is_chosen.sum(0)
        one = is_chosen.int().argmax(0)
        assigned = torch.where(choices > 1, shared(cost, is_chosen), one)
        return assigned.where(choices > 0, background)

    return changed


def _sum(cost: Tensor, overlap: Tensor, q: int) -> Tensor:
    return overlap.sort(1, descending=True).values[:, :q].sum(1)


def _floor(cost: Tensor, overlap: Tensor, q: int) -> Tensor:
    return _sum(cost, overlap, q).floor().clamp(min=1)


def _of_the_cheapest(cost: Tensor, overlap: Tensor, q: int) -> Tensor:
    return overlap.gather(1, cost.argsort(1)[:, :q]).sum(1).floor().clamp(min=1)


def _in_turn(cost: Tensor, overlap: Tensor, q: int = 10) -> Tensor:
    """Let one object after another choose among the locations that are free."""
    assigned, price = torch.full((cost.shape[1],), -1), cost.clone()
    for index, count in enumerate(_floor(cost, overlap, q).int().tolist()):
        places = price[index].argsort()[:count]
        assigned[places[price[index, places].isfinite()]] = index
        price[:, places] = torch.inf
    return assigned


def _chosen(cost: Tensor, overlap: Tensor, q: int = 10) -> Tensor:
    """Return the mask of the chosen pairs, shared locations resolved."""
    return simota(cost, overlap, q) == torch.arange(len(cost))[:, None]


SIMOTA_SLIPS = (
    Slip(
        _assigner(lambda cost, overlap, q: _sum(cost, overlap, q).round().clamp(min=1)),
        "k: round the sum of the IoUs down, not to the nearest integer",
    ),
    Slip(
        _assigner(lambda cost, overlap, q: _sum(cost, overlap, q).ceil().clamp(min=1)),
        "k: round the sum of the IoUs down, not up",
    ),
    Slip(
        _assigner(lambda cost, overlap, q: _sum(cost, overlap, q).floor()),
        "k: it is at least 1, also for an object that no predicted box overlaps well",
    ),
    Slip(
        _assigner(lambda cost, overlap, q: _floor(cost, overlap, q) + 1),
        "k: yours is one too large",
    ),
    Slip(
        _assigner(lambda cost, overlap, q: overlap.sum(1).floor().clamp(min=1)),
        "k: the sum of the q highest IoUs, not of all",
    ),
    Slip(
        _assigner(_of_the_cheapest),
        "k: the q highest IoUs, not the IoUs of the q cheapest locations",
    ),
    Slip(
        _assigner(lambda cost, overlap, q: torch.full((len(cost),), q)),
        "k: it is the sum of the q highest IoUs, not q",
    ),
    Slip(
        _assigner(lambda cost, overlap, q: torch.ones(len(cost))),
        "k: this is one location for each object",
    ),
    Slip(
        _assigner(lambda cost, overlap, q: _floor(cost, overlap, q).amax().expand(len(cost))),
        "k: each object has its own; you take the largest for all",
    ),
    Slip(
        _assigner(lambda cost, overlap, q: _floor(cost, overlap, 10)),
        "q: it is an argument, not always 10",
    ),
    Slip(
        _assigner(key=lambda cost, overlap: -cost),
        "the choice: the lowest cost, not the highest",
    ),
    Slip(
        _assigner(key=lambda cost, overlap: -overlap),
        "the choice: the cost chooses the locations; the IoUs give only their number",
    ),
    Slip(
        _assigner(shared=lambda cost, chosen: chosen.int().argmax(0)),
        "a location that several objects choose: the lowest cost decides, not the lower index",
    ),
    Slip(
        _assigner(shared=lambda cost, chosen: len(cost) - 1 - chosen.flip(0).int().argmax(0)),
        "a location that several objects choose: the lowest cost decides; yours goes to the last object",
    ),
    Slip(
        _assigner(shared=lambda cost, chosen: cost.masked_fill(~chosen, -1).argmax(0)),
        "a location that several objects choose: the lowest cost decides, not the highest",
    ),
    Slip(
        _assigner(shared=lambda cost, chosen: torch.full((cost.shape[1],), -1)),
        "a location that several objects choose: one of them gets it; yours becomes background",
    ),
    Slip(
        _in_turn,
        "the order: every object chooses among all locations, and shared ones are resolved afterwards",
    ),
    Slip(
        lambda cost, overlap, q=10: cost.argmin(0),
        "background: a location that no object chooses gets -1",
    ),
    Slip(_assigner(background=0), "background: -1, since 0 is the first object"),
    Slip(
        lambda cost, overlap, q=10: simota(cost, overlap, q) + 1,
        "the index: objects count from 0, and background is -1",
    ),
    Slip(
        _chosen,
        "what you return: for each location the index of its object or -1, not the mask (N, R)",
    ),
)
check_simota = Checker(simota, SIMOTA_CASES, SIMOTA_SLIPS)
