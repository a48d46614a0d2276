"""What is made of the network's outputs for selection and losses: the loss of each cell's box, and that it is made once."""

from dataclasses import replace

import torch
from helpers import SHAPES, SMALL, random_outputs, random_target

from fsaf_core.method.locations import box_iou_aligned, decode, pyramid_locations, to_edges
from fsaf_core.model.structures import box_loss

GRID = pyramid_locations(SHAPES, (8, 16, 32, 64, 128), SMALL.rules.cell_center, torch.zeros(1))


def test_the_box_loss_is_that_of_the_decoded_box_in_pixels():
    outputs, targets = (
        random_outputs(16),
        random_target(2 * GRID.num_cells, 64, 96)["boxes"].view(2, -1, 4),
    )
    iou = box_iou_aligned(
        decode(outputs.offsets, GRID.centers, SMALL.offset_normalizer * GRID.stride), targets
    )
    assert (iou > 0.3).any()
    loss = box_loss(outputs.offsets, to_edges(targets), GRID, SMALL)
    torch.testing.assert_close(loss, -iou.clamp(min=1e-6).log(), rtol=1e-4, atol=1e-4)


def test_the_reference_takes_box_outputs_as_at_least_a_ten_thousandth():
    reference = replace(SMALL, convention="reference")
    none, least = torch.zeros(2, GRID.num_cells, 4), torch.full((2, GRID.num_cells, 4), 1e-4)
    edges = (GRID.edges + torch.ones(4)).expand(2, -1, -1)  # squares of 2 px around each cell
    losses = [box_loss(value, edges, GRID, reference) for value in (none, least)]
    assert torch.equal(*losses) and (box_loss(none, edges, GRID, SMALL) > losses[0]).all()


def test_what_the_selection_made_serves_the_losses_of_the_same_targets_alone():
    outputs = random_outputs(3)
    assert outputs.blocks is outputs.blocks and outputs.offsets is outputs.offsets
    with torch.no_grad():
        edges = GRID.edges.expand(2, -1, -1) + 1
        made = outputs.box_loss(edges, GRID, SMALL)
        assert made.requires_grad and outputs.box_loss(edges, GRID, SMALL) is made
    assert (
        outputs.box_loss(edges, GRID, SMALL) is made
    )  # handed on once: its graph is used up by the first backward pass
    assert outputs.box_loss(edges, GRID, SMALL) is not made
    assert outputs.box_loss(edges.clone(), GRID, SMALL) is not made
