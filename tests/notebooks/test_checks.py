"""All chapters' checkers take the course's solution and name each slip; their machinery says what it should, and never raises."""

import random
import signal
import sys
import threading
from importlib import import_module
from pathlib import Path

import checks
import numpy as np
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
            "case 1 of 3 (two numbers): <lambda>(tensor([1.0, 2.0]))\n"
            "given: [3, 6]\nexpected: [2, 4]\nlook at the factor: it is not three",
        ),
        (
            lambda x: x * 3 if len(x) == 2 else x * 2,
            "case 1 of 3 (two numbers): <lambda>(tensor([1.0, 2.0]))\n"
            "given: [3, 6]\nexpected: [2, 4]\nperhaps look at the factor: it is not three",
        ),
        (
            lambda x: x * 5,
            "case 1 of 3 (two numbers): <lambda>(tensor([1.0, 2.0]))\n"
            "given: [5, 10]\nexpected: [2, 4]\nlook at the factor",
        ),
        (
            lambda x: x * 2 + (x > 8),
            "case 2 of 3 (many): <lambda>(tensor([0.0, 1.0,",
        ),
        (
            lambda x: x * 2 if len(x) else None,
            "case 3 of 3 (none): <lambda>(<tensor of shape (0,)>)\n"
            "given: None\nexpected: []\nlook at nothing in",
        ),
        (
            lambda x: x[:1],
            "case 1 of 3 (two numbers): <lambda>(tensor([1.0, 2.0]))\n"
            "given: [1] of shape (1,)\nexpected: [2, 4] of shape (2,)\nlook at the shape first",
        ),
        (
            lambda: 0,
            "case 1 of 3 (two numbers): <lambda>(tensor([1.0, 2.0]))\nyour function raises TypeError",
        ),
        (
            lambda x: x.mul_(2),
            "case 1 of 3 (two numbers): <lambda>(tensor([1.0, 2.0]))\n"
            "the result is right, but <lambda> changes its arguments",
        ),
    ],
)
def test_each_answer_gets_its_line(verdict, answer, line) -> None:
    assert verdict(Checker(lambda x: x * 2, CASES, SLIPS), answer).startswith(line)


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (
            lambda x: x * 2 + (x > 8),
            "\ngiven: 19 at [9], where the two differ first\nexpected: 18 there (11 of 20 numbers differ)\n"
            "look at what happens beyond 8",
        ),
        (lambda x: "2, 4", "\ngiven: '2, 4'\nexpected: [2, 4]\n"),
        (lambda x: x * float("nan"), "\ngiven: [nan, nan]\n"),
        (lambda x: torch.nn.Linear(2, 2), "\ngiven: Linear("),
        (
            lambda x: (2 * one for one in x),
            "your function returns a generator\nlook at what you return",
        ),
        (lambda x: map(float, x), "your function returns a map object\nlook at what you return"),
        (
            lambda x: {2.0, 4.0},
            "your function returns a set\nlook at what you return: make it a list",
        ),
    ],
)
def test_results_are_shown_line_by_line(verdict, answer, part) -> None:
    assert part in verdict(Checker(lambda x: x * 2, CASES, SLIPS), answer)


def _raises(x):
    for place in range(3):
        x[place]
    return x


def _loops(x):
    while True:
        try:
            x = x + 1
        except Exception:  # as readers write it
            x = None


def test_an_exception_comes_with_the_line_of_the_reader_s_function(verdict) -> None:
    line = _raises.__code__.co_firstlineno + 2
    assert verdict(Checker(lambda x: x * 2, CASES), _raises) == (
        "case 1 of 3 (two numbers): _raises(tensor([1.0, 2.0]))\n"
        "your function raises IndexError: index 2 is out of bounds for dimension 0 with size 2\n"
        f"in line {line}: x[place]"
    )


def test_an_endless_loop_and_an_exit_end_in_a_sentence(verdict, monkeypatch) -> None:
    monkeypatch.setattr(checks, "PATIENCE", 0.2)
    checker = Checker(lambda x: x * 2, CASES, SLIPS)
    assert verdict(checker, _loops).endswith("the call takes long. Is there a loop without an end?")
    for leave in (lambda x: exit(), lambda x: sys.exit(1)):
        assert "calls exit(), which would end the whole notebook" in verdict(checker, leave)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_outside_the_main_thread_there_is_no_timer(monkeypatch) -> None:
    said = []
    checker = Checker(lambda x: x * 2, CASES)
    ask = threading.Thread(target=lambda: said.append(checker.verdict(lambda x: x * 2)))
    ask.start()
    ask.join()
    assert said == ["done: <lambda> is right in all 3 cases"]


def test_cases_after_the_first_wrong_one_are_asked_only_for_a_hint(verdict) -> None:
    seen = []

    def answer(x, factor):
        seen.append(len(x))
        return x * factor

    checker = Checker(lambda x: x * 2, CASES, SLIPS)
    assert "look at the factor" in verdict(checker, lambda x: answer(x, 5))
    assert seen == [2]
    seen.clear()
    assert "not three" in verdict(checker, lambda x: answer(x, 3))
    assert seen == [2, 20, 0]


def test_what_the_answer_sets_is_restored(verdict) -> None:
    def answer(x):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        random.seed(7)
        np.random.seed(7)
        return x * 2

    random.seed(3)
    np.random.seed(3)
    assert verdict(Checker(lambda x: x * 2, CASES), answer).startswith("done")
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
    drawn = random.random(), np.random.random()
    random.seed(3)
    np.random.seed(3)
    assert drawn == (random.random(), np.random.random())


def test_a_shared_buffer_is_no_fault(verdict) -> None:
    buffer = torch.zeros(2)

    def answer(x):
        return torch.mul(x, 2, out=buffer)

    cases = (Case("one", (ONE,), "it"), Case("two", (ONE + 1,), "it"))
    assert verdict(Checker(lambda x: x * 2, cases), answer).startswith("done")


@pytest.mark.parametrize(
    ("given", "expected", "lines"),
    [
        ((1, "P3"), (1, "P4"), ("in value 2 of 2, 'P3'", "in value 2 of 2, 'P4'")),
        ({"result": 1, "kind": "a"}, {"result": 2, "kind": "a"}, ("1", "2")),
        ({"result": 1, "kind": "a"}, {"result": 1, "kind": "b"}, ("a", "b")),
        ({"P3": 1}, {"P3": 2}, ("P3: 1", "P3: 2")),
        (
            {"gradient flows": False},
            {"gradient flows": True},
            ("a result without a gradient", "a result through which the gradient flows"),
        ),
    ],
)
def test_parts_of_results_have_names(given, expected, lines) -> None:
    assert checks.told(given, expected) == lines


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
