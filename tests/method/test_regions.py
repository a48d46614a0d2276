"""Which cells belong to an instance: rules by hand, the whole against loops, crowds, owners."""

from dataclasses import replace

import pytest
import reference_loops
import torch
from helpers import SHAPES, SMALL, random_outputs, random_target, shapes_of, target

import fsaf_core as fsaf
from fsaf_core.method.assignment import GroundTruth, count_by_class, resolve_overlaps
from fsaf_core.method.locations import box_area, pyramid_locations
from fsaf_core.method.regions import crowd_region, region

REFERENCE = replace(SMALL, convention="reference", ignoring_scale=0.5)


@pytest.fixture(scope="module")
def detector():
    return fsaf.build_detector(SMALL)


def cells_of(detector, config, boxes, shapes=SHAPES, sizes=None):
    """For each box and region (effective, ignoring) a set of (level, row, column)."""
    detector.config = config
    outputs = random_outputs(0, batch=1, shapes=shapes)
    assignment = detector.assign(outputs, [target(boxes, [0] * len(boxes))], sizes)
    places = [
        (level, row, column)
        for level, (rows, columns) in enumerate(shapes)
        for row in range(rows)
        for column in range(columns)
    ]
    return [
        [{places[index] for index in torch.nonzero(mask)[:, 0].tolist()} for mask in masks]
        for masks in (assignment.effective, assignment.ignoring)
    ]


def at(level, cells):
    return {cell[1:] for cell in cells if cell[0] == level}


def block(rows, columns):
    return {(i, j) for i in range(*rows) for j in range(*columns)}


# --------------------------------------------------------------------------------------------------------------------- paper


def test_paper_a_region_is_floor_to_ceil_of_the_scaled_box(detector):
    """[10 4 90 54]: centre (50, 29); 0.2: [42 24 58 34], 0.5: [30 16.5 70 41.5]; divided by 8 and 16."""
    (effective,), (ignoring,) = cells_of(detector, SMALL, [[10, 4, 90, 54]])
    assert at(0, effective) == block((3, 5), (5, 8))
    assert at(1, effective) == block((1, 3), (2, 4))
    assert at(0, ignoring) == block((2, 6), (3, 9))
    assert at(1, ignoring) == block((1, 3), (1, 5))


@pytest.mark.parametrize(
    "box",
    [
        [50, 30, 51, 31],
        [0, 0, 1, 1],
        [95, 63, 96, 64],
        [16, 16, 16.01, 16.01],
        [-30, -30, -20, -20],
        [200, 90, 210, 99],
    ],
    ids=["one_pixel", "first_pixel", "last_pixel", "a_speck", "left_of_the_image", "right_of_it"],
)
def test_paper_an_effective_region_has_a_cell_at_every_level(detector, box):
    (effective,), (ignoring,) = cells_of(detector, SMALL, [box])
    assert all(at(level, effective) for level in range(5))
    assert effective <= ignoring


def test_paper_a_region_ends_at_the_border_of_its_own_image(detector):
    box = [30.0, 20, 150, 120]
    (whole,), _ = cells_of(detector, SMALL, [box])
    (own,), _ = cells_of(detector, SMALL, [box], sizes=[(60, 70)])  # padded by itself to 64 x 96
    (narrow,), _ = cells_of(detector, SMALL, [box], sizes=[(50, 61)])  # to 64 x 64
    assert own == whole and max(column for _, column in at(0, whole)) > 7
    assert at(0, narrow) == {(7, 7)} and (7, 7) not in at(0, whole)
    (flat,), _ = cells_of(detector, SMALL, [box], sizes=[(30, 61)])  # to 32 x 64
    assert at(0, flat) == {(3, 7)}


# ----------------------------------------------------------------------------------------------------------------- reference


def test_reference_a_cell_needs_its_point_strictly_inside_the_full_box(detector):
    """[40 24 56 40]: its 0.2 box [46.4 30.4 49.6 33.6] touches the square around (48, 32) alone; a box from 48 on excludes it."""
    (effective,), _ = cells_of(detector, REFERENCE, [[40, 24, 56, 40]])
    assert at(0, effective) == {(4, 6)}
    (effective,), (ignoring,) = cells_of(detector, REFERENCE, [[48, 32, 52, 36]])
    assert at(0, effective) == set() and at(0, ignoring) == {(4, 6)}
    (effective,), _ = cells_of(detector, REFERENCE, [[42, 26, 48, 32]])  # ends at the point
    assert at(0, effective) == set()


def test_reference_a_region_ends_at_the_border_of_its_own_image(detector):
    """Its 0.2 box [78 30 102 40] lies right of the image of 64 x 64."""
    box = [30.0, 10, 150, 60]
    (whole,), _ = cells_of(detector, REFERENCE, [box], sizes=[(60, 70)])  # 64 x 96
    (narrow,), _ = cells_of(detector, REFERENCE, [box], sizes=[(50, 61)])  # 64 x 64
    assert at(0, whole) and at(0, narrow) == set()


def test_reference_a_cells_square_is_centred_at_its_point(detector):
    """The ignoring box [36.5 28.5 43.5 35.5] lies in the square of 8 px around (40, 32)."""
    _, (ignoring,) = cells_of(detector, REFERENCE, [[33, 25, 47, 39]])
    assert at(0, ignoring) == {(4, 5)}


def test_with_overlap_squares_and_points_stand_where_cell_center_says(detector):
    """Points at 8 j + 4. The 0.2 box [46.4 30.4 49.6 33.6] touches four squares; [46 30 51 35] holds no point."""
    config = replace(REFERENCE, cell_center=0.5)
    (four, none), _ = cells_of(detector, config, [[40, 24, 56, 40], [46, 30, 51, 35]])
    assert at(0, four) == block((3, 5), (5, 7)) and at(0, none) == set()


def test_reference_a_cell_needs_more_than_a_hundredth_of_its_square_covered(detector):
    """A box of w x 5 px has a 0.2 box of 0.2 w x 1; 0.64 px^2 of a 64 px^2 square are not enough, more is."""
    for width, there in ((3.1, False), (3.3, True)):
        (effective,), _ = cells_of(
            detector, REFERENCE, [[48 - width / 2, 32 - 2.5, 48 + width / 2, 32 + 2.5]]
        )
        assert bool(at(0, effective)) == there


def test_reference_a_row_that_is_barely_covered_is_left_out(detector):
    """0.2 boxes of 0.06 and of 0.1 px in a row of 8: 0.75 % and 1.25 % of the squares, whole columns of them."""
    for height, there in ((0.3, False), (0.5, True)):
        (effective,), _ = cells_of(detector, REFERENCE, [[8, 32 - height / 2, 88, 32 + height / 2]])
        assert bool(at(0, effective)) == there


def test_reference_a_column_that_is_barely_covered_is_left_out_at_its_side(detector):
    """Squares end at 8 j +- 4. 0.2 boxes [43.95 28 60 36] and [36 28 52.05 36]: 0.6 % of column 5, left, and of 7, right."""
    (left, right), _ = cells_of(detector, REFERENCE, [[11.85, 12, 92.1, 52], [3.9, 12, 84.15, 52]])
    assert at(0, left) == {(4, 6), (4, 7)} and at(0, right) == {(4, 5), (4, 6)}


def test_reference_a_tiny_box_may_have_no_cell_at_any_level(detector):
    (effective,), _ = cells_of(detector, REFERENCE, [[10, 10, 14, 14]])
    assert effective == set()


def test_reference_the_ignored_region_needs_no_point_inside_the_box(detector):
    (effective,), (ignoring,) = cells_of(detector, REFERENCE, [[1, 1, 7, 7]])
    assert effective == set() and at(0, ignoring) == block((0, 2), (0, 2))


# ------------------------------------------------------------------------------------------------------------------ the whole


@pytest.mark.parametrize("convention", ["paper", "reference"])
@pytest.mark.parametrize("size", [(64, 96), (100, 70), (33, 257)])
def test_regions_of_many_boxes_are_those_of_plain_loops(detector, convention, size):
    config, shapes = (
        replace(SMALL, convention=convention, ignoring_scale=0.5),
        shapes_of(*(-(-side // 32) * 32 for side in size)),
    )
    most = torch.tensor(
        [size[1], size[0]]
    )  # a box may cross the border, but is no larger than the image
    low, high = random_target(40, *size, seed=3)["boxes"].split(2, 1)
    boxes = torch.cat([low, torch.minimum(high, low + most)], 1).tolist()
    effective, ignoring = cells_of(detector, config, boxes, shapes)
    for n, box in enumerate(boxes):
        for level, (stride, (rows, columns)) in enumerate(zip(config.strides, shapes)):
            inner = reference_loops.region(
                box, 0.2, stride, rows, columns, config.rules, inside=True
            )
            assert at(level, effective[n]) == inner
            assert at(level, ignoring[n]) == inner | reference_loops.region(
                box, 0.5, stride, rows, columns, config.rules, inside=False
            )


def test_a_box_larger_than_the_image_is_effective_in_all_of_it_at_most(detector):
    (effective,), (ignoring,) = cells_of(detector, SMALL, [[-200, -150, 300, 250]])
    assert at(0, effective) <= block((0, 8), (0, 12)) and effective <= ignoring and effective


def test_the_scale_grows_the_region(detector):
    small, large = (
        cells_of(detector, replace(SMALL, effective_scale=scale), [[10, 4, 90, 54]])[0][0]
        for scale in (0.1, 0.4)
    )
    assert small < large


# --------------------------------------------------------------------------------------------------------- owners and counts


def assigned(boxes, image, batch=1):
    """The instance of each location of P3 of a small input, in `batch` images, by the paper's regions. `image` ascends."""
    locations = pyramid_locations(((4, 4),), (8,), 0.5)
    boxes, counts = torch.tensor(boxes), [image.count(index) for index in range(batch)]
    return resolve_overlaps(region(boxes, 0.25, locations, SMALL.rules), box_area(boxes), counts)


def test_the_smaller_of_two_instances_is_assigned_wherever_it_stands_in_the_list():
    """Both hold location (1, 1), the larger one all of the middle."""
    small, large = [8.0, 8, 16, 16], [0.0, 0, 32, 32]
    first, second = assigned([small, large], [0, 0]), assigned([large, small], [0, 0])
    assert first[0, 5] == 0 and second[0, 5] == 1 and first[0, 10] == 1 and second[0, 10] == 0


def test_of_two_instances_of_equal_area_the_later_is_assigned():
    assert set(assigned([[8.0, 8, 16, 16]] * 20, [0] * 20).unique().tolist()) == {-1, 19}


def test_an_instance_is_assigned_to_locations_of_its_own_image_only():
    found = assigned([[16.0, 16, 24, 24], [8.0, 8, 16, 16]], [0, 2], batch=3)
    assert [(row >= 0).sum().item() for row in found] == [1, 0, 1]
    assert found[0, 10] == 0 and found[2, 5] == 1


def test_a_region_may_end_with_the_last_location_of_the_last_image():
    assert assigned([[20.0, 20, 44, 44]], [1], batch=2)[1].tolist() == [-1] * 15 + [0]


def counted(regions, image, labels, batch, classes):
    """`count_by_class` of regions given as lists of 0 and 1."""
    empty, places = torch.zeros(0), torch.zeros(0, dtype=torch.long)
    truth = GroundTruth(
        torch.zeros(len(regions), 4), torch.tensor(labels), torch.tensor(image), empty.view(0, 4), places, []
    )  # fmt: skip
    return count_by_class(torch.tensor(regions).bool(), truth, batch, classes)


def test_regions_are_counted_by_image_and_class():
    regions = [[1, 1, 0], [0, 1, 1], [0, 1, 0], [1, 0, 0]]
    count = counted(regions, [0, 0, 0, 1], [0, 0, 1, 0], 2, 2)
    assert count.tolist() == [[[1, 2, 1], [0, 1, 0]], [[1, 0, 0], [0, 0, 0]]]


def test_a_thousand_regions_over_one_location_are_counted():
    assert counted([[0, 1, 0]] * 1000, [0] * 1000, [0] * 1000, 1, 1).tolist() == [[[0, 1000, 0]]]


# ------------------------------------------------------------------------------------------------------------------- crowds


def test_crowd_locations_stand_strictly_inside_the_inner_half_of_a_crowd_box_of_their_image():
    grid = pyramid_locations(((8, 12), (4, 6)), (8, 16), 0.0)
    mask = crowd_region(
        torch.tensor([[0.0, 0, 64, 64], [32, 16, 96, 48]]), torch.tensor([0, 1]), 2, grid
    )
    x, y = grid.centers.unbind(1)
    assert torch.equal(mask[0], (x > 16) & (x < 48) & (y > 16) & (y < 48))
    assert torch.equal(mask[1], (x > 48) & (x < 80) & (y > 24) & (y < 40))
    assert mask[0].any() and mask[1].any()
