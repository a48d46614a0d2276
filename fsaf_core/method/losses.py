"""The two losses of the anchor-free branch: focal loss and -ln IoU. Nothing is reduced over cells here.

Almost every entry of the B x K x R class logits is background, so the focal loss is computed as a dense background term in
closed form, and what differs from background (one class at each positive cell) is put on top. Forward and backward each touch the
logits once; the forward pass needs one temporary of half a block's size.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from .locations import edge_iou

ALPHA = 0.25  # weight of the positive term
LINEAR = 60.0  # from here on softplus(x) = x and sigmoid(x) = 1, also in double precision
IOU_EPS = 1e-6  # floor of the IoU under the logarithm: the loss ends at 13.8


def precise(x: Tensor) -> Tensor:
    """The tensor in float32, in which losses are computed under autocast too; float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


def softplus(x: Tensor) -> Tensor:
    """ln(1 + e^x), exact for any x."""
    return F.softplus(x, threshold=LINEAR)


def times_sigmoid_(values: Tensor, x: Tensor) -> Tensor:
    """values * sigmoid(x), in place and without a temporary: the sigmoid is the slope of the softplus."""
    return torch.ops.aten.softplus_backward.grad_input(values, x, 1.0, LINEAR, grad_input=values)


def focal_term(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """-p^2 ln(1 - p), p = sigmoid(x): the focal loss, without weight, of background with logit x or an object with logit -x."""
    return times_sigmoid_(times_sigmoid_(softplus(x), x), x)


def focal_positive(logits: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Focal loss of entries whose target is 1: -alpha (1 - p)^2 ln p, p = sigmoid(logits)."""
    return ALPHA * torch.sigmoid(-logits).square() * softplus(-logits)


def gather_class(
    blocks: Sequence[Float[Tensor, "B K _"]], label: Int64[Tensor, "B R"]
) -> Float[Tensor, "B R"]:
    """The entry of each cell's own class."""
    own = label.unsqueeze(1).split([block.shape[2] for block in blocks], 2)
    return torch.cat([block.gather(1, index) for block, index in zip(blocks, own)], 2).squeeze(1)


@torch.no_grad()
def background_focal(
    blocks: Sequence[Float[Tensor, "B K _"]], ignored: Sequence[Bool[Tensor, "B K _"]] | None
) -> Float[Tensor, "B R"]:
    """-p^2 ln(1 - p), summed over the classes of each cell: all that is not ignored taken as background; without weight."""
    half = -(-blocks[0].shape[2] // 2)  # so large are the pieces: a smaller temporary
    pieces = [piece for block in blocks for piece in block.split(half, 2)]
    masks = (
        [piece for mask in ignored for piece in mask.split(half, 2)]
        if ignored is not None
        else [None] * len(pieces)
    )
    sums = []
    for piece, mask in zip(pieces, masks):
        loss = focal_term(piece)
        sums.append((loss if mask is None else loss.masked_fill_(mask, 0)).sum(1))
        del loss  # before the next piece's is made
    return torch.cat(sums, 1)


class _CellFocal(torch.autograd.Function):
    """Focal loss of each cell, summed over the classes; closed form in both directions (gamma = 2)."""

    @staticmethod
    def forward(
        ctx, *args
    ):  # with all of them named, torch.compile of PyTorch 2.14 miscounts, and leaves ctx out
        positive, label, ignored, background, *blocks = args
        ctx.num_blocks = len(blocks)
        ctx.save_for_backward(positive, label, *blocks, *ignored)
        own = gather_class(blocks, label)
        if not ignored:  # else the own class is among them
            background = background - focal_term(own) * positive
        return torch.lerp(
            background, focal_term(-own) * positive, ALPHA
        )  # (1 - alpha) background + alpha positive

    @staticmethod
    def backward(ctx, grad):
        positive, label, *rest = ctx.saved_tensors
        blocks, ignored = rest[: ctx.num_blocks], rest[ctx.num_blocks :] or [None] * ctx.num_blocks
        sizes = [block.shape[2] for block in blocks]
        grads = []
        cells = (part.split(sizes, 1) for part in (label, positive, grad))
        for block, index, where, out, mask in zip(blocks, *cells, ignored):
            dense = focal_term(block).mul_(
                2
            )  # its slope is 2 (1 - p) term + p^3; piece by piece, to keep the temporaries small
            out = out.unsqueeze(1)
            for x, piece in zip(block.chunk(4, 1), dense.chunk(4, 1)):
                p = torch.sigmoid(x)
                piece.lerp_(p.square(), p).mul_((1 - ALPHA) * out)
            if mask is not None:
                dense.masked_fill_(mask, 0)
            own = index.unsqueeze(1)
            x = block.gather(1, own)
            q = torch.sigmoid(-x)
            at_own = -ALPHA * q.square() * torch.lerp(2 * softplus(-x), torch.ones_like(q), q) * out
            grads.append(
                dense.scatter_(
                    1, own, torch.where(where.unsqueeze(1), at_own, dense.gather(1, own))
                )
            )
        return None, None, None, None, *grads


def focal_loss(
    blocks: list[Float[Tensor, "B K _"]],
    positive: Bool[Tensor, "B R"],
    label: Int64[Tensor, "B R"],
    ignored: Sequence[Bool[Tensor, "B K _"]] | None,
    background: Float[Tensor, "B R"] | None = None,
) -> Float[Tensor, "B R"]:
    """Focal loss of each cell, summed over the classes.

    FL = -alpha (1 - p)^2 ln p at a positive cell's own class, -(1 - alpha) p^2 ln(1 - p) at every other entry, 0 at ignored ones;
    alpha = 0.25, gamma = 2.

    Args:
        blocks: class logits, flattened: first level, then the other levels side by side.
        positive: cells with an own class.
        label: their class, 0..K-1; anything in range elsewhere.
        ignored: entries left out, in the same blocks; must hold the own class of every positive cell (which is put back as
            positive). None: nothing is ignored.
        background: `background_focal` of the same blocks and ignored entries, if it is there already.

    Source: paper, section 3.2 (classification loss); Lin et al., Focal Loss.
    """
    if background is None:
        background = background_focal(blocks, ignored)
    return _CellFocal.apply(positive, label, tuple(ignored or ()), background, *blocks)


def iou_loss(
    predicted: Float[Tensor, "*any 4"], target: Float[Tensor, "*any 4"]
) -> Float[Tensor, "*any"]:
    """-ln IoU of boxes at the same place of both, given as edges (`to_edges`), 0..13.8: the IoU is taken as at least 1e-6.

    Source: paper, section 3.2 (IoU loss); reference, rule 12.
    """
    return -edge_iou(predicted, target).clamp(min=IOU_EPS).log()
