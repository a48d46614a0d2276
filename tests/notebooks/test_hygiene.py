"""Rules for the notebooks as files; what their cells compute is compared by nbval in the same run of pytest."""

import configparser
import re
import unicodedata
from pathlib import Path

import nbformat
import pytest
from make_notebooks import all_notebooks
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbval.plugin import get_sanitize_patterns

SANITIZERS = Path(__file__).parent / "sanitize.cfg"
LONGEST_CELL = 25  # lines
LONGEST_SET_UP = 30  # lines of the first cell: the Colab part and the imports
MOST_OPT_OUTS = 2  # cells of a notebook that are not compared
LARGEST_FILE = 1_000_000  # bytes

OPT_OUT_TAGS = {"nbval-ignore-output", "nbval-skip", "pytest-validate-ignore-output"}
OPT_OUT_COMMENT = re.compile(
    r"^\s*#+\s*(NBVAL_IGNORE_OUTPUT|NBVAL_SKIP|PYTEST_VALIDATE_IGNORE_OUTPUT)\s*$", re.MULTILINE
)
NO_ALT = re.compile(r"<img(?![^>]*\balt=[\"'][^\"'])")
ENGLISH = set(
    "a an and are as at be by for from in is it its not of on or that the there this to what which with you".split()
)


def faults(notebook: NotebookNode) -> list[str]:
    """What is wrong with a notebook, one short sentence each."""
    found = []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("kernelspec is not python3")
    if "widgets" in notebook.metadata:
        found.append("widget state is stored")
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("cells were not executed once each from top to bottom")
    unchecked = [
        cell
        for cell in code
        if OPT_OUT_TAGS & {*cell.metadata.get("tags", [])} or OPT_OUT_COMMENT.search(cell.source)
    ]
    if len(unchecked) > MOST_OPT_OUTS:
        found.append(f"{len(unchecked)} cells are not compared")
    for count, cell in enumerate(code, 1):
        if not cell.source.strip():
            found.append(f"code cell {count} is empty")
        longest = LONGEST_SET_UP if count == 1 else LONGEST_CELL
        if len(cell.source.splitlines()) > longest:
            found.append(f"code cell {count} is longer than {longest} lines")
        for output in cell.outputs:
            found += [f"code cell {count}: {fault}" for fault in output_faults(output, cell)]
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    if re.search(r"!\[\s*\]", prose) or NO_ALT.search(prose):
        found.append("a picture in the text has no alt text")
    return found + prose_faults(prose)


def output_faults(output: NotebookNode, cell: NotebookNode) -> list[str]:
    """What is wrong with one output of a cell."""
    found = []
    if output.output_type == "stream" and output.name == "stderr":
        found.append("something on stderr is stored")
    if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", []):
        found.append("an error is stored")
    data, metadata = output.get("data", {}), output.get("metadata", {})
    for kind in ("image/png", "image/jpeg"):
        if kind in data and not (metadata.get(kind, {}).get("alt") or metadata.get("alt")):
            found.append("a picture has no alt text")
    drawing = data.get("image/svg+xml", "")
    if drawing and not re.search(r"<title[^>]*>\s*[^\s<]|aria-label=[\"'][^\"']", drawing):
        found.append("a drawing has no alt text")
    if NO_ALT.search(data.get("text/html", "")):
        found.append("a picture in HTML has no alt text")
    return found


def prose_faults(prose: str) -> list[str]:
    """Whether the text between the cells is anything but English: by its letters and by its small words."""
    prose = re.sub(
        r"```.*?```|\$\$.*?\$\$|`[^`]*`|\$[^$]*\$|<[^>]*>|https?://\S+", " ", prose, flags=re.DOTALL
    )
    letters = {letter for letter in prose if letter.isalpha()}
    foreign = {
        letter
        for letter in letters
        if not unicodedata.name(letter, "").startswith(("LATIN", "GREEK"))
    }
    found = [f"letters that are not English: {''.join(sorted(foreign))}"] if foreign else []
    words = re.findall(r"[a-z]+", prose.lower())
    if len(words) >= 50 and sum(word in ENGLISH for word in words) < 0.15 * len(words):
        found.append("the text does not read as English")
    return found


@pytest.mark.parametrize("path", all_notebooks(), ids=lambda path: path.stem)
def test_notebook_keeps_the_rules(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not faults(notebook)
    assert path.stat().st_size < LARGEST_FILE


def good() -> NotebookNode:
    """A small notebook without a fault."""
    drawing = new_output(
        "display_data", data={"image/svg+xml": "<svg><title>one box</title></svg>"}
    )
    picture = new_output(
        "display_data",
        data={"image/png": "iVBORw0KGgo="},
        metadata={"image/png": {"alt": "a scene"}},
    )
    cells = [
        new_markdown_cell(
            "# Cells\n\nOne box on a level: which of the cells are in it? ![a box](box.svg)"
        ),
        new_code_cell(
            "print(1)", execution_count=1, outputs=[new_output("stream", name="stdout", text="1\n")]
        ),
        new_code_cell("show()", execution_count=2, outputs=[drawing, picture]),
    ]
    return new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )


def bad_kernel(notebook: NotebookNode) -> None:
    notebook.metadata.kernelspec.name = "my-own"


def bad_widgets(notebook: NotebookNode) -> None:
    notebook.metadata.widgets = {}


def bad_order(notebook: NotebookNode) -> None:
    notebook.cells[1].execution_count = 7


def bad_unrun(notebook: NotebookNode) -> None:
    notebook.cells[2].execution_count = None


def bad_length(notebook: NotebookNode) -> None:
    notebook.cells[1].source = "\n".join(["print(1)"] * 31)


def bad_opt_outs(notebook: NotebookNode) -> None:
    comment = [new_code_cell("# NBVAL_IGNORE_OUTPUT\nx", execution_count=count) for count in (3, 4)]
    notebook.cells += [
        *comment,
        new_code_cell("x", execution_count=5, metadata={"tags": ["nbval-skip"]}),
    ]


def bad_stderr(notebook: NotebookNode) -> None:
    notebook.cells[1].outputs[0].name = "stderr"


def bad_error(notebook: NotebookNode) -> None:
    notebook.cells[1].outputs = [new_output("error", ename="ValueError", evalue="no", traceback=[])]


def bad_picture(notebook: NotebookNode) -> None:
    notebook.cells[2].outputs[1].metadata = {}


def bad_drawing(notebook: NotebookNode) -> None:
    notebook.cells[2].outputs[0].data["image/svg+xml"] = "<svg><title> </title></svg>"


def bad_markdown_picture(notebook: NotebookNode) -> None:
    notebook.cells[0].source = "![](box.svg)"


def bad_letters(notebook: NotebookNode) -> None:
    notebook.cells[0].source += " " + chr(0x6846)


def bad_language(notebook: NotebookNode) -> None:
    notebook.cells[0].source = (
        "Der Kasten liegt auf einer Ebene und seine Zellen liegen darin. " * 8
    )


BAD = {
    bad_kernel: "kernelspec",
    bad_widgets: "widget state",
    bad_order: "top to bottom",
    bad_unrun: "top to bottom",
    bad_length: "longer than 30",
    bad_opt_outs: "3 cells are not compared",
    bad_stderr: "stderr",
    bad_error: "an error",
    bad_picture: "picture has no alt",
    bad_drawing: "drawing has no alt",
    bad_markdown_picture: "text has no alt",
    bad_letters: "letters",
    bad_language: "English",
}


def test_rules_pass_a_good_notebook() -> None:
    assert faults(good()) == []


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_rules_name_the_fault(spoil) -> None:
    notebook = good()
    spoil(notebook)
    (fault,) = faults(notebook)
    assert BAD[spoil] in fault


def sanitized(text: str) -> str:
    for pattern, replacement in get_sanitize_patterns(SANITIZERS.read_text(encoding="utf-8")):
        text = re.sub(pattern, replacement, text)
    return text


def test_sanitizers_never_touch_a_result() -> None:
    """Addresses and file names of cells are all they may change: neither made-up results nor those that are stored."""
    for result in (
        "AP 0.384, AP50 0.681",
        "tensor([[0.125, 1e-05], [inf, -3.0]])",
        "level_losses 1.502 0.993 0.870",
        "P3 8 px, 16 x 16 cells",
        "step took 12.5 ms, 3 s in all, 2.0 h",
        '<rect x="12.5" y="0" width="100" fill="#0072b2"/>',
        "100%|##########| 12/12 [00:01<00:00]",
        "0x10 and 0xff are small numbers",
        "5/8 of 2024-01-02 10:20:30",
    ):
        assert sanitized(result) == result
    spared = re.compile(r"0x[0-9a-f]{8,16}|(?<!\S)\S*ipykernel_\d+.\d+\.py")
    for path in all_notebooks():
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                for text in [output.get("text", ""), *map(str, output.get("data", {}).values())]:
                    text = spared.sub("", text)
                    assert sanitized(text) == text, (
                        f"{path.name}: a sanitizer changes a stored result"
                    )


def test_sanitizers_remove_what_differs_between_runs() -> None:
    assert sanitized("<object at 0x7f3a5c2d1e80>") == "<object at 0xADDRESS>"
    assert sanitized("/tmp/ipykernel_123/456789.py:3") == "CELL.py:3"


def test_sanitizers_are_few() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(SANITIZERS, encoding="utf-8")
    assert len(parser.sections()) <= 3
