"""The loss of an instance at a level, the argmin over levels, and the size heuristic beside it."""

import pytest
import torch

from fsaf_core.method.locations import pyramid_locations
from fsaf_core.method.selection import instance_level_losses, select_heuristic, select_online

INF = torch.inf
GRID = pyramid_locations(
    ((2, 2), (1, 2)), (8, 16), 0.5
)  # cells 0..3 of the first level, 4 and 5 of the second


def square(side):
    return [0.0, 0.0, side, side]


def test_an_instances_loss_at_a_level_is_the_mean_over_the_cells_it_owns_there():
    loss = torch.tensor([[1.0, 2, 4, 8, 16, 32], [64.0, 128, 256, 512, 1024, 2048]])
    assigned = torch.tensor([[1, 1, 0, 2, 1, 0], [0, 0, 3, 3, 0, 3]]) - 1
    assert instance_level_losses(loss, assigned, GRID, 4).tolist() == [
        [1.5, 16],
        [8, INF],
        [384, 2048],
        [INF, INF],
    ]


def test_without_instances_there_are_no_losses_and_no_levels():
    losses = instance_level_losses(torch.ones(1, 6), torch.full((1, 6), -1), GRID, 0)
    assert losses.shape == (0, 2) and select_online(losses).shape == (0,)
    assert select_heuristic(torch.zeros(0, 4), losses, 3, 224.0, 5).shape == (0,)


def test_online_selection_takes_the_least_loss_the_first_on_ties_and_none_without_cells():
    losses = torch.tensor([[3.0, 1, 2], [2, INF, 2], [INF, INF, INF], [INF, INF, 9]])
    assert select_online(losses).tolist() == [1, 0, -1, 2]


def test_the_heuristic_puts_224_px_on_p5_and_a_level_for_each_doubling():
    boxes = torch.tensor([square(side) for side in (223, 224, 447, 448, 112, 56, 10, 3000)])
    levels = select_heuristic(boxes, torch.zeros(8, 5), 3, 224.0, 5)
    assert (levels + 3).tolist() == [4, 5, 5, 6, 4, 3, 3, 7]


def test_the_heuristic_goes_by_the_area_not_by_the_longer_side():
    boxes = torch.tensor([[0.0, 0, 448, 112], square(224)])
    assert len(set(select_heuristic(boxes, torch.zeros(2, 5), 3, 224.0, 5).tolist())) == 1


@pytest.mark.parametrize("levels", [3, 5])
def test_the_heuristic_stays_within_the_levels_there_are(levels):
    boxes = torch.tensor([square(1), square(5000)])
    assert select_heuristic(boxes, torch.zeros(2, levels), 3, 32.0, 4).tolist() == [0, levels - 1]


def test_the_heuristic_takes_no_level_where_an_instance_owns_no_cell():
    losses = torch.tensor([[INF, INF], [1.0, INF]])
    assert select_heuristic(
        torch.tensor([square(300), square(0)]), losses, 3, 224.0, 5
    ).tolist() == [-1, 0]


def test_the_heuristic_counts_levels_from_the_first_there_is():
    box = torch.tensor([square(224)])
    assert [
        select_heuristic(box, torch.zeros(1, 3), first, 224.0, 5).item() for first in (3, 4, 5)
    ] == [2, 1, 0]


def test_the_heuristic_takes_a_box_without_area_as_one_of_a_thousandth_of_a_pixel():
    """So with levels down to 2^-13 of l0 it is not the first that it names; log2 of 0 would be none."""
    assert select_heuristic(torch.tensor([square(0)]), torch.zeros(1, 30), 0, 1.0, 20).item() == 10
