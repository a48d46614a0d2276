"""`fsaf export`: a detector as ONNX, from images to candidates; NMS is ten lines of numpy beside it."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import FSAFError
from ..model.detector import Detector
from ..model.network import fold_norms


class Exported(nn.Module):
    """Images to the candidates of all levels: normalising, network, decoding and top-k in one graph.

    Input: `images` (B, 3, H, W) float 0..1, RGB, H and W multiples of `size_divisor` (pad with the mean colour, which is 0 after
    normalising). Outputs: `boxes` (B, M, 4) pixels of the input, `scores` (B, M), `labels` (B, M); M = 1000 a level.

    Raises:
        FSAFError: "only anchor_free detectors are exported, this one is joint: give another."
    """

    mean: Tensor
    std: Tensor

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        if detector.config.branches != "anchor_free":
            raise FSAFError(
                f"only anchor_free detectors are exported, this one is {detector.config.branches}: give another."
            )
        self.network, self.config = fold_norms(detector.network), detector.config
        self.register_buffer("mean", detector.mean / 255)
        self.register_buffer("std", detector.std / 255)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, Tensor, Tensor]:
        """Candidates, not yet suppressed."""
        cls_logits, box_offsets, _, _ = self.network((images - self.mean) / self.std)
        limit = (
            torch.stack([torch.tensor(images.shape[3]), torch.tensor(images.shape[2])])
            .float()
            .repeat(2)
        )
        found = []
        for stride, logits, offsets in zip(self.config.strides, cls_logits, box_offsets):
            scores = logits.sigmoid().permute(0, 2, 3, 1).flatten(1, 2)  # B, cells, K
            boxes = self._boxes(offsets, stride)
            k = self.config.topk_candidates
            if self.config.rules.topk == "cells":
                top, best = F.pad(scores.amax(2), (0, k)).topk(
                    k
                )  # so that small levels have k too; padding scores 0
                best = best.clamp(max=scores.shape[1] - 1)
                value = (
                    scores.gather(1, best[..., None].expand(-1, -1, scores.shape[2]))
                    * (top > 0)[..., None]
                )
                label = torch.arange(scores.shape[2]).expand_as(value)
                box = boxes.gather(1, best[..., None].expand(-1, -1, 4))
                box = box[:, :, None].expand(-1, -1, scores.shape[2], -1)
                found.append((box.flatten(1, 2), value.flatten(1), label.flatten(1)))
            else:
                value, best = F.pad(scores.flatten(1), (0, k)).topk(k)
                best = best.clamp(max=scores.shape[1] * scores.shape[2] - 1)
                cell = (best // scores.shape[2])[..., None].expand(-1, -1, 4)
                found.append((boxes.gather(1, cell), value, best % scores.shape[2]))
        boxes, scores, labels = (torch.cat(part, 1) for part in zip(*found))
        return torch.minimum(boxes.clamp(min=0), limit), scores, labels

    def _boxes(self, offsets: Tensor, stride: int) -> Tensor:
        rows, columns, c = offsets.shape[2], offsets.shape[3], self.config.rules.cell_center
        x = ((torch.arange(columns) + c) * stride).expand(rows, columns)
        y = ((torch.arange(rows) + c) * stride)[:, None].expand(rows, columns)
        left, top, right, bottom = (offsets * (self.config.offset_normalizer * stride)).unbind(1)
        return torch.stack([x - left, y - top, x + right, y + bottom], 3).flatten(1, 2)


def export(detector: Detector, path: str | Path) -> Path:
    """Writes an ONNX file with dynamic batch and size; returns its path.

    Raises:
        FSAFError: as `Exported`; "export needs two packages more: pip install onnx onnxscript onnxruntime."
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise FSAFError(
            "export needs two packages more: pip install onnx onnxscript onnxruntime."
        ) from None
    path, model, step = Path(path), Exported(detector).eval(), detector.config.size_divisor
    path.parent.mkdir(parents=True, exist_ok=True)
    batch, rows, columns = (
        torch.export.Dim(name, min=least)
        for name, least in (("batch", 1), ("rows", 2), ("columns", 2))
    )
    shapes = {"images": {0: batch, 2: step * rows, 3: step * columns}}
    example = torch.rand(2, 3, 4 * step, 5 * step)
    torch.onnx.export(
        model,
        (example,),
        path,
        dynamo=True,
        dynamic_shapes=shapes,
        input_names=["images"],
        output_names=["boxes", "scores", "labels"],
        external_data=False,
        verbose=False,
    )
    return path


def suppress(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    score_thresh: float = 0.05,
    nms_thresh: float = 0.5,
    most: int = 100,
) -> np.ndarray:
    """Class-wise NMS of one image's candidates in numpy: the indices (D,) of what is kept, best first.

    Args:
        boxes: (M, 4) x1 y1 x2 y2 pixels; those without area are left out.
        scores: (M,) 0..1.
        labels: (M,) 0..K-1.
        score_thresh, nms_thresh, most: as `score_thresh`, `nms_thresh` and `detections_per_img` of the `ModelConfig`.
    """
    order = np.argsort(-scores, kind="stable")
    solid = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
    order = order[(scores[order] > score_thresh) & solid[order]]
    kept: list[int] = []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(order) and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(best)
        sides = np.minimum(boxes[best, 2:], boxes[order, 2:]) - np.maximum(
            boxes[best, :2], boxes[order, :2]
        )
        overlap = sides.clip(min=0).prod(1)
        iou = overlap / (area[best] + area[order] - overlap)
        order = order[(iou <= nms_thresh) | (labels[order] != labels[best])]
    return np.array(kept, dtype=np.int64)
