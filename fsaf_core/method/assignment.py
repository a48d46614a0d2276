"""Label assignment: from boxes and predictions to the target of every location, and to the losses.

1. Find the regions of each instance. 2. Give each location to one instance. 3. Measure the loss of
each instance at each level. 4. Select a level for each instance. 5. Mark positive locations and
ignored entries. 6. Compute the losses.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..config import ModelConfig
from .locations import Locations, box_area
from .losses import focal_loss, focal_loss_positive, gather_class, iou_loss
from .regions import crowd_region, region
from .selection import instance_level_losses, select_heuristic, select_online


@dataclass(frozen=True)
class GroundTruth:
    """All `N` instances of a batch, image by image, and its `M` crowd boxes."""

    boxes: Float[Tensor, "N 4"]  # x1 y1 x2 y2, pixels of the input tensor
    labels: Int64[Tensor, " N"]  # 0..K-1
    image: Int64[Tensor, " N"]  # 0..B-1
    crowd_boxes: Float[Tensor, "M 4"]
    crowd_image: Int64[Tensor, " M"]
    counts: list[int]  # instances of each image


@dataclass(frozen=True)
class Predictions:
    """What the anchor-free branch predicts at every location of all levels."""

    logits: Float[Tensor, "B K R"]  # of the classes
    boxes: Float[Tensor, "B R 4"]  # decoded: x1 y1 x2 y2, pixels of the input tensor


@dataclass(frozen=True)
class Assignment:
    """What every location learns, and the intermediate results.

    `assigned` and `before_selection` hold indices into the batch's `N` instances, -1 for none.
    """

    assigned: Int64[Tensor, "B R"]  # the instance that a location learns; -1: background
    ignore: Bool[Tensor, "B K R"] | None = None  # entries without focal loss; see `focal_loss`
    valid: Bool[Tensor, "B R"] | None = None  # locations with a class loss; None: all
    level_losses: Float[Tensor, "N L"] | None = None  # inf where an instance has no location
    selected_level: Int64[Tensor, " N"] | None = None  # 0..L-1; -1: no location at any level
    # `assigned` as it was before a level was selected: at every level, overlaps resolved.
    before_selection: Int64[Tensor, "B R"] | None = None
    effective: Bool[Tensor, "N R"] | None = None  # each instance's own region, overlaps included
    ignoring: Bool[Tensor, "N R"] | None = None  # its ignoring region, a superset of `effective`

    @property
    def positive(self) -> Bool[Tensor, "B R"]:
        """Locations that learn an instance."""
        return self.assigned >= 0

    @property
    def num_positive(self) -> Int64[Tensor, ""]:
        """How many locations of the batch learn an instance, as a tensor on the device."""
        return self.positive.sum()


# The loss (...) of predicted boxes (..., 4) with targets (..., 4), x1 y1 x2 y2 pixels: `iou_loss`.
BoxLoss = Callable[[Tensor, Tensor], Tensor]


def look_up(values: Tensor, assigned: Int64[Tensor, "B R"], default: float) -> Tensor:
    """Return the value of each location's instance, `default` where it has none.

    A row for background is put last, where index -1 finds it. Without it, -1 would read the last
    instance.
    """
    background = values.new_full((1, *values.shape[1:]), default)
    return torch.cat([values, background])[assigned]


def resolve_overlaps(
    effective: Bool[Tensor, "N R"], area: Float[Tensor, " N"], counts: list[int]
) -> Int64[Tensor, "B R"]:
    """Return the instance of smallest area that has each location in its region, or -1.

    Of equal areas the later instance wins.

    Args:
        effective: the region of each instance.
        area: w * h of each instance.
        counts: instances of each image; they sum to N.

    Source: paper, section 3.2; MMDetection, center_region_assigner.py,
        `CenterRegionAssigner.assign_one_hot_gt_indices`.
    """
    assigned, start = [], 0
    for mask, areas in zip(effective.split(counts), area.split(counts)):
        # Ascending areas; flipped, so that a stable sort puts the later of equals first.
        order = len(areas) - 1 - areas.flip(0).argsort(stable=True)
        # A last row that has every location stands for background. argmax: the first row that has.
        background = mask.new_ones((1, mask.shape[1]))
        winner = torch.cat([mask[order], background]).byte().argmax(0)
        assigned.append(torch.cat([start + order, order.new_full((1,), -1)])[winner])
        start += len(areas)
    return torch.stack(assigned)


def count_by_class(
    regions: Bool[Tensor, "N R"], ground_truth: GroundTruth, batch: int, classes: int
) -> Tensor:
    """Return (B, K, R) int16: for each image, class and location, how many regions have it."""
    image_class = ground_truth.image * classes + ground_truth.labels
    count = torch.zeros(batch * classes, regions.shape[1], dtype=torch.int16, device=regions.device)
    return count.index_add_(0, image_class, regions.to(torch.int16)).unflatten(0, (batch, classes))


def assign(
    locations: Locations,
    predictions: Predictions,
    ground_truth: GroundTruth,
    config: ModelConfig,
    box_loss: BoxLoss = iou_loss,
) -> Assignment:
    """Assign each location its instance by FSAF's rules.

    Overlaps are resolved at every level, before a level is selected: of two instances of different
    classes the smaller one always wins a location. Besides `region`, the conventions differ in:

    | rule | paper | MMDetection |
    |---|---|---|
    | `same_class_overlap` | `smaller_wins` there too | `erase`: the location learns neither |
    | `ignore_levels` | `adjacent`: the selected level and those beside it | `all` |
    | ignored entries in level losses | count: `ignore_levels` acts after the selection | left out |

    `selection_focal` says which classes of a location enter the level losses: `all`, as in
    MMDetection, or the instance's `own` alone. The paper leaves it open.

    Args:
        locations: of the input.
        predictions: of the batch; `Detector.assign` keeps them from getting a gradient.
        ground_truth: of the batch; N = 0 is normal.
        config: its `rules`, scales, `selection` and focal parameters are used.
        box_loss: enters the level losses, beside the focal loss.

    Source: paper, sections 3.2 and 3.3; MMDetection, center_region_assigner.py,
        `CenterRegionAssigner.assign`, and fsaf_head.py, `FSAFHead.loss_by_feat`.
    """
    rules, boxes, labels = config.rules, ground_truth.boxes, ground_truth.labels
    batch, classes = predictions.logits.shape[:2]
    extent = None if locations.extent is None else locations.extent[ground_truth.image]
    effective = region(boxes, config.effective_scale, locations, rules, extent, inside=True)
    ignoring = region(boxes, rules.ignoring_scale, locations, rules, extent)

    assigned = resolve_overlaps(effective, box_area(boxes), ground_truth.counts)
    ignore = valid = None
    if rules.same_class_overlap == "erase" or rules.ignore_levels == "all":
        count = count_by_class(ignoring, ground_truth, batch, classes)
        if rules.same_class_overlap == "erase":
            # The ignoring region of its own instance counts, since it holds the effective one. With
            # a second one of the same class, the location learns neither.
            own_class = look_up(labels, assigned, 0).unsqueeze(1)
            assigned = assigned.masked_fill(count.gather(1, own_class).squeeze(1) >= 2, -1)
        if rules.ignore_levels == "all":
            ignore = count > 0
        del count  # frees 2 B K R bytes before the losses
    if len(ground_truth.crowd_boxes):
        crowd = crowd_region(ground_truth.crowd_boxes, ground_truth.crowd_image, batch, locations)
        assigned = assigned.masked_fill(crowd, -1)
        valid = ~crowd

    alpha, gamma = config.focal_alpha, config.focal_gamma
    label = look_up(labels, assigned, -1)
    if config.selection_focal == "all":
        focal = focal_loss(predictions.logits, label, ignore, alpha, gamma)
    else:
        focal = focal_loss_positive(gather_class(predictions.logits, label), alpha, gamma)
    # Background has a dummy target here, and does not enter the level losses.
    location_loss = focal + box_loss(predictions.boxes, look_up(boxes, assigned, 0))
    level_losses = instance_level_losses(location_loss, assigned, locations, len(boxes))

    if config.selection == "online":
        selected = select_online(level_losses)
    else:
        base = config.heuristic_size, config.heuristic_level
        selected = select_heuristic(boxes, level_losses, config.first_level, *base)

    if rules.ignore_levels == "adjacent":
        # The selected level and one to each side. The second condition is for instances without a
        # selected level: -1 lies beside level 0.
        levels = torch.arange(len(locations.strides), device=boxes.device)
        near = ((levels - selected[:, None]).abs() <= 1) & (selected >= 0)[:, None]
        ignoring_near = ignoring & near[:, locations.level]
        ignore = count_by_class(ignoring_near, ground_truth, batch, classes) > 0
    positive = look_up(selected, assigned, -1) == locations.level
    return Assignment(
        assigned=assigned.masked_fill(~positive, -1),
        ignore=ignore,
        valid=valid,
        level_losses=level_losses,
        selected_level=selected,
        before_selection=assigned,
        effective=effective,
        ignoring=ignoring,
    )


def anchor_free_losses(
    predictions: Predictions,
    ground_truth: GroundTruth,
    assignment: Assignment,
    normalizer: Float[Tensor, ""],
    config: ModelConfig,
    box_loss: BoxLoss = iou_loss,
) -> dict[str, Float[Tensor, ""]]:
    """Return af_cls and af_box, the losses of the anchor-free branch.

    af_cls = lambda / normalizer * sum of the focal loss over valid locations
    af_box = lambda / normalizer * sum of the box loss, -ln IoU, over positive locations

    Args:
        predictions: of the same batch; differentiable.
        ground_truth: of the same batch.
        assignment: of `assign` or any other assigner; `assigned`, `ignore` and `valid` are used.
        normalizer: the number of positive locations; see `Detector.normalizer`.
        config: its focal parameters and `af_weight` (lambda) are used.
        box_loss: of the training.

    Source: paper, section 3.2 (loss) and section 3.4 (lambda).
    """
    label = look_up(ground_truth.labels, assignment.assigned, -1)
    alpha_gamma = config.focal_alpha, config.focal_gamma
    focal = focal_loss(predictions.logits, label, assignment.ignore, *alpha_gamma)
    if assignment.valid is not None:
        focal = focal * assignment.valid
    # Background gets two equal unit squares, at which any box loss is finite, gradient included.
    positive, unit = assignment.positive[..., None], torch.arange(4, device=normalizer.device) // 2
    target = look_up(ground_truth.boxes, assignment.assigned, 0).where(positive, unit)
    box = box_loss(predictions.boxes.where(positive, unit), target) * assignment.positive
    weight = config.af_weight / normalizer
    return {"af_cls": focal.sum() * weight, "af_box": box.sum() * weight}
