"""Functions as students write them for chapter 13, with what a tutor should make of each."""

import itertools
import math

import numpy as np

from . import breaks, right, wrong

# Exercise 1: fit_card(fixed, per_image, memory, batch)


# 16 images, room for 5: 4 is the largest that divides
@wrong(
    "fit_card",
    fault="the micro-batch does not divide the batch",
    true="divide|divisor|%|multiple|16",
    false="fifth|0\\.8|\\(0, 0\\)",
)
def card_does_not_divide(fixed, per_image, memory, batch):
    micro = min(int((0.8 * memory - fixed) // per_image), batch)
    if micro < 1:
        return 0, 0
    return micro, math.ceil(batch / micro)


@wrong(
    "fit_card",
    fault="no free fifth",
    true="fifth|0\\.8|free|80|20",
    false="divide the batch|\\(0, 0\\)",
)
def card_no_fifth(fixed, per_image, memory, batch):
    for micro in range(batch, 0, -1):
        if batch % micro == 0 and fixed + micro * per_image <= memory:
            return micro, batch // micro
    return 0, 0


@wrong(
    "fit_card",
    fault="the fifth of what remains after the fixed part",
    true="fifth|whole memory|0\\.8|fixed",
    false="divides|\\(0, 0\\)",
)
def card_fifth_of_rest(fixed, per_image, memory, batch):
    room = 0.8 * (memory - fixed)
    for micro in range(batch, 0, -1):
        if batch % micro == 0 and micro * per_image <= room:
            return micro, batch // micro
    return 0, 0


@wrong("fit_card", fault="forgets the fixed part", true="fixed", false="fifth|divide|0\\.8")
def card_no_fixed(fixed, per_image, memory, batch):
    for micro in range(batch, 0, -1):
        if batch % micro == 0 and micro * per_image <= 0.8 * memory:
            return micro, batch // micro
    return 0, 0


# fixed 1, per_image 1, memory 5, batch 3: 1 + 3 * 1 = 4 is exactly four fifths
@wrong(
    "fit_card",
    fault="less than four fifths instead of at most",
    true="<=|exactly|equal|at most|just",
    false="divide|fixed part",
)
def card_strict(fixed, per_image, memory, batch):
    for micro in range(batch, 0, -1):
        if batch % micro == 0 and fixed + micro * per_image < 0.8 * memory:
            return micro, batch // micro
    return 0, 0


@wrong(
    "fit_card",
    fault="the smallest micro-batch that fits",
    true="largest|small|downwards|descending|biggest",
    false="fifth|fixed",
)
def card_smallest(fixed, per_image, memory, batch):
    for micro in range(1, batch + 1):
        if batch % micro == 0 and fixed + micro * per_image <= 0.8 * memory:
            return micro, batch // micro
    return 0, 0


@wrong(
    "fit_card",
    fault="(1, batch) where no image fits",
    true="\\(0, 0\\)|not even one|no image|none|no candidate",
    false="fifth|divide",
)
def card_at_least_one(fixed, per_image, memory, batch):
    micro = batch
    while micro > 1 and (batch % micro or fixed + micro * per_image > 0.8 * memory):
        micro -= 1
    return micro, batch // micro


@wrong(
    "fit_card",
    fault="None where no image fits",
    true="\\(0, 0\\)|not even one|None|no candidate|after the loop",
    false="fifth|divide",
)
def card_none(fixed, per_image, memory, batch):
    for micro in range(batch, 0, -1):
        if batch % micro == 0 and fixed + micro * per_image <= 0.8 * memory:
            return micro, batch // micro


@wrong("fit_card", fault="16 written in", true="batch|16|argument", false="fifth|fixed")
def card_sixteen(fixed, per_image, memory, batch):
    for micro in (16, 8, 4, 2, 1):
        if fixed + micro * per_image <= 0.8 * memory:
            return micro, 16 // micro
    return 0, 0


# a batch of 12: 6 and 3 are never tried
@wrong(
    "fit_card",
    fault="only powers of two",
    true="divi|power|every|candidates|downwards|12|6|3",
    false="fifth|fixed",
)
def card_powers(fixed, per_image, memory, batch):
    micro = 1 << int(math.log2(batch))
    while micro >= 1:
        if batch % micro == 0 and fixed + micro * per_image <= 0.8 * memory:
            return micro, batch // micro
        micro //= 2
    return 0, 0


@wrong(
    "fit_card",
    fault="starts below the batch: the whole batch is never tried",
    true="whole batch|from `?batch|largest|itself|downwards|one step",
    false="fifth|fixed",
)
def card_without_batch(fixed, per_image, memory, batch):
    for micro in range(batch - 1, 0, -1):
        if batch % micro == 0 and fixed + micro * per_image <= 0.8 * memory:
            return micro, batch // micro
    return 0, 0


@wrong(
    "fit_card",
    fault="the numbers in the other order",
    true="order|first|swap|micro",
    false="fifth|fixed",
)
def card_order(fixed, per_image, memory, batch):
    for micro in range(batch, 0, -1):
        if batch % micro == 0 and fixed + micro * per_image <= 0.8 * memory:
            return batch // micro, micro
    return 0, 0


@right("fit_card", unusual="max() over the divisors, accumulate tried upwards")
def card_upwards(fixed, per_image, memory, batch):
    for accumulate in range(1, batch + 1):
        micro, rest = divmod(batch, accumulate)
        if rest == 0 and fixed + micro * per_image <= 0.8 * memory:
            return micro, accumulate
    return 0, 0


@right("fit_card", unusual="largest number that fits by a count, then down to a divisor")
def card_count(fixed, per_image, memory, batch):
    fits = itertools.takewhile(lambda n: fixed + n * per_image <= memory * 0.8, range(1, batch + 1))
    micro = max(fits, default=0)
    while micro and batch % micro:
        micro -= 1
    return (micro, batch // micro) if micro else (0, 0)


@right("fit_card", unusual="numpy, all divisors at once")
def card_numpy(fixed, per_image, memory, batch):
    micro = np.arange(1, batch + 1)
    able = micro[(batch % micro == 0) & (fixed + micro * per_image <= 0.8 * memory)]
    return (int(able[-1]), batch // int(able[-1])) if able.size else (0, 0)


@breaks("fit_card", how="endless loop: never gets past 0 on a GPU that is too small")
def card_endless(fixed, per_image, memory, batch):
    micro = batch
    while fixed + micro * per_image > 0.8 * memory or batch % micro:
        micro = max(micro - 1, 1)
    return micro, batch // micro


@breaks("fit_card", how="raises ZeroDivisionError on a GPU that is too small")
def card_zero(fixed, per_image, memory, batch):
    micro = max(0, min(batch, int((0.8 * memory - fixed) / per_image)))
    while batch % micro:
        micro -= 1
    return micro, batch // micro


# Exercise 2: joined_loss(losses, positives)


@wrong(
    "joined_loss",
    fault="plain mean",
    true="weight|share|plain mean|positive|multiply",
    false="empty|by 1",
)
def joined_mean(losses, positives):
    return sum(losses) / len(losses)


@wrong(
    "joined_loss",
    fault="the sum of an empty process is lost: weight 0",
    true="empty|divided by 1|by 1|its sum|no positive",
    false="plain mean",
)
def joined_weighted(losses, positives):
    total = sum(positives)
    return sum(loss * n for loss, n in zip(losses, positives)) / max(total, 1)


# [2, 3], [4, 0]: 11 / 4, not 11 / 5
@wrong(
    "joined_loss",
    fault="an empty process counts as one location in the divisor",
    true="nothing to the number|divisor|empty|number of locations|no positive",
    false="plain mean",
)
def joined_divisor_too_large(losses, positives):
    divisors = [max(n, 1) for n in positives]
    return sum(loss * d for loss, d in zip(losses, divisors)) / sum(divisors)


@wrong(
    "joined_loss",
    fault="the sum of the losses",
    true="divi|sum|mean|locations|multiply",
    false="empty",
)
def joined_sum(losses, positives):
    return sum(losses)


@wrong(
    "joined_loss",
    fault="does not multiply by the own divisor: sum of losses / all locations",
    true="multiply|own divisor|share|weight",
    false="empty|by 1",
)
def joined_not_multiplied(losses, positives):
    return sum(losses) / max(sum(positives), 1)


# no positive location anywhere: all losses are sums, and their sum is the answer
@wrong(
    "joined_loss",
    fault="0 where no process has a positive location",
    true="no process|no positive|divisor|is 1|sum",
    false="plain mean",
)
def joined_zero(losses, positives):
    total = sum(positives)
    if total == 0:
        return 0.0
    return sum(loss * max(n, 1) for loss, n in zip(losses, positives)) / total


@wrong(
    "joined_loss",
    fault="divided by the number of processes too",
    true="process|divi|twice|number",
    false="empty",
)
def joined_divided_twice(losses, positives):
    total = sum(loss * max(n, 1) for loss, n in zip(losses, positives))
    return total / max(sum(positives), 1) / len(losses)


@wrong(
    "joined_loss",
    fault="leaves empty processes out",
    true="empty|its sum|no positive|adds to the sum|by 1",
    false="plain mean",
)
def joined_left_out(losses, positives):
    pairs = [(loss, n) for loss, n in zip(losses, positives) if n]
    if not pairs:
        return sum(losses)
    return sum(loss * n for loss, n in pairs) / sum(n for _, n in pairs)


@wrong(
    "joined_loss",
    fault="eight processes written in: mean normalizer of all",
    true="eight|8|number of|len|process|divi",
    false="plain mean",
)
def joined_eight(losses, positives):
    # with two processes the divisor is a quarter of the right one
    sums = sum(loss * max(n, 1) for loss, n in zip(losses, positives))
    return sums / max(sum(positives) / 8, 1)


@wrong(
    "joined_loss",
    fault="divides the losses by the positives once more",
    true="multiply|divi|own divisor|sum",
    false="empty",
)
def joined_divides(losses, positives):
    return sum(loss / max(n, 1) for loss, n in zip(losses, positives)) / len(losses)


@wrong(
    "joined_loss",
    fault="floor division",
    true="//|floor|divi|whole|round",
    false="empty",
)
def joined_floor(losses, positives):
    total = sum(loss * max(n, 1) for loss, n in zip(losses, positives))
    return total // max(sum(positives), 1)


@right("joined_loss", unusual="numpy: product with the clipped divisors")
def joined_numpy(losses, positives):
    positives = np.asarray(positives)
    sums = np.dot(np.asarray(losses, dtype=float), np.maximum(positives, 1))
    return sums / max(positives.sum(), 1)


@right("joined_loss", unusual="one process after the other is merged into the others")
def joined_merged(losses, positives):
    total, count = 0.0, 0
    for loss, n in zip(losses, positives):
        total = (total * (count or 1) + loss * (n or 1)) / (count + n or 1)
        count += n
    return total


@right("joined_loss", unusual="math.fsum of loss · n, and the empty ones apart")
def joined_apart(losses, positives):
    full = math.fsum(loss * n for loss, n in zip(losses, positives) if n > 0)
    empty = math.fsum(loss for loss, n in zip(losses, positives) if n == 0)
    return (full + empty) / (sum(positives) or 1)


@breaks("joined_loss", how="raises ZeroDivisionError if no process has a positive location")
def joined_zero_division(losses, positives):
    return sum(loss * (n or 1) for loss, n in zip(losses, positives)) / sum(positives)


@breaks("joined_loss", how="raises TypeError: multiplies two lists")
def joined_lists(losses, positives):
    return sum(losses * positives) / sum(positives)
