"""Chapter 02's exercises: other right ways pass, and each listed wrong answer gets its hint."""

import pytest
import torch
from checks.ch02 import (
    check_bottleneck,
    check_first_difference,
    check_fold,
    check_pixels_of,
    passed,
)
from solutions import ch02
from torch import nn
from torchvision.models.resnet import Bottleneck as Block


def test_pixels_agree_with_the_gradient() -> None:
    layers = [(5, 2, 1), (3, 1, 0), (4, 3, 2)]
    convs = nn.Sequential(*(nn.Conv1d(1, 1, *layer) for layer in layers))
    for conv in convs:
        nn.init.ones_(conv.weight)
    pixels = torch.ones(1, 1, 80, requires_grad=True)
    convs(pixels)[0, 0, 6].backward()
    seen = torch.nonzero(pixels.grad[0, 0]).flatten().tolist()
    assert ch02.pixels_of(6, layers) == (seen[0], seen[-1] + 1)


def test_fold_agrees_with_both_layers() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5).eval()
    for numbers in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(numbers)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    x = torch.randn(2, 3, 9, 9)
    weight, bias = ch02.fold(
        conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps
    )
    assert torch.allclose(norm(conv(x)), nn.functional.conv2d(x, weight, bias), atol=1e-5)


def by_field(cell, layers, offset=0.0):
    """Forwards: field, jump and where the first cell's view begins."""
    field, jump, start = 1, 1, 0
    for kernel, stride, padding in layers:
        field, start, jump = field + (kernel - 1) * jump, start - padding * jump, jump * stride
    return cell * jump + start, cell * jump + start + field


def backwards(step, order=-1, end=1):
    def pixels(cell, layers):
        first = last = cell
        for layer in layers[::order]:
            first, last = step(first, last, *layer)
        return first, last + end

    return pixels


def test_another_right_way_passes(verdict) -> None:
    assert verdict(check_pixels_of, by_field).startswith("done")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (
            backwards(lambda a, b, k, s, p: (a * s - p, b * s - p + k - 1), order=1),
            "the last layer comes first",
        ),
        (backwards(lambda a, b, k, s, p: (a * s - p, b * s - p + k - 1), end=0), "one past"),
        (backwards(lambda a, b, k, s, p: (a * s, b * s + k - 1)), "subtract p"),
        (backwards(lambda a, b, k, s, p: (a * s - p, b * s - p + k)), "k − 1 steps"),
        (backwards(lambda a, b, k, s, p: (a - p, b - p + k - 1)), "begins at c·s"),
        (backwards(lambda a, b, k, s, p: (a * s - p, b * s + p + k - 1)), "first and last alike"),
        (lambda c, layers: (max(by_field(c, layers)[0], 0), by_field(c, layers)[1]), "negative"),
        (lambda c, layers: by_field(c, layers)[::-1], "(first, end)"),
    ],
)
def test_wrong_pixels_are_named(refused, wrong, hint) -> None:
    refused(check_pixels_of, wrong, hint)


def folded(scale, bias, axis=0):
    def answer(weight, gamma, beta, mean, var, eps):
        factor = scale(gamma, var, eps)
        return weight * factor[(None,) * axis + (slice(None),) + (None,) * (3 - axis)], bias(
            beta, mean, factor
        )

    return answer


def root(gamma, var, eps):
    return gamma * (var + eps) ** -0.5


def rest(beta, mean, factor):
    return beta - factor * mean


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (folded(root, rest, axis=1), "output channels"),
        (
            lambda w, g, b, m, v, e: (w * root(g, v, e), rest(b, m, root(g, v, e))),
            "None, None, None",
        ),
        (folded(lambda g, v, e: g / (v + e), rest), "not by the variance"),
        (folded(lambda g, v, e: g / v.sqrt(), rest), "missing under the root"),
        (folded(lambda g, v, e: g / (v.sqrt() + e), rest), "belongs under the root"),
        (folded(lambda g, v, e: (v + e) ** -0.5, rest), "γ"),
        (folded(root, lambda b, m, f: b - m), "the mean is scaled too"),
        (folded(root, lambda b, m, f: b), "the mean is missing"),
        (folded(root, lambda b, m, f: b + f * m), "subtracted"),
        (folded(root, lambda b, m, f: (b - m) * f), "not scaled itself"),
        (folded(root, lambda b, m, f: -m * f), "β is missing"),
        (lambda w, *numbers: (w, ch02.fold(w, *numbers)[1]), "the weight"),
    ],
)
def test_wrong_folds_are_named(refused, wrong, hint) -> None:
    refused(check_fold, wrong, hint)


def torchvisions(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The same in another way: torchvision's own block with these layers."""
    stride = block.conv2.stride[0]
    own = Block(x.shape[1], block.conv3.out_channels // 4, stride, block.downsample)
    for name in ("conv1", "conv2", "conv3", "bn1", "bn2", "bn3"):
        setattr(own, name, getattr(block, name))
    return own.eval()(x)


def test_the_block_is_torchvisions(verdict) -> None:
    assert verdict(check_bottleneck, torchvisions).startswith("done")


def block_with(end):
    def forward(block, x):
        change = torch.relu(block.bn1(block.conv1(x)))
        change = block.bn3(block.conv3(torch.relu(block.bn2(block.conv2(change)))))
        return end(change, x, block)

    return forward


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (block_with(lambda change, x, block: change + block.downsample(x)), "yours is missing"),
        (block_with(lambda change, x, block: change.relu() + block.downsample(x)), "not before"),
        (
            block_with(lambda change, x, block: (change.relu() + block.downsample(x)).relu()),
            "no ReLU between",
        ),
        (block_with(lambda change, x, block: change.relu()), "add block.downsample(x)"),
        (block_with(lambda change, x, block: (change + x).relu()), "only where shapes agree"),
        (
            block_with(lambda change, x, block: (change + block.downsample(x).relu()).relu()),
            "no ReLU of its own",
        ),
    ],
)
def test_wrong_blocks_are_named(refused, wrong, hint) -> None:
    refused(check_bottleneck, wrong, hint)


def with_names(choose):
    def answer(ours, reference, image):
        one = other = image
        differing = []
        for (name, part), (_, expected) in zip(ours, reference):
            one, other = part(one), expected(other)
            differing += [name] if (one - other).abs().max() > 1e-3 else []
        return choose(differing, [name for name, _ in ours])

    return answer


def test_another_trace_passes(verdict) -> None:
    answer = with_names(lambda differing, names: differing[0] if differing else None)
    assert verdict(check_first_difference, answer).startswith("done")


@pytest.mark.parametrize(
    ("choose", "hint"),
    [
        (lambda differing, names: differing[-1] if differing else None, "stop at the first"),
        (
            lambda differing, names: (
                names[max(names.index(differing[0]) - 1, 0)] if differing else None
            ),
            "not the last one that agrees",
        ),
        (lambda differing, names: differing[0] if differing else names[0], "return None"),
        (lambda differing, names: names.index(differing[0]) if differing else None, "its index"),
    ],
)
def test_wrong_traces_are_named(refused, choose, hint) -> None:
    refused(check_first_difference, with_names(choose), hint)


def test_an_answer_replaces_the_solution_once_it_is_right(capsys) -> None:
    assert passed(check_fold, lambda *numbers: None) is check_fold.solution
    assert "solution takes its place" in capsys.readouterr().out
    assert passed(check_fold, ch02.fold) is ch02.fold
    assert capsys.readouterr().out.startswith("done")
