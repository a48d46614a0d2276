"""The two losses of the anchor-free branch, for each location: focal loss and -ln IoU."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from .locations import Boxes, box_iou_aligned

IOU_EPS = 1e-6  # floor of the IoU under the logarithm: the loss is at most 13.8


def precise(x: Tensor) -> Tensor:
    """Return the tensor in float32, as losses need it under autocast too; float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


def focal_loss_positive(
    logits: Float[Tensor, "*any"], alpha: float, gamma: float
) -> Float[Tensor, "*any"]:
    """Return the focal loss of entries with target 1: -alpha (1 - p)^gamma ln p, p = sigmoid."""
    return alpha * torch.sigmoid(-logits) ** gamma * F.softplus(-logits)


def gather_class(
    values: Float[Tensor, "B K R"], label: Int64[Tensor, "B R"]
) -> Float[Tensor, "B R"]:
    """Return the entry of each location's own class; of class 0, a placeholder, for label -1."""
    return values.gather(1, label.clamp(min=0).unsqueeze(1)).squeeze(1)


class _FocalLoss(torch.autograd.Function):
    """Forward and backward by hand: autograd would keep five tensors of the logits' size.

    A negative entry has the loss (1 - alpha) g(x), g(x) = p^gamma softplus(x), p = sigmoid(x). A
    positive entry has alpha g(-x), so its slope is -alpha g'(-x).
    """

    @staticmethod
    def forward(ctx, logits, label, ignore, alpha, gamma):
        ctx.save_for_backward(logits, label, ignore)
        ctx.alpha, ctx.gamma = alpha, gamma
        negative = logits.sigmoid().pow_(gamma).mul_(F.softplus(logits))
        if ignore is not None:
            negative.masked_fill_(ignore, 0)
        own = focal_loss_positive(gather_class(logits, label), alpha, gamma) * (label >= 0)
        return (1 - alpha) * _put(negative, label, 0).sum(1) + own

    @staticmethod
    def backward(ctx, grad):
        logits, label, ignore = ctx.saved_tensors
        slope = _slope(logits, ctx.gamma).mul_((1 - ctx.alpha) * grad.unsqueeze(1))
        if ignore is not None:
            slope.masked_fill_(ignore, 0)
        own = -ctx.alpha * grad * _slope(-gather_class(logits, label), ctx.gamma)
        return _put(slope, label, own), None, None, None, None


def _slope(x: Tensor, gamma: float) -> Tensor:
    """Return g'(x) = p^gamma ((1 - p) a + p), where a = gamma softplus(x)."""
    p = x.sigmoid()
    # lerp: a + p (1 - a) = (1 - p) a + p.
    slope = F.softplus(x).mul_(gamma).lerp_(x.new_ones(()), p)
    return slope.mul_(p.pow_(gamma))


def _put(entries: Tensor, label: Tensor, value: Tensor | float) -> Tensor:
    """Put a value at each positive location's own class in (B, K, R) entries, in place.

    Background locations write their entry of class 0 back, so that one scatter serves all.
    """
    own = torch.where(label >= 0, value, gather_class(entries, label))
    return entries.scatter_(1, label.clamp(min=0).unsqueeze(1), own.unsqueeze(1))


def focal_loss(
    logits: Float[Tensor, "B K R"],
    label: Int64[Tensor, "B R"],
    ignore: Bool[Tensor, "B K R"] | None = None,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[Tensor, "B R"]:
    """Return the focal loss of each location, summed over its classes.

    FL = -alpha (1 - p)^gamma ln p at a location's own class, -(1 - alpha) p^gamma ln(1 - p) at
    every other entry, and 0 at ignored entries.

    Args:
        logits: class logits; p = sigmoid(logits).
        label: the class of each location, 0..K-1; -1 for background.
        ignore: entries without loss. An entry of a positive location's own class has no effect.
            None: no entry is ignored.
        alpha: weight of the positive entries, 0..1.
        gamma: exponent that reduces the loss of confident entries, at least 0.

    Source: paper, section 3.2 (classification loss); Lin et al., Focal Loss for Dense Object
        Detection; MMDetection, focal_loss.py, `sigmoid_focal_loss`.
    """
    return _FocalLoss.apply(logits, label, ignore, alpha, gamma)


def iou_loss(predicted: Boxes, target: Boxes) -> Float[Tensor, "*any"]:
    """Return -ln IoU of each predicted box with its target, 0..13.8.

    Boxes are x1 y1 x2 y2, pixels.

    Source: paper, section 3.2 (box loss); MMDetection, iou_loss.py, `iou_loss` with mode log.
    """
    return -box_iou_aligned(predicted, target).clamp(min=IOU_EPS).log()
