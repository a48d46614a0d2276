"""The pictures of chapter 04 show what the chapter computes, and its figure has the core's anchors."""

import numpy as np
import pytest
import torch
from course import ch04
from course.figures.anchors import all_anchors

from fsaf_core.model.anchor_branch import AnchorBased
from fsaf_core.viz.colors import LIGHT


def test_the_anchors_and_the_box_are_drawn() -> None:
    anchors = {3: torch.tensor([[1.0, 2, 5, 9], [0, 0, 4, 4]])}
    figure = ch04.nine_anchors(
        np.zeros((16, 16, 3), np.uint8), anchors, torch.tensor([2.0, 2, 8, 8])
    )
    boxes = [(*one.get_xy(), one.get_width(), one.get_height()) for one in figure.axes[0].patches]
    assert boxes == [(1, 2, 4, 7), (0, 0, 4, 4), (2, 2, 6, 6)]


def test_each_level_has_its_curve() -> None:
    ax = ch04.size_curves([8, 16], {3: [0.0, 9.0], 4: [1.0, 2.0]}).axes[0]
    assert [list(line.get_ydata()) for line in ax.lines] == [[0, 9], [1, 2]]
    assert [line.get_color() for line in ax.lines] == [LIGHT.level(3), LIGHT.level(4)]


def test_squares_and_rings_stand_at_the_chosen_levels() -> None:
    losses = torch.tensor([[0.5, 2.0], [float("inf"), 7.0]])
    ax = ch04.level_losses(["star", "ring"], losses, [0, 1], [1, 1]).axes[0]
    assert [text.get_text() for text in ax.texts] == ["0.5", "2.0", "no location", "7.0"]
    places = [one.get_offsets()[0].tolist() for one in ax.collections]
    assert np.allclose(places, [[-0.33, 0], [1.33, 0], [0.67, 1], [1.33, 1]])


def test_the_table_holds_its_means() -> None:
    ax = ch04.mean_positives_table([[1.4, 0.2], [8.1, 3.9]], ["a", "b"], ["c", "d"]).axes[0]
    assert [text.get_text() for text in ax.texts] == ["1.4", "0.2", "8.1", "3.9"]


@pytest.mark.parametrize("scale", [1.0, 2.0, 4.0])
def test_the_figure_has_the_anchors_of_the_core(scale: float) -> None:
    strides = [8, 16, 32, 64]
    maps = [torch.zeros(1, 1, 128 // stride, 128 // stride) for stride in strides]
    core = AnchorBased(tuple(strides), scale).anchors(maps)
    for own, level in zip(all_anchors(strides, (128, 128), scale), core, strict=True):
        assert torch.equal(torch.tensor(own).float(), level)
