"""Which cells belong to an instance: rules by hand, the whole against loops, crowds, owners."""

from dataclasses import replace

import pytest
import reference_loops
import torch
from helpers import SHAPES, SMALL, random_outputs, random_target, shapes_of, target

import fsaf_core as fsaf
from fsaf_core.method.locations import pyramid_locations
from fsaf_core.method.regions import (
    Runs,
    count_regions,
    crowd_cells,
    find_runs,
    make_slots,
    own_cells,
)

REFERENCE = replace(SMALL, convention="reference", ignoring_scale=0.5)


@pytest.fixture(scope="module")
def detector():
    return fsaf.build_detector(SMALL)


def cells_of(detector, config, boxes, shapes=SHAPES, sizes=None):
    """For each box and region (effective, ignoring) a set of (level, row, column)."""
    detector.config = config
    outputs = random_outputs(0, batch=1, shapes=shapes)
    regions = detector.assign(outputs, [target(boxes, [0] * len(boxes))], sizes).regions
    level, place = regions.grid.level.tolist(), regions.grid.row_column.tolist()
    return [
        [
            {(level[cell], *place[cell]) for cell in torch.nonzero(row)[:, 0].tolist()}
            for row in region
        ]
        for region in regions.maps()
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


# ----------------------------------------------------------------------------------------------------------------- reference


def test_reference_a_cell_needs_its_point_strictly_inside_the_full_box(detector):
    """[40 24 56 40]: its 0.2 box [46.4 30.4 49.6 33.6] touches the square around (48, 32) alone; a box from 48 on excludes it."""
    (effective,), _ = cells_of(detector, REFERENCE, [[40, 24, 56, 40]])
    assert at(0, effective) == {(4, 6)}
    (effective,), (ignoring,) = cells_of(detector, REFERENCE, [[48, 32, 52, 36]])
    assert at(0, effective) == set() and at(0, ignoring) == {(4, 6)}


def test_reference_a_cells_square_is_centred_at_its_point(detector):
    """The ignoring box [36.5 28.5 43.5 35.5] lies in the square of 8 px around (40, 32)."""
    _, (ignoring,) = cells_of(detector, REFERENCE, [[33, 25, 47, 39]])
    assert at(0, ignoring) == {(4, 5)}


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


def runs(*start_length):
    """Runs of one slot each."""
    start, length = torch.tensor(start_length).int().unbind(1)
    return Runs(start[:, None], length[:, None])


def owners(boxes, image, batch=1):
    """Owners of the cells of P3 of a small input, in `batch` images, by the paper's regions."""
    grid = pyramid_locations(((4, 4),), (8,), 0.5, torch.zeros(1))
    slots = make_slots(grid, 0.25, SMALL.rules, torch.zeros(1))
    boxes = torch.tensor(boxes)
    return own_cells(
        boxes,
        torch.tensor(image),
        find_runs(boxes, None, SMALL.rules, slots),
        slots,
        batch,
        grid.num_cells,
    )


def test_a_cell_of_two_regions_goes_to_the_smaller_instance_wherever_it_stands_in_the_list():
    """Both hold cell (1, 1), the larger one all of the middle."""
    small, large = [8.0, 8, 16, 16], [0.0, 0, 32, 32]
    first, second = owners([small, large], [0, 0]), owners([large, small], [0, 0])
    assert first[0, 5] == 1 and second[0, 5] == 2 and first[0, 10] == 2 and second[0, 10] == 1


def test_a_cell_of_two_regions_of_equal_area_goes_to_the_later_instance():
    assert set(owners([[8.0, 8, 16, 16]] * 20, [0] * 20).unique().tolist()) == {0, 20}


def test_an_instance_owns_cells_of_its_own_image_only():
    owner = owners([[8.0, 8, 16, 16], [16.0, 16, 24, 24]], [2, 0], batch=3)
    assert (
        [(row > 0).sum().item() for row in owner] == [1, 0, 1]
        and owner[2, 5] == 1
        and owner[0, 10] == 2
    )


def test_a_region_may_end_with_the_last_cell_of_the_last_image():
    assert owners([[20.0, 20, 44, 44]], [1], batch=2)[1].tolist() == [0] * 15 + [1]


def test_regions_are_counted_in_the_map_of_their_plane():
    count = count_regions(
        runs((0, 2), (1, 3), (1, 1), (3, 1)), slice(0, 1), None, torch.tensor([0, 0, 1, 0]), 3, 4
    )
    assert count.tolist() == [[1, 2, 1, 2], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_runs_that_are_not_active_are_not_counted():
    active = torch.tensor([[True], [False]])
    assert count_regions(
        runs((0, 2), (1, 2)), slice(0, 1), active, torch.tensor([0, 0]), 1, 3
    ).tolist() == [[1, 1, 0]]


def test_an_empty_run_behind_the_last_cell_counts_nothing():
    assert count_regions(
        runs((3, 0), (4, 0)), slice(0, 1), None, torch.tensor([0, 0]), 1, 3
    ).tolist() == [[0, 0, 0]]


def test_a_thousand_regions_over_one_cell_are_counted():
    count = count_regions(
        runs(*[(1, 1)] * 1000), slice(0, 1), None, torch.zeros(1000, dtype=torch.long), 1, 3
    )
    assert count.tolist() == [[0, 1000, 0]]


# ------------------------------------------------------------------------------------------------------------------- crowds


def test_crowd_cells_stand_strictly_inside_the_inner_half_of_a_crowd_box_of_their_image():
    grid = pyramid_locations(((8, 12), (4, 6)), (8, 16), 0.0, torch.zeros(1))
    mask = crowd_cells(
        torch.tensor([[0.0, 0, 64, 64], [32, 16, 96, 48]]), torch.tensor([0, 1]), 2, grid
    )
    x, y = grid.centers.unbind(1)
    assert torch.equal(mask[0], (x > 16) & (x < 48) & (y > 16) & (y < 48))
    assert torch.equal(mask[1], (x > 48) & (x < 80) & (y > 24) & (y < 40))
    assert mask[0].any() and mask[1].any()
