"""Notebook 05's checkers: solutions pass and equal the core, wrong answers are refused with the hint that names them."""

import pytest
import torch
from checks import ch05 as checks
from solutions import ch05

from fsaf_core.boxes import decode, encode, make_grid

CHECKERS = {
    checks.check_encode_cell: (ch05.encode_cell, checks.ENCODE_SLIPS),
    checks.check_decode_level: (ch05.decode_level, checks.DECODE_SLIPS),
    checks.check_dead_share: (ch05.dead_share, checks.DEAD_SLIPS),
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_solutions_pass_and_stubs_are_to_do(verdict, checker) -> None:
    assert verdict(checker, CHECKERS[checker][0]).startswith("done")
    assert verdict(checker, lambda *args: None).startswith("to do")


@pytest.mark.parametrize(("checker", "slip"), [(checker, slip) for checker, (_, slips) in CHECKERS.items() for slip in slips])
def test_each_slip_is_named(verdict, checker, slip) -> None:
    line = verdict(checker, slip.function)
    assert line.startswith("case")
    assert line.endswith(f"look at {slip.look}")


@pytest.mark.parametrize("center", [0.0, 0.5])
def test_solutions_equal_the_core(center) -> None:
    torch.manual_seed(0)
    grid = make_grid(((5, 3),), (16,), center, torch.zeros(1))
    box, offsets = torch.tensor([3.0, 7.0, 40.0, 33.0]), torch.randn(4, 5, 3)
    own = [ch05.encode_cell(box.tolist(), i, j, 16, 4.0, center) for i in range(5) for j in range(3)]
    assert torch.allclose(torch.tensor(own), encode(box.expand(15, 4), grid.centers, 4 * grid.stride))
    core = decode(offsets.relu().flatten(1).T, grid.centers, 4 * grid.stride)
    assert torch.allclose(ch05.decode_level(offsets, 16, 4.0, center).flatten(0, 1), core, atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda before, positive: (before[positive].relu() < 0).float().mean().item(), "0 or less"),
        (lambda before, positive: (before.relu()[positive] == 0).float().mean().item(), "nan"),
        (lambda before, positive: ((before <= 0).sum() / (4 * positive.sum())).item(), "positive"),
        (lambda before, positive: (before <= 0)[positive], "what is counted"),
    ],
)
def test_other_wrong_shares_are_named(verdict, wrong, hint) -> None:
    line = verdict(checks.check_dead_share, wrong)
    assert line.startswith("case")
    assert hint in line


def test_dead_outputs_are_those_without_gradient() -> None:
    torch.manual_seed(0)
    before, positive = torch.randn(50, 4).mul(4).round().div(4).requires_grad_(), torch.rand(50) < 0.5
    (slope,) = torch.autograd.grad(before.relu().sum(), before)
    assert ch05.dead_share(before, positive) == pytest.approx(float((slope[positive] == 0).float().mean()))
