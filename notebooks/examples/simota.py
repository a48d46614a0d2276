"""SimOTA: a box takes its cheapest locations; the better it is predicted, the more of them.

The cost of a location is -ln p of the box's class plus 3 times -ln IoU of the predicted box. This
assigner reads the predictions, as FSAF's does. Source: Ge et al., YOLOX: Exceeding YOLO Series in
2021, section 2 (SimOTA).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from fsaf_core.method.assignment import Assignment, GroundTruth, Predictions
from fsaf_core.method.locations import Locations, box_iou_aligned
from fsaf_core.method.losses import iou_loss

from .fcos import best_instance

RADIUS = 2.5  # a center lies at most this far from the box's center along x and y, in strides
BOX_WEIGHT = 3.0  # of the box's part in the cost
Q = 10  # the sum of a box's Q highest IoUs, rounded down, is the number of its locations


def cost_table(
    locations: Locations, predictions: Predictions, ground_truth: GroundTruth
) -> tuple[Tensor, Tensor]:
    """Return the cost (N, R) of each location for each box, inf if far away, and the IoU (N, R)."""
    boxes, image = ground_truth.boxes, ground_truth.image
    logit = predictions.logits[image, ground_truth.labels]  # of the box's class, in its own image
    predicted = predictions.boxes[image]
    target = boxes[:, None].expand_as(predicted)
    cost = F.softplus(-logit) + BOX_WEIGHT * iou_loss(predicted, target)
    middle = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    far = (locations.centers - middle).abs().amax(2) > RADIUS * locations.stride
    return cost.masked_fill(far, torch.inf), box_iou_aligned(predicted, target)


def simota(locations: Locations, predictions: Predictions, ground_truth: GroundTruth) -> Assignment:
    """Assign labels by cost."""
    cost, overlap = cost_table(locations, predictions, ground_truth)
    best = overlap.topk(min(Q, overlap.shape[1])).values
    count = best.sum(1).floor().clamp(min=1)
    chosen = cost.argsort(1).argsort(1) < count[:, None]
    # Of several boxes, the one with the lowest cost gets the location.
    return Assignment(best_instance(chosen / (1 + cost), ground_truth, len(predictions.logits)))
