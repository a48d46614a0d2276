"""Post-processing: from the scores and boxes of locations and anchors to an image's detections.

`Detector.postprocess` (and so prediction and evaluation), test-time augmentation and users of the
exported ONNX graph call the same functions.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image, nms

from ..config import ModelConfig

# Class logits and decoded boxes of an image at each level.
Levels = list[tuple[Float[Tensor, "_ K"], Float[Tensor, "_ 4"]]]


def top_candidates(
    logits: Float[Tensor, "A K"], boxes: Float[Tensor, "A 4"], config: ModelConfig
) -> tuple[Float[Tensor, "M 4"], Float[Tensor, " M"], Int64[Tensor, " M"]]:
    """Return the candidates of one level: scores above the threshold, at most the best top-k.

    The paper's convention counts the best `topk_candidates` in locations, ranked by their best
    class, and keeps all classes of each. MMDetection counts them in pairs of location and class.

    Args:
        logits: class logits of the level's A locations or anchors.
        boxes: their decoded boxes, x1 y1 x2 y2 pixels.
        config: its convention, `score_thresh` and `topk_candidates` count here.

    Returns:
        Boxes, scores 0..1 and labels 0..K-1 of the M candidates.

    Source: paper, section 3.4; MMDetection 3.3.0, mmdet/models/dense_heads/base_dense_head.py,
        BaseDenseHead._predict_by_feat_single.
    """
    scores, most = logits.sigmoid(), config.topk_candidates
    if config.rules.topk == "locations":
        best = scores.amax(1)
        best = best.topk(min(most, len(best))).indices
        row, label = torch.nonzero(scores[best] > config.score_thresh, as_tuple=True)
        location = best[row]
        return boxes[location], scores[location, label], label
    location, label = torch.nonzero(scores > config.score_thresh, as_tuple=True)
    score, order = scores[location, label].sort(descending=True)
    order = order[:most]
    return boxes[location[order]], score[:most], label[order]


def merge_candidates(
    boxes: Float[Tensor, "M 4"],
    scores: Float[Tensor, " M"],
    labels: Int64[Tensor, " M"],
    config: ModelConfig,
) -> dict[str, Tensor]:
    """Return the detections among the candidates of one image, after class-wise NMS.

    Candidates up to the threshold and boxes without area are dropped first.

    Args:
        boxes: x1 y1 x2 y2, pixels.
        scores: 0..1.
        labels: 0..K-1.
        config: its `score_thresh`, `nms_thresh` and `detections_per_img` count here.

    Returns:
        `boxes` (D, 4), `scores` (D,) and `labels` (D,), best first, D <= `detections_per_img`.

    Source: paper, section 3.4; MMDetection 3.3.0, mmdet/models/dense_heads/base_dense_head.py,
        BaseDenseHead._bbox_post_process.
    """
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(1)
    valid = has_area & (scores > config.score_thresh)
    boxes, scores, labels = boxes[valid], scores[valid], labels[valid]
    if config.convention == "reference" and len(boxes):
        # MMDetection moves the classes apart and suppresses all at once, which rounds the boxes.
        # torchvision does so only for few boxes.
        apart = labels[:, None] * (boxes.max() + 1)
        keep = nms(boxes + apart, scores, config.nms_thresh)
    else:
        keep = batched_nms(boxes, scores, labels, config.nms_thresh)
    keep = keep[: config.detections_per_img]
    return {"boxes": boxes[keep], "scores": scores[keep], "labels": labels[keep]}


def detect(
    levels: Levels, size: tuple[int, int], scale: tuple[float, float] | None, config: ModelConfig
) -> dict[str, Tensor]:
    """Return the detections of one image: top candidates of each level, clipped, then merged.

    Args:
        levels: logits (A, K) and decoded boxes (A, 4) of each level, of `Detector.candidates`.
        size: height, width of the image in the input tensor, without padding.
        scale: factors (x, y) by which the image was resized. Boxes come back in the pixels before
            the resize; None: in pixels of the input tensor.

    Returns:
        As `merge_candidates`.
    """
    parts = [top_candidates(logits, boxes, config) for logits, boxes in levels]
    boxes, scores, labels = (torch.cat(part) for part in zip(*parts))
    boxes = clip_boxes_to_image(boxes, size)
    if scale is not None:
        # MMDetection multiplies by the inverse too, which rounds otherwise than a division.
        boxes = boxes * boxes.new_tensor([1 / factor for factor in scale * 2])
    return merge_candidates(boxes, scores, labels, config)
