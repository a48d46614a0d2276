"""The pictures of chapter 02 show what the chapter computes."""

import numpy as np
import torch
from course import ch02
from matplotlib.patches import Rectangle
from torch.nn import functional as F


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_the_window_and_its_sum() -> None:
    image, kernel = torch.arange(16.0).reshape(4, 4), torch.tensor([[1.0, 0], [0, -1]])
    figure = ch02.window_sum(image, kernel)
    output = F.conv2d(image[None, None], kernel[None, None])[0, 0]
    for ax, numbers in zip(figure.axes, (image, kernel, output), strict=True):
        assert texts(ax) == [f"{one:g}" for one in numbers.flatten().tolist()]
    thick = [patch for patch in figure.axes[0].patches if patch.get_linewidth() == 3]
    assert [(*one.get_xy(), one.get_width()) for one in thick] == [(0, 0, 2)]


def test_the_lines_of_both_charts() -> None:
    rows = {"no norm, plain": [1e-20, 1e-10, 1.0], "batch norm, skip": [3.0, 2.0, 1.0]}
    ax = ch02.gradient_chart(rows).axes[0]
    assert ax.get_yscale() == "log"
    for line, (name, norms) in zip(ax.lines, rows.items(), strict=True):
        assert (line.get_label(), list(line.get_ydata())) == (name, norms)
    ax = ch02.loss_chart({"plain": [1.4, 1.2], "skip": [1.5, 0.1]}, 1.386).axes[0]
    assert [list(line.get_ydata()) for line in ax.lines] == [[1.4, 1.2], [1.5, 0.1], [1.386] * 2]


def test_the_strongest_channels_are_shown() -> None:
    features = torch.rand(9, 4, 4)
    features[[7, 2]] += torch.tensor([2.0, 1.0])[:, None, None]
    figure = ch02.feature_maps(np.zeros((8, 8, 3), np.uint8), {"C3": features}, count=2)
    assert ch02.strongest(features, 2) == [7, 2]
    shown = [ax.images[0].get_array() for ax in figure.axes[1:]]
    assert all(np.array_equal(one, features[i]) for one, i in zip(shown, (7, 2), strict=True))


def test_the_fan_in_has_the_receptive_field_as_its_last_row() -> None:
    layers = [(3, 2), (3, 1), (5, 2)]
    ax = ch02.fan_in(layers, ["pixels", "a", "b", "c"]).axes[0]
    field, jump = 1, 1
    for kernel, stride in layers:
        field, jump = field + (kernel - 1) * jump, jump * stride
    assert texts(ax)[0] == f"pixels: {field}"
    taps = [line for line in ax.lines if len(line.get_xdata()) == 2]
    touched = {line.get_xdata()[1] for line in taps if line.get_ydata()[1] == 0}
    assert touched == set(range(-(field // 2), field // 2 + 1))


def test_the_frame_is_the_receptive_field() -> None:
    image, gradient = np.full((64, 64, 3), 200, np.uint8), torch.rand(64, 64)
    ax = ch02.effective_fields(image, {3: gradient}, {3: (4, 2)}, {3: 39}).axes[0]
    (frame,) = (patch for patch in ax.patches if isinstance(patch, Rectangle))
    assert (*frame.get_xy(), frame.get_width()) == (16.5 - 19.5, 32.5 - 19.5, 39)
    light = 0.2 + 0.8 * (gradient / gradient.max()).sqrt()
    assert np.array_equal(ax.images[0].get_array()[..., 0], (200 * light.numpy()).astype("uint8"))


def test_the_means_are_those_of_the_outputs() -> None:
    outputs = {"norm": [torch.full((4, 4), 0.5), torch.full((4, 4), -1.0)]}
    figure = ch02.neighbors(outputs, ["black", "white"])
    assert [ax.get_title() for ax in figure.axes] == ["black\nmean 0.50", "white\nmean -1.00"]
