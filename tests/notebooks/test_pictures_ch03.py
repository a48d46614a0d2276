"""The pictures of chapter 03 show what the chapter computes."""

import numpy as np
import pytest
import torch
from course import ch03


def test_the_panels_count_the_locations_that_change() -> None:
    changed = {"C3": [torch.eye(4).bool(), torch.zeros(2, 2).bool()]}
    axes = ch03.wiring(changed).axes
    assert [ax.get_title() for ax in axes] == ["P3: 4", "P4: 0"]
    assert np.array_equal(axes[0].images[0].get_array(), np.eye(4))


def test_dots_and_rings_lie_where_the_locations_are() -> None:
    centers = torch.tensor([[16.0, 16.0], [48.0, 16.0]])
    dots, rings = ch03.two_positions(centers, centers - 16, 32).axes[0].collections
    assert np.array_equal(dots.get_offsets(), centers)
    assert np.array_equal(rings.get_offsets(), centers - 16)


def test_the_curve_is_the_formula() -> None:
    line = ch03.shift_curve([1, 2], [0.14, 0.39]).axes[0].lines[0]
    assert np.array_equal(line.get_xydata(), [[1, 0.14], [2, 0.39]])


@pytest.mark.parametrize("count", [1, 4])
def test_the_change_of_each_level_and_the_box(count: int) -> None:
    levels = [torch.rand(4, 4) for _ in range(count)]
    for ax, change in zip(ch03.changes(levels, (6, 38, 40, 90), 128).axes, levels, strict=True):
        assert np.array_equal(ax.images[0].get_array(), change)
        (box,) = ax.patches
        assert (*box.get_xy(), box.get_width(), box.get_height()) == (6, 38, 34, 52)
