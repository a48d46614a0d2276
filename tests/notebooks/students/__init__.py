"""Functions as students write them, labelled: what a tutor should make of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Student:
    """One answer to one exercise, with its label."""

    exercise: str  # the name of the function that the exercise asks for
    function: Callable[..., Any]
    kind: str  # "right", "wrong" or "breaks"
    fault: str  # what is wrong with it; of a right one what is unusual, of a breaking one how it breaks
    true: str  # a regular expression, case-insensitive, that a helpful hint matches
    false: str  # one that a misleading hint matches; "" if none comes to mind
    module: str  # the chapter's module: "ch06"


STUDENTS: list[Student] = []


def _register(
    exercise: str, kind: str, fault: str, true: str = "", false: str = ""
) -> Callable[[Function], Function]:
    """A decorator that adds its function to STUDENTS and returns it unchanged."""

    def decorate(function: Function) -> Function:
        module = function.__module__.rpartition(".")[2]
        STUDENTS.append(Student(exercise, function, kind, fault, true, false, module))
        return function

    return decorate


def wrong(exercise: str, fault: str, true: str, false: str = "") -> Callable[[Function], Function]:
    """The function is wrong on some input that the exercise's text covers."""
    return _register(exercise, "wrong", fault, true, false)


def right(exercise: str, unusual: str) -> Callable[[Function], Function]:
    """The function is right on every input that the exercise's text covers."""
    return _register(exercise, "right", unusual)


def breaks(exercise: str, how: str) -> Callable[[Function], Function]:
    """The function gives no answer: it raises, leaves, or never ends."""
    return _register(exercise, "breaks", how)
