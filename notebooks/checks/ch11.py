"""Checkers of chapter 11: ten steps to FSAF. The solution replaces a step that the reader has not written yet."""

from collections.abc import Callable

from .ch11_boxes import CENTRES, DECODE, IOU_LOSS, MERGE, OVERLAPS, REGION
from .ch11_losses import ASSIGN, FOCAL, LOSS, TABLE

STEPS = (CENTRES, MERGE, DECODE, IOU_LOSS, REGION, OVERLAPS, FOCAL, TABLE, ASSIGN, LOSS)


def step(number: int, answer: Callable | None) -> Callable:
    """Print the verdict on step `number`, 1..10; return the reader's function if it is right, else the solution.

    Raises:
        ValueError: "There is no step 11: the steps are 1 to 10."
    """
    if number not in range(1, len(STEPS) + 1):
        raise ValueError(f"There is no step {number}: the steps are 1 to {len(STEPS)}.")
    line = STEPS[number - 1].verdict(answer)
    print(line)
    if line.startswith("done"):
        print(f"step {number}: the next steps use your function")
        return answer
    print(f"step {number}: the solution is used until yours is right")
    return STEPS[number - 1].solution


def yours(*functions: Callable) -> int:
    """Return how many of the functions are the reader's own."""
    return sum(function not in [one.solution for one in STEPS] for function in functions)
