"""Checkers of the exercises: a table of cases in, one line of a tutor out, never an exception.

A notebook says `from checks.ch03 import check_cell_centres` and then `check_cell_centres(cell_centres)`, which prints one of

    to do: cell_centres returns nothing yet
    case 3 of 7 (a level of one cell): you gave [[16, 0]], expected [[64, 64]], look at the centre of a cell: ...
    done: cell_centres is right in all 7 cases

How a chapter's module is written (`checks/chNN.py`):

    CASES = (Case("two equal boxes", (a, a), "the union: ..."), ...)            # expected: the solution's result, or typed out
    SLIPS = (Slip(_x_and_y_swapped, "x and y: they are swapped"), ...)          # wrong answers that students really give
    check_iou = Checker(iou, CASES, SLIPS)

A slip is recognised by what comes out: it is run on the same cases, and where its output equals the reader's wrong one, its text
is what the reader is told to look at. So a slip is written once, as a function, and its test is that it is recognised.
Numbers, bools, strings, tensors, arrays, and lists, tuples and dicts of them are compared by value (int 1 = float 1.0 = True);
numbers within 1e-4.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor

STAR = (6.46, 38.64, 40.25, 89.75)  # the box of the course's running instance
TOLERANCE = 1e-4  # absolute, and relative to the expected number
SHORT = 8  # this many numbers are shown in full; of more only the first that differs


@dataclass(frozen=True, eq=False)  # two are equal if they are one: so they can be keys
class Case:
    """One question to the reader's function."""

    name: str  # in a few words, shown to the reader
    args: tuple
    look: str  # goes on after "look at", for a wrong answer that no slip explains
    expected: Any = (
        ...
    )  # typed out where it is not what the solution gives, so that the solution is checked too


@dataclass(frozen=True, eq=False)
class Slip:
    """A plausible wrong answer and the fault that it shows."""

    function: Callable
    look: str  # goes on after "look at"


def within(
    place: Callable[[Callable], Callable], slips: Sequence[Slip], look: str = ""
) -> tuple[Slip, ...]:
    """The same faults inside a larger function: `place` puts one there; `look` goes before what its text says."""
    return tuple(Slip(place(slip.function), look + slip.look) for slip in slips)


@dataclass(frozen=True)
class _Raised:
    """What a function gives when it raises."""

    text: str


@dataclass(frozen=True, eq=False)
class Checker:
    """An exercise. Called with the reader's function it prints one line: to do, the first wrong case, or done."""

    solution: Callable
    cases: Sequence[Case]  # asked in this order: the simplest first
    slips: Sequence[
        Slip
    ] = ()  # named is the one that agrees in most cases, the first wrong one included
    run: Callable[..., Any] = lambda function, *args: function(
        *args
    )  # gives what is compared, e.g. a value and its gradient

    def __call__(self, answer: Callable | None) -> None:
        print(self.verdict(answer))

    @cached_property
    def expected(self) -> list[Any]:
        """What each case should give."""
        return [
            _ask(self.run, self.solution, one)[0] if one.expected is ... else one.expected
            for one in self.cases
        ]

    def verdict(self, answer: Callable | None) -> str:
        """The line that is printed. None, and a function that gives None, NotImplemented or ... everywhere, are "to do"."""
        name = getattr(answer, "__name__", "the answer")
        if answer is None or not callable(answer):
            return "to do: give the checker your function itself, without brackets"
        given, changed = zip(*(_ask(self.run, answer, case) for case in self.cases))
        if all(map(nothing, given)):
            return f"to do: {name} returns nothing yet"
        first = next(
            (i for i, pair in enumerate(zip(given, self.expected)) if not same(*pair)), None
        )
        if first is None:
            if any(changed):
                at = self._where(changed.index(True))
                return (
                    f"{at}: the result is right, but {name} changes its arguments; work on a copy"
                )
            return f"done: {name} is right in all {len(self.cases)} cases"
        mine, right = told(given[first], self.expected[first])
        verb = "you stop with" if isinstance(given[first], _Raised) else "you gave"
        return f"{self._where(first)}: {verb} {mine}, expected {right}, look at {self._look(given, first)}"

    def _where(self, index: int) -> str:
        return f"case {index + 1} of {len(self.cases)} ({self.cases[index].name})"

    def _look(self, given: Sequence, first: int) -> str:
        """The text of the slip that gives the same: in the first wrong case, in half of the wrong ones and of all, in most."""
        best, most = self._unexplained(given[first], first), 0
        wrong = [not same(*pair) for pair in zip(given, self.expected)]
        for slip in self.slips:
            outputs = [_slip_gives(self.run, slip, case) for case in self.cases]
            agree = [
                same(mine, theirs) for mine, theirs in zip(given, outputs)
            ]  # errors by their text
            fits = 2 * sum(map(min, agree, wrong)) >= sum(wrong) and 2 * sum(agree) >= len(
                agree
            )  # one may look alike by chance
            if agree[first] and fits and sum(agree) > most:
                best, most = slip.look, sum(agree)
        return best

    def _unexplained(self, given: Any, first: int) -> str:
        """What to look at where no slip fits: the shape if that is wrong, else what the case is about."""
        right = self.expected[first]
        while (
            isinstance(given, Mapping)
            and isinstance(right, Mapping)
            and given.keys() == right.keys()
        ):
            given, right = next(
                (given[key], right[key]) for key in right if not same(given[key], right[key])
            )
        ours, theirs = _numbers(given), _numbers(right)
        if ours is None or theirs is None or ours.shape == theirs.shape:
            return self.cases[first].look
        return f"the shape first, then {self.cases[first].look}"


def nothing(value: Any) -> bool:
    """Whether a function has given nothing yet."""
    return value is None or value is NotImplemented or value is ...


def _ask(run: Callable[..., Any], function: Callable, case: Case) -> tuple[Any, bool]:
    """What the function gives on a case, with the same random numbers each time, and whether it changed its arguments."""
    args = copy.deepcopy(case.args)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            value = run(function, *args)
        except NotImplementedError:
            return None, False
        except Exception as error:
            return _Raised(f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"), False
    plain = [
        (new, old)
        for new, old in zip(args, case.args)
        if _numbers(old) is not None or isinstance(old, (Sequence, Mapping))
    ]
    return value, any(not same(new, old) for new, old in plain)


@cache
def _slip_gives(run: Callable[..., Any], slip: Slip, case: Case) -> Any:
    return _ask(run, slip.function, case)[0]


def same(given: Any, expected: Any) -> bool:
    """Whether two results have equal shape and, within the tolerance, equal values."""
    if isinstance(given, Mapping) and isinstance(expected, Mapping):
        return given.keys() == expected.keys() and all(
            same(given[key], expected[key]) for key in expected
        )
    ours, theirs = _numbers(given), _numbers(expected)
    if ours is not None and theirs is not None:
        if isinstance(given, (list, tuple)) and ours.numel() == theirs.numel() == 0:
            return True  # an empty list cannot say its columns
        return ours.shape == theirs.shape and bool(
            torch.isclose(ours, theirs, TOLERANCE, TOLERANCE, equal_nan=True).all()
        )
    if isinstance(given, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(given) == len(expected) and all(map(same, given, expected))
    return ours is None and theirs is None and type(given) is type(expected) and given == expected


def _numbers(value: Any) -> Tensor | None:
    """A number, or anything regular made of numbers, as float64; None for all else."""
    if isinstance(value, Tensor):
        return value.detach().cpu().double()
    if isinstance(value, (Number, np.ndarray, np.generic, list, tuple)):
        try:
            return torch.from_numpy(np.array(_plain(value), dtype=np.float64))
        except (TypeError, ValueError, RuntimeError):
            return None
    return None


def _plain(value: Any) -> Any:
    """Without tensors inside, which numpy would not always take."""
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        raise ValueError("a string is no number, even if it reads like one")
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def told(given: Any, expected: Any) -> tuple[str, str]:
    """How the two are shown to the reader: in full when short, else by shape or by the first place that differs."""
    if isinstance(given, _Raised):
        return given.text, _short(expected)
    if (
        isinstance(given, Mapping)
        and isinstance(expected, Mapping)
        and given.keys() == expected.keys()
    ):
        key = next(key for key in expected if not same(given[key], expected[key]))
        mine, right = told(given[key], expected[key])
        return f"{mine} under {key!r}", right
    ours, theirs = _numbers(given), _numbers(expected)
    if ours is not None and theirs is not None and ours.shape != theirs.shape:
        return (
            f"{_short(given)} of shape {tuple(ours.shape)}",
            f"{_short(expected)} of shape {tuple(theirs.shape)}",
        )
    if ours is not None and theirs is not None and theirs.numel() > SHORT:
        place = torch.nonzero(~torch.isclose(ours, theirs, TOLERANCE, TOLERANCE, equal_nan=True))[
            0
        ].tolist()
        return (
            f"{ours[tuple(place)].item():.4g} at {place}",
            f"{theirs[tuple(place)].item():.4g} there",
        )
    if (
        ours is None
        and theirs is None
        and isinstance(given, (list, tuple))
        and isinstance(expected, (list, tuple))
    ):
        if len(given) != len(expected):
            return f"{len(given)} parts", f"{len(expected)} parts"
        place = next(i for i, pair in enumerate(zip(given, expected)) if not same(*pair))
        mine, right = told(given[place], expected[place])
        return f"{mine} in part {place}", right
    return _short(given), _short(expected)


def _short(value: Any) -> str:
    """A value in one short piece of a line."""
    numbers = _numbers(value)
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if numbers is None:
        text = " ".join(repr(value).split())
        return text if len(text) <= 60 else f"{text[:57]}..."
    if numbers.numel() > SHORT:
        return f"{numbers.numel()} numbers"
    text = np.array2string(
        numbers.numpy(), separator=", ", formatter={"float_kind": lambda one: f"{one:.4g}"}
    )
    return " ".join(text.split())
