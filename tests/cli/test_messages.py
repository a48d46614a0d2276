"""Every message says what is wrong, where, and what to do. `pytest tests/cli/test_messages.py -sk aloud` prints all."""

import ast
import re
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "fsaf_core"
DOCUMENTED = (ast.ClassDef, ast.FunctionDef)


def text(node: ast.expr) -> str:
    """Return a message's words, with {} for each value."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part) for part in node.values)
    return "{}" if isinstance(node, ast.FormattedValue) else ast.unparse(node)


def messages() -> dict[str, str]:
    """Return all messages by file and line."""
    messages = {}
    for path in sorted(CORE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = (
                getattr(node.func, "id", getattr(node.func, "attr", ""))
                if isinstance(node, ast.Call)
                else ""
            )
            if name in ("FSAFError", "warn") and node.args:
                messages[f"{path.relative_to(CORE)}:{node.lineno}"] = text(node.args[0])
    return messages


MESSAGES = messages()


def test_all_can_be_read_aloud():
    print(*(f"{place}: {message}" for place, message in MESSAGES.items()), sep="\n")
    assert len(MESSAGES) > 80


@pytest.mark.parametrize("place", MESSAGES)
def test_a_message_is_one_sentence_that_says_what_where_and_what_to_do(place):
    message = MESSAGES[place]
    assert "\n" not in message and message == message.strip() and "  " not in message
    assert len(message) < 300, "too long to be read"
    assert re.search(r"[.}]$", message), "it must end as a sentence, or with another message"
    what, *advice = re.split(r"[:;,] ", message)
    assert len(what) > 1 and ({"{}", "{}."} & {*advice} or len(" ".join(advice)) > 8), (
        "what is wrong must be followed by what to do"
    )
    # It must name what it is about: a value, an option, a name in quotes or brackets, a thing.
    assert re.search(r"\{\}|--\w|`\w|\(|detector|class_names|process|image|packages", message), (
        "which one?"
    )
    assert not re.search(
        r"\b(invalid|illegal|bad input|error occurred|failed|oops|please)\b", message, re.IGNORECASE
    )


def test_other_exceptions_are_raised_only_where_they_are_turned_into_a_sentence():
    """A `raise ValueError` of ours is caught in the same file."""
    for path in sorted(
        {*CORE.rglob("*.py")} - {*CORE.rglob("viz/**/*")}
    ):  # only this package calls what draws
        source = path.read_text(encoding="utf-8")
        for raised in set(re.findall(r"raise (\w+Error)\(", source)) - {"FSAFError"}:
            caught = re.search(rf"except (\([^)]*\b{raised}\b|{raised}\b|Exception\b)", source)
            assert caught or path.name in ("trainer.py", "files.py"), (
                f"{path.name} raises {raised}"
            )  # caught where a checkpoint is read


def public(node: ast.Module | ast.ClassDef, of_class: bool = False):
    """Yield public functions and methods, each with whether its or its class's docstring has `Raises:`."""
    for one in node.body:
        name = getattr(one, "name", "_")
        documented = isinstance(one, DOCUMENTED) and "Raises:" in (ast.get_docstring(one) or "")
        if isinstance(one, ast.ClassDef) and not name.startswith("_"):
            yield from public(one, documented)
        elif isinstance(one, ast.FunctionDef) and (not name.startswith("_") or name == "__init__"):
            yield one, documented or of_class


def test_a_function_that_raises_a_message_says_so_in_its_docstring():
    for path in sorted(CORE.rglob("*.py")):
        for function, documented in public(ast.parse(path.read_text(encoding="utf-8"))):
            raised = [ast.unparse(one) for one in ast.walk(function) if isinstance(one, ast.Raise)]
            assert documented or not any("FSAFError(" in one for one in raised), (
                f"{path.relative_to(CORE)}: {function.name}"
            )


def test_the_list_is_found_where_it_should_be():
    assert any(
        place.startswith("data/images.py") and "not a readable image" in message
        for place, message in MESSAGES.items()
    )
