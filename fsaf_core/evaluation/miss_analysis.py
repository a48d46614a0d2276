"""Why each object was missed: one cause for every ground truth without a detection, found by undoing the detector's stages."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.ops import box_iou

from ..method.assignment import Assignment
from ..model.detector import Detector
from ..model.structures import HeadOutputs

CAUSES = (
    "no cell at any level",  # the assignment gives it none, so nothing teaches it
    "lost to a smaller one",  # all its cells belong to others (in the reference also: were erased, or lie under a crowd)
    "score below threshold",  # a good box was there, under score_thresh in its class
    "cut by top-k or the 100",  # found once both limits are lifted
    "suppressed by NMS",  # found once NMS is lifted too
    "box too poor",  # no cell's box, or none that does not fit another object better, reaches the IoU
    "wrong class",  # a detection of another class lies on it, and on nothing of that class
)
NO_CELL, LOST, SCORE, CUT, NMS, POOR, CLASS = CAUSES
IOU = 0.5  # from here on a box is good


def match(
    boxes: Float[Tensor, "D 4"],
    scores: Float[Tensor, " D"],
    labels: Int64[Tensor, " D"],
    gt_boxes: Float[Tensor, "N 4"],
    gt_labels: Int64[Tensor, " N"],
) -> Int64[Tensor, " D"]:
    """COCO's greedy matching at IoU 0.5: best score first, each takes the free object of its class that it overlaps most.

    Args:
        boxes, scores, labels: of the D detections of an image, x1 y1 x2 y2 pixels.
        gt_boxes, gt_labels: of its N objects, the same pixels.

    Returns:
        For each detection its object, 0..N-1, or -1.
    """
    overlap = (
        (box_iou(boxes.double(), gt_boxes.double()) * (labels[:, None] == gt_labels)).cpu().numpy()
    )
    taken = np.full(len(boxes), -1)
    order = torch.argsort(scores, descending=True, stable=True).tolist()
    near = (overlap >= IOU).any(1)
    for row in (row for row in order if near[row]):
        best = int(overlap[row].argmax())
        if overlap[row, best] >= IOU:
            taken[row], overlap[:, best] = best, 0
    return torch.from_numpy(taken).to(boxes.device)


@torch.no_grad()
def diagnose_misses(
    detector: Detector,
    outputs: HeadOutputs,
    sizes: list[tuple[int, int]],
    targets: list[dict[str, Any]],
    found: list[dict[str, Tensor]] | None = None,
    assignment: Assignment | None = None,
) -> list[list[str | None]]:
    """One of `CAUSES` for every object that no detection matches at IoU 0.5 in its class, None for those found.

    The first that applies: no cell, or all lost, so that nothing teaches it (only where no anchors do); found without the
    limits; found without NMS; wrong class; score; box.

    Args:
        outputs: of the batch, in evaluation mode.
        sizes: height, width of each image before padding.
        targets: for each image `boxes` (N, 4) x1 y1 x2 y2 in the input's pixels, `labels` (N,).
        found: the detections to explain, in the input's pixels; None: `detector.postprocess(outputs, sizes)`.
        assignment: of the batch; None: `detector.assign(outputs, targets, sizes)`.

    Returns:
        For each image N causes.
    """
    device = (outputs.cls_logits or outputs.ab_cls)[0].device
    found = detector.postprocess(outputs, sizes) if found is None else found
    every = torch.iinfo(torch.int32).max
    unlimited = copy.copy(detector)  # shares everything with the detector but its configuration
    unlimited.config = replace(detector.config, topk_candidates=every, detections_per_img=every)
    without_limits: list[dict[str, Tensor]] | None = None
    untaught = _untaught(detector, outputs, sizes, targets, assignment)

    causes, start = [], 0
    for index, (target, own, candidates) in enumerate(
        zip(targets, found, detector.candidates(outputs))
    ):
        gt_boxes, gt_labels = target["boxes"].to(device), target["labels"].to(device)
        n = len(gt_labels)
        taken = match(own["boxes"], own["scores"], own["labels"], gt_boxes, gt_labels)
        row: list[str | None] = [None] * n
        missed = sorted(set(range(n)) - set(taken.tolist()))
        for instance in missed:
            row[instance] = untaught.get(start + instance)
        start += n
        causes.append(row)
        missed = [instance for instance in missed if row[instance] is None]
        if not missed:
            continue
        logits, boxes = (torch.cat(part) for part in zip(*candidates))
        boxes, scores = (
            torch.minimum(boxes.clamp(min=0), boxes.new_tensor(sizes[index][::-1] * 2)),
            logits.sigmoid(),
        )
        own_scores = scores[:, gt_labels[missed]].mT  # (missed, A)
        good = box_iou(gt_boxes[missed], boxes) >= IOU
        passing = good & (own_scores > detector.config.score_thresh)
        uncut: set[int] = set()  # the objects that are found without the limits ...
        unsuppressed: set[int] = set()  # ... and without NMS
        if passing.any():
            if without_limits is None:
                without_limits = unlimited.postprocess(outputs, sizes)
            more = without_limits[index]
            uncut = set(
                match(more["boxes"], more["scores"], more["labels"], gt_boxes, gt_labels).tolist()
            )
            above = torch.nonzero(
                (scores > detector.config.score_thresh)
                & (box_iou(boxes, gt_boxes).amax(1) >= IOU)[:, None]
            )
            values = scores[above[:, 0], above[:, 1]]
            unsuppressed = set(
                match(boxes[above[:, 0]], values, above[:, 1], gt_boxes, gt_labels).tolist()
            )
        astray = own["boxes"][taken < 0], own["labels"][taken < 0]
        confused = (box_iou(gt_boxes[missed], astray[0]) >= IOU) & (
            gt_labels[missed][:, None] != astray[1]
        )
        for place, instance in enumerate(missed):
            if passing[place].any() and instance in uncut:
                row[instance] = CUT
            elif passing[place].any() and instance in unsuppressed:
                row[instance] = NMS
            elif confused[place].any():
                row[instance] = CLASS
            else:
                row[instance] = SCORE if (good[place] & ~passing[place]).any() else POOR
    return causes


def _untaught(
    detector: Detector, outputs: HeadOutputs, sizes, targets, assignment: Assignment | None
) -> dict[int, str]:
    """The objects of the batch that no cell learns, 0..N-1, and why; none where anchors teach too."""
    assignment = detector.assign(outputs, targets, sizes) if assignment is None else assignment
    if assignment is None or detector.config.branches != "anchor_free":
        return {}
    lost = torch.nonzero(assignment.selected_level < 0)[:, 0].tolist()
    if not lost:
        return {}
    effective = assignment.regions.maps()[0]
    return {instance: LOST if effective[instance].any() else NO_CELL for instance in lost}


def miss_table(outcomes: Sequence[tuple[str, str | None]]) -> dict[str, Any]:
    """The causes counted: `instances`, `found`, `causes` {cause: n}, and `by_size` {octave: {instances, cause: n ..}}.

    Args:
        outcomes: each object's size octave ("8-16") and its cause, None if it was found. instances = found + the sum of the causes.
    """

    def count(causes: Sequence[str | None]) -> dict[str, int]:
        return {cause: causes.count(cause) for cause in CAUSES}

    by_size = {}
    for octave in sorted(
        {octave for octave, _ in outcomes}, key=lambda octave: int(octave.split("-")[0])
    ):
        here = [cause for own, cause in outcomes if own == octave]
        by_size[octave] = {"instances": len(here), **count(here)}
    causes = [cause for _, cause in outcomes]
    return {
        "instances": len(causes),
        "found": causes.count(None),
        "causes": count(causes),
        "by_size": by_size,
    }
