"""ATSS: a box takes, of the locations near its center, those whose anchor overlaps it well.

Equal to MMDetection's `ATSSAssigner(topk=9)` with one square anchor of side 8 * stride a location.
Source: Zhang et al., Bridging the Gap Between Anchor-based and Anchor-free Detection via Adaptive
Training Sample Selection; MMDetection 3.3.0, mmdet/models/task_modules/assigners/atss_assigner.py.
"""

import torch
from torch import Tensor
from torchvision.ops import box_iou

from fsaf_core.method.assignment import Assignment, GroundTruth, Predictions
from fsaf_core.method.locations import Locations

from .fcos import best_instance, box_sides

SIDE = 8  # of an anchor, in strides
TOPK = 9  # candidates of a box at each level
MARGIN = 0.01  # a center lies inside the box by more than this, in pixels


def square_anchors(locations: Locations, side: float = SIDE) -> Tensor:
    """Return one anchor (R, 4) a location, x1 y1 x2 y2 pixels, of `side` strides."""
    half = side / 2 * locations.stride[:, None]
    return torch.cat([locations.centers - half, locations.centers + half], 1)


def atss(
    locations: Locations,
    predictions: Predictions,
    ground_truth: GroundTruth,
    side: float = SIDE,
) -> Assignment:
    """Assign labels by a threshold that each box's own candidates give."""
    boxes, batch = ground_truth.boxes, len(predictions.logits)
    if not len(boxes):  # they would have no standard deviation
        return Assignment(boxes.new_full((batch, len(locations.centers)), -1, dtype=torch.long))
    iou = box_iou(boxes, square_anchors(locations, side))
    middle = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    distance = (locations.centers - middle).pow(2).sum(2).sqrt().split(locations.sizes, 1)
    candidates = torch.cat(
        [
            start + level.topk(min(TOPK, level.shape[1]), largest=False).indices
            for start, level in zip(locations.starts, distance)
        ],
        1,
    )
    overlaps = iou.gather(1, candidates)
    threshold = overlaps.mean(1) + overlaps.std(1)
    is_candidate = torch.zeros_like(iou, dtype=torch.bool).scatter(1, candidates, True)
    inside = box_sides(boxes, locations.centers).amin(2) > MARGIN
    matched = is_candidate & (iou >= threshold[:, None]) & inside
    return Assignment(best_instance(iou * matched, ground_truth, batch))
