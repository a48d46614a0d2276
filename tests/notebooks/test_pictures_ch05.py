"""The pictures of chapter 05 show what the chapter computes."""

import numpy as np
import torch
from course import ch05


def test_the_arrows_end_at_the_sides() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    ax = ch05.four_distances(image, torch.tensor([4.0, 8, 40, 50]), (20, 30)).axes[0]
    arrows = [text for text in ax.texts if hasattr(text, "arrow_patch") and text.arrow_patch]
    assert [one.xy for one in arrows] == [(4, 30), (20, 8), (40, 30), (20, 50)]
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["l", "t", "r", "b"]


def test_the_bars_are_the_shares() -> None:
    ax = ch05.dead_chart({"plain": [0.0, 1.0], "group": [0.2, 0.6]}, (0.1, -0.1)).axes[0]
    assert [bar.get_height() for bar in ax.patches] == [0.0, 1.0, 0.2, 0.6]


def test_the_lines_of_the_charts() -> None:
    ax = ch05.dead_through_training((0, 5), {3: [0.2, 0.0], 4: [0.1, 0.1]}).axes[0]
    assert [list(line.get_ydata()) for line in ax.lines] == [[0.2, 0.0], [0.1, 0.1]]
    relu, exp = ch05.relu_and_exp().axes[0].lines
    assert np.allclose(relu.get_ydata(), np.maximum(relu.get_xdata(), 0))
    assert np.allclose(exp.get_ydata(), np.exp(exp.get_xdata()))
    ax = ch05.pull_chart((0.1, 1.0), {"ReLU": [-6.0, -0.6], "exp": [-0.5, -0.5]}).axes[0]
    assert [list(line.get_ydata()) for line in ax.lines] == [[6.0, 0.6], [0.5, 0.5]]


def test_the_share_of_zeros() -> None:
    assert ch05.share_of_zeros(torch.tensor([0.0, 0.5, 0.0, 1e-9])) == 0.5
