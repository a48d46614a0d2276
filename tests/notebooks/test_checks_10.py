"""Notebook 10's exercises: right ways pass, wrong answers are told the fault."""

import numpy as np
import pytest
from checks.ch10 import check_name_cause, check_paired_interval
from scipy import stats
from solutions import ch10


def by_numpy(first, second, quantile, ddof=1):
    pairs = np.subtract(first, second)
    half = quantile * pairs.std(ddof=ddof) / len(pairs) ** 0.5
    return pairs.mean() - half, pairs.mean() + half


def unpaired(first, second, quantile):
    mean = np.mean(first) - np.mean(second)
    half = quantile * ((np.var(first, ddof=1) + np.var(second, ddof=1)) / len(first)) ** 0.5
    return [mean - half, mean + half]


def score_first(facts):
    if facts["has_locations"] and facts["keeps_locations"] and facts["low_score_fits"]:
        return "score below threshold"
    return ch10.name_cause(facts)


def test_right_ways_pass(verdict) -> None:
    assert verdict(check_name_cause, ch10.name_cause).startswith("done")
    assert verdict(check_paired_interval, ch10.paired_interval).startswith("done")
    assert verdict(check_paired_interval, by_numpy).startswith("done")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (unpaired, "two unpaired rows"),
        (lambda a, b, q: by_numpy(a, b, q, 0), "n - 1"),
        (lambda a, b, q: by_numpy(b, a, q), "first minus second"),
        (lambda a, b, q: by_numpy(a, b, 1.96), "it is an argument"),
        (lambda a, b, q: by_numpy(a, b, q * len(a) ** 0.5), "divide s by sqrt(n)"),
    ],
)
def test_wrong_intervals_are_named(refused, wrong, hint) -> None:
    refused(check_paired_interval, wrong, hint)


def test_wrong_causes_are_named(refused) -> None:
    refused(check_name_cause, score_first, "is tested last")
    refused(check_name_cause, lambda facts: "box too poor", "the first stage")


def test_the_solutions_interval_is_scipys() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(35, 1, (2, 7))
    low, high = ch10.paired_interval(first.tolist(), second.tolist(), stats.t.ppf(0.975, 6))
    library = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (low, high) == pytest.approx((library.low, library.high))
