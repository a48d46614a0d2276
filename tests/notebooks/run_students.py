"""Run a folder of student functions against the checkers and print what the checkers made of them.

    python tests/notebooks/run_students.py                  # the course's own functions
    python tests/notebooks/run_students.py my_students      # another folder, written like tests/notebooks/students
    python tests/notebooks/run_students.py --only ch03 --show

Every file chNN.py of the folder begins with `from students import breaks, right, wrong` and marks each function with one of them.
The table counts, for each chapter: wrong functions refused, hints that name the fault, hints that mislead, right functions refused,
functions that break and get a message, and the median time of a verdict.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import random
import re
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "notebooks")]

import checks  # noqa: E402
import students  # noqa: E402
from checks import Checker  # noqa: E402
from students import Student  # noqa: E402

PATIENCE = 1.5  # seconds for one call: an endless loop should not hold up the table


@dataclass(frozen=True)
class Outcome:
    """What the checker printed of one student's function."""

    student: Student
    text: str
    seconds: float

    @property
    def accepted(self) -> bool:
        return self.text.startswith("done")

    @property
    def hint(self) -> str:
        """What the reader is told to look at, without the lines that show numbers."""
        return self.text.rpartition("look at ")[2] if "look at " in self.text else self.text

    @property
    def named(self) -> bool:
        """Whether the hint names the fault."""
        return not self.accepted and bool(re.search(self.student.true, self.hint, re.I))

    @property
    def misleads(self) -> bool:
        """Whether the hint names another fault instead."""
        false = self.student.false
        return (
            bool(false)
            and not self.accepted
            and not self.named
            and bool(re.search(false, self.hint, re.I))
        )

    @property
    def fault(self) -> str:
        """What the checker did badly, in a few words; empty if it did well."""
        kind = self.student.kind
        if kind == "right":
            return "" if self.accepted else "right, but refused"
        if self.text.startswith("escaped"):
            return "escaped from the checker"
        if self.accepted:
            return f"{kind}, but accepted"
        if kind == "wrong":
            return "" if self.named else "misled" if self.misleads else "the fault is not named"
        return ""


def load(folder: Path, only: str = "") -> list[Student]:
    """The functions of a folder's files chNN.py."""
    students.STUDENTS.clear()
    for path in sorted(folder.glob(f"{only or 'ch'}*.py")):
        # as part of the package: `from . import wrong` works in a folder that has no __init__.py
        spec = importlib.util.spec_from_file_location(f"students.{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return list(students.STUDENTS)


def checkers() -> dict[tuple[str, str], Checker]:
    """Every checker, under its chapter and the name of the function that the exercise asks for."""
    found = {}
    for path in sorted((HERE.parents[1] / "notebooks" / "checks").glob("ch*.py")):
        for checker in vars(import_module(f"checks.{path.stem}")).values():
            if isinstance(checker, Checker):
                found[path.stem.partition("_")[0], checker.solution.__name__] = checker
    return found


def _of(student: Student, known: dict[tuple[str, str], Checker]) -> Checker:
    """The checker of a function; `my_threshold` is the exercise whose solution is atss_threshold."""
    ending = student.exercise.removeprefix("my_")
    names = [name for chapter, name in known if chapter == student.module and name.endswith(ending)]
    return known[student.module, min(names, key=len)]


def run(chosen: Sequence[Student]) -> Iterator[Outcome]:
    """Each function's verdict, in order."""
    known = checkers()
    before = getattr(checks, "PATIENCE", None)
    checks.PATIENCE = PATIENCE
    try:
        for student in chosen:
            checker = _of(student, known)
            _ = checker.expected  # the solution's time is not the student's
            student.function.__name__ = student.exercise
            random.seed(0)
            start = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                try:
                    text = checker.verdict(student.function)
                except BaseException as error:  # what the checker should have caught
                    text = f"escaped: {type(error).__name__}"
            yield Outcome(student, text, time.perf_counter() - start)
    finally:
        checks.PATIENCE = before


def row(name: str, outcomes: Sequence[Outcome]) -> str:
    """A line of the table."""
    wrong = [one for one in outcomes if one.student.kind == "wrong"]
    right = [one for one in outcomes if one.student.kind == "right"]
    breaks = [one for one in outcomes if one.student.kind == "breaks"]
    refused = sum(not one.accepted for one in wrong)
    named, misled = sum(one.named for one in wrong), sum(one.misleads for one in wrong)
    caught = sum(not one.fault for one in breaks)
    count = max(len(wrong), 1)
    return (
        f"{name:8}{len(wrong):6}{refused:9}{100 * refused / count:7.1f} %"
        f"{100 * named / count:8.1f} %{100 * misled / count:8.1f} %"
        f"{sum(not one.accepted for one in right):8} of {len(right):3}{caught:9} of {len(breaks):2}"
        f"{statistics.median(one.seconds for one in outcomes):9.2f} s"
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """The figures of each chapter and of all."""
    chapters: dict[str, list[Outcome]] = {}
    for one in outcomes:
        chapters.setdefault(one.student.module, []).append(one)
    head = (
        f"{'chapter':8}{'wrong':>6}{'refused':>18}{'fault named':>10}{'misled':>8}"
        f"{'right refused':>16}{'breaks caught':>14}{'median':>9}"
    )
    return "\n".join(
        [head, *(row(name, some) for name, some in chapters.items()), row("all", outcomes)]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, and with --show every function that a checker treated badly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=HERE / "students")
    parser.add_argument("--only", default="", metavar="chNN", help="the files of one chapter")
    parser.add_argument("--show", action="store_true", help="show what was treated badly")
    chosen = parser.parse_args(arguments)
    outcomes = list(run(load(chosen.folder, chosen.only)))
    if not outcomes:
        print(f"{chosen.folder} holds no file ch*.py with student functions")
        return 1
    if chosen.show:
        for one in outcomes:
            if one.fault:
                code = one.student.function.__code__
                print(f"{one.fault}: {Path(code.co_filename).name}:{code.co_firstlineno}")
                print(f"    {one.student.exercise}, {one.student.fault}")
                print("    " + one.text.replace("\n", "\n    "))
    print(table(outcomes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
