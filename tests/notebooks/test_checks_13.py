"""Notebook 13's exercises: other right ways pass, wrong answers put otherwise are told the fault."""

import math

import pytest
from checks.ch13 import check_fit_card, check_joined_loss


def by_division(fixed, per_image, memory, batch, free=0.2, spare=1e-9):
    room = math.floor((memory * (1 - free) - fixed) / per_image + spare)
    fits = [micro for micro in range(1, min(room, batch) + 1) if batch % micro == 0]
    return [fits[-1], batch // fits[-1]] if fits else [0, 0]


def test_another_right_way_passes(verdict) -> None:
    assert verdict(check_fit_card, by_division).startswith("done")


def halving(fixed, per_image, memory, batch):
    micro = batch
    while micro >= 1 and fixed + micro * per_image > 0.8 * memory:
        micro /= 2
    return (int(micro), int(batch / micro)) if micro >= 1 and micro == int(micro) else (0, 0)


def any_number(fixed, per_image, memory, batch):
    room = min(batch, math.floor((0.8 * memory - fixed) / per_image + 1e-9))
    return (room, math.ceil(batch / room)) if room > 0 else (0, 0)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (any_number, "divides the batch"),
        (halving, "never tries 4"),
        (lambda f, p, m, b: by_division(f, p, m, b, free=0.0), "fill that fifth"),
        (lambda f, p, m, b: by_division(0, p, m, b), "fixed part"),
        (lambda f, p, m, b: by_division(0, p + f, m, b), "once for each image"),
        (lambda f, p, m, b: by_division(f, p, m, b)[::-1], "the order"),
        (lambda f, p, m, b: by_division(f, p, m, b)[0], "a pair"),
        (lambda f, p, m, b: by_division(f, p, m, b, spare=-1e-6), "exactly fits"),
        (
            lambda f, p, m, b: (
                tuple(by_division(f, p, m, b)) if by_division(f, p, m, b)[0] else (1, b)
            ),
            "that does not fit",
        ),
    ],
)
def test_wrong_fits_are_named(refused, wrong, hint) -> None:
    refused(check_fit_card, wrong, hint)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda losses, n: sum(losses) / len(losses), "plain mean"),
        (lambda losses, n: sum(losses), "sum of the losses"),
        (lambda losses, n: sum(a * b for a, b in zip(losses, n)) / max(1, sum(n)), "not by 0"),
        (
            lambda losses, n: (
                sum(a * max(b, 1) for a, b in zip(losses, n)) / sum(max(b, 1) for b in n)
            ),
            "adds none",
        ),
        (lambda losses, n: sum(losses) / max(1, sum(n)), "divided already"),
        (lambda losses, n: sum(a * max(b, 1) for a, b in zip(losses, n)) / len(n), "not processes"),
        (lambda losses, n: sum(a * max(b, 1) for a, b in zip(losses, n)), "before the division"),
    ],
)
def test_wrong_losses_are_named(refused, wrong, hint) -> None:
    refused(check_joined_loss, wrong, hint)


def test_a_new_reader_s_wrong_answers_are_named(refused) -> None:
    refused(
        check_fit_card,
        lambda f, p, m, b: by_division(0, p, m - f, b),
        "not of what the fixed part leaves over",
    )
    refused(
        check_fit_card,
        lambda f, p, m, b: (1, b) if f + p <= 0.8 * m else (0, 0),
        "yours is the smallest",
    )
