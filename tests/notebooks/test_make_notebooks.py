"""The notebook maker and the strict comparison, on small notebooks: what is made passes, and a wrong figure fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[2]
MAKER = Path(__file__).parent / "make_notebooks.py"
TORN = "import time\nfor word in ('one', 'two'):\n    print(word, flush=True)\n    time.sleep(0.5)"


def make(*paths: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, MAKER, *paths], capture_output=True, text=True, env=os.environ
    )


def compare(path: Path) -> str:
    """The output of pytest's strict comparison of one notebook, beside the course's own conftest."""
    shutil.copy(ROOT / "notebooks" / "conftest.py", path.parent)
    command = [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "--color=no", path]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ).stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook without outputs, and what the maker made of it."""
    path = tmp_path_factory.mktemp("made") / "small.ipynb"
    sources = [
        "import os\n6 * 7",
        "print(os.getcwd() == os.path.dirname(os.path.abspath('small.ipynb')))",
        "[1, 2];",
        "object()",
        TORN,
    ]
    cells = [new_markdown_cell("# Small"), *map(new_code_cell, sources)]
    metadata = {"widgets": {"state": {}}, "language_info": {"name": "x", "version": "9"}}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    result = make(path)
    assert result.returncode == 0, result.stderr
    return path


def test_outputs_are_stored_and_the_rest_is_tidy(made: Path) -> None:
    notebook = nbformat.read(made, as_version=4)
    code = notebook.cells[1:]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4, 5]
    assert code[0].outputs[0].data["text/plain"] == "42"
    assert code[1].outputs[0].text == "True\n"  # it runs in its own folder
    assert code[2].outputs == []  # a trailing semicolon silences
    assert [output.text for output in code[4].outputs] == [
        "one\ntwo\n"
    ]  # in one piece, however it came
    assert notebook.metadata == {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }


def test_making_again_changes_only_addresses(made: Path) -> None:
    before = made.read_text(encoding="utf-8").splitlines()
    assert make(made).returncode == 0
    after = made.read_text(encoding="utf-8").splitlines()
    assert len(before) == len(after)
    assert all("object at 0x" in old for old, new in zip(before, after) if old != new)


def test_what_is_made_passes_and_a_wrong_figure_fails(made: Path) -> None:
    assert "5 passed" in compare(made)
    wrong = made.with_name("wrong.ipynb")
    wrong.write_text(made.read_text(encoding="utf-8").replace('"42"', '"43"'), encoding="utf-8")
    assert "1 failed, 4 passed" in compare(wrong)


def test_a_failing_cell_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "failing.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 0")]), path)
    before = path.read_bytes()
    result = make(path)
    assert result.returncode == 1
    assert "failing.ipynb: a cell failed, the file is as it was." in result.stderr
    assert path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_kernel_of_a_notebook_stays_on_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "offline.ipynb"
    attempt = "import socket\nsocket.create_connection(('192.0.2.1', 80), timeout=1)"
    nbformat.write(new_notebook(cells=[new_code_cell(attempt)]), path)
    assert "tests stay on this machine" in compare(path)
