"""All chapters' checkers take the course's solution and name each slip; their machinery says what it should, and never raises."""

from importlib import import_module
from pathlib import Path

import checks
import pytest
import torch
from checks import Case, Checker, Slip

CHAPTERS = [
    import_module(f"checks.{path.stem}")
    for path in sorted(Path(checks.__file__).parent.glob("ch*.py"))
]
CHECKERS = {
    name: one
    for chapter in CHAPTERS
    for name, one in vars(chapter).items()
    if isinstance(one, Checker)
}
ALL_SLIPS = [
    pytest.param(one, slip, id=f"{name}-{i}")
    for name, one in CHECKERS.items()
    for i, slip in enumerate(one.slips)
]


@pytest.mark.parametrize("checker", CHECKERS.values(), ids=CHECKERS)
def test_the_course_s_own_solution_passes(verdict, checker) -> None:
    assert verdict(checker, checker.solution).startswith("done")


@pytest.mark.parametrize("checker", CHECKERS.values(), ids=CHECKERS)
def test_stubs_are_to_do(verdict, checker) -> None:
    for stub in (lambda *args: None, lambda *args: ..., None):
        assert verdict(checker, stub).startswith("to do")


@pytest.mark.parametrize(("checker", "slip"), ALL_SLIPS)
def test_each_slip_is_named(verdict, checker, slip) -> None:
    line = verdict(checker, slip.function)
    assert line.startswith("case")
    assert line.endswith(f"look at {slip.look}")


ONE, MANY = torch.tensor([1.0, 2.0]), torch.arange(20.0)
CASES = (
    Case("two numbers", (ONE,), "the factor"),
    Case("many", (MANY,), "the factor"),
    Case("none", (ONE[:0],), "nothing in, nothing out", expected=ONE[:0]),
)
SLIPS = (
    Slip(lambda x: x / 0 if x[0] == 5 else 1 / 0, "a slip that raises"),
    Slip(lambda x: x * 3, "the factor: it is not three"),
    Slip(lambda x: x * 2 + (x > 8), "what happens beyond 8"),
)


def stub(x):
    raise NotImplementedError


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (lambda x: x * 2, "done: <lambda> is right in all 3 cases"),
        (lambda x: (x * 2).int(), "done"),
        (lambda x: (x * 2).tolist(), "done"),
        (lambda x: (x * 2).numpy(), "done"),
        (lambda x: None, "to do: <lambda> returns nothing yet"),
        (lambda x: ..., "to do"),
        (lambda x: NotImplemented, "to do"),
        (stub, "to do: stub returns nothing yet"),
        (None, "to do: give the checker your function"),
        (7, "to do"),
        (
            lambda x: x * 3,
            "case 1 of 3 (two numbers): you gave [3, 6], expected [2, 4], look at the factor: it is not three",
        ),
        (
            lambda x: x * 5,
            "case 1 of 3 (two numbers): you gave [5, 10], expected [2, 4], look at the factor",
        ),
        (
            lambda x: x * 2 + (x > 8),
            "case 2 of 3 (many): you gave 19 at [9], expected 18 there, look at what happens beyond 8",
        ),
        (
            lambda x: x * 2 if len(x) else None,
            "case 3 of 3 (none): you gave None, expected [], look at nothing in",
        ),
        (
            lambda x: x[:1],
            "case 1 of 3 (two numbers): you gave [1] of shape (1,), expected [2, 4] of shape (2,)",
        ),
        (
            lambda x: 1 / 0,
            "case 1 of 3 (two numbers): you stop with ZeroDivisionError: division by zero, expected",
        ),
        (lambda: 0, "case 1 of 3 (two numbers): you stop with TypeError"),
        (lambda x: "2, 4", "case 1 of 3 (two numbers): you gave '2, 4', expected [2, 4]"),
        (lambda x: x * float("nan"), "case 1 of 3 (two numbers): you gave [nan, nan]"),
        (
            lambda x: x.mul_(2),
            "case 1 of 3 (two numbers): the result is right, but <lambda> changes its arguments",
        ),
        (lambda x: torch.nn.Linear(2, 2), "case 1 of 3 (two numbers): you gave Linear("),
    ],
)
def test_each_answer_gets_its_line(verdict, answer, line) -> None:
    assert verdict(Checker(lambda x: x * 2, CASES, SLIPS), answer).startswith(line)


@pytest.mark.parametrize(
    ("given", "expected", "right"),
    [
        ({"a": 1, "b": ONE}, {"a": 1.0, "b": ONE}, True),
        ({"a": 1, "b": ONE}, {"a": 1.0, "b": ONE + 1}, False),
        ({"a": 1}, {"b": 1}, False),
        ([ONE, MANY], (ONE, MANY), True),
        ([ONE, MANY], (ONE, ONE), False),
        ([ONE], (ONE, MANY), False),
        ((1, True, "P3"), (1, True, "P3"), True),
        ((1, True, "P3"), (1, True, "P4"), False),
        ("3", 3, False),
        (float("inf"), float("inf"), True),
        (torch.zeros(1), torch.tensor(0.0), False),
        (1.00001, 1.0, True),
        (1.001, 1.0, False),
    ],
)
def test_results_are_compared_by_value(verdict, given, expected, right) -> None:
    cases = (Case("it", (), "it"),)
    assert verdict(Checker(lambda: expected, cases), lambda: given).startswith(
        "done" if right else "case 1 of 1"
    )


def test_answers_meet_the_same_random_numbers_each_time(verdict) -> None:
    torch.manual_seed(0)
    first = torch.rand(3)
    cases = (Case("it", (), "it", expected=first), Case("again", (), "it", expected=first))
    before = torch.random.get_rng_state()
    assert verdict(Checker(torch.zeros, cases), lambda: torch.rand(3)).startswith("done")
    assert torch.equal(before, torch.random.get_rng_state())
