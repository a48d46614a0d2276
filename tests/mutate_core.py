"""Change method and model at more than 100 places, one at a time, in a copy: does the test of the rule notice?

`make core-mutate`, or this file with names of modules. `mutations.py` holds the changes, each under the name of the test whose rule it
breaks: that test, run alone, must fail within a minute. `--random 30` makes random changes instead (an operator, a number, a clamp)
and runs all quick tests of method and model on each. A random change that no test notices is a rule without a test, or no change of
behavior.
"""

import argparse
import importlib.util
import io
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
import tokenize
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import conftest  # as in every test: shapes enforced, one thread, no internet  # noqa: F401
import hypothesis  # this and torchvision are imported once, before the processes fork  # noqa: F401
import pytest
import torchvision  # noqa: F401
from mutations import MUTATIONS

ROOT = Path(__file__).parents[1]
TESTS = [
    path
    for folder in ("method", "model")
    for path in sorted((ROOT / "tests" / folder).glob("test_*.py"))
    if path.name != "test_device.py"  # it runs a process of its own, for a minute
] + [ROOT / "tests" / "data" / "test_sources.py"]
LIMIT = 60  # seconds for a changed copy
SLOW = "plain_loops_say or mixture_of_switches"  # they take long, and stand for no single rule


def outdated(module: str) -> list[str]:
    """Return the texts to replace that are not in the module exactly once."""
    code = (ROOT / "fsaf_core" / f"{module}.py").read_text()
    texts = [old for changes in MUTATIONS[module].values() for old, _ in changes]
    return [
        f"{module}: {old!r} is there {code.count(old)} times"
        for old in texts
        if code.count(old) != 1
    ]


def test_of(module: str, rule: str) -> str:
    """Return the pytest address of a rule's test: in the module's own test file, or else in the one file that has it."""
    folder, name = module.split("/")
    own = ROOT / "tests" / folder / f"test_{name}.py"
    found = [path for path in TESTS if re.search(rf"^def test_{rule}\(", path.read_text(), re.M)]
    found = [path for path in found if path == own] or found
    if len(found) != 1:
        raise SystemExit(
            f"test_{rule} is in {len(found)} files, not in one: bring tests/mutations.py up to date."
        )
    return f"{found[0]}::test_{rule}"


def random_changes(text: str, count: int, seed: int) -> list[tuple[str, str]]:
    """Return `count` changed texts, each with the changed line: an operator is swapped, a number moved, a clamp replaced."""
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
        )  # a change of a signature has no effect
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
    """A pytest plugin that sends the names of the tests that passed and failed."""

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
        os._exit(3)  # the tests would run on another copy
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1), os.dup2(quiet, 2)
    with redirect_stdout(io.StringIO()):
        pytest.main(
            ["-q", "--no-header", "-p", "no:nbval", "-o", "addopts=", *arguments],
            plugins=[Names(pipe.send)],
        )
    os._exit(0)


def trial(tree: Path, arguments: list[str]) -> tuple[dict[str, list[str]], float]:
    """Return the names of the tests that passed and failed with the package of `tree`, and the seconds this took."""
    context, start = multiprocessing.get_context("fork"), time.monotonic()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(tree, arguments, sender))
    process.start()
    sender.close()
    try:
        names = receiver.recv() if receiver.poll(LIMIT) else {"passed": [], "failed": ["(timeout)"]}
    except EOFError:  # the child ended without sending
        raise SystemExit(f"pytest did not run on {arguments}.") from None
    finally:
        process.kill()
        process.join()
    return names, time.monotonic() - start


def try_listed(modules: list[str], tree: Path) -> list[str]:
    """Try the changes of the list. Return those that no test noticed."""
    wrong = [line for module in modules for line in outdated(module)]
    if wrong:
        raise SystemExit("\n  ".join(["Bring tests/mutations.py up to date:", *wrong]))
    unnoticed = []
    for module in modules:
        path = tree / "fsaf_core" / f"{module}.py"
        text, tests = path.read_text(), {rule: test_of(module, rule) for rule in MUTATIONS[module]}
        unchanged, _ = trial(tree, [*tests.values()])
        if unchanged["failed"] or not {f"test_{rule}" for rule in tests} <= {*unchanged["passed"]}:
            raise SystemExit(f"{module} without any change: {unchanged}. Repair that first.")
        for rule, changes in MUTATIONS[module].items():
            for old, new in changes:
                path.write_text(text.replace(old, new))
                names, seconds = trial(tree, ["-x", tests[rule]])
                path.write_text(text)
                noticed = names["failed"] == [f"test_{rule}"]
                unnoticed += [] if noticed else [f"{module}: {old!r} -> {new!r} {names['failed']}"]
                print(
                    f"{module:19} {seconds:5.1f} s  {'noticed' if noticed else 'LOST   '}  {rule}"
                )
                print(f"{'':38}{old!r} -> {new!r}", flush=True)
    return unnoticed


def try_random(modules: list[str], tree: Path, count: int, seed: int) -> list[str]:
    """Try random changes against all quick tests. Return those that no test noticed."""
    unnoticed = []
    for number, module in enumerate(modules):
        path = tree / "fsaf_core" / f"{module}.py"
        text, share = path.read_text(), count // len(modules) + (number < count % len(modules))
        for changed, line in random_changes(text, share, seed):
            path.write_text(changed)
            names, seconds = trial(tree, ["-x", "-k", f"not ({SLOW})", *map(str, TESTS)])
            path.write_text(text)
            unnoticed += [] if names["failed"] else [f"{module}:{line}"]
            print(
                f"{module:19} {seconds:5.1f} s  {(names['failed'] or ['LOST'])[0]}\n{'':38}{line}",
                flush=True,
            )
    return unnoticed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help=f"{', '.join(MUTATIONS)}; none: all")
    parser.add_argument(
        "--random", type=int, default=0, metavar="N", help="N random changes instead of the list"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    modules, start = options.modules or list(MUTATIONS), time.monotonic()
    sys.dont_write_bytecode = (
        True  # of two changes in one second, Python would take the first from its cache
    )
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(
            ROOT / "fsaf_core",
            Path(folder) / "fsaf_core",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        if options.random:
            unnoticed = try_random(modules, Path(folder), options.random, options.seed)
        else:
            unnoticed = try_listed(modules, Path(folder))
    total = options.random or sum(
        len(changes) for module in modules for changes in MUTATIONS[module].values()
    )
    print(
        f"{total - len(unnoticed)} of {total} changes noticed, in {time.monotonic() - start:.0f} s.",
        *unnoticed,
        sep="\n  ",
    )
    return int(bool(unnoticed) and not options.random)


if __name__ == "__main__":
    raise SystemExit(main())
