"""Checkers of the exercises: each tests a function on a table of cases and prints a hint; none ever raises.

A notebook says `from checks.ch01 import check_labels_of` and then `check_labels_of(labels_of)`, which prints one of

    to do: labels_of returns nothing yet

    case 2 of 5 (ids with gaps, as COCO has): labels_of([90, 1, 13], [1, 13, 90])
    given: [89, 0, 12]
    expected: [2, 0, 1]
    look at ids with gaps: COCO's 80 ids run to 90, so id − 1 is not a label

    done: labels_of is right in all 5 cases

How to write a chapter's module (`checks/chNN.py`):

    CASES = (Case("two equal boxes", (a, a), "the union: ..."), ...)            # expected: the solution's result, or typed out
    SLIPS = (Slip(_x_and_y_swapped, "x and y: they are swapped"), ...)          # wrong answers that students really give
    check_iou = Checker(iou, CASES, SLIPS)

A slip is a wrong answer, written as a function. It is recognized by its results: if it and the reader's function give the same results
in all cases, the checker prints the slip's text as the hint. If they agree in the first wrong case but only in some of the others, the
hint begins with "perhaps". A test checks that each slip is recognized.

Cases run in order, up to the first wrong one. The reader's function gets copies of the arguments, and its result is copied. The default
dtype, the gradient mode and the random state are restored after each call. A call that takes longer than PATIENCE seconds is stopped
where the system allows it.
Numbers, bools, strings, tensors, arrays, and lists, tuples and dicts of them are compared by value (int 1 = float 1.0 = True);
numbers within 1e-4.
"""

import copy
import linecache
import random
import signal
import threading
import time
from collections.abc import (
    Callable,
    ItemsView,
    Iterator,
    KeysView,
    Mapping,
    Sequence,
    Set,
    ValuesView,
)
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from numbers import Number
from types import FrameType, TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

STAR = (6.46, 38.64, 40.25, 89.75)  # the box of the course's running instance
TOLERANCE = 1e-4  # absolute, and relative to the expected number
SHORT = 8  # this many numbers are shown in full; of more only the first that differs
IN_CALL = 24  # this many numbers of an argument are shown in full
PATIENCE = 10.0  # seconds for one call of the reader's function
MORE = 3.0  # seconds for further cases after the first wrong one: they show how certain a hint is
SAID = {  # how a checker words the entries that it adds to a result
    ("gradient flows", False): "a result without a gradient",
    ("gradient flows", True): "a result through which the gradient flows",
    ("arguments unchanged", False): "an argument that your function changed",
    ("arguments unchanged", True): "arguments that stay as they are",
    ("three tensors", False): "something other than three tensors",
    ("three tensors", True): "three tensors",
}


@dataclass(frozen=True, eq=False)  # compared by identity, so that cases can be keys
class Case:
    """One call of the reader's function, and the result that it should have."""

    name: str  # in a few words, shown to the reader
    args: tuple
    look: str  # the text after "look at", for a wrong answer that no slip explains
    expected: Any = (
        ...
    )  # typed out where it is not what the solution gives, so that the solution is checked too


@dataclass(frozen=True, eq=False)
class Slip:
    """A plausible wrong answer and the fault that it shows."""

    function: Callable
    look: str  # the text after "look at"


def within(
    place: Callable[[Callable], Callable], slips: Sequence[Slip], look: str = ""
) -> tuple[Slip, ...]:
    """Return the same faults inside a larger function: `place` puts one there, and `look` is put before its text."""
    return tuple(Slip(place(slip.function), look + slip.look) for slip in slips)


@dataclass(frozen=True)
class _Raised:
    """The result of a function that raises or does not return; two are equal if their texts are."""

    text: str
    where: str = field(default="", compare=False)  # the line of the reader's function
    look: str = field(default="", compare=False)  # the text after "look at", in any exercise
    final: bool = field(default=False, compare=False)  # running other cases would not help


class _Endless(BaseException):
    """Raised in the reader's function by the timer; not an Exception, so that `except Exception` does not catch it."""


class _NoList(Exception):
    """The function returned a generator or a set where values are compared in order."""


@dataclass(frozen=True, eq=False)
class _Asked:
    """The outcome of one case."""

    value: Any
    changed: bool  # whether the arguments are no longer what they were
    call: tuple[tuple, dict] | None = None  # what the function was called with


@dataclass(frozen=True, eq=False)
class Checker:
    """An exercise: called with the reader's function, it prints "to do", the first wrong case, or "done"."""

    solution: Callable
    cases: Sequence[Case]  # run in this order: the simplest first
    slips: Sequence[
        Slip
    ] = ()  # the hint names the one that agrees in most cases, the first wrong one included
    run: Callable[..., Any] = lambda function, *args: function(
        *args
    )  # returns what is compared, e.g. a value and its gradient

    def __call__(self, answer: Callable | None) -> None:
        print(self.verdict(answer))

    @cached_property
    def expected(self) -> list[Any]:
        """Return the right result of each case."""
        return [
            _ask(self.run, self.solution, one).value if one.expected is ... else one.expected
            for one in self.cases
        ]

    def verdict(self, answer: Callable | None) -> str:
        """Return what is printed: "to do" for None, and for a function that always returns None, NotImplemented or ...."""
        name = getattr(answer, "__name__", "the answer")
        if answer is None or not callable(answer):
            return "to do: give the checker your function itself, without parentheses"
        asked: list[_Asked] = []
        for case, right in zip(self.cases, self.expected):
            asked.append(_ask(self.run, answer, case))
            if not same(asked[-1].value, right):
                break
        else:
            changed = [one.changed for one in asked]
            if any(changed):
                at = self._where(changed.index(True), name, asked)
                return (
                    f"{at}\nthe result is right, but {name} changes its arguments; work on a copy"
                )
            return f"done: {name} is right in all {len(self.cases)} cases"
        first, given = len(asked) - 1, asked[-1].value
        look = self._look(answer, [one.value for one in asked])
        if look is None:
            return f"to do: {name} returns nothing yet"
        lines = [self._where(first, name, asked)]
        if isinstance(given, _Raised):
            lines.append(f"your function {given.text}" + given.where)
        else:
            mine, right = told(given, self.expected[first])
            lines += [f"given: {mine}", f"expected: {right}"]
        return "\n".join(lines + [look] * bool(look))

    def _where(self, index: int, name: str, asked: Sequence[_Asked]) -> str:
        """Return the case, with the call that can be repeated by hand."""
        case, call = self.cases[index], asked[index].call
        args = "" if call is None else f": {name}({_arguments(*call)})"
        return f"case {index + 1} of {len(self.cases)} ({case.name}){args}"

    def _look(self, answer: Callable, given: list[Any]) -> str | None:
        """Return the last line, which says what to look at; None if the function returns nothing in any case."""
        first = len(given) - 1
        if isinstance(given[first], _Raised) and given[first].look:
            return f"look at {given[first].look}"
        if isinstance(given[first], _Raised) and given[first].final:
            return ""
        likely = [
            slip
            for slip in self.slips
            if same(given[first], _slip_gives(self.run, slip, self.cases[first]))
        ]
        empty = all(map(nothing, given))
        if likely or empty:
            end = time.monotonic() + (PATIENCE if empty else MORE)
            for case in self.cases[first + 1 :]:
                left = end - time.monotonic()
                if left < 0.05:
                    break
                given.append(_ask(self.run, answer, case, left).value)
        if all(map(nothing, given)) and (
            not any(one is None for one in self.expected) or not _works(answer)
        ):
            return None
        wrong = [not same(*pair) for pair in zip(given, self.expected)]
        best, most = "", 0
        for slip in likely:
            agree = [
                same(mine, _slip_gives(self.run, slip, case))
                for mine, case in zip(given, self.cases)
            ]
            fits = 2 * sum(map(min, agree, wrong)) >= sum(wrong) and 2 * sum(agree) >= len(
                agree
            )  # a slip may agree by chance in a few cases
            if fits and sum(agree) > most:
                certain = sum(agree) == len(self.cases)
                best, most = f"{'' if certain else 'perhaps '}look at {slip.look}", sum(agree)
        return best or self._unexplained(given[first], first)

    def _unexplained(self, given: Any, first: int) -> str:
        """Return what to look at where no slip fits: the shape if it is wrong, else the subject of the case."""
        if isinstance(given, _Raised) and first == 0:
            return ""  # it never worked: the message and the line help more than the exercise's subject
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
            return f"look at {self.cases[first].look}"
        return f"look at the shape first, then {self.cases[first].look}"


def nothing(value: Any) -> bool:
    """Return whether a value means that nothing is written yet."""
    return value is None or value is NotImplemented or value is ...


def _works(answer: Callable) -> bool:
    """Return whether a function uses any name: where None can be right, one that always returns None may be an answer."""
    code = getattr(answer, "__code__", None)
    return code is not None and bool(code.co_names or code.co_freevars)


def _ask(
    run: Callable[..., Any], function: Callable, case: Case, seconds: float | None = None
) -> _Asked:
    """Run the function on a case, with the same random numbers each time, and note whether it changes its arguments."""
    args = copy.deepcopy(case.args)
    calls: list[tuple[tuple, dict]] = []

    def asked(*own: Any, **named: Any) -> Any:
        if not calls:
            calls.append((_kept(own), _kept(named)))
        value = function(*own, **named)
        if isinstance(value, (Iterator, Set, KeysView, ValuesView, ItemsView)):
            raise _NoList(_kind(value))
        return list(value) if isinstance(value, range) else value

    with _as_before():
        try:
            with _patience(PATIENCE if seconds is None else seconds):
                value = _kept(run(asked, *args))
        except NotImplementedError as error:
            if str(error):
                value = _raised(function, error)
            else:
                return _Asked(None, False)
        except _NoList as error:
            value = _Raised(
                f"returns {error}",
                look="what you return: make it a list, so that its values have an order and can be read twice",
            )
        except _Endless:
            value = _Raised("does not return: the call takes long. Is there a loop without an end?")
            value = _Raised(value.text, final=True)
        except SystemExit:
            value = _Raised(
                "calls exit(), which would end the whole notebook. Leave a function with return",
                final=True,
            )
        except Exception as error:
            value = _raised(function, error)
    call = calls[0] if calls else None
    if isinstance(value, _Raised):
        return _Asked(value, False, call)
    plain = [
        (new, old)
        for new, old in zip(args, case.args)
        if _numbers(old) is not None or isinstance(old, (Sequence, Mapping))
    ]
    return _Asked(value, any(not same(new, old) for new, old in plain), call)


@contextmanager
def _as_before() -> Iterator[None]:
    """Start with fixed random numbers; restore the random states, the default dtype and the gradient mode."""
    dtype, gradients = torch.get_default_dtype(), torch.is_grad_enabled()
    python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002, a reader may use it
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(gradients)
            random.setstate(python)
            np.random.set_state(of_numpy)  # noqa: NPY002


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Raise _Endless in the block after some seconds, in the main thread of a system that has this timer."""
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Endless

    start = time.monotonic()
    handler = signal.signal(signal.SIGALRM, stop)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)  # again, if it is caught
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, handler)
        if left:  # restart a timer that ran before
            passed = time.monotonic() - start
            signal.setitimer(signal.ITIMER_REAL, max(left - passed, 0.01), interval)


def _raised(function: Callable, error: Exception) -> _Raised:
    """Return an exception with the line of the reader's own code that raised it."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}".removesuffix(": ")
    text = f"raises {text}"
    own = getattr(getattr(function, "__code__", None), "co_filename", None)
    where, trace = "", error.__traceback__
    while own and isinstance(trace, TracebackType):
        if trace.tb_frame.f_code.co_filename == own:
            line = linecache.getline(own, trace.tb_lineno).strip()
            where = f"\nin line {trace.tb_lineno}" + f": {line}" * bool(line)
        trace = trace.tb_next
    return _Raised(text, where)


def _kept(value: Any) -> Any:
    """Return a copy of a result, because the function may overwrite it in its next call."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: _kept(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [_kept(one) for one in value]
        return parts if isinstance(value, list) else tuple(parts)
    return value


def _kind(value: Any) -> str:
    """Return the name of a result that is not a list."""
    if isinstance(value, Set) and not isinstance(value, (KeysView, ItemsView)):
        return "a set"
    name = type(value).__name__.removesuffix("_iterator")
    return f"a {name} object" if name in ("map", "zip", "filter", "reversed") else f"a {name}"


@cache
def _slip_gives(run: Callable[..., Any], slip: Slip, case: Case) -> Any:
    return _ask(run, slip.function, case).value


def same(given: Any, expected: Any) -> bool:
    """Return whether two results have equal shape and, within the tolerance, equal values."""
    if isinstance(given, Mapping) and isinstance(expected, Mapping):
        return given.keys() == expected.keys() and all(
            same(given[key], expected[key]) for key in expected
        )
    ours, theirs = _numbers(given), _numbers(expected)
    if ours is not None and theirs is not None:
        if isinstance(given, (list, tuple)) and ours.numel() == theirs.numel() == 0:
            return True  # an empty list does not have a number of columns
        return ours.shape == theirs.shape and bool(
            torch.isclose(ours, theirs, TOLERANCE, TOLERANCE, equal_nan=True).all()
        )
    if isinstance(given, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(given) == len(expected) and all(map(same, given, expected))
    return ours is None and theirs is None and type(given) is type(expected) and given == expected


def _numbers(value: Any) -> Tensor | None:
    """Return a number, or anything regular made of numbers, as float64; None for everything else."""
    if isinstance(value, Tensor):
        return value.detach().cpu().double()
    if isinstance(value, (Number, np.ndarray, np.generic, list, tuple)):
        try:
            return torch.from_numpy(np.array(_plain(value), dtype=np.float64))
        except (TypeError, ValueError, RuntimeError):
            return None
    return None


def _plain(value: Any) -> Any:
    """Return a value without tensors inside, which numpy would not always accept."""
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        raise ValueError("a string is not a number, even if it reads like one")
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def told(given: Any, expected: Any) -> tuple[str, str]:
    """Return how the two are shown to the reader: in full when short, else by shape or where they differ first."""
    if (
        isinstance(given, Mapping)
        and isinstance(expected, Mapping)
        and given.keys() == expected.keys()
    ):
        key = next(key for key in expected if not same(given[key], expected[key]))
        mine, right = given[key], expected[key]
        if isinstance(mine, bool) and (key, mine) in SAID:
            return SAID[key, mine], SAID[key, not mine]
        if str(key).startswith("kind"):
            return _words(mine), _words(right)
        place = "" if key == "result" else f"{key}: "
        mine, right = told(mine, right)
        return f"{place}{mine}", f"{place}{right}"
    ours, theirs = _numbers(given), _numbers(expected)
    if ours is not None and theirs is not None and ours.shape != theirs.shape:
        return (
            f"{_short(given)} of shape {tuple(ours.shape)}",
            f"{_short(expected)} of shape {tuple(theirs.shape)}",
        )
    if ours is not None and theirs is not None and theirs.numel() > SHORT:
        differs = torch.nonzero(~torch.isclose(ours, theirs, TOLERANCE, TOLERANCE, equal_nan=True))
        place = differs[0].tolist()
        return (
            f"{ours[tuple(place)].item():.4g} at {place}, where the two differ first",
            f"{theirs[tuple(place)].item():.4g} there ({len(differs)} of {theirs.numel()} numbers differ)",
        )
    if (
        ours is None
        and theirs is None
        and isinstance(given, (list, tuple))
        and isinstance(expected, (list, tuple))
    ):
        if len(given) != len(expected):
            return f"{len(given)} values", f"{len(expected)} values"
        place = next(i for i, pair in enumerate(zip(given, expected)) if not same(*pair))
        mine, right = told(given[place], expected[place])
        nth = f"in value {place + 1} of {len(expected)}, "
        return f"{nth}{mine}", f"{nth}{right}"
    return _short(given), _short(expected)


def _words(value: Any) -> str:
    """Return a description, or several, without quotation marks."""
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _arguments(args: tuple, named: dict) -> str:
    """Return the arguments of a call, short enough for a line."""
    parts = [_argument(one) for one in args]
    return ", ".join(parts + [f"{key}={_argument(one)}" for key, one in named.items()])


def _argument(value: Any) -> str:
    """Return an argument as one would type it, or its kind and size if that is too long."""
    if isinstance(value, Tensor):
        if (
            value.numel() > IN_CALL or 0 in value.shape
        ):  # an empty list would not show its number of columns
            return f"<tensor of shape {tuple(value.shape)}>"
        return f"tensor({_typed(value.tolist())})"
    if isinstance(value, torch.nn.Module):
        return f"<{type(value).__name__.lstrip('_')}>"
    text = _typed(value)
    if len(text) <= (40 if "<" in text else 150):
        return text
    size = f" of {len(value)}" if isinstance(value, (Sequence, Mapping)) else ""
    return f"<{type(value).__name__}{size}>"


def _typed(value: Any) -> str:
    """Return lists, tuples and dicts of numbers as one would type them, with at most six digits."""
    if isinstance(value, list):
        return f"[{', '.join(map(_typed, value))}]"
    if type(value) is tuple:
        return f"({', '.join(map(_typed, value))}{',' * (len(value) == 1)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_typed(one)}" for key, one in value.items()) + "}"
    if isinstance(value, float):
        text = f"{value:.6g}"
        return text if any(mark in text for mark in ".en") else f"{text}.0"
    if isinstance(value, (Tensor, torch.nn.Module)):
        return _argument(value)
    text = " ".join(repr(value).split())
    return f"<{type(value).__name__.lstrip('_')}>" if " at 0x" in text else text


def _short(value: Any) -> str:
    """Return a value in one short piece of a line."""
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
