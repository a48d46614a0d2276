"""The tests of the exercises import what lies beside the notebooks."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks"))


@pytest.fixture
def verdict(capsys: pytest.CaptureFixture[str]) -> Callable[[Callable, object], str]:
    """What a checker prints of an answer, `verdict(check_iou, my_iou)`: at most four lines."""

    def ask(checker: Callable, answer: object) -> str:
        capsys.readouterr()
        assert checker(answer) is None
        text = capsys.readouterr().out.removesuffix("\n")
        assert 1 <= len(text.splitlines()) <= 4, text
        return text

    return ask


@pytest.fixture
def refused(verdict: Callable[[Callable, object], str]) -> Callable[[Callable, object, str], None]:
    """That a checker refuses an answer and names the fault: `refused(check_iou, my_iou, "the union")`."""

    def ask(checker: Callable, answer: object, hint: str) -> None:
        line = verdict(checker, answer)
        assert line.startswith("case")
        assert hint in line

    return ask
