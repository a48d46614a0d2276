"""From the boxes of a batch to the maps that the losses use: owners, selection, positives, ignored entries; and the two losses."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from .boxes import Grid, decode
from .config import FSAFError, ModelConfig
from .losses import cell_focal, focal_positive, iou_loss
from .regions import Runs, Slots, count_regions, crowd_cells, find_runs, instance_maps, own_cells
from .selection import mean_by_level, select_heuristic, select_online


@dataclass(frozen=True)
class Instances:
    """All instances of a batch, image by image, and its crowd boxes."""

    boxes: Float[Tensor, "N 4"]  # x1 y1 x2 y2, pixels of the input tensor
    labels: Int64[Tensor, "N"]  # 0..K-1
    image: Int64[Tensor, "N"]  # 0..B-1
    crowds: Float[Tensor, "M 4"]
    crowd_image: Int64[Tensor, "M"]


def pack_targets(targets: list[dict[str, Tensor]], device: torch.device) -> Instances:
    """The targets of a batch as flat tensors on `device`.

    Args:
        targets: for each image `boxes` (N, 4), `labels` (N,) and, if there are crowds, `ignored` (M, 4).

    Raises:
        FSAFError: "targets[i] has n boxes and m labels: ..."
    """
    for index, target in enumerate(targets):
        if target["boxes"].shape != (len(target["labels"]), 4):
            raise FSAFError(
                f"targets[{index}]: boxes are {tuple(target['boxes'].shape)} and labels {tuple(target['labels'].shape)}; "
                "give (N, 4) x1 y1 x2 y2 and (N,) labels."
            )
    boxes = [target["boxes"] for target in targets]
    crowds = [target.get("ignored", box[:0]) for target, box in zip(targets, boxes)]
    place = [torch.full((len(part),), index % len(targets)) for index, part in enumerate(boxes + crowds)]
    crowd_count = sum(len(part) for part in crowds)
    every = torch.cat(boxes + crowds).to(device, torch.float32)
    image = torch.cat(place).to(device)
    n = len(every) - crowd_count
    labels = torch.cat([target["labels"] for target in targets]).to(device)
    return Instances(every[:n], labels, image[:n], every[n:], image[n:])


@dataclass(frozen=True)
class Regions:
    """The regions of all instances at all levels, before any overlap is settled."""

    runs: Runs
    slots: Slots
    grid: Grid

    def maps(self) -> tuple[Bool[Tensor, "N R"], Bool[Tensor, "N R"]]:
        """The effective and the ignoring region (the effective one included) of each instance alone, over the cells of all levels."""
        effective, ignoring = (
            instance_maps(self.runs, self.slots, part, self.grid) for part in (self.slots.effective, self.slots.ignoring)
        )
        return effective, ignoring


@dataclass(frozen=True)
class Assignment:
    """Who learns what, where."""

    level_losses: Float[Tensor, "N L"]  # inf where an instance owns no cell
    selected_level: Int64[Tensor, "N"]  # 0..L-1, -1 = no cell at any level
    regions: Regions
    owner: Int64[Tensor, "B R"]  # 1 + instance, 0 = none, before the selection
    positive: Bool[Tensor, "B R"]  # owned, and at the owner's selected level
    label: Int64[Tensor, "B R"]  # the owner's class
    target_boxes: Float[Tensor, "B R 4"]  # the owner's box
    ignored: list[Bool[Tensor, "B K _"]]  # entries that teach nothing (but a positive cell's own class is positive), in the grid's two blocks
    valid: Bool[Tensor, "B R"] | None  # cells inside their image and under no crowd; None: all

    @property
    def num_positive(self) -> Int64[Tensor, ""]:
        """Positive cells of the batch, a tensor on the device."""
        return self.positive.sum()


def level_blocks(levels: list[Float[Tensor, "B _ _ _"]]) -> list[Float[Tensor, "B _ _"]]:
    """Maps of the levels as two blocks: the first level, and all others side by side."""
    flat = [level.flatten(2).float() for level in levels]
    return [flat[0], torch.cat(flat[1:], 2)] if len(flat) > 1 else flat


@torch.no_grad()
def assign(
    cls_blocks: list[Float[Tensor, "B K _"]],
    offsets: Float[Tensor, "B R 4"],
    instances: Instances,
    extent: Int64[Tensor, "B L 2"],
    valid: Bool[Tensor, "B R"] | None,
    grid: Grid,
    slots: Slots,
    config: ModelConfig,
) -> Assignment:
    """Regions, owners, the loss of each instance at each level, its selected level, and the maps that follow from it.

    Args:
        cls_blocks, offsets: the network's outputs; used without gradient.
        extent: columns and rows of each image at each level.
        valid: cells inside their image; None: all.
    """
    rules, (batch, classes) = config.rules, cls_blocks[0].shape[:2]
    boxes, labels, image = instances.boxes, instances.labels, instances.image
    plane = image * classes + labels
    runs = find_runs(boxes, extent[image], rules, slots)
    owner = own_cells(boxes, image, runs, slots, batch, grid.num_cells)
    with_none = torch.cat([labels.new_zeros(1), labels])
    label = with_none[owner]
    ignored = None

    if rules.other_levels == "all" or rules.same_class == "erase":
        counts = [part.view(batch, classes, -1) for part in count_regions(runs, slots, slots.ignoring, None, plane, batch * classes, grid)]
        if rules.same_class == "erase":  # a second region of the owner's class over its cell takes the cell from it
            index = label.unsqueeze(1).split(grid.block_sizes, 2)
            at_own = torch.cat([part.gather(1, where) for part, where in zip(counts, index)], 2).squeeze(1)
            owner = owner.masked_fill(at_own >= 2, 0)
        if rules.other_levels == "all":
            ignored = [part > 0 for part in counts]
    if len(instances.crowds):
        crowd = crowd_cells(instances.crowds, instances.crowd_image, batch, grid)
        owner = owner.masked_fill(crowd, 0)
        valid = ~crowd if valid is None else valid & ~crowd

    target_boxes = torch.cat([boxes.new_zeros(1, 4), boxes])[owner]
    if config.selection_focal == "all":
        focal = cell_focal(cls_blocks, owner > 0, label, ignored)
    else:
        index = label.unsqueeze(1).split(grid.block_sizes, 2)
        focal = focal_positive(torch.cat([part.gather(1, where) for part, where in zip(cls_blocks, index)], 2).squeeze(1))
    level_losses = mean_by_level(focal + box_loss(offsets, target_boxes, grid, config), owner, grid, len(boxes))
    if config.selection == "online":
        selected = select_online(level_losses)
    else:
        selected = select_heuristic(boxes, level_losses, config.first_level, config.heuristic_size, config.heuristic_level)

    positive = (torch.cat([selected.new_full((1,), -1), selected])[owner] == grid.level) & (owner > 0)
    if rules.other_levels == "adjacent":
        near = ((slots.level - selected[:, None]).abs() <= 1) & (selected[:, None] >= 0)
        counts = count_regions(runs, slots, slots.ignoring, near, plane, batch * classes, grid)
        ignored = [part.view(batch, classes, -1) > 0 for part in counts]
    return Assignment(level_losses, selected, Regions(runs, slots, grid), owner, positive, label, target_boxes, ignored, valid)


def box_loss(
    offsets: Float[Tensor, "B R 4"], target_boxes: Float[Tensor, "B R 4"], grid: Grid, config: ModelConfig
) -> Float[Tensor, "B R"]:
    """-ln IoU of each cell's decoded box with `target_boxes`, both in pixels."""
    if config.rules.min_offset:
        offsets = offsets.clamp(min=config.rules.min_offset)
    return iou_loss(decode(offsets, grid.centers, config.offset_normalizer * grid.stride), target_boxes)


def anchor_free_losses(
    cls_blocks: list[Float[Tensor, "B K _"]], offsets: Float[Tensor, "B R 4"], assignment: Assignment, normalizer: Tensor, config: ModelConfig
) -> dict[str, Float[Tensor, ""]]:
    """af_cls = lambda / N * sum of focal losses, af_box = lambda / N * sum of -ln IoU over positive cells; N = `normalizer`.

    Source: paper, section 3.2, equations of the focal and IoU loss, and section 3.3 (lambda).
    """
    grid = assignment.regions.grid
    focal = cell_focal(cls_blocks, assignment.positive, assignment.label, assignment.ignored)
    if assignment.valid is not None:
        focal = focal * assignment.valid
    box = box_loss(offsets, assignment.target_boxes, grid, config) * assignment.positive
    scale = config.af_weight / normalizer
    return {"af_cls": focal.sum() * scale, "af_box": box.sum() * scale}


def loss_normalizer(assignment: Assignment, config: ModelConfig, sync: bool = False) -> Float[Tensor, ""]:
    """The number of positive cells; with none: 1 (paper) or the number of valid cells, at least 1 an image (reference).

    Args:
        sync: take the number of all processes and divide it by how many they are: the mean of their losses is then that of
            one process with all their images.
    """
    valid = assignment.valid if assignment.valid is not None else torch.ones_like(assignment.positive)
    cells = valid.sum(1).clamp(min=1).sum()
    counts, world = torch.stack([assignment.num_positive, cells]).float(), 1
    if sync and torch.distributed.is_initialized():
        torch.distributed.all_reduce(counts)
        world = torch.distributed.get_world_size()
    positives, cells = counts.unbind()
    empty = cells if config.rules.empty_normalizer == "cells" else torch.ones_like(cells)
    return torch.where(positives > 0, positives, empty) / world
