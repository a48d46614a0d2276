"""Notebook 11's ten steps: solutions pass, plausible wrong answers are refused with the hint that names the fault."""

import pytest
from checks import ch11 as checks

SLIPS = [(number, slip) for number, step in enumerate(checks.STEPS, 1) for slip in step.slips]


@pytest.mark.parametrize("number", range(1, 11))
def test_solutions_are_taken(capsys, number) -> None:
    solution = checks.STEPS[number - 1].solution
    assert checks.step(number, solution) is solution
    done, told = capsys.readouterr().out.splitlines()
    assert done.startswith("done: ") and told.startswith(f"step {number} is yours")


@pytest.mark.parametrize(("number", "slip"), SLIPS, ids=[f"{number}-{i}" for i, (number, _) in enumerate(SLIPS)])
def test_each_slip_is_named(number, slip) -> None:
    line = checks.STEPS[number - 1].verdict(slip.function)
    assert line.startswith("case")
    assert line.endswith(f"look at {slip.look}")
