"""The pictures of notebook 08 show the numbers that the chapter computes."""

import numpy as np
import pytest
import torch
from course import ch08, training_log
from course.faults import PICTURE, fault_runs, small_scenes
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from fsaf_core.viz.colors import LIGHT

LOG = [line for line in training_log() if "loss" in line]
VALIDATIONS = [line for line in training_log() if "validation" in line]


def line_of(axes, label):
    (line,) = [one for one in axes.lines if one.get_label() == label]
    return line.get_xdata(), line.get_ydata()


def test_rates_and_losses_are_lines() -> None:
    (line,) = ch08.rate_picture([0.1, 0.2, 0.0]).axes[0].lines
    assert [*line.get_xdata()] == [0, 1, 2] and [*line.get_ydata()] == [0.1, 0.2, 0.0]
    (line,) = ch08.loss_picture([3.0, 1.0]).axes[0].lines
    assert [*line.get_xdata()] == [1, 2] and [*line.get_ydata()] == [3.0, 1.0]


def test_the_log_s_picture_has_its_losses_and_its_ap() -> None:
    losses, ap = ch08.log_picture(LOG, VALIDATIONS).axes
    for name in ("af_cls", "af_box"):
        steps, values = line_of(losses, name)
        assert [*steps] == [line["step"] for line in LOG]
        assert [*values] == [line[name] for line in LOG]
    steps, values = line_of(ap, "AP")
    assert [*values] == [100 * line["validation"]["AP"] for line in VALIDATIONS]


def test_runs_are_compared_line_by_line() -> None:
    runs = fault_runs()
    pair = {"one": runs["sound"], "other": runs["no warm-up"]}
    for axes, column in zip(ch08.compare_picture(pair, ("loss", "dead")).axes, ("loss", "dead")):
        for name, run in pair.items():
            assert [*line_of(axes, name)[1]] == [line[column] for line in run["log"]]


def test_dots_stand_at_their_sizes_and_levels() -> None:
    sizes, levels = torch.tensor([5.0, 50.0, 20.0]), torch.tensor([3, 6, 4])
    (dots,) = ch08.sizes_picture(sizes, levels).axes[0].collections
    points = np.asarray(dots.get_offsets())
    assert np.allclose(points[:, 0], sizes) and np.allclose(points[:, 1].round(), levels)
    assert [to_hex(one) for one in dots.get_facecolors()] == [LIGHT.level(n) for n in (3, 6, 4)]


def test_shares_add_up_and_are_stacked() -> None:
    shares = ch08.shares(LOG)
    assert np.allclose(shares.sum(0), 1)
    assert shares[0, 0] == LOG[0]["levels"]["P3"] / sum(LOG[0]["levels"].values())
    bands = ch08.levels_picture(LOG).axes[0].collections
    assert [to_hex(band.get_facecolor()[0]) for band in bands] == [*LIGHT.levels[:4]]
    lowest = bands[0].get_paths()[0].vertices
    assert lowest[:, 1].max() == pytest.approx(shares[0].max())


def test_the_strip_has_the_level_of_each_object_and_step() -> None:
    picks = torch.tensor([[3, 4], [4, 4], [3, 5]])
    axes = ch08.strip_picture(picks, (0, 1, 2), ("a", "b")).axes[0]
    assert len(axes.patches) == 6
    for box, text in zip(axes.patches, axes.texts):
        level = picks[int(box.get_x()), int(box.get_y())].item()
        assert to_hex(box.get_facecolor()) == LIGHT.level(level) and text.get_text() == f"P{level}"


def test_a_run_s_row_has_its_losses_levels_and_boxes() -> None:
    runs = {name: fault_runs()[name] for name in ("sound", "B")}
    figure = ch08.runs_picture(runs)
    _, targets = small_scenes(PICTURE + 1)
    for row, run in enumerate(runs.values()):
        losses, _, image = figure.axes[3 * row : 3 * row + 3]
        assert [*line_of(losses, "af_box")[1]] == [line["af_box"] for line in run["log"]]
        shown = [one for one in run["detections"] if one[4] >= ch08.LEAST_SCORE]
        corners = {(round(p.get_x(), 1), round(p.get_y(), 1)) for p in image.patches}
        assert len(image.patches) == len(shown) + len(targets[PICTURE]["boxes"])
        assert all((round(one[0], 1), round(one[1], 1)) in corners for one in shown)


def test_dots_of_the_prior_lie_on_the_sigmoid() -> None:
    curve, *dots = ch08.prior_picture([0.0, -4.595]).axes[0].lines
    assert [dot.get_ydata()[0] for dot in dots] == pytest.approx([0.5, 0.01], abs=1e-4)
    assert np.interp(-4.595, curve.get_xdata(), curve.get_ydata()) == pytest.approx(0.01, abs=1e-3)


def test_the_shifted_box_is_shifted() -> None:
    image = np.zeros((128, 128, 3), np.uint8)
    for axes, shift in zip(ch08.shift_picture(image, [10, 20, 40, 60], [4, 8]).axes, (4, 8)):
        right, moved = (one for one in axes.patches if isinstance(one, Rectangle))
        assert right.get_xy() == (10, 20) and moved.get_xy() == (10 - shift, 20 - shift)
        assert moved.get_width() == right.get_width() == 30


def test_histograms_count_the_scores() -> None:
    scores = {"once": torch.tensor([0.01, 0.02, 0.9]), "twice": torch.tensor([0.51, 0.52, 0.71])}
    for axes, values in zip(ch08.scores_picture(scores, 0.05).axes, scores.values()):
        heights, edges, _ = axes.patches[0].get_data()
        assert heights.sum() == len(values)
        assert heights[np.searchsorted(edges, values[0].item()) - 1] == 2
