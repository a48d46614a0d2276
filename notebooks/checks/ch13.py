"""Checkers of chapter 13: a micro-batch that fits a GPU, and the joint loss of several processes."""

from collections.abc import Callable

from solutions.ch13 import fit_card, joined_loss

from . import Case, Checker, Slip

_RULE = "the rule: fixed + micro * per_image, at most four fifths of the memory"
FIT_CASES = (
    Case(
        "a large GPU",
        (0.4, 1.25, 80.0, 16),
        "the simplest case: all 16 images fit, and nothing is accumulated",
    ),
    Case(
        "room for 6 images of 16",
        (0.5, 1.0, 8.2, 16),
        "the divisor: micro-batches of one size must add up to the batch",
    ),
    Case("room for 2 images", (0.4, 1.25, 4.0, 16), _RULE),
    Case(
        "only the spare fifth would hold one more",
        (0.5, 1.0, 5.4, 8),
        "the fifth of the GPU's memory that stays free",
    ),
    Case("heavy weights", (4.2, 1.0, 10.0, 4), "the fifth: of the whole memory, 2 of 10 GB"),
    Case(
        "just fits",
        (1.0, 0.75, 5.0, 4),
        "the border: a micro-batch that fills the four fifths exactly fits",
    ),
    Case(
        "a batch of 12",
        (0.5, 1.0, 9.0, 12),
        "the divisor: 6 divides 12; not only powers of two divide a batch",
    ),
    Case(
        "a batch of 12, room for 4",
        (0.5, 1.0, 6.0, 12),
        "the divisor: all of 1, 2, 3, 4, 6, 12 divide 12",
    ),
    Case("a GPU too small", (0.4, 1.25, 1.5, 16), "a GPU that holds no image: (0, 0)"),
    Case(
        "a GPU smaller than the weights",
        (2.0, 0.1, 1.0, 16),
        "a GPU that holds no image: (0, 0)",
    ),
)


def _fit(micro_of: Callable[[int, int], int], up: bool = False) -> Callable[..., tuple[int, int]]:
    """Return the solution with another micro-batch, computed from the largest that fits and the batch."""

    def function(fixed: float, per_image: float, memory: float, batch: int) -> tuple[int, int]:
        largest = max(
            (micro for micro in range(1, batch + 1) if fixed + micro * per_image <= 0.8 * memory),
            default=0,
        )
        micro = micro_of(largest, batch)
        return (micro, -(-batch // micro) if up else batch // micro) if micro else (0, 0)

    return function


def _power(largest: int, batch: int) -> int:
    return max(
        (2**power for power in range(10) if 2**power <= largest and batch % 2**power == 0),
        default=0,
    )


def _halved(largest: int, batch: int) -> int:
    while batch > largest:
        batch = 0 if batch % 2 else batch // 2
    return batch


def _sixteen(fixed: float, per_image: float, memory: float, batch: int) -> tuple[int, int]:
    fitting = (n for n in (16, 8, 4, 2, 1) if fixed + n * per_image <= 0.8 * memory)
    return next(((n, 16 // n) for n in fitting), (0, 0))


FIT_SLIPS = (
    Slip(_sixteen, "batch: it is an argument, not always 16"),
    Slip(
        lambda f, p, m, b: next(
            ((n, b // n) for n in range(b - 1, 0, -1) if b % n == 0 and f + n * p <= 0.8 * m),
            (0, 0),
        ),
        "where the search begins: the whole batch is a micro-batch too; range(batch, 0, -1) starts with it",
    ),
    Slip(
        _fit(lambda largest, batch: largest),
        "the divisor: the micro-batches must add up to the batch exactly; the largest that fits need not divide it",
    ),
    Slip(
        _fit(lambda largest, batch: largest, up=True),
        "the divisor: with a remainder the last micro-batch would be smaller; take one that divides the batch",
    ),
    Slip(
        _fit(_halved), "the divisor: repeated halving skips some divisors; of 12 it never tries 4"
    ),
    Slip(_fit(_power), "the divisor: not only powers of two divide a batch"),
    Slip(
        lambda f, p, m, b: fit_card(f, p, m / 0.8, b),
        "the fifth of the GPU's memory that stays free: you fill that fifth too",
    ),
    Slip(
        lambda f, p, m, b: fit_card(f, p, m / 4, b),
        "the fifth: it is what stays free, not what may be used",
    ),
    Slip(
        lambda f, p, m, b: fit_card(0.0, p, m - f, b),
        "the fifth: of the whole memory, not of what the fixed part leaves over",
    ),
    Slip(
        lambda f, p, m, b: (1, b) if fit_card(f, p, m, b)[0] else (0, 0),
        "the largest micro-batch that fits: yours is the smallest, which makes a step slowest",
    ),
    Slip(
        lambda f, p, m, b: fit_card(0.0, p, m, b),
        "the fixed part: weights, gradients and momentum take memory with any batch",
    ),
    Slip(
        lambda f, p, m, b: fit_card(0.0, f + p, m, b),
        "the fixed part: it counts once, not once for each image",
    ),
    Slip(
        lambda f, *rest: fit_card(f + 1e-6, *rest),
        "the border: a micro-batch that fills the four fifths exactly fits (<=)",
    ),
    Slip(lambda f, p, m, b: fit_card(f, p, m, b)[::-1], "the order: (micro, accumulate)"),
    Slip(
        lambda f, p, m, b: fit_card(f, p, m, b)[0],
        "what you return: a pair, with the accumulation too",
    ),
    Slip(
        lambda f, p, m, b: (max(fit_card(f, p, m, b)[0], 1), fit_card(f, p, m, b)[1] or b),
        "a GPU that holds no image: (0, 0), not a micro-batch of 1 that does not fit",
    ),
)


check_fit_card = Checker(fit_card, FIT_CASES, FIT_SLIPS)


_WEIGHT = "the sums: loss times its own divisor gives a process's sum; add these, divide by all positive locations"
JOIN_CASES = (
    Case("one process", ([0.8], [5]), "the simplest case: one process alone has the loss already"),
    Case(
        "two, equally many locations",
        ([0.5, 1.5], [4, 4]),
        "two equal shares: the joint loss is the plain mean here",
    ),
    Case("two, 1 and 9 locations", ([2.0, 0.4], [1, 9]), _WEIGHT),
    Case(
        "one process had only empty images",
        ([0.9, 0.3], [10, 0]),
        "the empty process: it divided by 1, so its sum is its loss",
    ),
    Case(
        "no process had an object",
        ([0.2, 0.3], [0, 0]),
        "no location anywhere: each process divided by 1, and so does the whole batch",
    ),
    Case(
        "eight GPUs",
        ([0.9, 0.7, 1.2, 0.4, 0.6, 2.0, 0.8, 1.0], [12, 30, 3, 45, 20, 0, 17, 8]),
        _WEIGHT,
    ),
)


def _weighted(losses: list[float], positives: list[int]) -> float:
    return sum(loss * count for loss, count in zip(losses, positives)) / max(sum(positives), 1)


def _ones_below(losses: list[float], positives: list[int]) -> float:
    counts = [max(count, 1) for count in positives]
    return sum(loss * count for loss, count in zip(losses, counts)) / sum(counts)


JOIN_SLIPS = (
    Slip(
        lambda losses, positives: joined_loss(losses, positives) / len(losses),
        "the divisor: positive locations only; you divide by the number of processes too",
    ),
    Slip(
        lambda losses, positives: (
            sum(loss / max(n, 1) for loss, n in zip(losses, positives)) / len(losses)
        ),
        "the sums: multiply each loss by its own divisor; you divide by it once more",
    ),
    Slip(
        lambda losses, positives: joined_loss(losses, positives) // 1,
        "the division: // gives whole numbers; use /",
    ),
    Slip(
        lambda losses, positives: sum(losses) / len(losses),
        "the weights: this is the plain mean, but a process with 9 locations has a larger share",
    ),
    Slip(lambda losses, positives: sum(losses), "the divisor: this is the sum of the losses"),
    Slip(
        _weighted,
        "the empty process: it divided by 1, not by 0, so its loss is a sum that must be added",
    ),
    Slip(
        _ones_below,
        "the divisor: the whole batch divides by all positive locations; an empty process adds none to it",
    ),
    Slip(
        lambda losses, positives: sum(losses) / max(sum(positives), 1),
        "the sums: these losses have been divided already; multiply each by its own divisor first",
    ),
    Slip(
        lambda losses, positives: joined_loss(losses, positives) * max(sum(positives), 1),
        "the divisor: this is the sum of all losses, before the division",
    ),
    Slip(
        lambda losses, positives: (
            joined_loss(losses, positives) * max(sum(positives), 1) / len(losses)
        ),
        "the divisor: positive locations, not processes",
    ),
)


check_joined_loss = Checker(joined_loss, JOIN_CASES, JOIN_SLIPS)
