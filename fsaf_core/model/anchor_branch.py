"""The anchor-based branch of RetinaNet: torchvision's anchors, matcher and coder, a focal loss."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops.boxes import _box_inter_union, box_iou

from ..method.assignment import GroundTruth, look_up
from ..method.locations import box_area
from ..method.losses import focal_loss, precise
from ..utils.distributed import all_reduce_mean

BETA = 1 / 9  # where smooth L1 turns from a parabola into a line
CROWD_SHARE = 0.5  # an anchor with more than this share inside a crowd box is no background


class AnchorBased(nn.Module):
    """9 anchors a location: sizes scale * stride * 2^(0, 1/3, 2/3), ratios 0.5, 1, 2.

    An anchor with IoU >= 0.5 to a box is positive, below 0.4 negative, between them left out. The
    best anchors of each box are positive in any case.

    Source: Lin et al., Focal Loss for Dense Object Detection, section 4; paper, section 3.1.
    Differs: anchors are `stride` pixels apart, as in MMDetection; torchvision's RetinaNet divides
        the input's size by the map's, which padding changes. Smooth L1 with beta 1/9, as in the
        paper's baseline, where MMDetection and torchvision have L1. Anchors in crowds are left
        out, where MMDetection's RetinaNet trains them as background.
    """

    per_cell = 9

    def __init__(
        self, strides: tuple[int, ...], scale: float = 4.0, alpha: float = 0.25, gamma: float = 2.0
    ) -> None:
        super().__init__()
        self.strides, self.alpha, self.gamma = strides, alpha, gamma
        # In whole pixels, as in torchvision's RetinaNet.
        sizes = tuple(
            tuple(int(scale * stride * 2 ** (octave / 3)) for octave in range(3))
            for stride in strides
        )
        self.generator = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(strides))
        self.matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
        self.coder = BoxCoder((1.0, 1.0, 1.0, 1.0))

    def anchors(self, maps: list[Tensor]) -> list[Float[Tensor, "_ 4"]]:
        """Return the anchors of each level, location by location, x1 y1 x2 y2 pixels.

        Args:
            maps: for each level any (B, _, h, w) on the device.
        """
        self.generator.set_cell_anchors(torch.float32, maps[0].device)
        strides = [[stride, stride] for stride in self.strides]
        return self.generator.grid_anchors([level.shape[-2:] for level in maps], strides)

    def losses(
        self, cls: list[Tensor], box: list[Tensor], ground_truth: GroundTruth, sync: bool = False
    ) -> dict[str, Float[Tensor, ""]]:
        """Return ab_cls, a focal loss of all anchors not left out, and ab_box, smooth L1 of deltas.

        ab_box counts positive anchors alone. Both are divided by the number of positive anchors.

        Args:
            cls: for each level (B, 9 K, h, w).
            box: for each level (B, 36, h, w).
            ground_truth: of the batch.
            sync: divide by the mean number of positive anchors of all processes.
        """
        anchors = torch.cat(self.anchors(cls))
        assigned, left_out = self._match(anchors, ground_truth, len(cls[0]))
        logits, deltas = (torch.cat([self._per_anchor(m) for m in maps], 1) for maps in (cls, box))
        label = look_up(ground_truth.labels, assigned, -1)
        focal = focal_loss(precise(logits).mT, label, None, self.alpha, self.gamma)
        image, anchor = torch.nonzero(assigned >= 0, as_tuple=True)  # few: only these learn deltas
        boxes = ground_truth.boxes[assigned[image, anchor]]
        target = self.coder.encode_single(boxes, anchors[anchor])
        predicted = precise(deltas)[image, anchor]
        distance = F.smooth_l1_loss(predicted, target, reduction="sum", beta=BETA)
        count, one = all_reduce_mean(sync, (assigned >= 0).sum(dtype=torch.float32))
        count = count.clamp(min=one)
        return {"ab_cls": (focal * ~left_out).sum() / count, "ab_box": distance / count}

    def _per_anchor(self, level: Float[Tensor, "B _ h w"]) -> Float[Tensor, "B A _"]:
        """Return a level's output as (B, A, values of an anchor), in the order of `anchors`."""
        return level.unflatten(1, (self.per_cell, -1)).permute(0, 3, 4, 1, 2).flatten(1, 3)

    def _match(
        self, anchors: Float[Tensor, "A 4"], ground_truth: GroundTruth, batch: int
    ) -> tuple[Int64[Tensor, "B A"], Bool[Tensor, "B A"]]:
        """Return the instance of each anchor, -1 for none, and which anchors have no loss."""
        matches, start = [], 0
        for boxes in ground_truth.boxes.split(ground_truth.counts):
            none = torch.full((len(anchors),), -1, device=anchors.device)
            # -1: negative; -2: left out. The matcher takes no empty lists.
            match = self.matcher(box_iou(boxes, anchors)) if len(boxes) else none
            matches.append(torch.where(match >= 0, match + start, match))
            start += len(boxes)
        match = torch.stack(matches)
        left_out = match == -2
        if len(ground_truth.crowd_boxes):
            overlap, _ = _box_inter_union(ground_truth.crowd_boxes, anchors)
            inside = overlap / box_area(anchors) > CROWD_SHARE
            count = torch.zeros(batch, len(anchors), dtype=torch.int64, device=anchors.device)
            crowded = count.index_add_(0, ground_truth.crowd_image, inside.long()) > 0
            left_out = left_out | ((match == -1) & crowded)
        return match.clamp(min=-1), left_out

    def candidates(
        self, cls: Tensor, box: Tensor, anchors: Tensor
    ) -> tuple[Float[Tensor, "A K"], Float[Tensor, "A 4"]]:
        """Return logits and decoded boxes, x1 y1 x2 y2 pixels, of one image's anchors at a level.

        Args:
            cls: (9 K, h, w).
            box: (36, h, w).
            anchors: (A, 4) of the level, A = 9 h w.
        """
        logits, deltas = (self._per_anchor(precise(part)[None])[0] for part in (cls, box))
        return logits, self.coder.decode_single(deltas, anchors)
