"""Compare the CPU times of two functions in interleaved runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Line:
    """One comparison: median times, and the median ratio with its 95 % bootstrap interval."""

    name: str
    peer: str
    seconds: float
    peer_seconds: float
    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"{self.name:52} {1e3 * self.seconds:9.1f} ms  "
            f"{self.peer:34} {1e3 * self.peer_seconds:9.1f} ms  "
            f"{self.ratio:5.2f} [{self.low:.2f}, {self.high:.2f}]"
        )


def compare(
    name: str, run: Callable[[], Any], peer: str, run_peer: Callable[[], Any], pairs: int
) -> Line:
    """Compare the CPU times of two functions, called in turn.

    Args:
        name, peer: how the line names them.
        run, run_peer: the functions.
        pairs: calls of each; one more pair warms up.
    """
    times = np.zeros((pairs + 1, 2))
    for row in range(pairs + 1):
        first = row % 2  # which of the two begins changes from pair to pair
        for column in (first, 1 - first):
            start = time.process_time()
            (run, run_peer)[column]()
            times[row, column] = time.process_time() - start
    times = times[1:]
    ratios = times[:, 0] / times[:, 1]
    draws = np.random.default_rng(0).integers(0, pairs, (2000, pairs))
    low, high = np.quantile(np.median(ratios[draws], axis=1), (0.025, 0.975))
    numbers = (*np.median(times, axis=0), np.median(ratios), low, high)
    return Line(name, peer, *map(float, numbers))
