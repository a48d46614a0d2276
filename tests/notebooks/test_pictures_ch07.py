"""The pictures of chapter 07 show what the chapter computes, and its worked example is one of mixed signs."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks"))
from course import ch07
from course.figures import overlap

from fsaf_core.viz.colors import LIGHT

IMAGE = np.zeros((20, 20, 3), np.uint8)


def test_bars_are_stacked() -> None:
    (axes,) = ch07.loss_bars(["a", "b"], [0.1, 0.2], [0.5, 0.7], [3, 4]).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.1, 0.2, 0.5, 0.7])
    assert [bar.get_x() for bar in axes.patches] == pytest.approx([0, 0, 0.1, 0.2])
    assert [text.get_text() for text in axes.texts] == ["0.100 + 0.500", "0.200 + 0.700"]


def test_predicted_boxes_are_where_the_levels_predict_them() -> None:
    (axes,) = ch07.predicted_boxes(IMAGE, (1, 2, 9, 8), [(0, 1, 5, 7)], [4], [0.5]).axes
    drawn = [(*one.get_xy(), one.get_width(), one.get_height()) for one in axes.patches]
    assert drawn == [(0, 1, 5, 6), (1, 2, 8, 6)]
    assert axes.patches[0].get_edgecolor()[:3] == pytest.approx(to_rgb(LIGHT.level(4)))


def test_the_table_frames_the_choice() -> None:
    table = [[0.1, 0.9], [math.inf, 0.5]]
    (axes,) = ch07.loss_table(table, ["a", "b"], [0, 1], [1, 1]).axes
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["0.100", "0.900", "▲", "no location", "0.500", "▲"]
    frames = [one.get_xy() for one in axes.patches if one.get_linewidth() == 2.5]
    assert frames == [(0.03, 0.06), (1.03, 1.06)]


def test_gradients_have_their_colors_and_marks() -> None:
    slopes = [torch.tensor([[-1.0, 1.0], [0.0, 0.0]])] * 2
    learns = [torch.tensor([[True, False], [False, False]])] * 2
    figure = ch07.gradient_maps(slopes, learns, [(0, 0, 4, 4)], (8, 16))
    shown = figure.axes[0].images[0].get_array()
    colors = (ch07.UP, ch07.DOWN, ch07.NONE)
    for place, color in zip(((0, 0), (0, 1), (1, 0)), colors):
        assert tuple(shown[place]) == pytest.approx(to_rgb(color))
    assert figure.axes[1].collections[0].get_offsets().tolist() == [[8, 8]]
    assert not {*colors} & {LIGHT.regions["effective"].fill, LIGHT.regions["ignoring"].fill}


def test_lines_are_the_history_and_stars_the_changes() -> None:
    history = [[3.0, 2.0], [1.0, 1.5], [0.5, 1.0]]
    (axes,) = ch07.history_lines([0, 10, 100], history).axes
    assert [list(line.get_ydata()) for line in axes.lines[:2]] == [[3, 1, 0.5], [2, 1.5, 1]]
    assert [(*line.get_xdata(), *line.get_ydata()) for line in axes.lines[2:]] == [(10, 1.0)]


def test_points_are_the_pairs_of_losses() -> None:
    (axes,) = ch07.choice_scatter([1.0, 2.0, 3.0], [0.5, 2.0, 2.5], [3, 4, 3]).axes
    offsets = [points.get_offsets().tolist() for points in axes.collections]
    assert offsets == [[[1, 0.5], [3, 2.5]], [[2, 2]]]


def test_the_worked_location_has_distances_of_both_kinds() -> None:
    offsets, targets, image, center, unit = ch07.worked_location()
    longer = [a > b for a, b in zip(offsets, targets)]
    assert 1 <= sum(longer) <= 3
    figure = overlap.example()
    assert figure.state["offsets"] == offsets and figure.state["targets"] == targets
    slopes = figure.answer["slopes"]
    assert [slope > 0 for slope in slopes] == longer  # too long: positive; too short: negative
    assert image.shape == (128, 128, 3) and len(center) == 2 and unit == 32


def test_the_figure_s_answers_are_those_of_the_text() -> None:
    twice = overlap.OverlapFigure([1.0] * 4, [0.5] * 4).answer
    assert twice["slopes"] == [0.5] * 4 and twice["loss"] == pytest.approx(math.log(4))
    apart = overlap.OverlapFigure([0.3, 0.4, 0.3, 0.4], [1.2, 0.5, -0.6, 0.5]).answer
    assert apart["slopes"] == [0.0] * 4 and apart["loss"] == pytest.approx(13.816, abs=1e-3)
