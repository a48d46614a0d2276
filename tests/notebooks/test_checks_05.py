"""Notebook 05's exercises: solutions equal the core, other right ways pass, wrong answers put otherwise are told the fault."""

import pytest
import torch
from checks import ch05 as checks
from solutions import ch05

from fsaf_core.method.locations import decode, encode, pyramid_locations


@pytest.mark.parametrize("center", [0.0, 0.5])
def test_solutions_equal_the_core(center) -> None:
    torch.manual_seed(0)
    grid = pyramid_locations(((5, 3),), (16,), center)
    box, offsets = torch.tensor([3.0, 7.0, 40.0, 33.0]), torch.randn(4, 5, 3)
    own = [
        ch05.encode_cell(box.tolist(), i, j, 16, 4.0, center) for i in range(5) for j in range(3)
    ]
    assert torch.allclose(
        torch.tensor(own), encode(box.expand(15, 4), grid.centers, 4 * grid.stride)
    )
    core = decode(offsets.relu().flatten(1).T, grid.centers, 4 * grid.stride)
    assert torch.allclose(
        ch05.decode_level(offsets, 16, 4.0, center).flatten(0, 1), core, atol=1e-4
    )


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda before, positive: (before[positive].relu() < 0).float().mean().item(), "0 or less"),
        (lambda before, positive: (before.relu()[positive] == 0).float().mean().item(), "nan"),
        (lambda before, positive: ((before <= 0).sum() / (4 * positive.sum())).item(), "positive"),
        (lambda before, positive: (before <= 0)[positive], "what is counted"),
    ],
)
def test_other_wrong_shares_are_named(refused, wrong, hint) -> None:
    refused(checks.check_dead_share, wrong, hint)


def test_dead_outputs_are_those_without_gradient() -> None:
    torch.manual_seed(0)
    before, positive = (
        torch.randn(50, 4).mul(4).round().div(4).requires_grad_(),
        torch.rand(50) < 0.5,
    )
    (slope,) = torch.autograd.grad(before.relu().sum(), before)
    assert ch05.dead_share(before, positive) == pytest.approx(
        float((slope[positive] == 0).float().mean())
    )


def decoded(offsets, stride, S, c, flip=False):
    """A level decoded by torch's own grid; with `flip` its x and y are exchanged."""
    row, column = torch.meshgrid(
        *((torch.arange(count) + c) * stride for count in offsets.shape[1:]), indexing="ij"
    )
    x, y = (row, column) if flip else (column, row)
    l, t, r, b = offsets.relu() * S * stride
    return torch.stack([x - l, y - t, x + r, y + b], -1)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda *args: decoded(*args, flip=True), "x and y"),
        (
            lambda *args: torch.stack([*decoded(*args).unbind(-1)]).reshape(decoded(*args).shape),
            "reshape",
        ),
        (lambda *args: decoded(*args).clamp(min=0), "a box may begin before the image"),
        (lambda offsets, *rest: decoded(offsets.abs(), *rest), "its sign is not dropped"),
        (lambda *args: decoded(*args).flatten(0, 1), "the shape first"),
    ],
)
def test_wrong_levels_of_a_new_reader_are_named(refused, verdict, wrong, hint) -> None:
    assert verdict(checks.check_decode_level, decoded).startswith("done")
    refused(checks.check_decode_level, wrong, hint)
