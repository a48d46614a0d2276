"""FCOS: a location learns the smallest box around it whose size belongs to the location's level.

Equal to torchvision's `FCOS.compute_loss`, with the centers at i * stride.
"""

import torch
from torch import Tensor

from fsaf_core.method.assignment import Assignment, GroundTruth, Predictions
from fsaf_core.method.locations import Locations, box_area

RADIUS = 1.5  # a center lies at most this far from the box's center along x and y, in strides
RANGE = 4, 8  # the largest of l t r b lies between these, in strides


def box_sides(boxes: Tensor, centers: Tensor) -> Tensor:
    """Return l t r b (N, R, 4), pixels, of every box (N, 4) seen from every center (R, 2)."""
    low, high = boxes[:, None].chunk(2, 2)
    return torch.cat([centers - low, high - centers], 2)


def best_instance(score: Tensor, ground_truth: GroundTruth, batch: int) -> Tensor:
    """Return `assigned` (B, R): the instance with the highest score (N, R), -1 where all are 0."""
    count, image = len(score), ground_truth.image[:, None].expand_as(score)
    best = score.new_zeros(batch, score.shape[1]).scatter_reduce(0, image, score, "amax")
    wins = (score == best[ground_truth.image]) & (score > 0)
    number = torch.where(wins, torch.arange(count, device=score.device)[:, None], count)
    first = torch.full_like(best, count, dtype=torch.long).scatter_reduce(0, image, number, "amin")
    return first.masked_fill(first == count, -1)


def fcos(
    locations: Locations,
    predictions: Predictions,
    ground_truth: GroundTruth,
    size_range: tuple[float, float] = RANGE,
) -> Assignment:
    """Assign labels by center region and range of sizes."""
    boxes, stride, last = ground_truth.boxes, locations.stride, len(locations.strides) - 1
    low = (size_range[0] * stride).masked_fill(locations.level == 0, 0)
    high = (size_range[1] * stride).masked_fill(locations.level == last, torch.inf)
    middle = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    near = (locations.centers - middle).abs().amax(2) < RADIUS * stride
    sides = box_sides(boxes, locations.centers)
    largest = sides.amax(2)
    matched = near & (sides.amin(2) > 0) & (largest > low) & (largest < high)
    # torchvision ranks by 1e8 - area, which float32 rounds to 8 square pixels.
    score = matched * (1e8 - box_area(boxes))[:, None]
    return Assignment(best_instance(score, ground_truth, len(predictions.logits)))
