"""Why objects were missed: one cause for each object without a detection.

The causes are found by undoing the detector's stages one after the other.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.ops import box_iou, clip_boxes_to_image

from ..method.assignment import Assignment
from ..model.detector import Detector
from ..model.postprocess import detect
from ..model.structures import HeadOutputs

CAUSES = (
    "no cell at any level",  # its effective region is empty, so no location learns it
    # Its locations are all assigned to other objects. In MMDetection's convention they may also be
    # erased or lie under a crowd, and a heuristic may select a level where it has none.
    "lost to a smaller one",
    "score below threshold",  # a box fits, but its score in the object's class is too low
    "cut by top-k or the 100",  # found without both limits
    "suppressed by NMS",  # found without NMS too
    # No box reaches the IoU, or each that does fits another object better.
    "box too poor",
    "wrong class",  # an unmatched detection of another class reaches the IoU
)
NO_CELL, LOST, SCORE, CUT, NMS, POOR, CLASS = CAUSES
IOU = 0.5  # the least IoU of a match


def match(
    boxes: Float[Tensor, "D 4"],
    scores: Float[Tensor, " D"],
    labels: Int64[Tensor, " D"],
    gt_boxes: Float[Tensor, "N 4"],
    gt_labels: Int64[Tensor, " N"],
) -> Int64[Tensor, " D"]:
    """Return the object that each detection matches, by COCO's greedy rule at IoU 0.5.

    The best score goes first. Each detection takes the free object of its class that it overlaps
    most.

    Args:
        boxes: of the D detections of an image, x1 y1 x2 y2 pixels.
        scores: of the detections, 0..1.
        labels: of the detections, 0..K-1.
        gt_boxes: of the image's N objects, in the same pixels.
        gt_labels: of the objects, 0..K-1.

    Returns:
        For each detection 0..N-1, or -1 for none.
    """
    same_class = labels[:, None] == gt_labels
    iou = box_iou(boxes.cpu().double(), gt_boxes.cpu().double())  # MPS has no float64
    iou = (iou * same_class.cpu()).numpy()
    matched = np.full(len(boxes), -1)
    candidates = (iou >= IOU).any(1)
    order = torch.argsort(scores, descending=True, stable=True).tolist()
    for row in (row for row in order if candidates[row]):
        best = int(iou[row].argmax())
        if iou[row, best] >= IOU:
            matched[row], iou[:, best] = best, 0
    return torch.from_numpy(matched).to(boxes.device)


@torch.no_grad()
def diagnose_misses(
    detector: Detector,
    outputs: HeadOutputs,
    sizes: list[tuple[int, int]],
    targets: list[dict[str, Any]],
    detections: list[dict[str, Tensor]] | None = None,
    assignment: Assignment | None = None,
) -> list[list[str | None]]:
    """Return one of `CAUSES` for each object without a match at IoU 0.5, and None for the others.

    The first cause that applies is taken, in this order: no location learns the object (only
    where no anchors do either); found without the limits; found without NMS; wrong class; score;
    box.

    Args:
        detector: whose detections are explained.
        outputs: of the batch, in evaluation mode.
        sizes: height, width of each image before padding.
        targets: for each image `boxes` (N, 4) x1 y1 x2 y2 in the input's pixels, `labels` (N,).
        detections: in the input's pixels; None: `detector.postprocess(outputs, sizes)`.
        assignment: of the batch; None: `detector.assign(outputs, targets, sizes)`.

    Returns:
        For each image N causes.
    """
    thresh, most = detector.config.score_thresh, torch.iinfo(torch.int32).max
    unlimited = replace(detector.config, topk_candidates=most, detections_per_img=most)
    if detections is None:
        detections = detector.postprocess(outputs, sizes)
    unassigned = _unassigned(detector, outputs, sizes, targets, assignment)

    causes, start = [], 0
    images = zip(sizes, targets, detections, detector.candidates(outputs))
    for size, target, detected, levels in images:
        logits, boxes = (torch.cat(part) for part in zip(*levels))
        gt_boxes, gt_labels = truth = [
            target[name].to(boxes.device) for name in ("boxes", "labels")
        ]
        matched = match(detected["boxes"], detected["scores"], detected["labels"], *truth)
        row: list[str | None] = [None] * len(gt_labels)
        causes.append(row)
        missed = []  # objects that a location learns, or an anchor
        for instance in sorted({*range(len(row))} - {*matched.tolist()}):
            row[instance] = unassigned.get(start + instance)
            if row[instance] is None:
                missed.append(instance)
        start += len(row)
        if not missed:
            continue
        boxes, scores = clip_boxes_to_image(boxes, size), logits.sigmoid()
        fits = box_iou(gt_boxes, boxes) >= IOU
        passing = fits[missed] & (scores[:, gt_labels[missed]].mT > thresh)
        uncut: set[int] = set()  # objects found without the limits
        unsuppressed: set[int] = set()  # objects found without NMS too
        if passing.any():
            more = detect(levels, size, None, unlimited)
            uncut = {*match(more["boxes"], more["scores"], more["labels"], *truth).tolist()}
            near, label = torch.nonzero((scores > thresh) & fits.any(0)[:, None], as_tuple=True)
            unsuppressed = {*match(boxes[near], scores[near, label], label, *truth).tolist()}
        unmatched = matched < 0
        confused = (box_iou(gt_boxes[missed], detected["boxes"][unmatched]) >= IOU) & (
            gt_labels[missed][:, None] != detected["labels"][unmatched]
        )
        too_low = fits[missed] & ~passing
        for place, instance in enumerate(missed):
            if instance in uncut and passing[place].any():
                row[instance] = CUT
            elif instance in unsuppressed and passing[place].any():
                row[instance] = NMS
            elif confused[place].any():
                row[instance] = CLASS
            else:
                row[instance] = SCORE if too_low[place].any() else POOR
    return causes


def _unassigned(
    detector: Detector,
    outputs: HeadOutputs,
    sizes: list[tuple[int, int]],
    targets: list[dict[str, Any]],
    assignment: Assignment | None,
) -> dict[int, str]:
    """Return the objects of the batch that no location learns, with the cause.

    Anchors learn every object, so the result is empty where the detector has them.
    """
    if detector.config.branches != "anchor_free":
        return {}
    if assignment is None:
        assignment = detector.assign(outputs, targets, sizes)
    if assignment is None or assignment.effective is None:  # of another assigner
        return {}
    # A heuristic also selects a level for an instance whose locations there learn another one.
    learned = {*assignment.assigned.unique().tolist()}
    has_region = assignment.effective.any(1).tolist()
    return {
        instance: LOST if has_region[instance] else NO_CELL
        for instance in {*range(len(has_region))} - learned
    }


def miss_table(outcomes: Sequence[tuple[str, str | None]]) -> dict[str, Any]:
    """Count the causes of misses, in total and by size.

    Args:
        outcomes: each object's size bin, such as "8-16", and its cause, None if it was found.

    Returns:
        `instances`, `found`, `causes` {cause: count} and `by_size` {size bin: {"instances": count,
        cause: count, ...}}. `instances` is `found` plus the sum of the causes.
    """
    causes = [cause for _, cause in outcomes]
    bins = sorted({size for size, _ in outcomes}, key=lambda size: int(size.split("-")[0]))
    of_bin = {size: [cause for size_of, cause in outcomes if size_of == size] for size in bins}
    return {
        "instances": len(causes),
        "found": causes.count(None),
        "causes": {cause: causes.count(cause) for cause in CAUSES},
        "by_size": {
            size: {"instances": len(rows), **{cause: rows.count(cause) for cause in CAUSES}}
            for size, rows in of_bin.items()
        },
    }
