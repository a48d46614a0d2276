"""The cells of a pyramid, the l t r b coding, and the IoU."""

import pytest
import torch
from helpers import shapes_of
from torchvision.ops import box_iou

from fsaf_core.method.locations import (
    box_area,
    box_iou_aligned,
    decode,
    encode,
    pyramid_locations,
)

STRIDES = (8, 16, 32, 64, 128)


def random_boxes(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator) * 100
    return torch.cat([low, low + torch.rand(count, 2, generator=generator) * 80], 1)


@pytest.mark.parametrize("center", [0.0, 0.5])
def test_a_cell_in_row_i_column_j_stands_at_j_plus_c_and_i_plus_c_strides(center):
    shapes = shapes_of(100, 140)
    grid = pyramid_locations(shapes, STRIDES, center)
    cells = [
        (level, i, j)
        for level, (rows, columns) in enumerate(shapes)
        for i in range(rows)
        for j in range(columns)
    ]
    assert len(grid.level) == len(cells) == sum(grid.sizes)
    assert grid.level.tolist() == [level for level, _, _ in cells]
    assert grid.stride.tolist() == [STRIDES[level] for level, _, _ in cells]
    assert grid.centers.tolist() == [
        [(j + center) * STRIDES[level], (i + center) * STRIDES[level]] for level, i, j in cells
    ]


def test_sizes_and_starts_of_the_levels_add_up():
    grid = pyramid_locations(((4, 6), (2, 3), (1, 2)), (8, 16, 32), 0.5)
    assert (grid.sizes, grid.starts) == ([24, 6, 2], [0, 24, 30])


def test_decode_by_hand():
    """From (20, 12), in units of 4 * 8 px: 0.25 left, 0.125 up, 0.5 right, 0.25 down."""
    box = decode(
        torch.tensor([0.25, 0.125, 0.5, 0.25]), torch.tensor([20.0, 12.0]), torch.tensor(32.0)
    )
    assert box.tolist() == [12, 8, 36, 20]


def test_encode_is_the_inverse_of_decode_also_where_the_point_lies_outside():
    boxes, scale = random_boxes(50), torch.full((50,), 32.0)
    points = torch.rand(50, 2, generator=torch.Generator().manual_seed(1)) * 200 - 20
    offsets = encode(boxes, points, scale)
    inside = ((points > boxes[:, :2]) & (points < boxes[:, 2:])).all(1)
    assert torch.equal((offsets > 0).all(1), inside) and inside.any() and not inside.all()
    torch.testing.assert_close(decode(offsets, points, scale), boxes, rtol=0, atol=1e-4)


def test_area_is_width_times_height():
    assert box_area(torch.tensor([[1.0, 2, 4, 10], [5, 5, 5, 9]])).tolist() == [24, 0]


def test_boxes_may_stand_in_any_number_of_axes():
    boxes, points, scale = random_boxes(24), torch.full((24, 2), 50.0), torch.full((24,), 8.0)
    flat = [
        box_area(boxes),
        encode(boxes, points, scale),
        decode(boxes, points, scale),
        box_iou_aligned(boxes, boxes.flip(0)),
    ]
    for axes in ((24,), (2, 12), (2, 3, 4)):
        deep, at, by = boxes.view(*axes, 4), points.view(*axes, 2), scale.view(axes)
        other = boxes.flip(0).view(*axes, 4)
        for got, want in zip(
            (
                box_area(deep),
                encode(deep, at, by),
                decode(deep, at, by),
                box_iou_aligned(deep, other),
            ),
            flat,
        ):
            assert torch.equal(got.reshape(want.shape), want)


def test_iou_is_torchvisions():
    one, other = random_boxes(200, 2), random_boxes(200, 3)
    want = box_iou(one, other).diagonal()
    assert (want == 0).any() and (want > 0.2).any()
    torch.testing.assert_close(box_iou_aligned(one, other), want, rtol=1e-5, atol=1e-6)


def test_iou_of_boxes_without_area_is_0_and_not_nan():
    zero = torch.zeros(1, 4)
    box = torch.tensor([[0.0, 0, 3, 3]])
    assert box_iou_aligned(zero, zero).tolist() == [0] and box_iou_aligned(zero, box).tolist() == [
        0
    ]


def test_iou_of_boxes_apart_along_both_axes_is_0():
    """The overlap would have two negative sides, whose product is positive."""
    assert box_iou_aligned(
        torch.tensor([[0.0, 0, 3, 3]]), torch.tensor([[5.0, 7, 9, 9]])
    ).tolist() == [0]


def test_the_union_counts_as_a_millionth_of_a_square_pixel_at_least():
    """Squares of 0.01 and of 0.0001 px, each with itself: a union of 1e-4 px^2, and one of 1e-8 taken as 1e-6."""
    boxes = torch.tensor([[0.0, 0, 1e-2, 1e-2], [0, 0, 1e-4, 1e-4]])
    assert box_iou_aligned(boxes, boxes).tolist() == pytest.approx([1, 0.01])
