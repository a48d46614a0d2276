"""The checkers treat functions as students write them as a tutor would: figures of two chapters, and of all as a slow test."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import run_students
from run_students import HERE, Outcome


def outcomes(only: str = "") -> list[Outcome]:
    """What the checkers print of the course's own student functions."""
    return list(run_students.run(run_students.load(HERE / "students", only)))


def share(some: Sequence[Outcome], of: str) -> float:
    """The share of the wrong functions that are `accepted`, `named` or misled by (`misleads`)."""
    wrong = [one for one in some if one.student.kind == "wrong"]
    return sum(getattr(one, of) for one in wrong) / len(wrong)


def check(some: Sequence[Outcome], accepted: float, named: float, misled: float) -> None:
    """No right function is refused, none escapes; of the wrong ones few are accepted or misled, most are named."""
    faults = [
        one for one in some if one.fault in ("right, but refused", "escaped from the checker")
    ]
    assert not faults, [(one.student.exercise, one.student.fault, one.text) for one in faults]
    assert share(some, "accepted") <= accepted
    assert share(some, "named") >= named
    assert share(some, "misleads") <= misled


@pytest.mark.parametrize("only", ["ch01", "ch03"])
def test_students_of_two_chapters(only) -> None:
    check(outcomes(only), 0.0, 0.95, 0.01)


@pytest.mark.slow
def test_students_of_all_chapters() -> None:
    check(outcomes(), 0.025, 0.86, 0.015)


def test_a_teacher_s_own_folder_is_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ch01.py").write_text(
        "from students import breaks, right, wrong\n"
        "@wrong('labels_of', fault='takes 1 off', true='gaps')\n"
        "def one_less(used, ids): return [one - 1 for one in used]\n"
        "@right('labels_of', unusual='a loop')\n"
        "def looked_up(used, ids): return [sorted(ids).index(one) for one in used]\n"
        "@breaks('labels_of', how='exit')\n"
        "def leaves(used, ids): exit()\n"
        "@wrong('labels_of', fault='none: a label that is wrong', true='gaps')\n"
        "def labelled_wrong(used, ids): return [sorted(ids).index(one) for one in used]\n"
    )
    assert run_students.main([str(tmp_path), "--show"]) == 0
    printed = capsys.readouterr().out
    assert "wrong, but accepted: ch01.py:8" in printed
    assert printed.splitlines()[-1].split()[:5] == ["all", "2", "1", "50.0", "%"]
    assert run_students.main([str(tmp_path / "none")]) == 1
