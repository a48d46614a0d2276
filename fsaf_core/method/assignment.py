"""From the boxes of a batch to the maps that the losses use: owners, selection, positives, ignored entries; and the losses."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..config import ModelConfig
from ..model.structures import GroundTruth, HeadOutputs
from ..utils.distributed import all_reduce_mean
from .locations import Locations, to_edges
from .losses import focal_loss, focal_positive, gather_class
from .regions import Runs, Slots, count_regions, crowd_cells, find_runs, own_cells, with_none
from .selection import instance_level_losses, select_heuristic, select_online


@dataclass(frozen=True)
class Regions:
    """The regions of all instances at all levels, before any overlap is settled."""

    runs: Runs
    slots: Slots
    grid: Locations

    def maps(self) -> tuple[Bool[Tensor, "N R"], Bool[Tensor, "N R"]]:
        """The effective and the ignoring region (the effective one included) of each instance alone, over all cells."""
        instance = torch.arange(len(self.runs.start), device=self.runs.start.device)

        def drawn(part: slice) -> Bool[Tensor, "N R"]:
            return count_regions(
                self.runs, part, None, instance, len(instance), self.grid.num_cells
            ).bool()

        return drawn(self.slots.effective), drawn(self.slots.ignoring)


@dataclass(frozen=True)
class Assignment:
    """Who learns what, where."""

    level_losses: Float[Tensor, "N L"]  # inf where an instance owns no cell
    selected_level: Int64[Tensor, " N"]  # 0..L-1, -1 = no cell at any level
    regions: Regions
    owner: Int64[Tensor, "B R"]  # 1 + instance, 0 = none, before the selection
    positive: Bool[Tensor, "B R"]  # owned, and at the owner's selected level
    label: Int64[Tensor, "B R"]  # the owner's class
    target_edges: Float[Tensor, "B R 4"]  # the owner's box as edges: -x1 -y1 x2 y2, pixels
    ignored: tuple[
        Bool[Tensor, "B K _"], ...
    ]  # entries that teach nothing (but a positive cell's own class), in two blocks
    valid: Bool[Tensor, "B R"] | None  # cells inside their image and under no crowd; None: all

    @property
    def num_positive(self) -> Int64[Tensor, ""]:
        """Positive cells of the batch, a tensor on the device."""
        return self.positive.sum()


@torch.no_grad()
def assign(
    outputs: HeadOutputs,
    instances: GroundTruth,
    extent: Int64[Tensor, "B L 2"] | None,
    valid: Bool[Tensor, "B R"] | None,
    grid: Locations,
    slots: Slots,
    config: ModelConfig,
) -> Assignment:
    """Regions, owners, the loss of each instance at each level, its selected level, and the maps that follow from it.

    Args:
        outputs: the network's; used without gradient.
        extent: columns and rows of each image at each level; None: all fill the tensor.
        valid: cells inside their image; None: all.
    """
    rules, (batch, classes) = config.rules, outputs.cls_logits[0].shape[:2]
    boxes, labels, image = instances.boxes, instances.labels, instances.image
    plane = labels.add(image, alpha=classes)  # each instance's class map in B x K
    runs = find_runs(boxes, None if extent is None else extent[image], rules, slots)
    owner = own_cells(boxes, image, runs, slots, batch, grid.num_cells)
    label = with_none(labels, 0)[owner]
    ignored: Any = None  # until one of the two rules for other levels has made it

    if rules.ignore_levels == "all" or rules.same_class_overlap == "erase":
        count = count_regions(
            runs, slots.ignoring, None, plane, batch * classes, grid.num_cells
        ).view(batch, classes, -1)
        if (
            rules.same_class_overlap == "erase"
        ):  # a second region of the owner's class over its cell takes the cell from it
            owner = owner.masked_fill(count.gather(1, label.unsqueeze(1)).squeeze(1) >= 2, 0)
        if rules.ignore_levels == "all":
            ignored = tuple(count.bool().split(grid.block_sizes, 2))
        del count  # two bytes an entry: not needed beside the losses
    if len(instances.crowds):
        crowd = crowd_cells(instances.crowds, instances.crowd_image, batch, grid)
        owner = owner.masked_fill(crowd, 0)
        valid = ~crowd if valid is None else valid & ~crowd

    target_edges = with_none(to_edges(boxes), 0.0)[owner]
    if config.selection_focal == "all":
        focal = focal_loss(outputs.blocks, owner > 0, label, ignored, outputs.background(ignored))
    else:
        focal = focal_positive(gather_class(outputs.blocks, label))
    level_losses = instance_level_losses(
        focal + outputs.box_loss(target_edges, grid, config), owner, grid, len(boxes)
    )
    if config.selection == "online":
        selected = select_online(level_losses)
    else:
        selected = select_heuristic(
            boxes, level_losses, config.first_level, config.heuristic_size, config.heuristic_level
        )

    positive = with_none(selected, -1)[owner] == grid.level
    if rules.ignore_levels == "adjacent":
        chosen = selected.unsqueeze(1)
        near = (slots.level - chosen).abs() <= (
            chosen >= 0
        )  # at most one level away; where none was selected, -1, nowhere
        count = count_regions(runs, slots.ignoring, near, plane, batch * classes, grid.num_cells)
        ignored = tuple(count.bool().view(batch, classes, -1).split(grid.block_sizes, 2))
    return Assignment(
        level_losses,
        selected,
        Regions(runs, slots, grid),
        owner,
        positive,
        label,
        target_edges,
        ignored,
        valid,
    )


def anchor_free_losses(
    outputs: HeadOutputs, assignment: Assignment, normalizer: Tensor, config: ModelConfig
) -> dict[str, Float[Tensor, ""]]:
    """af_cls = lambda / N * sum of focal losses, af_box = lambda / N * sum of -ln IoU over positive cells; N = `normalizer`.

    Args:
        outputs: those that were assigned.
        assignment: of `assign`.
        normalizer: () of `loss_normalizer`.

    Source: paper, section 3.2, equations of the focal and IoU loss, and section 3.4 (lambda).
    """
    background = outputs.background(assignment.ignored)
    focal = focal_loss(
        outputs.blocks, assignment.positive, assignment.label, assignment.ignored, background
    )
    if assignment.valid is not None:
        focal = focal * assignment.valid
    box = (
        outputs.box_loss(assignment.target_edges, assignment.regions.grid, config)
        * assignment.positive
    )
    divisor = normalizer / config.af_weight
    return {"af_cls": focal.sum() / divisor, "af_box": box.sum() / divisor}


def loss_normalizer(
    assignment: Assignment, config: ModelConfig, sync: bool = False
) -> Float[Tensor, ""]:
    """The number of positive cells; with none: 1 (paper) or the number of valid cells, at least 1 an image (reference).

    Args:
        sync: take the number of all processes and divide it by how many they are: the mean of their losses is then that of
            one process with all their images.
    """
    positives, valid = assignment.positive.sum(dtype=torch.float32), assignment.valid
    cells = assignment.positive.numel() if valid is None else valid.sum(1).clamp(min=1).sum()
    positives, cells, one = all_reduce_mean(sync, positives, cells)
    return positives.masked_fill(
        positives == 0, cells if config.rules.no_positive_normalizer == "cells" else one
    )
