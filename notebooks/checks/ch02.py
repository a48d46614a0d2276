"""Checkers of chapter 02: a block, a planted bug, the pixels of a location, a folded norm."""

from collections.abc import Callable

import torch
from solutions.ch02 import bottleneck_forward, first_difference, fold, pixels_of
from torch import Tensor, nn
from torch.nn import functional as F

from . import Case, Checker, Slip


def passed(check: Checker, answer: Callable) -> Callable:
    """Print the verdict; return the answer if it is right, else the course's solution."""
    line = check.verdict(answer)
    print(line)
    if line.startswith("done"):
        return answer
    print("until it is done, the course's solution takes its place")
    return check.solution


class _Block(nn.Module):
    """A bottleneck's layers, with norms that are not the identity."""

    def __init__(self, cin: int, width: int, cout: int, stride: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv1 = nn.Conv2d(cin, width, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
            self.conv3 = nn.Conv2d(width, cout, 1, bias=False)
            self.bn1, self.bn2, self.bn3 = map(nn.BatchNorm2d, (width, width, cout))
            same = cin == cout and stride == 1
            conv = nn.Conv2d(cin, cout, 1, stride, bias=False)
            self.downsample = nn.Identity() if same else nn.Sequential(conv, nn.BatchNorm2d(cout))
            for norm in (one for one in self.modules() if isinstance(one, nn.BatchNorm2d)):
                nn.init.normal_(norm.weight, 1, 0.3)
                nn.init.normal_(norm.bias, 0, 0.3)
        self.requires_grad_(False).eval()


def _input(channels: int, side: int) -> Tensor:
    return torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(side))


_SUM = "the order: conv, norm, ReLU; conv, norm, ReLU; conv, norm; plus the shortcut; ReLU"
BLOCK_CASES = (
    Case("same shape in and out", (_Block(8, 4, 8, 1, 0), _input(8, 5)), _SUM),
    Case(
        "stride 2 and more channels",
        (_Block(4, 3, 12, 2, 1), _input(4, 6)),
        "the shortcut: here block.downsample changes the shape of x",
    ),
    Case("an odd size", (_Block(4, 4, 16, 2, 2), _input(4, 7)), _SUM),
    Case("more channels, stride 1", (_Block(6, 4, 16, 1, 3), _input(6, 4)), _SUM),
)


def _bottleneck(
    relu1: bool = True,
    relu2: bool = True,
    relu3: bool = False,
    norm: bool = True,
    shortcut: Callable = lambda block, x: block.downsample(x),
    last: bool = True,
) -> Callable:
    """Return the solution with faults: a source of slips."""

    def function(block: nn.Module, x: Tensor) -> Tensor:
        change = x
        for number, relu in ((1, relu1), (2, relu2), (3, relu3)):
            change = getattr(block, f"conv{number}")(change)
            change = getattr(block, f"bn{number}")(change) if norm else change
            change = F.relu(change) if relu else change
        total = change + shortcut(block, x)
        return F.relu(total) if last else total

    return function


BLOCK_SLIPS = (
    Slip(_bottleneck(last=False), "the last ReLU: it comes after the sum; yours is missing"),
    Slip(
        _bottleneck(relu3=True, last=False),
        "the last ReLU: it comes after the sum, not before it",
    ),
    Slip(
        _bottleneck(relu3=True),
        "the third convolution: there is no ReLU between its norm and the sum",
    ),
    Slip(_bottleneck(relu1=False), "the ReLU after bn1: it is missing"),
    Slip(_bottleneck(relu2=False), "the ReLU after bn2: it is missing"),
    Slip(_bottleneck(relu1=False, relu2=False), "the ReLUs after bn1 and bn2: they are missing"),
    Slip(_bottleneck(norm=False), "the norms: bn1, bn2 and bn3 follow their convolutions"),
    Slip(
        _bottleneck(shortcut=lambda block, x: 0),
        "the shortcut: add block.downsample(x) to the output of the third norm",
    ),
    Slip(
        _bottleneck(shortcut=lambda block, x: x),
        "the shortcut: it is block.downsample(x), which is the identity only where shapes agree",
    ),
    Slip(
        _bottleneck(shortcut=lambda block, x: F.relu(block.downsample(x))),
        "the shortcut: it has no ReLU of its own",
    ),
)


check_bottleneck = Checker(bottleneck_forward, BLOCK_CASES, BLOCK_SLIPS)


def misplace_stride(block: nn.Module) -> None:
    """Move the stride of a bottleneck from its second convolution to its first: the planted bug."""
    block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)


class _Run(nn.Module):
    """A block of the checker with the solution as its forward pass."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return bottleneck_forward(self.block, x)


def _network(*misplaced: int) -> list[tuple[str, Callable]]:
    """Return five parts; those with the given numbers have their stride in the wrong convolution."""
    blocks = [
        _Block(3, 4, 8, 1, 4),
        _Block(8, 4, 12, 2, 5),
        _Block(12, 4, 12, 1, 6),
        _Block(12, 4, 16, 2, 7),
        _Block(16, 4, 16, 2, 8),
    ]
    for index in misplaced:
        misplace_stride(blocks[index])
    names = ("layer1.0", "layer2.0", "layer2.1", "layer3.0", "layer4.0")
    return [(name, _Run(block)) for name, block in zip(names, blocks)]


_TRACE = "the trace: run both lists part by part, each on its own last output, and compare"
DIFFERENCE_CASES = (  # the parts with a bug, and the side of the image
    Case("a bug in layer2.0", ((1,), 16), _TRACE),
    Case("a bug in layer3.0", ((3,), 16), _TRACE),
    Case(
        "bugs in layer2.0 and layer4.0",
        ((1, 4), 16),
        "the first difference: stop at the first part that differs",
    ),
    Case("a bug in the last part", ((4,), 12), _TRACE),
    Case("no bug", ((), 16), "no bug: return None"),
    Case("a last part whose outputs are all lower", ((), 16, -1.0), _TRACE),
    Case(
        "outputs that differ by rounding",
        ((), 16, 3e-5),
        "the tolerance: torch.allclose with rtol=1e-3, atol=1e-4",
    ),
)


def _on_networks(
    function: Callable, planted: tuple[int, ...], side: int, more: float = 0.0
) -> str | None:
    """Call the function with networks with planted bugs; `more` is added to the outputs of the last part before its ReLU."""
    ours = _network(*planted)
    ours[-1][1].block.bn3.bias.add_(more)
    return function(ours, _network(), _input(3, side))


def _trace(parts: list, x: Tensor) -> list[Tensor]:
    outputs = []
    for _, part in parts:
        x = part(x)
        outputs.append(x)
    return outputs


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4)


def _name_of(
    choose: Callable[[list[bool]], int | None], close: Callable[[Tensor, Tensor], bool] = _close
) -> Callable:
    """Return a solution in which `choose` picks a part, given for each part whether it differs."""

    def function(ours: list, reference: list, image: Tensor) -> str | None:
        pairs = zip(_trace(ours, image), _trace(reference, image))
        differs = [not close(one, other) for one, other in pairs]
        index = choose(differs)
        return None if index is None else ours[index][0]

    return function


def _first(differs: list[bool]) -> int | None:
    return differs.index(True) if any(differs) else None


def _by_shape(ours: list, reference: list, image: Tensor) -> str | None:
    pairs = zip(_trace(ours, image), _trace(reference, image))
    wrong = [one.shape != other.shape for one, other in pairs]
    return ours[wrong.index(True)][0] if any(wrong) else None


DIFFERENCE_SLIPS = (
    Slip(
        _name_of(lambda differs: len(differs) - 1 if any(differs) else None),
        "the first difference: every later part differs too; stop at the first one",
    ),
    Slip(
        _name_of(lambda differs: max(_first(differs) - 1, 0) if any(differs) else None),
        "the name: return the part that differs, not the last one that agrees",
    ),
    Slip(
        _name_of(lambda differs: _first(differs) or 0),
        "no bug: return None when no part differs",
    ),
    Slip(
        _by_shape,
        "why it is always None: compare the numbers of the outputs, because shapes and weights agree in spite of "
        "the bug, and return None only after the loop",
    ),
    Slip(
        _name_of(lambda differs: differs.index(False) if not all(differs) else None),
        "the condition: return the first part that differs; yours is the first that agrees",
    ),
    Slip(
        _name_of(_first, torch.equal),
        "the tolerance: outputs that differ by rounding agree; use torch.allclose with rtol=1e-3, atol=1e-4",
    ),
    Slip(
        _name_of(_first, lambda one, other: bool((one - other).max() <= 1e-3)),
        "the sign: outputs that are smaller than the reference's differ too; take abs(), or torch.allclose",
    ),
    Slip(
        _name_of(_first, lambda one, other: bool(abs(one.mean() - other.mean()) <= 1e-3)),
        "what you compare: each number of the two outputs; their means can agree",
    ),
    Slip(
        lambda ours, reference, image: [
            name
            for (name, _), one, other in zip(ours, _trace(ours, image), _trace(reference, image))
            if not _close(one, other)
        ],
        "what you return: the name of the first part that differs, not a list of all",
    ),
    Slip(
        lambda *args: (
            None
            if first_difference(*args) is None
            else [name for name, _ in args[0]].index(first_difference(*args))
        ),
        "what you return: the name of the part, not its index",
    ),
)


check_first_difference = Checker(first_difference, DIFFERENCE_CASES, DIFFERENCE_SLIPS, _on_networks)

_TINY = [(3, 2, 1)] + 4 * [(3, 2, 1), (3, 1, 1)]
_STEM = [(7, 2, 3), (3, 2, 1)]
_BACK = "the way back: location c depends on c·s − p, ..., c·s − p + k − 1 of the map before; start with the last layer"


PIXELS_CASES = (
    Case(
        "one 3 x 3 without padding",
        (4, [(3, 1, 0)]),
        "one layer: a kernel of 3 covers three pixels",
    ),
    Case(
        "one 3 x 3 with padding 1",
        (4, [(3, 1, 1)]),
        "the padding: it shifts the receptive field by one to the left",
    ),
    Case(
        "one layer of stride 2",
        (4, [(3, 2, 1)]),
        "the stride: neighboring locations are 2 pixels apart",
    ),
    Case("the stem of a ResNet", (5, _STEM), _BACK),
    Case(
        "a location at the border",
        (0, _STEM),
        "the border: first may be negative, because those pixels are padding",
    ),
    Case("layers of which the order matters", (3, [(5, 1, 0), (2, 3, 0)]), _BACK),
    Case("C3 of the tiny network", (8, _TINY[:5]), _BACK),
    Case("C5 of the tiny network", (4, _TINY), _BACK),
    Case("no layer", (7, []), "no layer: a pixel depends on itself alone, so (7, 8)"),
)


def _pixels(
    order: int = -1,
    pad: bool = True,
    more: int = -1,
    end: int = 1,
    stride: bool = True,
    clamp: bool = False,
) -> Callable:
    """Return the solution with faults: a source of slips."""

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


def _padding_of_first(cell: int, layers: list[tuple[int, int, int]]) -> tuple[int, int]:
    first = last = cell
    for kernel, step, padding in layers[::-1]:
        first, last = first * step - padding, last * step + kernel - 1
    return first, last + 1


def _one_window(cell: int, layers: list[tuple[int, int, int]]) -> tuple[int, int]:
    first, end = cell, cell + 1
    for kernel, step, padding in layers[::-1]:
        first = first * step - padding
        end = first + kernel
    return first, end


PIXELS_SLIPS = (
    Slip(_pixels(order=1), "the order: go backwards; the last layer comes first (layers[::-1])"),
    Slip(
        _pixels(pad=False),
        "the padding: location 0 begins p pixels before the border, so subtract p in each layer",
    ),
    Slip(_pixels(end=0), "end: it is one past the last pixel, as in a Python range"),
    Slip(
        _pixels(more=0),
        "the kernel: from the first to the last pixel of the window are k − 1 steps, not k",
    ),
    Slip(_pixels(stride=False), "the stride: location c of a layer of stride s begins at c·s"),
    Slip(
        _pixels(clamp=True),
        "the border: first may be negative there, because padding counts",
    ),
    Slip(
        _half_open,
        "end: carry the last location, last·s − p + k − 1, and add 1 only after all layers",
    ),
    Slip(
        _padding_of_first,
        "the padding: it shifts first and last alike; yours shifts only first",
    ),
    Slip(
        _one_window,
        "the way back: carry both ends through all layers, the first location and the last; yours is one window",
    ),
    Slip(
        lambda c, layers: pixels_of(c, layers[-1:]),
        "the way back: go through all layers; yours uses only the last one",
    ),
    Slip(
        lambda c, layers: pixels_of(c, [(kernel, pad, step) for kernel, step, pad in layers]),
        "a layer's three numbers: (kernel, stride, padding); yours exchanges stride and padding",
    ),
    Slip(
        _padding_both_ways,
        "the padding: it shifts the whole field to the left, first and last alike",
    ),
    Slip(
        _centred,
        "the middle: the field is not centered on the location's square (section 7); go back layer by layer",
    ),
    Slip(
        lambda c, layers: pixels_of(c, layers)[::-1], "the order of what you return: (first, end)"
    ),
    Slip(
        lambda c, layers: pixels_of(c, layers)[1] - pixels_of(c, layers)[0],
        "what you return: (first, end), not the number of pixels",
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
_FORM = (
    "the formula: γ (w·x − μ) / √(σ² + ε) + β; write it as a factor times x plus a part without x"
)
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
    """Return the solution with another scale, another bias, or the scale along another axis."""

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
        "the axis: without [:, None, None, None] the factor multiplies the kernel's columns",
    ),
    Slip(_fold(lambda g, v, e: g / (v + e)), "the root: divide by √(σ² + ε), not by the variance"),
    Slip(_fold(lambda g, v, e: g / v.sqrt()), "ε: it is missing under the root"),
    Slip(
        _fold(lambda g, v, e: g / (v.sqrt() + e)),
        "ε: it belongs under the root, added to the variance",
    ),
    Slip(_fold(lambda g, v, e: g / (v + e**2).sqrt()), "ε: add it as it is, not squared"),
    Slip(_fold(lambda g, v, e: 1 / (v + e).sqrt()), "γ: it is missing"),
    Slip(_fold(lambda g, v, e: g * (v + e).sqrt()), "the root: divide by it; you multiply"),
    Slip(_fold(bias=lambda b, m, f: b - m), "the bias: the mean is scaled too, β − μ·γ/√(σ² + ε)"),
    Slip(_fold(bias=lambda b, m, f: b), "the bias: the mean is missing, β − μ·γ/√(σ² + ε)"),
    Slip(_fold(bias=lambda b, m, f: b + m * f), "the bias: the mean is subtracted"),
    Slip(
        _fold(bias=lambda b, m, f: (b - m) * f),
        "the bias: β is added after the scaling and is not scaled itself",
    ),
    Slip(_fold(bias=lambda b, m, f: -m * f), "the bias: β is missing"),
    Slip(lambda w, *rest: (w, fold(w, *rest)[1]), "the weight: it is scaled too"),
    Slip(
        lambda *numbers: fold(*numbers)[::-1],
        "the order of what you return: (new_weight, new_bias)",
    ),
    Slip(
        lambda *numbers: (fold(*numbers)[0], fold(*numbers)[1][:, None, None, None]),
        "the shape of the bias: (cout,), one number for each output channel",
    ),
    Slip(lambda *numbers: fold(*numbers)[0], "what you return: weight and bias"),
)


check_fold = Checker(fold, FOLD_CASES, FOLD_SLIPS)
