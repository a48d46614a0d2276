"""Does the strict comparison really compare? Spoils what the notebooks have stored and counts what nbval notices.

`make notebooks-mutate`, or this file with the notebooks' names. Every notebook is run once by nbval itself, and what each cell
gave is kept. Then a number, a word or an SVG attribute of a stored output is changed at 200 places, and nbval's own comparison,
with the sanitizers of the tests, judges each changed output against what the cell gave. A few notebooks are also run whole.
"""

import argparse
import copy
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from make_notebooks import all_notebooks
from nbformat import NotebookNode
from nbval.plugin import IPyNbCell, coalesce_streams

ROOT = Path(__file__).parents[2]
KINDS = ("number", "word", "SVG attribute")
LEAST_CAUGHT = 0.98
NEVER_COMPARED = {
    "image/png",
    "image/jpeg",
    "application/vnd.jupyter.widget-view+json",
}  # nbval's own rule

NUMBER = re.compile(r"(?<![\w.#])\d+(?:\.\d+)?(?!\w)")
WORD = re.compile(r"(?<![\w&#])[A-Za-z]{2,}(?!\w)")
TAG = re.compile(r"<[^<>]*>")
ATTRIBUTE = re.compile(r"\s[\w:-]+=(?:\"([^\"]+)\"|'([^']+)')")


@dataclass(frozen=True)
class Place:
    """A number, a word or an attribute's value in a stored output: text[start:end]."""

    notebook: Path
    cell: int  # of the code cells, from 0: nbval's number
    output: int
    field: str  # "text" of a stream, or the MIME type
    kind: str
    start: int
    end: int


def fields(output: NotebookNode) -> dict[str, str]:
    """The texts of an output that nbval compares."""
    if output.output_type == "stream":
        return {"text": output.text}
    return {
        mime: text
        for mime, text in output.get("data", {}).items()
        if isinstance(text, str) and mime not in NEVER_COMPARED
    }


def spans(text: str, field: str) -> Iterator[tuple[str, int, int]]:
    """Kind, start and end of all that can be changed in a text. In a drawing numbers and words are those that one reads."""
    if field in ("image/svg+xml", "text/html"):
        for tag in TAG.finditer(text):
            for match in ATTRIBUTE.finditer(tag[0]):
                group = 1 if match[1] is not None else 2
                if field == "image/svg+xml":
                    yield KINDS[2], tag.start() + match.start(group), tag.start() + match.end(group)
        text = TAG.sub(lambda tag: " " * len(tag[0]), text)
    for kind, pattern in zip(KINDS, (NUMBER, WORD)):
        for match in pattern.finditer(text):
            yield kind, match.start(), match.end()


def places(path: Path) -> list[list[Place]]:
    """All places of a notebook, a list for each output that holds some."""
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return [
        found
        for count, cell in enumerate(code)
        for index, output in enumerate(cell.outputs)
        if (
            found := [
                Place(path, count, index, key, *span)
                for key, text in fields(output).items()
                for span in spans(text, key)
            ]
        )
    ]


def draw(outputs: list[list[Place]], number: int, rng: random.Random) -> list[Place]:
    """As many places of each kind, at even steps through the outputs that hold the kind: each notebook gets its share."""
    drawn: list[Place] = []
    for index, kind in enumerate(KINDS):
        holders = [
            held
            for output in outputs
            if (held := [place for place in output if place.kind == kind])
        ]
        count = number // len(KINDS) + (index < number % len(KINDS))
        for turn in range(count if holders else 0):
            holder = holders[int((turn + rng.random()) * len(holders) / count)]
            drawn.append(rng.choice(sorted(set(holder) - set(drawn), key=holder.index) or holder))
    return drawn


def spoil(token: str, rng: random.Random) -> str:
    """The token with one digit changed; with one letter where it has no digit, and the other of True and False."""
    if token in ("True", "False"):
        return "False" if token == "True" else "True"
    letters = [at for at, letter in enumerate(token) if letter.isalnum()]
    at = rng.choice([at for at in letters if token[at].isdigit()] or letters or [0])
    old = token[at]
    other = rng.choice(
        [
            new
            for new in ("0123456789" if old.isdigit() else "abcdefghijklmnopqrstuvwxyz")
            if new != old.lower()
        ]
    )
    return token[:at] + (other.upper() if old.isupper() else other) + token[at + 1 :]


def spoiled(
    outputs: list[NotebookNode], place: Place, rng: random.Random
) -> tuple[list[NotebookNode], str]:
    """The outputs of a cell with the place changed, and what was made of what."""
    outputs = copy.deepcopy(outputs)
    output = outputs[place.output]
    holder = output if output.output_type == "stream" else output.data
    text = holder[place.field]
    old = text[place.start : place.end]
    new = spoil(old, rng)
    holder[place.field] = text[: place.start] + new + text[place.end :]
    return outputs, f"{old[:40]!r} -> {new[:40]!r}"


class Recorder:
    """A plugin of pytest: keeps every cell of nbval with what it gave, and judges the changes before the session ends."""

    def __init__(self, drawn: list[Place], rng: random.Random) -> None:
        self.drawn, self.rng = drawn, rng
        self.cells: dict[tuple[Path, int], IPyNbCell] = {}
        self.seconds: Counter[str] = Counter()
        self.caught: list[tuple[Place, str, bool]] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        result = yield
        self.cells[item.path, item.cell_num] = item
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[Path(report.nodeid.split("::")[0]).name] += report.duration

    def pytest_sessionfinish(self) -> None:
        for place in self.drawn:
            if (place.notebook, place.cell) in self.cells:
                item = self.cells[place.notebook, place.cell]
                outputs, change = spoiled(item.cell.outputs, place, self.rng)
                self.caught.append((place, change, noticed(item, outputs)))


def noticed(item: IPyNbCell, outputs: list[NotebookNode]) -> bool:
    """Whether nbval fails a cell that it has run, had these outputs been stored."""
    if not item.options["check"] or item.options["skip"] or item.cell.execution_count is None:
        return False
    return not item.compare_outputs(copy.deepcopy(item.test_outputs), coalesce_streams(outputs))


def run_whole(chosen: list[Place], rng: random.Random) -> int:
    """Changes one place in a copy of each notebook and runs them under `pytest --nbval`. How many fail in just that cell."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for path in ROOT.iterdir():  # the notebooks look for what lies beside their folder
            if path.name not in ("notebooks", ".git"):
                (Path(folder) / path.name).symlink_to(path)
        shutil.copytree(
            ROOT / "notebooks",
            Path(folder) / "notebooks",
            ignore=shutil.ignore_patterns("__pycache__", ".ipynb_*"),
        )
        copies = []
        for place in chosen:
            notebook = nbformat.read(place.notebook, as_version=4)
            cell = [cell for cell in notebook.cells if cell.cell_type == "code"][place.cell]
            cell.outputs, _ = spoiled(cell.outputs, place, rng)
            copies.append(Path(folder) / place.notebook.relative_to(ROOT))
            nbformat.write(notebook, copies[-1])
        command = [sys.executable, "-m", "pytest", "--color=no", "-q", "-rf", *copies]
        said = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False
        ).stdout
    failed = re.findall(r"^FAILED \S*?(\w+\.ipynb)::Cell (\d+)", said, re.MULTILINE)
    expected = [(place.notebook.name, str(place.cell)) for place in chosen]
    print(f"\nRun whole: {', '.join(f'{name} cell {cell}' for name, cell in expected)}")
    for name, cell in sorted({*failed} ^ {*expected}):
        print(
            f"  {name} cell {cell}: {'failed, and was not changed' if (name, cell) in failed else 'not noticed'}"
        )
    return sum(failed.count(one) == 1 for one in expected)


def report(caught: list[tuple[Place, str, bool]]) -> float:
    """Prints the table and the survivors. The share that was caught."""
    print(f"\n{'changed':15}caught / all")
    for kind in KINDS:
        one = [hit for place, _, hit in caught if place.kind == kind]
        print(f"{kind:15}{sum(one):6} / {len(one)}")
    share = sum(hit for *_, hit in caught) / len(caught)
    print(f"{'all':15}{sum(hit for *_, hit in caught):6} / {len(caught)} = {100 * share:.1f} %")
    per = Counter(place.notebook.stem for place, *_ in caught)
    print("places:", ", ".join(f"{name} {count}" for name, count in sorted(per.items())))
    for place, change, hit in caught:
        if not hit:
            print(
                f"not noticed: {place.notebook.name} code cell {place.cell}, {place.field}, {place.kind}: {change}"
            )
    return share


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of the course")
    parser.add_argument("--places", type=int, default=200, help="how many changes (default: 200)")
    parser.add_argument(
        "--whole",
        type=int,
        default=6,
        help="how many notebooks are also run whole (default: 6, the quickest)",
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    paths = [path.resolve() for path in options.notebooks] or all_notebooks()
    rng = random.Random(options.seed)
    drawn = draw([output for path in paths for output in places(path)], options.places, rng)
    recorder = Recorder(drawn, rng)
    print(
        f"Running {len(paths)} notebooks once; then {len(drawn)} changes are compared.", flush=True
    )
    os.chdir(ROOT)  # nbval looks for the sanitizers from here
    quiet = [
        "-c",
        "pyproject.toml",
        "-q",
        "--no-header",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]
    if pytest.main([*quiet, *map(str, paths)], plugins=[recorder]):
        print(
            "The notebooks do not pass as they are: make them again (make notebooks), then count what is noticed."
        )
        return 1
    share = report(recorder.caught)
    quickest = sorted(
        {place.notebook for place in drawn}, key=lambda path: recorder.seconds[path.name]
    )[: options.whole]
    chosen = [
        rng.choice([place for place, _, hit in recorder.caught if hit and place.notebook == path])
        for path in quickest
    ]
    whole = run_whole(chosen, rng) if chosen else 0
    print(f"{whole} of {len(chosen)} changed notebooks fail in the changed cell alone.")
    return (
        0
        if share >= LEAST_CAUGHT and len(recorder.caught) == len(drawn) and whole == len(chosen)
        else 1
    )


if __name__ == "__main__":
    sys.exit(main())
