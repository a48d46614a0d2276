"""The anchor-based branch, RetinaNet's own: torchvision's anchors, matcher and coder, with this project's focal loss."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from .losses import cell_focal
from .targets import Instances

BETA = 1 / 9  # where smooth L1 turns from a parabola into a line


class AnchorBased(nn.Module):
    """9 anchors a cell: sizes scale * stride * 2^(0, 1/3, 2/3), ratios 0.5, 1, 2; scale = 4. No parameters of its own.

    IoU >= 0.5 with a box: positive; < 0.4: negative; between: left out; the best anchors of each box are positive in any case.

    Source: Lin et al., Focal Loss (RetinaNet), section 4; paper, section 3.1.
    """

    per_cell = 9

    def __init__(self, strides: tuple[int, ...], scale: float = 4.0) -> None:
        super().__init__()
        sizes = tuple(tuple(scale * stride * 2 ** (octave / 3) for octave in range(3)) for stride in strides)
        # torchvision truncates its sizes to whole pixels; the same here, so that its weights mean the same.
        sizes = tuple(tuple(int(size) for size in level) for level in sizes)
        self.generator = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(strides))
        self.matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
        self.coder = BoxCoder((1.0, 1.0, 1.0, 1.0))

    def anchors(self, maps: list[Tensor], height: int, width: int) -> list[Float[Tensor, "_ 4"]]:
        """The anchors of each level, cell by cell, for one input size; pixels."""
        images = ImageList(maps[0].new_zeros(1, 1, height, width).float(), [(height, width)])
        every = self.generator(images, [level.float() for level in maps])[0]
        return list(every.split([level.shape[-2] * level.shape[-1] * self.per_cell for level in maps]))

    def losses(
        self, cls: list[Tensor], box: list[Tensor], instances: Instances, height: int, width: int
    ) -> dict[str, Float[Tensor, ""]]:
        """ab_cls: focal loss over anchors not left out; ab_box: smooth L1 of the deltas of positive ones; both over their number.

        Args:
            cls: for each level (B, 9 K, h, w).
            box: for each level (B, 36, h, w).
        """
        batch = len(cls[0])
        anchors = torch.cat(self.anchors(cls, height, width))
        # 1 + instance, 0: negative, -1: left out
        match = torch.stack([self._match(anchors, instances, index) for index in range(batch)])
        boxes = torch.cat([instances.boxes.new_zeros(1, 4), instances.boxes])[match.clamp(min=0)]
        label = torch.cat([instances.labels.new_zeros(1), instances.labels])[match.clamp(min=0)]
        positive = match > 0
        count = positive.sum().clamp(min=1)
        flat = [level.unflatten(1, (self.per_cell, -1)).permute(0, 2, 3, 4, 1).flatten(2).float() for level in cls]
        focal = cell_focal([flat[0], torch.cat(flat[1:], 2)] if len(flat) > 1 else flat, positive, label, None)
        deltas = torch.cat(
            [level.unflatten(1, (self.per_cell, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3).float() for level in box], 1
        )
        sane = torch.where(positive[..., None], boxes, anchors)  # a box of no area has no deltas
        goal = self.coder.encode_single(sane.flatten(0, 1), anchors.repeat(batch, 1)).view_as(deltas)
        distance = F.smooth_l1_loss(deltas, goal, reduction="none", beta=BETA).sum(2)
        return {"ab_cls": (focal * (match >= 0)).sum() / count, "ab_box": (distance * positive).sum() / count}

    def _match(self, anchors: Float[Tensor, "A 4"], instances: Instances, index: int) -> Int64[Tensor, " A"]:
        mine = torch.nonzero(instances.image == index)[:, 0]
        match = torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
        if len(mine):
            found = self.matcher(box_iou(instances.boxes[mine], anchors))
            match = torch.where(found >= 0, mine[found.clamp(min=0)] + 1, torch.where(found == Matcher.BETWEEN_THRESHOLDS, -1, 0))
        crowds = instances.crowds[instances.crowd_image == index]
        if len(crowds):  # an anchor mostly inside a crowd is no background
            low, high = torch.maximum(crowds[:, None, :2], anchors[:, :2]), torch.minimum(crowds[:, None, 2:], anchors[:, 2:])
            inside = (high - low).clamp(min=0).prod(2) / (anchors[:, 2:] - anchors[:, :2]).prod(1)
            match = torch.where((match == 0) & (inside.amax(0) > 0.5), -1, match)
        return match

    def candidates(self, cls: Tensor, box: Tensor, anchors: Tensor) -> tuple[Float[Tensor, "A K"], Float[Tensor, "A 4"]]:
        """Class logits and decoded boxes (pixels) of the anchors of one image at one level."""
        logits = cls.unflatten(0, (self.per_cell, -1)).permute(2, 3, 0, 1).flatten(0, 2)
        deltas = box.unflatten(0, (self.per_cell, 4)).permute(2, 3, 0, 1).flatten(0, 2)
        return logits, self.coder.decode_single(deltas, anchors)
