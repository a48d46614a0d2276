"""Solutions of notebook 09."""

import torch
from torch import Tensor
from torchvision.ops import nms


def match(overlap: list[list[float]], threshold: float) -> list[int]:
    """Return the object that each detection of an image takes, or -1; best score first."""
    objects: list[int] = []
    for row in overlap:
        free = [index for index in range(len(row)) if index not in objects]
        best = max(free, key=lambda index: row[index], default=-1)
        objects.append(best if best >= 0 and row[best] >= threshold else -1)
    return objects


def average_precision(hits: list[bool], num_objects: int) -> float:
    """Return the mean of the best precision still reachable at recall 0, 0.01, ..., 1."""
    curve, right = [], 0
    for entries, hit in enumerate(hits, 1):
        right += hit
        curve.append((right / num_objects, right / entries))
    points = (i / 100 - 1e-9 for i in range(101))
    best = [max((p for r, p in curve if r >= point), default=0.0) for point in points]
    return sum(best) / 101


def nms_by_class(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Indices of the boxes kept by NMS within each class, best score first."""
    if not len(boxes):
        return torch.empty(0, dtype=torch.int64)
    far = (
        boxes.max() - boxes.min() + 1
    )  # each class in a frame of its own: no box of one reaches the next
    return nms(boxes + (labels * far)[:, None], scores, threshold)


def area_under_curve(hits: list[bool], num_objects: int) -> float:
    """The exact area under the step line: at each recall the best precision that still comes."""
    precision, recall, so_far = [], [], 0
    for entries, hit in enumerate(hits, 1):
        so_far += hit
        precision.append(so_far / entries)
        recall.append(so_far / num_objects)
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    steps = zip(precision, recall, [0.0, *recall])
    return sum(height * (right - left) for height, right, left in steps)
