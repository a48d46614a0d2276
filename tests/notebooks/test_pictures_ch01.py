"""Chapter 01's pictures hold the numbers that the chapter computes."""

import numpy as np
import torch
from course import ch01 as pictures
from matplotlib.patches import Rectangle
from PIL import Image

PHOTO = np.zeros((16, 24, 3), np.uint8)


def boxes_of(ax) -> list[list[float]]:
    return [
        [*patch.get_xy(), patch.get_x() + patch.get_width(), patch.get_y() + patch.get_height()]
        for patch in ax.patches
        if isinstance(patch, Rectangle)
    ]


def test_boxes_and_pixels_share_coordinates() -> None:
    boxes = torch.tensor([[1.5, 2, 8, 9], [0, 0, 24, 16]])
    (ax,) = pictures.scene_boxes(PHOTO, boxes, ["a", "b"], torch.tensor([0, 3])).axes
    assert boxes_of(ax) == boxes.tolist()
    assert ax.images[0].get_extent() == [0, 24, 16, 0]  # the last pixel ends at 24, 16
    assert [text.get_text() for text in ax.texts] == ["a", "b"]


def test_pixel_centers_are_halves() -> None:
    (ax,) = pictures.pixel_ruler([2, 1, 5, 3], 8, 5).axes
    dots = ax.lines[0]
    assert sorted(set(dots.get_xdata())) == [i + 0.5 for i in range(8)]
    assert len(dots.get_ydata()) == 40 and boxes_of(ax) == [[2, 1, 5, 3]]


def test_the_filled_part_is_the_intersection() -> None:
    one, other = torch.tensor([0.0, 0, 10, 8]), torch.tensor([5.0, 2, 15, 12])
    (ax,) = pictures.shared_area(PHOTO, one, other).axes
    assert boxes_of(ax) == [[5, 2, 10, 8], one.tolist(), other.tolist()]
    assert [patch.get_fill() for patch in ax.patches] == [True, False, False]


def test_curves_bars_and_tiles() -> None:
    curves = {8: [1.0, 0.5, 0.2], 16: [1.0, 0.8, 0.6]}
    (ax,) = pictures.iou_curves(curves).axes
    assert [list(line.get_ydata()) for line in ax.lines[:2]] == list(curves.values())
    assert list(ax.lines[2].get_ydata()) == [0.5, 0.5]
    (ax,) = pictures.sizes_by_bin({"8–16": 5, "16–32": 3}).axes
    assert [bar.get_height() for bar in ax.patches] == [5, 3]
    tile = Image.new("RGB", (24, 16))
    figure = pictures.sheet({"a": tile, "b": tile})
    assert [ax.get_title() for ax in figure.axes[:2]] == ["a", "b"]


def test_images_are_in_the_upper_left_corner_of_the_frame() -> None:
    images = [torch.zeros(3, 10, 12, dtype=torch.uint8), torch.zeros(3, 20, 4, dtype=torch.uint8)]
    figure = pictures.padded(images, (32, 64))
    assert [ax.images[0].get_extent() for ax in figure.axes] == [[0, 12, 10, 0], [0, 4, 20, 0]]
    assert all(boxes_of(ax) == [[0, 0, 64, 32]] for ax in figure.axes)
