"""RetinaNet's assignment by IoU, with one square anchor of side 8 * stride a location.

An anchor with an IoU from 0.5 up learns its box, below 0.4 background; between them it has no loss.
A box whose best anchor lies below 0.5 takes that one. Source: Lin et al., Focal Loss for Dense
Object Detection, section 4.
"""

import torch
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from fsaf_core.method.assignment import Assignment, GroundTruth, Predictions
from fsaf_core.method.locations import Locations

from .atss import SIDE, square_anchors


def iou(
    locations: Locations,
    predictions: Predictions,
    ground_truth: GroundTruth,
    side: float = SIDE,
) -> Assignment:
    """Assign labels by the IoU of anchors with boxes."""
    anchors = square_anchors(locations, side)
    matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
    matches, start = [], 0
    for boxes in ground_truth.boxes.split(ground_truth.counts):
        if len(boxes):
            match = matcher(box_iou(boxes, anchors))  # -1: background; -2: no loss
        else:
            match = torch.full((len(anchors),), -1, device=anchors.device)
        matches.append(torch.where(match >= 0, match + start, match))
        start += len(boxes)
    match = torch.stack(matches)
    return Assignment(match.clamp(min=-1), valid=match != -2)
