"""The pictures of chapter 06 show what the chapter computes."""

import math
import sys
from pathlib import Path

import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks"))
from course import ch06

from fsaf_core.viz.colors import LIGHT


def corners(axes, **wanted) -> list[tuple[float, float]]:
    """Return the lower corners of the rectangles with these properties."""
    found = [one for one in axes.patches if isinstance(one, Rectangle)]
    for name, value in wanted.items():
        found = [one for one in found if getattr(one, f"get_{name}")() == value]
    return [one.get_xy() for one in found]


def test_the_number_line_fills_the_touched_cells() -> None:
    (axes,) = ch06.number_line([(1.7, 2.3), (7.1, 9.5)], [(1, 3), (7, 8)], 8, ["a", "b"]).axes
    assert corners(axes, alpha=0.55) == [(1, -0.3), (2, -0.3), (7, 0.7)]
    assert [list(line.get_xdata()) for line in axes.lines] == [[1.7, 2.3], [7.1, 9.5]]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]


def test_the_sweep_has_a_line_for_each_level() -> None:
    (axes,) = ch06.count_curves([0.1, 0.5, 1.0], [[1, 4, 9], [1, 1, 2]], 0.2).axes
    *levels, now = axes.lines
    assert [list(line.get_ydata()) for line in levels] == [[1, 4, 9], [1, 1, 2]]
    assert [line.get_color() for line in levels] == [LIGHT.level(3), LIGHT.level(4)]
    assert list(now.get_xdata()) == [0.2, 0.2]


def test_the_bars_have_the_shares_as_heights() -> None:
    (axes,) = ch06.share_bars([10, 20], [3, 4], [3, 4]).axes
    assert [bar.get_height() for bar in axes.patches] == [10, 20, 3, 4]


def test_the_maps_have_the_color_of_the_assigned_instance() -> None:
    maps = {"smaller": [torch.tensor([[0, -1]])], "larger": [torch.tensor([[1, 1]])]}
    maps = {rule: levels * 2 for rule, levels in maps.items()}
    figure = ch06.assigned_maps(maps, ["a", "b"])
    one, two = to_rgb(LIGHT.label(0)), to_rgb(LIGHT.label(1))
    upper, lower = figure.axes[0].images[0].get_array(), figure.axes[2].images[0].get_array()
    assert tuple(upper[0, 0]) == pytest.approx(one) and tuple(upper[0, 1]) == pytest.approx(
        [0.94] * 3
    )
    assert tuple(lower[0, 0]) == pytest.approx(two) and tuple(lower[0, 1]) == pytest.approx(two)


def test_both_conventions_are_drawn_in_their_places() -> None:
    image = torch.zeros(64, 64, 3, dtype=torch.uint8).numpy()
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[1, 2] = True
    effective = {"paper": [mask, mask], "MMDetection": [mask, ~mask & False]}
    centers = {"paper": 0.5, "MMDetection": 0.0}
    figure = ch06.two_conventions(image, (8, 8, 40, 40), effective, centers, (16, 16))
    assert corners(figure.axes[0]) == [(32, 16), (24, 8), (8, 8)]
    assert corners(figure.axes[1]) == [(32, 16), (8, 8)]


def test_boxes_have_the_shares_of_coco() -> None:
    boxes = ch06.coco_like_boxes(2000, side=640)
    sizes = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt()
    shares = [float((sizes < most).float().mean()) for most in (32, 96)]
    assert shares == pytest.approx([0.41, 0.75], abs=1e-3)
    assert sizes.min() >= 8 and sizes.max() <= 400 and math.isfinite(float(sizes.sum()))
