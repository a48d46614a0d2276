"""The notebooks' own definitions, taken out of the cells and run against the core on random input.

To add one: a function that gets the notebook's definitions (`own.iou_loop` is the function of that name) and asserts, under
`@of("01_data_and_boxes")`. Of a name that a notebook defines twice the first definition counts.
"""

import ast
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
COMPARISONS: list[tuple[str, Callable[[SimpleNamespace], None]]] = []


def of(notebook: str) -> Callable:
    """Puts a comparison into the table."""

    def add(comparison: Callable[[SimpleNamespace], None]) -> Callable[[SimpleNamespace], None]:
        COMPARISONS.append((notebook, comparison))
        return comparison

    return add


def definitions(notebook: str) -> SimpleNamespace:
    """A notebook's imports, functions, classes and literal constants, without running anything else of it."""
    space: dict = {"__name__": notebook}
    for cell in nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells:
        if cell.cell_type != "code":
            continue
        for node in ast.parse(cell.source).body:
            if wanted(node) and not (isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in space):
                exec(compile(ast.Module([node], []), f"{notebook}.ipynb", "exec"), space)
    return SimpleNamespace(**space)


def wanted(node: ast.stmt) -> bool:
    """Whether a statement is a definition; a constant is one if it is written out."""
    if isinstance(node, ast.Assign):
        try:
            ast.literal_eval(node.value)
        except ValueError:
            return False
        return True
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))


@pytest.mark.parametrize(("notebook", "comparison"), [pytest.param(*one, id=f"{one[0]}-{one[1].__name__}") for one in COMPARISONS])
def test_own_version_equals_the_core(notebook: str, comparison: Callable[[SimpleNamespace], None]) -> None:
    comparison(definitions(notebook))
