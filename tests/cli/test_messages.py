"""Every sentence that a user's fault gets: what, where, what to do. `pytest tests/cli/test_messages.py -sk aloud` prints all."""

import ast
import re
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "fsaf_core"
DOCUMENTED = (ast.ClassDef, ast.FunctionDef)


def text(node: ast.expr) -> str:
    """A message's words, with {} where a value goes."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part) for part in node.values)
    return "{}" if isinstance(node, ast.FormattedValue) else ast.unparse(node)


def messages() -> dict[str, str]:
    """All by file and line."""
    found = {}
    for path in sorted(CORE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = (
                getattr(node.func, "id", getattr(node.func, "attr", ""))
                if isinstance(node, ast.Call)
                else ""
            )
            if name in ("FSAFError", "warn") and node.args:
                found[f"{path.relative_to(CORE)}:{node.lineno}"] = text(node.args[0])
    return found


MESSAGES = messages()


def test_all_can_be_read_aloud():
    print(*(f"{place}: {said}" for place, said in MESSAGES.items()), sep="\n")
    assert len(MESSAGES) > 80


@pytest.mark.parametrize("place", MESSAGES)
def test_a_message_is_one_sentence_that_says_where_and_what_to_do(place):
    said = MESSAGES[place]
    assert "\n" not in said and said == said.strip() and "  " not in said
    assert len(said) < 300, "nobody reads further"
    assert re.search(r"[.}]$", said), "it ends as a sentence does, or with another message"
    what, *way_out = re.split(r"[:;,] ", said)
    assert len(what) > 1 and ("{}" in way_out or len(" ".join(way_out)) > 8), (
        "after what is wrong: what to do"
    )
    # What it is about: a value, an option, a name in quotes or brackets, or the thing itself.
    assert re.search(r"\{\}|--\w|`\w|\(|detector|class_names|process|image|packages", said), (
        "which one?"
    )
    assert not re.search(
        r"\b(invalid|illegal|bad input|error occurred|failed|oops|please)\b", said, re.IGNORECASE
    )


def test_no_other_exception_is_raised_on_purpose_but_where_it_is_turned_into_a_sentence():
    """A `raise ValueError` of ours is caught in the same file, where it becomes one."""
    for path in sorted(
        {*CORE.rglob("*.py")} - {*CORE.rglob("viz/**/*")}
    ):  # what draws is called by us alone
        source = path.read_text(encoding="utf-8")
        for raised in set(re.findall(r"raise (\w+Error)\(", source)) - {"FSAFError"}:
            caught = re.search(rf"except (\([^)]*\b{raised}\b|{raised}\b|Exception\b)", source)
            assert caught or path.name in ("loop.py", "files.py"), (
                f"{path.name} raises {raised}"
            )  # train.py, and all who read


def public(node: ast.Module | ast.ClassDef, told: bool = False):
    """The functions and methods that others call, each with whether its docstring, or its class's, says what it raises."""
    for one in node.body:
        name, says = (
            getattr(one, "name", "_"),
            isinstance(one, DOCUMENTED) and "Raises:" in (ast.get_docstring(one) or ""),
        )
        if isinstance(one, ast.ClassDef) and not name.startswith("_"):
            yield from public(one, says)
        elif isinstance(one, ast.FunctionDef) and (not name.startswith("_") or name == "__init__"):
            yield one, says or told


def test_who_raises_a_message_says_so_in_its_docstring():
    for path in sorted(CORE.rglob("*.py")):
        for function, told in public(ast.parse(path.read_text(encoding="utf-8"))):
            raised = [ast.unparse(one) for one in ast.walk(function) if isinstance(one, ast.Raise)]
            assert told or not any("FSAFError(" in one for one in raised), (
                f"{path.relative_to(CORE)}: {function.name}"
            )


def test_the_list_is_found_where_it_should_be():
    assert any(
        place.startswith("data/coco.py") and "not a readable image" in said
        for place, said in MESSAGES.items()
    )
