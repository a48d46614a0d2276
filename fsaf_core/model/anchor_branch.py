"""The anchor-based branch, RetinaNet's own: torchvision's anchors, matcher and coder, with this project's focal loss."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from ..method.losses import focal_loss
from ..method.regions import with_none
from ..utils.distributed import all_reduce_mean
from .structures import GroundTruth, two_blocks

BETA = 1 / 9  # where smooth L1 turns from a parabola into a line


class AnchorBased(nn.Module):
    """9 anchors a cell: sizes scale * stride * 2^(0, 1/3, 2/3), ratios 0.5, 1, 2; scale = 4. No parameters of its own.

    IoU >= 0.5 with a box: positive; < 0.4: negative; between: left out; the best anchors of each box are positive in any case.

    Source: Lin et al., Focal Loss (RetinaNet), section 4; paper, section 3.1.
    """

    per_cell = 9

    def __init__(self, strides: tuple[int, ...], scale: float = 4.0) -> None:
        super().__init__()
        sizes = tuple(
            tuple(scale * stride * 2 ** (octave / 3) for octave in range(3)) for stride in strides
        )
        # torchvision truncates its sizes to whole pixels; the same here, so that its weights mean the same.
        sizes = tuple(tuple(int(size) for size in level) for level in sizes)
        self.generator = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(strides))
        self.matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
        self.coder = BoxCoder((1.0, 1.0, 1.0, 1.0))

    def anchors(self, maps: list[Tensor], height: int, width: int) -> list[Float[Tensor, "_ 4"]]:
        """The anchors of each level, cell by cell, x1 y1 x2 y2 pixels, of an input of `height` x `width` pixels.

        Args:
            maps: for each level any (B, _, h, w) on the device.
        """
        images = ImageList(maps[0].new_zeros(1, 1, height, width).float(), [(height, width)])
        every = self.generator(images, [level.float() for level in maps])[0]
        return list(
            every.split([level.shape[-2] * level.shape[-1] * self.per_cell for level in maps])
        )

    def losses(
        self,
        cls: list[Tensor],
        box: list[Tensor],
        instances: GroundTruth,
        height: int,
        width: int,
        sync: bool = False,
    ) -> dict[str, Float[Tensor, ""]]:
        """ab_cls: focal loss over anchors not left out; ab_box: smooth L1 of the deltas of positive ones; both over their number.

        Args:
            cls: for each level (B, 9 K, h, w).
            box: for each level (B, 36, h, w).
            sync: divide by the mean number of positive anchors of all processes.
        """
        anchors = torch.cat(self.anchors(cls, height, width))
        match = self._match(anchors, instances, len(cls[0]))
        positive = match > 0
        label = with_none(instances.labels, 0)[match.clamp(min=0)]
        flat = [
            level.unflatten(1, (self.per_cell, -1)).permute(0, 2, 3, 4, 1).flatten(2).float()
            for level in cls
        ]
        focal = focal_loss(two_blocks(flat), positive, label, None)
        deltas = [
            level.unflatten(1, (self.per_cell, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3).float()
            for level in box
        ]
        image, anchor = torch.nonzero(
            positive, as_tuple=True
        )  # few: only these have deltas to learn
        goal = self.coder.encode_single(instances.boxes[match[image, anchor] - 1], anchors[anchor])
        distance = F.smooth_l1_loss(
            torch.cat(deltas, 1)[image, anchor], goal, reduction="sum", beta=BETA
        )
        count, one = all_reduce_mean(sync, positive.sum(dtype=torch.float32))
        count = count.clamp(min=one)
        return {"ab_cls": (focal * (match >= 0)).sum() / count, "ab_box": distance / count}

    def _match(
        self, anchors: Float[Tensor, "A 4"], instances: GroundTruth, batch: int
    ) -> Int64[Tensor, "B A"]:
        """1 + instance, 0: negative, -1: left out."""
        match = torch.zeros(batch, len(anchors), dtype=torch.int64, device=anchors.device)
        start = 0
        for index, boxes in enumerate(instances.boxes.split(instances.counts)):
            if len(boxes):
                found = (
                    self.matcher(box_iou(boxes, anchors)) + 1
                )  # the matcher says -1: negative, -2: between
                match[index] = found + start * (found > 0)
            start += len(boxes)
        if len(instances.crowds):  # an anchor mostly inside a crowd is no background
            crowds = instances.crowds[:, None]
            low, high = (
                torch.maximum(crowds[..., :2], anchors[:, :2]),
                torch.minimum(crowds[..., 2:], anchors[:, 2:]),
            )
            inside = (high - low).clamp(min=0).prod(2) / (anchors[:, 2:] - anchors[:, :2]).prod(
                1
            ) > 0.5
            crowded = (
                torch.zeros_like(match).index_add_(0, instances.crowd_image, inside.long()) > 0
            )
            match.masked_fill_((match == 0) & crowded, -1)
        return match

    def candidates(
        self, cls: Tensor, box: Tensor, anchors: Tensor
    ) -> tuple[Float[Tensor, "A K"], Float[Tensor, "A 4"]]:
        """Class logits and decoded boxes, x1 y1 x2 y2 pixels, of one image's anchors at one level.

        Args:
            cls: (9 K, h, w).
            box: (36, h, w).
            anchors: (A, 4) of the level, A = 9 h w.
        """
        logits = cls.unflatten(0, (self.per_cell, -1)).permute(2, 3, 0, 1).flatten(0, 2)
        deltas = box.unflatten(0, (self.per_cell, 4)).permute(2, 3, 0, 1).flatten(0, 2)
        return logits, self.coder.decode_single(deltas, anchors)
