"""Checkers of notebook 02: the pixels that a cell sees, and a batch norm folded into its convolution."""

from collections.abc import Callable

import torch
from solutions.ch02 import fold, pixels_of
from torch import Tensor

from . import Case, Checker, Slip

_TINY = [(3, 2, 1)] + 4 * [(3, 2, 1), (3, 1, 1)]
_STEM = [(7, 2, 3), (3, 2, 1)]
_BACK = "the way back: cell c sees c·s − p, ..., c·s − p + k − 1 of the map before; take the last layer first"


PIXELS_CASES = (
    Case(
        "one 3 x 3 without padding", (4, [(3, 1, 0)]), "one layer: a kernel of 3 sees three pixels"
    ),
    Case(
        "one 3 x 3 with padding 1",
        (4, [(3, 1, 1)]),
        "the padding: it shifts the view by one to the left",
    ),
    Case(
        "one layer of stride 2",
        (4, [(3, 2, 1)]),
        "the stride: neighbouring cells are 2 pixels apart",
    ),
    Case("the stem of a ResNet", (5, _STEM), _BACK),
    Case(
        "a cell at the border",
        (0, _STEM),
        "the border: first may be negative, those pixels are padding",
    ),
    Case("layers of which the order matters", (3, [(5, 1, 0), (2, 3, 0)]), _BACK),
    Case("C3 of the tiny network", (8, _TINY[:5]), _BACK),
    Case("C5 of the tiny network", (4, _TINY), _BACK),
    Case("no layer at all", (7, []), "no layer: a pixel sees itself, so (7, 8)"),
)


def _pixels(
    order: int = -1,
    pad: bool = True,
    more: int = -1,
    end: int = 1,
    stride: bool = True,
    clamp: bool = False,
) -> Callable:
    """The exercise with faults put in."""

    def function(cell: int, layers: list[tuple[int, int, int]]) -> tuple[int, int]:
        first = last = cell
        for kernel, step, padding in layers[::order]:
            jump, shift = step if stride else 1, padding if pad else 0
            first, last = first * jump - shift, last * jump - shift + kernel + more
        return max(first, 0) if clamp else first, last + end

    return function


def _half_open(cell: int, layers: list[tuple[int, int, int]]) -> tuple[int, int]:
    first, end = cell, cell + 1
    for kernel, step, padding in layers[::-1]:
        first, end = first * step - padding, end * step - padding + kernel - 1
    return first, end


def _padding_both_ways(cell: int, layers: list[tuple[int, int, int]]) -> tuple[int, int]:
    first = last = cell
    for kernel, step, padding in layers[::-1]:
        first, last = first * step - padding, last * step + padding + kernel - 1
    return first, last + 1


def _centred(cell: int, layers: list[tuple[int, int, int]]) -> tuple[int, int]:
    field, jump = 1, 1
    for kernel, step, _ in layers:
        field, jump = field + (kernel - 1) * jump, jump * step
    first = int((cell + 0.5) * jump - field / 2)
    return first, first + field


PIXELS_SLIPS = (
    Slip(_pixels(order=1), "the order: go backwards, the last layer comes first (layers[::-1])"),
    Slip(
        _pixels(pad=False),
        "the padding: cell 0 begins p pixels before the border, so take p off in each layer",
    ),
    Slip(_pixels(end=0), "end: it is one past the last pixel, as in a Python range"),
    Slip(
        _pixels(more=0),
        "the kernel: from the first to the last pixel of the window are k − 1 steps, not k",
    ),
    Slip(_pixels(stride=False), "the stride: cell c of a layer of stride s begins at c·s"),
    Slip(
        _pixels(clamp=True),
        "the border: first may be negative there; asked is what the formula says, padding included",
    ),
    Slip(
        _half_open,
        "end on its way: carry the last cell, last·s − p + k − 1, and add 1 only when all layers are done",
    ),
    Slip(
        _padding_both_ways,
        "the padding: it shifts the whole view to the left, first and last alike",
    ),
    Slip(
        _centred,
        "the middle: the view is not centred in the cell's square (section 4); go back layer by layer",
    ),
    Slip(
        lambda c, layers: pixels_of(c, layers)[::-1], "the order of what you return: (first, end)"
    ),
    Slip(
        lambda c, layers: pixels_of(c, layers)[1] - pixels_of(c, layers)[0],
        "what you return: (first, end), not how many",
    ),
)


check_pixels_of = Checker(pixels_of, PIXELS_CASES, PIXELS_SLIPS)


def _numbers(cout: int, cin: int, kernel: int, eps: float = 1e-5, seed: int = 0) -> tuple:
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(cout, cin, kernel, kernel, generator=draw)
    gamma, beta, mean = torch.randn(3, cout, generator=draw)
    return weight, gamma, beta, mean, 0.2 + 2 * torch.rand(cout, generator=draw), eps


_SIMPLE = (
    torch.full((1, 1, 1, 1), 3.0),
    *(torch.tensor([value]) for value in (2.0, 5.0, 1.0, 4.0)),
    0.0,
)
_FORM = "the formula: γ (w·x − μ) / √(σ² + ε) + β; sort it into something times x and something without x"
FOLD_CASES = (
    Case(
        "one number: w 3, γ 2, β 5, μ 1, σ² 4, ε 0",
        _SIMPLE,
        "the formula: 2 (3x − 1) / 2 + 5 = 3x + 4",
    ),
    Case("four channels of two", _numbers(4, 2, 3), _FORM),
    Case(
        "as many channels out as in",
        _numbers(3, 3, 3, seed=1),
        "the axis: the norm's numbers belong to output channels",
    ),
    Case(
        "a large ε",
        _numbers(4, 2, 1, eps=0.5, seed=2),
        "ε: it is added to the variance, under the root",
    ),
)


def _fold(
    scale: Callable[..., Tensor] = lambda gamma, var, eps: gamma / (var + eps).sqrt(),
    bias: Callable[..., Tensor] = lambda beta, mean, factor: beta - mean * factor,
    axis: int = 0,
) -> Callable:
    """The exercise with another scale, another bias, or the scale along another axis."""

    def function(
        weight: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        factor = scale(gamma, var, eps)
        shape = [-1 if index == axis else 1 for index in range(4)]
        return weight * factor.reshape(shape), bias(beta, mean, factor)

    return function


FOLD_SLIPS = (
    Slip(
        _fold(axis=1),
        "the axis: the norm's numbers belong to output channels, the first axis of the weight",
    ),
    Slip(
        _fold(axis=3),
        "the axis: without [:, None, None, None] they are multiplied along the kernel's columns",
    ),
    Slip(_fold(lambda g, v, e: g / (v + e)), "the root: divide by √(σ² + ε), not by the variance"),
    Slip(_fold(lambda g, v, e: g / v.sqrt()), "ε: it is missing under the root"),
    Slip(
        _fold(lambda g, v, e: g / (v.sqrt() + e)),
        "ε: it belongs under the root, added to the variance",
    ),
    Slip(_fold(lambda g, v, e: g / (v + e**2).sqrt()), "ε: it is added as it is, not squared"),
    Slip(_fold(lambda g, v, e: 1 / (v + e).sqrt()), "γ: it is missing"),
    Slip(_fold(lambda g, v, e: g * (v + e).sqrt()), "the root: it divides"),
    Slip(_fold(bias=lambda b, m, f: b - m), "the bias: the mean is scaled too, β − μ·γ/√(σ² + ε)"),
    Slip(_fold(bias=lambda b, m, f: b), "the bias: the mean is missing, β − μ·γ/√(σ² + ε)"),
    Slip(_fold(bias=lambda b, m, f: b + m * f), "the bias: the mean is subtracted"),
    Slip(
        _fold(bias=lambda b, m, f: (b - m) * f),
        "the bias: β is added after the scaling, it is not scaled itself",
    ),
    Slip(_fold(bias=lambda b, m, f: -m * f), "the bias: β is missing"),
    Slip(lambda w, *rest: (w, fold(w, *rest)[1]), "the weight: it is scaled too"),
    Slip(lambda *numbers: fold(*numbers)[0], "what you return: weight and bias"),
)


check_fold = Checker(fold, FOLD_CASES, FOLD_SLIPS)
