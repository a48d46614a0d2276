"""Would the tests notice? Changes the method at more than 100 places, one at a time, in a copy, and runs the test of the rule.

`make core-mutate`, or this file with the modules' names. `mutations.py` holds the changes, each with the test whose name says
which rule it breaks: that test, run alone, must fail within a minute. `--random 30` tries changes by chance instead (an operator,
a number, a clamp), each against all quick tests of these modules: what survives there is a rule without a test, or no change.
"""

import argparse
import importlib.util
import io
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import tokenize
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import conftest  # shapes enforced, one thread, no internet: as in every test  # noqa: F401
import hypothesis  # here and below: imported once, before the processes part  # noqa: F401
import pytest
import torchvision  # noqa: F401
from mutations import MUTATIONS

ROOT = Path(__file__).parents[1]
LIMIT = 60  # seconds for a mutant
SLOW = "plain_loops_say or mixture_of_switches"  # half a minute, and their names say no rule


def broken(text: str, old: str, new: str) -> str:
    """`text` with `new` in the place of `old`."""
    if text.count(old) != 1:
        raise SystemExit(
            f"{old!r} stands in the file {text.count(old)} times: bring tests/mutations.py up to date."
        )
    return text.replace(old, new)


def by_chance(text: str, count: int, seed: int) -> list[tuple[str, str]]:
    """`count` changed files and what was changed: an operator turned, a number moved by 1, a clamp or a square taken away."""
    swaps = {
        "<": "<=",
        "<=": "<",
        ">": ">=",
        ">=": ">",
        "==": "!=",
        "+": "-",
        "-": "+",
        "*": "/",
        "&": "|",
        "|": "&",
        "min": "max",
    }
    swaps |= {
        "0": "1",
        "1": "2",
        "2": "1",
        "0.0": "1.0",
        "None": "0",
        "clamp": "absolute",
        "and": "or",
        "is": "is not",
        "max": "min",
    }
    lines, places = text.splitlines(keepends=True), []
    start = next(
        index for index, line in enumerate(lines, 1) if line.startswith(("def ", "class ", "@"))
    )
    annotated = False
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        annotated = token.string in ("def", "class") or (
            annotated and token.type != tokenize.NEWLINE
        )  # a signature changes nothing
        if (
            token.start[0] >= start
            and not annotated
            and token.string in swaps
            and token.type != tokenize.STRING
        ):
            places.append(token)
    found = []
    for token in random.Random(seed).sample(places, min(count, len(places))):
        row, column = token.start[0] - 1, token.start[1]
        line = lines[row]
        new = line[:column] + swaps[token.string] + line[token.end[1] :]
        found.append(("".join([*lines[:row], new, *lines[row + 1 :]]), f"{row + 1}: {new.strip()}"))
    return found


class Names:
    """Which tests passed and failed: a plugin of pytest."""

    def __init__(self, send: Callable[[dict[str, list[str]]], None]) -> None:
        self.names: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}
        self.send = send

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.failed:
            self.names[report.outcome].append(report.nodeid.rpartition("::")[2].partition("[")[0])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.names["failed"].append("import")

    def pytest_sessionfinish(self) -> None:
        self.send(self.names)


def _child(tree: Path, arguments: list[str], pipe) -> None:
    sys.path.insert(0, str(tree))
    if not Path(importlib.util.find_spec("fsaf_core").origin).is_relative_to(tree):
        os._exit(3)  # another copy would be tested
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1), os.dup2(quiet, 2)
    with redirect_stdout(io.StringIO()):
        pytest.main(
            ["-q", "--no-header", "-p", "no:nbval", "-o", "addopts=", *arguments],
            plugins=[Names(pipe.send)],
        )
    os._exit(0)


def trial(tree: Path, arguments: list[str]) -> tuple[dict[str, list[str]], float]:
    """The names of the tests that passed and failed with the package of `tree`, and seconds."""
    context, start = multiprocessing.get_context("fork"), time.monotonic()
    mine, its = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(tree, arguments, its))
    process.start()
    its.close()
    try:
        names = mine.recv() if mine.poll(LIMIT) else {"passed": [], "failed": ["(no end)"]}
    except EOFError:  # it died without a word
        raise SystemExit(f"The tests did not run: {arguments}") from None
    finally:
        process.kill()
        process.join()
    return names, time.monotonic() - start


def picked(modules: list[str], tree: Path) -> list[str]:
    """Tries the list above; what was not noticed."""
    lost = []
    for module in modules:
        path, test = tree / "fsaf_core" / f"{module}.py", ROOT / "tests" / f"test_{module}.py"
        text, rules = path.read_text(), [f"test_{rule}" for rule in MUTATIONS[module]]
        whole, _ = trial(tree, ["-k", f"not ({SLOW})", str(test)])
        if whole["failed"] or not {*rules} <= {*whole["passed"]}:
            unfit = whole["failed"] or sorted({*rules} - {*whole["passed"]})
            raise SystemExit(
                f"{test.name} without any change: {unfit[0]} fails or is not there; mend that first."
            )
        for rule, changes in MUTATIONS[module].items():
            for old, new in changes:
                path.write_text(broken(text, old, new))
                names, seconds = trial(tree, ["-x", f"{test}::test_{rule}"])
                path.write_text(text)
                noticed = names["failed"] == [f"test_{rule}"]
                lost += [] if noticed else [f"{module}: {old!r} -> {new!r} {names['failed']}"]
                print(f"{module:9} {seconds:5.1f} s  {'caught' if noticed else 'LOST  '}  {rule}")
                print(f"{'':28}{old!r} -> {new!r}", flush=True)
    return lost


def chance(modules: list[str], tree: Path, count: int, seed: int) -> list[str]:
    """Tries changes by chance against all quick tests; what was not noticed."""
    tests, lost = [str(ROOT / "tests" / f"test_{module}.py") for module in MUTATIONS], []
    for number, module in enumerate(modules):
        path = tree / "fsaf_core" / f"{module}.py"
        text, share = path.read_text(), count // len(modules) + (number < count % len(modules))
        for changed, what in by_chance(text, share, seed):
            path.write_text(changed)
            names, seconds = trial(tree, ["-x", "-k", f"not ({SLOW})", *tests])
            path.write_text(text)
            lost += [] if names["failed"] else [f"{module}:{what}"]
            print(
                f"{module:9} {seconds:5.1f} s  {(names['failed'] or ['LOST'])[0]}\n{'':28}{what}",
                flush=True,
            )
    return lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(MUTATIONS)}; none: all")
    parser.add_argument(
        "--random", type=int, default=0, metavar="N", help="N changes by chance instead of the list"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    modules, start = options.modules or list(MUTATIONS), time.monotonic()
    sys.dont_write_bytecode = True  # a file changed twice in a second would be taken from there
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(
            ROOT / "fsaf_core",
            Path(folder) / "fsaf_core",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        if options.random:
            lost = chance(modules, Path(folder), options.random, options.seed)
        else:
            lost = picked(modules, Path(folder))
    total = options.random or sum(
        len(changes) for module in modules for changes in MUTATIONS[module].values()
    )
    print(
        f"{total - len(lost)} of {total} changes noticed, in {time.monotonic() - start:.0f} s.",
        *lost,
        sep="\n  ",
    )
    return int(bool(lost) and not options.random)


if __name__ == "__main__":
    raise SystemExit(main())
