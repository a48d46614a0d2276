"""Checkers of notebook 08: the loss of a batch, and gradients clipped by their common norm."""

from collections.abc import Callable

import torch
from solutions.ch08 import batch_loss, clip
from torch import Tensor

from . import Case, Checker, Slip

_ONE = "the normaliser: all positive cells of the batch together, not each image's own"
LOSS_CASES = (
    Case(
        "one image",
        ([6.0], [3]),
        "the normaliser: divide by the number of positive cells",
        expected=2.0,
    ),
    Case("two images of unequal counts", ([6.0, 10.0], [1, 9]), _ONE, expected=1.6),
    Case("an image without objects beside another", ([0.5, 3.5], [0, 4]), _ONE, expected=1.0),
    Case(
        "no positive cell at all",
        ([0.5, 0.25], [0, 0]),
        "no positive cell: the normaliser is 1",
        expected=0.75,
    ),
    Case(
        "the same image twice",
        ([6.0, 6.0], [3, 3]),
        "the same image twice: the loss must be that of one",
        expected=2.0,
    ),
)
LOSS_SLIPS = (
    Slip(
        lambda sums, counts: sum(sums),
        "the normaliser: this is the plain sum, and it grows with the number of objects",
    ),
    Slip(lambda sums, counts: sum(sums) / len(sums), "the normaliser: positive cells, not images"),
    Slip(
        lambda sums, counts: (
            sum(one / max(count, 1) for one, count in zip(sums, counts)) / len(sums)
        ),
        "the normaliser: you take the mean of each image's own ratio; take one sum over one count",
    ),
    Slip(
        lambda sums, counts: sum(one / max(count, 1) for one, count in zip(sums, counts)),
        "the normaliser: you add each image's own ratio; take one sum over one count",
    ),
    Slip(
        lambda sums, counts: sum(sums) / sum(max(count, 1) for count in counts),
        "an image without positive cells: it adds 0 to the count, only the whole count is at least 1",
    ),
    Slip(
        lambda sums, counts: sum(sums) / (sum(counts) + 1),
        "no positive cell: take at least 1, do not add 1 always",
    ),
    Slip(
        lambda sums, counts: sum(sums) / sum(counts) if sum(counts) else 0.0,
        "no positive cell: the background still teaches; the normaliser is 1, the loss is not 0",
    ),
    Slip(
        lambda sums, counts: (
            sum(one for one, count in zip(sums, counts) if count) / max(sum(counts), 1)
        ),
        "an image without objects: its background counts too",
    ),
    Slip(lambda sums, counts: [batch_loss(sums, counts)], "the shape: one number, without an axis"),
)


check_batch_loss = Checker(batch_loss, LOSS_CASES, LOSS_SLIPS)


_A, _B = torch.tensor([3.0, 0.0]), torch.tensor([[0.0, 4.0]])


_NORM = "the norm: the root of the sum of all squares, over all tensors together"
CLIP_CASES = (
    Case("one tensor, too long", ([torch.tensor([3.0, 4.0])], 1.0), "the scale: most / norm"),
    Case(
        "one tensor, short enough",
        ([torch.tensor([0.3, 0.4])], 1.0),
        "a norm below the limit: nothing is changed",
    ),
    Case("two tensors of norm 5 together", ([_A, _B], 2.5), _NORM),
    Case("each short, together too long", ([_A, _B], 4.5), _NORM),
    Case("negative entries", ([-_A, _B], 1.0), _NORM),
    Case("all zero", ([torch.zeros(3)], 1.0), "a norm of 0: do not divide by it"),
)


def _each(grads: list[Tensor], most: float) -> list[Tensor]:
    return [clip([grad], most)[0] for grad in grads]


def _scaled_by(norm_of: Callable[[list[Tensor]], float], always: bool = False) -> Callable:
    def scaled(grads: list[Tensor], most: float) -> list[Tensor]:
        norm = norm_of(grads)
        return [
            grad * (most / norm) if norm and (always or norm > most) else grad for grad in grads
        ]

    return scaled


def _length(grads: list[Tensor]) -> float:
    return float(torch.cat([grad.flatten() for grad in grads]).norm())


CLIP_SLIPS = (
    Slip(
        _each,
        "the norm: you clip each tensor by itself, which turns the direction of the whole step",
    ),
    Slip(
        lambda grads, most: [g.clamp(-most, most) for g in grads],
        "the scale: you clip each entry; scale all by one factor",
    ),
    Slip(
        _scaled_by(_length, always=True),
        "a norm below the limit: it stays, you lengthen short gradients",
    ),
    Slip(_scaled_by(lambda grads: _length(grads) ** 2), "the norm: you forgot the root"),
    Slip(
        _scaled_by(lambda grads: sum(float(g.norm()) for g in grads)),
        "the norm: the norms of the tensors do not add up",
    ),
    Slip(
        _scaled_by(lambda grads: max(float(g.norm()) for g in grads)),
        "the norm: this is the longest tensor's alone",
    ),
    Slip(
        _scaled_by(lambda grads: max(float(g.abs().max()) for g in grads)),
        "the norm: this is the largest entry alone",
    ),
    Slip(
        _scaled_by(lambda grads: sum(float(g.abs().sum()) for g in grads)),
        "the norm: squares, not absolute values",
    ),
    Slip(
        _scaled_by(lambda grads: sum(float(g.sum()) ** 2 for g in grads) ** 0.5),
        "the norm: square first, then sum",
    ),
    Slip(
        lambda grads, most: [g / _length(grads) for g in grads],
        "the scale: most / norm, not 1 / norm, and only if too long",
    ),
    Slip(
        lambda grads, most: torch.cat([g.flatten() for g in clip(grads, most)]),
        "what you return: the list of tensors in their shapes, not one long vector",
    ),
)


check_clip = Checker(clip, CLIP_CASES, CLIP_SLIPS)
