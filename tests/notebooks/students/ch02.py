"""Functions as students write them for chapter 02, with what a tutor should make of each."""

import functools
import sys

import torch
from torch import nn
from torch.nn import functional as F

from . import breaks, right, wrong

# bottleneck_forward


@right("bottleneck_forward", unusual="a loop over the numbers of the layers")
def bottleneck_forward_loop(block, x):
    change = x
    for number in (1, 2, 3):
        change = getattr(block, f"bn{number}")(getattr(block, f"conv{number}")(change))
        if number < 3:
            change = change.clamp(min=0)
    return (change + block.downsample(x)).clamp(min=0)


@right("bottleneck_forward", unusual="one nn.Sequential, made on each call")
def bottleneck_forward_sequential(block, x):
    path = nn.Sequential(
        block.conv1, block.bn1, nn.ReLU(), block.conv2, block.bn2, nn.ReLU(), block.conv3, block.bn3
    )
    return torch.relu(path(x) + block.downsample(x))


@right("bottleneck_forward", unusual="in place on its own intermediate maps")
def bottleneck_forward_own_buffers(block, x):
    identity = block.downsample(x)
    out = block.bn1(block.conv1(x)).relu_()
    out = block.bn2(block.conv2(out)).relu_()
    out = block.bn3(block.conv3(out))
    out += identity
    return out.relu_()


@right("bottleneck_forward", unusual="the ReLU as a maximum with zeros, with prints")
def bottleneck_forward_maximum(block, x):
    def relu(values):
        return torch.maximum(values, torch.zeros_like(values))

    print("in", tuple(x.shape))
    y = relu(block.bn1(block.conv1(x)))
    y = relu(block.bn2(block.conv2(y)))
    y = relu(block.downsample(x) + block.bn3(block.conv3(y)))
    print("out", tuple(y.shape))
    return y


def _two(block, x):
    """The first two convolutions with their norms and ReLUs."""
    return F.relu(block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x))))))


# raises for a block with a stride or with more channels; right where the shortcut is the identity
@wrong(
    "bottleneck_forward",
    fault="adds x itself",
    true="downsample|shortcut",
    false="bn3|negative",
)
def bottleneck_forward_adds_x(block, x):
    return F.relu(block.bn3(block.conv3(_two(block, x))) + x)


@wrong(
    "bottleneck_forward",
    fault="no ReLU after the sum",
    true="last operation|after the sum|negative|ends? with",
    false="between bn3|shortcut",
)
def bottleneck_forward_no_last_relu(block, x):
    return block.bn3(block.conv3(_two(block, x))) + block.downsample(x)


@wrong(
    "bottleneck_forward",
    fault="a ReLU between bn3 and the sum",
    true="bn3|before the sum|third|change may be negative|too large",
    false="downsample",
)
def bottleneck_forward_early_relu(block, x):
    change = F.relu(block.bn3(block.conv3(_two(block, x))))
    return F.relu(change + block.downsample(x))


@wrong(
    "bottleneck_forward",
    fault="the ReLU before the sum instead of after it",
    true="after the sum|last operation|bn3|before the sum|negative",
    false="stride",
)
def bottleneck_forward_relu_moved(block, x):
    return F.relu(block.bn3(block.conv3(_two(block, x)))) + block.downsample(x)


@wrong(
    "bottleneck_forward",
    fault="no shortcut at all",
    true=r"shortcut|downsample|\bsum\b|skip|\badd\b",
    false="negative|bn3 and",
)
def bottleneck_forward_no_shortcut(block, x):
    return F.relu(block.bn3(block.conv3(_two(block, x))))


@wrong(
    "bottleneck_forward",
    fault="no ReLU after the second norm",
    true="second (norm|relu)|bn2|two norms|first two|conv2",
    false="after the sum|downsample",
)
def bottleneck_forward_no_second_relu(block, x):
    change = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
    return F.relu(block.bn3(block.conv3(change)) + block.downsample(x))


@wrong(
    "bottleneck_forward",
    fault="no ReLU after the first norm",
    true="first (two|norm|relu)|bn1|two norms|conv1",
    false="after the sum|downsample",
)
def bottleneck_forward_no_first_relu(block, x):
    change = F.relu(block.bn2(block.conv2(block.bn1(block.conv1(x)))))
    return F.relu(block.bn3(block.conv3(change)) + block.downsample(x))


@wrong(
    "bottleneck_forward",
    fault="bn1 twice and never bn2",
    true=r"bn2|norms?\b|each of",
    false="shortcut|after the sum",
)
def bottleneck_forward_bn1_twice(block, x):
    change = F.relu(block.bn1(block.conv2(F.relu(block.bn1(block.conv1(x))))))
    return F.relu(block.bn3(block.conv3(change)) + block.downsample(x))


@wrong(
    "bottleneck_forward",
    fault="the third norm is missing",
    true="bn3|norm|each of|three",
    false="downsample",
)
def bottleneck_forward_no_bn3(block, x):
    return F.relu(block.conv3(_two(block, x)) + block.downsample(x))


# the shortcut is the identity: the sum is twice the change; otherwise it raises
@wrong(
    "bottleneck_forward",
    fault="x is overwritten before the shortcut reads it",
    true="overwr|input|shortcut|downsample|keep",
    false="last operation",
)
def bottleneck_forward_overwritten(block, x):
    x = F.relu(block.bn1(block.conv1(x)))
    x = F.relu(block.bn2(block.conv2(x)))
    x = block.bn3(block.conv3(x))
    return F.relu(x + block.downsample(x))


@wrong(
    "bottleneck_forward",
    fault="relu before the norm instead of after it",
    true=r"\bnorm|\border\b|follows|after each|after the norm",
    false="downsample",
)
def bottleneck_forward_relu_first(block, x):
    change = block.bn1(F.relu(block.conv1(x)))
    change = block.bn2(F.relu(block.conv2(change)))
    return F.relu(block.bn3(block.conv3(change)) + block.downsample(x))


@wrong(
    "bottleneck_forward",
    fault="the shortcut gets a ReLU of its own",
    true=r"shortcut|downsample|\bsum\b|negative",
    false="bn2|bn1",
)
def bottleneck_forward_relu_shortcut(block, x):
    return F.relu(block.bn3(block.conv3(_two(block, x))) + F.relu(block.downsample(x)))


@breaks("bottleneck_forward", how="raises AttributeError: torchvision's block.relu is not there")
def bottleneck_forward_attribute(block, x):
    out = block.relu(block.bn1(block.conv1(x)))
    return block.relu(block.bn3(block.conv3(block.bn2(block.conv2(out)))) + block.downsample(x))


@breaks("bottleneck_forward", how="endless recursion: calls the block itself")
def bottleneck_forward_recursion(block, x):
    return F.relu(bottleneck_forward_recursion(block, x) + block.downsample(x))


# first_difference


def _close(one, other):
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4)


@right("first_difference", unusual="recursion with the two maps as further arguments")
def first_difference_recursive(ours, reference, image, other=None):
    if not ours:
        return None
    (name, part), (_, its) = ours[0], reference[0]
    one, other = part(image), its(image if other is None else other)
    if not _close(one, other):
        return name
    return first_difference_recursive(ours[1:], reference[1:], one, other)


@right("first_difference", unusual="all maps first, then a generator")
def first_difference_maps(ours, reference, image):
    def maps(network):
        x, result = image, []
        for _, part in network:
            x = part(x)
            result.append(x)
        return result

    pairs = zip(maps(ours), maps(reference), strict=True)
    different = (n for n, (one, other) in enumerate(pairs) if not _close(one, other))
    number = next(different, None)
    return None if number is None else ours[number][0]


@right("first_difference", unusual="runs the beginning of both networks anew for each part")
def first_difference_prefixes(ours, reference, image):
    for n, (name, _) in enumerate(ours):
        one, other = (
            functools.reduce(lambda x, named: named[1](x), network[: n + 1], image)
            for network in (ours, reference)
        )
        if not ((one - other).abs() <= 1e-4 + 1e-3 * other.abs()).all():
            return name
    return None


def _pairs(ours, reference, image):
    """The names, with both networks' maps after each part."""
    one = other = image
    for (name, part), (_, its) in zip(ours, reference):
        one, other = part(one), its(other)
        yield name, one, other


@wrong(
    "first_difference",
    fault="returns the last difference",
    true="first (difference|part that)|inside the loop|the last|return from|earl",
    false="shapes",
)
def first_difference_last(ours, reference, image):
    place = None
    for name, one, other in _pairs(ours, reference, image):
        if not _close(one, other):
            place = name
    return place


@wrong(
    "first_difference",
    fault="compares shapes",
    true="shapes?|numbers|values",
    false="inside the loop",
)
def first_difference_shapes(ours, reference, image):
    for name, one, other in _pairs(ours, reference, image):
        if one.shape != other.shape:
            return name
    return None


@wrong(
    "first_difference",
    fault="every part gets the image",
    true="before it|output of|chain|image|previous|channels",
    false="shapes",
)
def first_difference_image(ours, reference, image):
    for (name, part), (_, its) in zip(ours, reference):
        if not _close(part(image), its(image)):
            return name
    return None


@wrong(
    "first_difference",
    fault="returns the index",
    true=r"\bname\b|index|position",
    false="shapes|first part",
)
def first_difference_index(ours, reference, image):
    for number, (_, one, other) in enumerate(_pairs(ours, reference, image)):
        if not _close(one, other):
            return number
    return None


# maps that differ by rounding only: the answer is None
@wrong(
    "first_difference",
    fault="asks for equality to the last bit",
    true="allclose|rtol|atol|toleran|round|exact|tiny|small",
    false="shape|before it",
)
def first_difference_exact(ours, reference, image):
    for name, one, other in _pairs(ours, reference, image):
        if not torch.equal(one, other):
            return name
    return None


# maps that differ by 5e-5 at values near 0
@wrong(
    "first_difference",
    fault="the default tolerances",
    true="rtol|atol|toleran|1e-|small",
    false="shape|before it",
)
def first_difference_defaults(ours, reference, image):
    for name, one, other in _pairs(ours, reference, image):
        if not torch.allclose(one, other):
            return name
    return None


@wrong(
    "first_difference",
    fault="the condition is turned: the first part that agrees",
    true="differs?|agree|not |turned|equal|None",
    false="shape|channels",
)
def first_difference_agrees(ours, reference, image):
    for name, one, other in _pairs(ours, reference, image):
        if _close(one, other):
            return name
    return None


# ours is below the reference everywhere: no positive difference
@wrong(
    "first_difference",
    fault="no absolute value: only differences upwards count",
    true="abs|allclose|sign|smaller|below|negative|None",
    false="shape|inside the loop",
)
def first_difference_no_abs(ours, reference, image):
    for name, one, other in _pairs(ours, reference, image):
        if (one - other).max() > 1e-4 + 1e-3 * other.abs().max():
            return name
    return None


# the same numbers in other places have the same mean
@wrong(
    "first_difference",
    fault="compares only the means of the maps",
    true="allclose|each|every|mean|number by number|compare the (numbers|outputs|values)",
    false="before it",
)
def first_difference_means(ours, reference, image):
    for name, one, other in _pairs(ours, reference, image):
        if abs(one.mean() - other.mean()) > 1e-3:
            return name
    return None


@wrong(
    "first_difference",
    fault="gives up after the first part",
    true="inside the loop|all parts|after the loop|None|too early|gives? up",
    false="shapes",
)
def first_difference_gives_up(ours, reference, image):
    for name, one, other in _pairs(ours, reference, image):
        if not _close(one, other):
            return name
        else:
            return None


@wrong(
    "first_difference",
    fault="the name of the part before",
    true="off by one|part before|one (part )?too|next part|itself|that differs|whose output",
    false="shapes|always",
)
def first_difference_one_before(ours, reference, image):
    before = None
    for name, one, other in _pairs(ours, reference, image):
        if not _close(one, other):
            return before
        before = name
    return None


# a stride in another place: the parameters are the same
@wrong(
    "first_difference",
    fault="compares the weights, not the outputs",
    true=r"outputs?|weights|stride|\brun\b",
    false="inside the loop",
)
def first_difference_weights(ours, reference, image):
    for (name, part), (_, its) in zip(ours, reference):
        for one, other in zip(part.parameters(), its.parameters()):
            if not _close(one, other):
                return name
    return None


@wrong(
    "first_difference",
    fault="the answer of the chapter written in",
    true="layer3|written|fixed|constant|other|compare|both networks",
)
def first_difference_constant(ours, reference, image):
    return "layer3.0"


@wrong(
    "first_difference",
    fault="all parts that differ, as a list",
    true="first (difference|part)|a list|only the|one name",
    false="shapes|channels",
)
def first_difference_all(ours, reference, image):
    return [name for name, one, other in _pairs(ours, reference, image) if not _close(one, other)]


# two networks with no difference: the answer is None
@wrong(
    "first_difference",
    fault="the empty text instead of None",
    true="None",
    false="shapes|before it",
)
def first_difference_empty_text(ours, reference, image):
    for name, one, other in _pairs(ours, reference, image):
        if not _close(one, other):
            return name
    return ""


@breaks("first_difference", how="raises TypeError: the pair is called, not the part")
def first_difference_type_error(ours, reference, image):
    for one, other in zip(ours, reference):
        if not _close(one(image), other(image)):
            return one[0]
    return None


@breaks("first_difference", how="endless loop: the number of the part stays 0")
def first_difference_endless(ours, reference, image):
    number = 0
    while number < len(ours):
        ours[number][1](image)
    return None


# fold


@right("fold", unusual="einsum with a diagonal matrix")
def fold_einsum(weight, gamma, beta, mean, var, eps):
    scale = torch.diag(gamma / torch.sqrt(var + eps))
    return torch.einsum("oc,cikl->oikl", scale, weight), beta - scale @ mean


@right("fold", unusual="a loop over the output channels")
def fold_loop(weight, gamma, beta, mean, var, eps):
    weights, biases = [], []
    for n in range(weight.shape[0]):
        spread = (var[n] + eps) ** 0.5
        weights.append(weight[n] * gamma[n] / spread)
        biases.append(beta[n] - gamma[n] * mean[n] / spread)
    return torch.stack(weights), torch.stack(biases)


@right("fold", unusual="asks PyTorch's batch norm what it does to 0 and to 1")
def fold_probe(weight, gamma, beta, mean, var, eps):
    count = len(gamma)
    probe = torch.stack([torch.zeros(count), torch.ones(count)]).to(weight.dtype)
    at_zero, at_one = F.batch_norm(probe, mean, var, gamma, beta, False, 0.0, eps)
    return weight * (at_one - at_zero).reshape(-1, 1, 1, 1), at_zero


@right("fold", unusual="in double precision, the axes turned with movedim")
def fold_double(weight, gamma, beta, mean, var, eps):
    factor = gamma.double() * torch.rsqrt(var.double() + eps)
    new_weight = (weight.double().movedim(0, -1) * factor).movedim(-1, 0)
    new_bias = beta.double() - mean.double() * factor
    return new_weight.to(weight.dtype), new_bias.to(weight.dtype)


def _factor(gamma, var, eps):
    return gamma / (var + eps).sqrt()


# cout = cin only; else it raises
@wrong(
    "fold",
    fault="the factor on the input channels",
    true=r"output channel|first axis|axis|factor\[",
    false="root|mean too",
)
def fold_input_axis(weight, gamma, beta, mean, var, eps):
    factor = _factor(gamma, var, eps)
    return weight * factor[None, :, None, None], beta - mean * factor


@wrong("fold", fault="the mean is missing in the bias", true="mean|bias", false="root|axis")
def fold_no_mean(weight, gamma, beta, mean, var, eps):
    return weight * _factor(gamma, var, eps)[:, None, None, None], beta


@wrong(
    "fold",
    fault="the mean in the bias has no factor",
    true="bias|mean|factor|bracket",
    false="root|axis",
)
def fold_bare_mean(weight, gamma, beta, mean, var, eps):
    return weight * _factor(gamma, var, eps)[:, None, None, None], beta - mean


@wrong("fold", fault="plus the mean", true="bias|sign|mean|minus", false="root|axis")
def fold_plus_mean(weight, gamma, beta, mean, var, eps):
    factor = _factor(gamma, var, eps)
    return weight * factor[:, None, None, None], beta + mean * factor


# eps 0.5
@wrong("fold", fault="eps outside the root", true=r"eps|root|\\epsilon|ϵ|ε", false="axis|mean too")
def fold_eps_outside(weight, gamma, beta, mean, var, eps):
    factor = gamma / (var.sqrt() + eps)
    return weight * factor[:, None, None, None], beta - mean * factor


@wrong("fold", fault="eps forgotten", true="eps|root|ϵ|ε", false="axis|mean too")
def fold_no_eps(weight, gamma, beta, mean, var, eps):
    factor = gamma / var.sqrt()
    return weight * factor[:, None, None, None], beta - mean * factor


@wrong("fold", fault="1e-5 written in", true="eps|root|argument|ϵ|ε|1e-5", false="axis|mean too")
def fold_default_eps(weight, gamma, beta, mean, var, eps):
    factor = gamma / (var + 1e-5).sqrt()
    return weight * factor[:, None, None, None], beta - mean * factor


@wrong(
    "fold",
    fault="divides by the variance, no root",
    true="root|sqrt|varian|spread|deviation",
    false="axis",
)
def fold_no_root(weight, gamma, beta, mean, var, eps):
    factor = gamma / (var + eps)
    return weight * factor[:, None, None, None], beta - mean * factor


@wrong("fold", fault="gamma forgotten", true="gamma|factor|γ", false="root|axis")
def fold_no_gamma(weight, gamma, beta, mean, var, eps):
    factor = 1 / (var + eps).sqrt()
    return weight * factor[:, None, None, None], beta - mean * factor


@wrong("fold", fault="beta is scaled too", true="beta|bias|bracket|β", false="root|axis")
def fold_scaled_beta(weight, gamma, beta, mean, var, eps):
    factor = _factor(gamma, var, eps)
    return weight * factor[:, None, None, None], (beta - mean) * factor


@wrong(
    "fold",
    fault="bias first",
    true=r"\border\b|new_weight, ?new_bias|weight first|swap|exchang|pair",
)
def fold_swapped(weight, gamma, beta, mean, var, eps):
    factor = _factor(gamma, var, eps)
    return beta - mean * factor, weight * factor[:, None, None, None]


# the second call with the same weight scales it again
@wrong(
    "fold",
    fault="scales its argument in place",
    true="in place|argument|copy|change",
    false="root|axis",
)
def fold_in_place(weight, gamma, beta, mean, var, eps):
    factor = _factor(gamma, var, eps)
    weight *= factor[:, None, None, None]
    return weight, beta - mean * factor


@wrong(
    "fold",
    fault="the bias has four axes",
    true="shape|cout|axes|axis|one number for each",
    false="root|mean too",
)
def fold_bias_shape(weight, gamma, beta, mean, var, eps):
    factor = _factor(gamma, var, eps)[:, None, None, None]
    return weight * factor, beta[:, None, None, None] - mean[:, None, None, None] * factor


@breaks(
    "fold",
    how="raises RuntimeError: two axes are missing in the factor; only k = 1 and k = cout pass",
)
def fold_shapes(weight, gamma, beta, mean, var, eps):
    factor = _factor(gamma, var, eps)
    return weight * factor[:, None], beta - mean * factor


@breaks("fold", how="exit")
def fold_exit(weight, gamma, beta, mean, var, eps):
    if weight.shape[0] > 0:
        sys.exit("weight is not a convolution")
    return weight, beta


# pixels_of


@right("pixels_of", unusual="forwards, with the recurrence of section 7 and the sum of paddings")
def pixels_of_forward(cell, layers):
    field, jump, shift = 1, 1, 0
    for kernel, stride, padding in layers:
        field += (kernel - 1) * jump
        shift += padding * jump
        jump *= stride
    return cell * jump - shift, cell * jump - shift + field


@right("pixels_of", unusual="recursion")
def pixels_of_recursive(cell, layers):
    if not layers:
        return cell, cell + 1
    *before, (kernel, stride, padding) = layers
    begin = cell * stride - padding
    return (
        pixels_of_recursive(begin, before)[0],
        pixels_of_recursive(begin + kernel - 1, before)[1],
    )


@right("pixels_of", unusual="the set of all values that are read, layer by layer")
def pixels_of_sets(cell, layers):
    cells = {cell}
    for kernel, stride, padding in layers[::-1]:
        cells = {one * stride - padding + k for one in cells for k in range(kernel)}
    return min(cells), max(cells) + 1


@wrong(
    "pixels_of",
    fault="walks from the first layer to the last",
    true="backward|last layer|revers|wrong for two",
    false="one pixel too wide|padding shifts",
)
def pixels_of_first_layer_first(cell, layers):
    first, last = cell, cell
    for kernel, stride, padding in layers:
        first, last = first * stride - padding, last * stride - padding + kernel - 1
    return first, last + 1


@wrong(
    "pixels_of",
    fault="one pixel too wide for each layer",
    true="too wide|k *[-−] *1|kernel *[-−] *1|steps",
    false="backward|padding",
)
def pixels_of_too_wide(cell, layers):
    first, end = cell, cell + 1
    for kernel, stride, padding in reversed(layers):
        first, end = first * stride - padding, (end - 1) * stride - padding + kernel + 1
    return first, end


@wrong(
    "pixels_of",
    fault="scales the end like a first value",
    true=r"too wide|last value|\bk *[-−] *1|kernel *[-−] *1|steps|one past",
    false="backward|alike",
)
def pixels_of_end_scaled(cell, layers):
    first, end = cell, cell + 1
    for kernel, stride, padding in reversed(layers):
        first, end = first * stride - padding, end * stride - padding + kernel - 1
    return first, end


@wrong("pixels_of", fault="no padding", true="padding|position|[-−] ?p", false="too wide|backward")
def pixels_of_no_padding(cell, layers):
    first, last = cell, cell
    for kernel, stride, _ in reversed(layers):
        first, last = first * stride, last * stride + kernel - 1
    return first, last + 1


@wrong(
    "pixels_of",
    fault="adds the padding",
    true="padding|position|[-−] ?p|sign",
    false="too wide|backward",
)
def pixels_of_plus_padding(cell, layers):
    first, last = cell, cell
    for kernel, stride, padding in reversed(layers):
        first, last = first * stride + padding, last * stride + padding + kernel - 1
    return first, last + 1


@wrong(
    "pixels_of",
    fault="the padding shifts only the first pixel",
    true=r"alike|padding|\bboth\b",
    false="backward|position is not",
)
def pixels_of_half_padding(cell, layers):
    first, last = cell, cell
    for kernel, stride, padding in reversed(layers):
        first, last = first * stride - padding, last * stride + kernel - 1
    return first, last + 1


@wrong(
    "pixels_of",
    fault="the last pixel instead of the end",
    true=r"\bend\b|one past|last pixel|end ?[-−] ?1|off by one",
    false="backward|padding",
)
def pixels_of_inclusive(cell, layers):
    first, last = cell, cell
    for kernel, stride, padding in reversed(layers):
        first, last = first * stride - padding, last * stride - padding + kernel - 1
    return first, last


@wrong(
    "pixels_of",
    fault="cuts at 0",
    true="negative|clamp|outside|below 0|padding",
    false="backward|too wide",
)
def pixels_of_clamped(cell, layers):
    first, last = cell, cell
    for kernel, stride, padding in reversed(layers):
        first, last = first * stride - padding, last * stride - padding + kernel - 1
    return max(first, 0), last + 1


@wrong(
    "pixels_of",
    fault="the window of the first cell only: the field does not grow",
    true="last (value|location|pixel)|grow|for two|both ends|from the first to the last",
    false="padding shifts",
)
def pixels_of_one_window(cell, layers):
    first, end = cell, cell + 1
    for kernel, stride, padding in reversed(layers):
        first = first * stride - padding
        end = first + kernel
    return first, end


@wrong(
    "pixels_of",
    fault="exchanges stride and padding",
    true="stride|padding|kernel, ?stride",
    false="too wide",
)
def pixels_of_exchanged(cell, layers):
    first, last = cell, cell
    for kernel, padding, stride in reversed(layers):
        first, last = first * stride - padding, last * stride - padding + kernel - 1
    return first, last + 1


@wrong(
    "pixels_of",
    fault="centers the field at the middle of the cell",
    true="position|padding|shift|begins|center|middle",
    false="backward",
)
def pixels_of_centered(cell, layers):
    field, jump = 1, 1
    for kernel, stride, _ in layers:
        field, jump = field + (kernel - 1) * jump, jump * stride
    first = int((cell + 0.5) * jump - field / 2)
    return first, first + field


@wrong(
    "pixels_of",
    fault="only the last layer",
    true="all layers|each layer|every layer|for two|backward|walk",
    false="too wide",
)
def pixels_of_last_layer(cell, layers):
    kernel, stride, padding = layers[-1]
    return cell * stride - padding, cell * stride - padding + kernel


# the second call with the same list walks the wrong way
@wrong(
    "pixels_of",
    fault="turns its argument round in place",
    true="in place|argument|change|copy|reverse",
    false="padding|too wide",
)
def pixels_of_reverses(cell, layers):
    layers.reverse()
    first, last = cell, cell
    for kernel, stride, padding in layers:
        first, last = first * stride - padding, last * stride - padding + kernel - 1
    return first, last + 1


@breaks("pixels_of", how="raises IndexError: one layer too far")
def pixels_of_index_error(cell, layers):
    first, last = cell, cell
    for n in range(len(layers), -1, -1):
        kernel, stride, padding = layers[n]
        first, last = first * stride - padding, last * stride - padding + kernel - 1
    return first, last + 1


@breaks("pixels_of", how="endless loop: n moves away from the end")
def pixels_of_endless(cell, layers):
    n, first = 0, cell
    while n < len(layers):
        kernel, stride, padding = layers[n]
        first = (first * stride - padding) % kernel
        n -= 1 if n > 0 else 0
    return first, first + 1
