"""Checkers of notebook 10: the cause of a miss, and the paired t interval."""

from collections.abc import Callable
from math import sqrt

from solutions.ch10 import name_cause, paired_interval

from . import Case, Checker, Slip

FACTS = (
    "has_locations",
    "keeps_locations",
    "found_without_limits",
    "found_without_nms",
    "other_class_fits",
    "low_score_fits",
)


def _facts(*true: str) -> tuple[dict[str, bool]]:
    return ({name: name in true for name in FACTS},)


_LEARNED = ("has_locations", "keeps_locations")
CAUSE_CASES = (
    Case("no effective location", _facts(), "the first stage", expected="no cell at any level"),
    Case(
        "all its locations belong to others",
        _facts("has_locations"),
        "the second stage: keeps_locations",
        expected="lost to a smaller one",
    ),
    Case(
        "a fitting box of score 0.03",
        _facts(*_LEARNED, "low_score_fits"),
        "low_score_fits",
        expected="score below threshold",
    ),
    Case(
        "it comes back without NMS",
        _facts(*_LEARNED, "found_without_nms", "low_score_fits"),
        "the order: undo NMS before you look at the scores",
        expected="suppressed by NMS",
    ),
    Case(
        "it comes back without the limits, and so without NMS too",
        _facts(*_LEARNED, "found_without_limits", "found_without_nms"),
        "the order: undo the limits before NMS",
        expected="cut by top-k or the 100",
    ),
    Case(
        "a detection of another class, and a low score of its own",
        _facts(*_LEARNED, "other_class_fits", "low_score_fits"),
        "the order: wrong class comes before the score",
        expected="wrong class",
    ),
    Case("none of these", _facts(*_LEARNED), "the last cause", expected="box too poor"),
)


def _in_order(*names: str) -> Callable[[dict[str, bool]], str]:
    """Return an answer that tests the last four facts in another order."""
    causes = {
        "found_without_limits": "cut by top-k or the 100",
        "found_without_nms": "suppressed by NMS",
        "other_class_fits": "wrong class",
        "low_score_fits": "score below threshold",
    }

    def answer(facts: dict[str, bool]) -> str:
        if not (facts["has_locations"] and facts["keeps_locations"]):
            return name_cause(facts)
        return next((causes[name] for name in names if facts[name]), "box too poor")

    return answer


_LIMITS, _NMS, _OTHER, _LOW = FACTS[2:]
CAUSE_SLIPS = (
    Slip(_in_order(_LOW, _LIMITS, _NMS, _OTHER), "the order: the score is tested last"),
    Slip(_in_order(_NMS, _LIMITS, _OTHER, _LOW), "the order: undo the limits before NMS"),
    Slip(_in_order(_LIMITS, _NMS, _LOW, _OTHER), "the order: wrong class before the score"),
    Slip(
        lambda facts: name_cause(
            {**facts, **{name: not facts[name] for name in ("has_locations", "keeps_locations")}}
        ),
        "the first two facts: the cause holds where has_locations or keeps_locations is False; the `not` is missing",
    ),
    Slip(
        lambda facts: name_cause(facts).lower(),
        "the spelling: return the cause exactly as printed, capital letters included",
    ),
    Slip(
        lambda facts: name_cause({**facts, "has_locations": True}),
        "has_locations: an object without any location has a cause of its own",
    ),
)
check_name_cause = Checker(name_cause, CAUSE_CASES, CAUSE_SLIPS)

_A, _B = [36.0, 38.0, 37.0, 40.0, 39.0], [35.0, 36.0, 36.0, 38.0, 38.0]
INTERVAL_CASES = (
    Case(
        "differences 1, 2, 1, 2, 1",
        (_A, _B, 2.776),
        "mean ± quantile * s / sqrt(n)",
        expected=(1.4 - 2.776 * sqrt(0.06), 1.4 + 2.776 * sqrt(0.06)),
    ),
    Case("three seeds", ([1.0, 2.0, 4.0], [0.0, 0.0, 0.0], 4.303), "the number of seeds, n"),
    Case("equal differences", ([2.0, 5.0], [1.0, 4.0], 12.706), "s is 0", expected=(1.0, 1.0)),
    Case("the second row is better", (_B, _A, 2.776), "the sign: first minus second"),
    Case(
        "pairs in another order",
        ([5.0, 1.0, 3.0], [1.0, 2.0, 3.0], 4.303),
        "the pairs: the numbers of one seed belong together; do not sort",
    ),
)


def _interval(spread: Callable[[list[float], list[float]], float]) -> Callable:
    def answer(first: list[float], second: list[float], quantile: float) -> tuple[float, float]:
        mean = sum(first) / len(first) - sum(second) / len(second)
        half = quantile * spread(first, second)
        return mean - half, mean + half

    return answer


def _variance(values: list[float], less: int = 1) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - less)


def _pairs(first: list[float], second: list[float]) -> list[float]:
    return [one - other for one, other in zip(first, second)]


INTERVAL_SLIPS = (
    Slip(
        lambda a, b, quantile: paired_interval(sorted(a), sorted(b), quantile),
        "the pairs: the numbers of one seed belong together; you sort the rows, which separates them",
    ),
    Slip(
        lambda a, b, quantile: paired_interval(a, b, quantile)[::-1],
        "the order: the low end first; yours are swapped",
    ),
    Slip(
        _interval(lambda a, b: sqrt((_variance(a) + _variance(b)) / len(a))),
        "the pairs: subtract seed by seed first; this is the interval of two unpaired rows",
    ),
    Slip(
        _interval(lambda a, b: sqrt(_variance(_pairs(a, b)))),
        "the error of the mean: divide s by sqrt(n)",
    ),
    Slip(
        _interval(lambda a, b: sqrt(_variance(_pairs(a, b), 0) / len(a))),
        "s: divide the squares by n - 1, not by n",
    ),
    Slip(
        _interval(lambda a, b: _variance(_pairs(a, b)) / sqrt(len(a))),
        "s: take the square root of the variance",
    ),
    Slip(lambda a, b, quantile: paired_interval(b, a, quantile), "the sign: first minus second"),
    Slip(
        lambda a, b, quantile: paired_interval(a, b, 1.96),
        "the quantile: it is an argument; 1.96 holds for many seeds",
    ),
)
check_paired_interval = Checker(paired_interval, INTERVAL_CASES, INTERVAL_SLIPS)
