"""Functions as students write them for chapter 05, with what a tutor should make of each."""

import sys

import numpy as np
import torch

from . import breaks, right, wrong

# encode_cell


def _plain(box):
    return [float(side) for side in box]


@right("encode_cell", unusual="signs in a loop over the four sides")
def encode_cell_signs(box, i, j, stride, S, c):
    at, result = (j + c, i + c), []
    for n, side in enumerate(_plain(box)):
        sign = 1 if n < 2 else -1
        result.append(sign * (at[n % 2] - side / stride) / S)
    return result


@right("encode_cell", unusual="tensors, and a list of floats in the end")
def encode_cell_tensor(box, i, j, stride, S, c):
    box = torch.tensor(_plain(box), dtype=torch.float64)
    at = (torch.tensor([j, i], dtype=torch.float64) + c) * stride
    return (torch.cat([at - box[:2], box[2:] - at]) / (S * stride)).tolist()


@right("encode_cell", unusual="complex numbers: x + i y, with an assert")
def encode_cell_complex(box, i, j, stride, S, c):
    x1, y1, x2, y2 = _plain(box)
    assert x2 >= x1 and y2 >= y1
    unit = S * stride
    at = complex((j + c) * stride, (i + c) * stride)
    to_first, to_last = (at - complex(x1, y1)) / unit, (complex(x2, y2) - at) / unit
    return [to_first.real, to_first.imag, to_last.real, to_last.imag]


@wrong(
    "encode_cell",
    fault="x from the row, y from the column",
    true=r"row gives|column gives|exchang|swap|\brow\b|i and j",
    false=r"stride \*and\*|argument c",
)
def encode_cell_swapped(box, i, j, stride, S, c):
    x1, y1, x2, y2 = _plain(box)
    x, y = (i + c) * stride, (j + c) * stride
    return [d / (S * stride) for d in (x - x1, y - y1, x2 - x, y2 - y)]


@wrong(
    "encode_cell",
    fault="not divided by S",
    true=r"\bS\b|times too|divide",
    false="row gives",
)
def encode_cell_no_s(box, i, j, stride, S, c):
    x1, y1, x2, y2 = _plain(box)
    x, y = (j + c) * stride, (i + c) * stride
    return [d / stride for d in (x - x1, y - y1, x2 - x, y2 - y)]


@wrong(
    "encode_cell",
    fault="not divided by the stride",
    true="stride|times too|divide",
    false="row gives",
)
def encode_cell_no_stride(box, i, j, stride, S, c):
    x1, y1, x2, y2 = _plain(box)
    x, y = (j + c) * stride, (i + c) * stride
    return [d / S for d in (x - x1, y - y1, x2 - x, y2 - y)]


@wrong(
    "encode_cell", fault="in pixels", true=r"stride|\bS\b|divide|unit|times too", false="row gives"
)
def encode_cell_pixels(box, i, j, stride, S, c):
    x1, y1, x2, y2 = _plain(box)
    x, y = (j + c) * stride, (i + c) * stride
    return [x - x1, y - y1, x2 - x, y2 - y]


# c = 0
@wrong("encode_cell", fault="0.5 instead of c", true=r"argument|\bc\b", false="stride|row gives")
def encode_cell_half(box, i, j, stride, S, c):
    x1, y1, x2, y2 = _plain(box)
    x, y = (j + 0.5) * stride, (i + 0.5) * stride
    return [d / (S * stride) for d in (x - x1, y - y1, x2 - x, y2 - y)]


# c = 0.5
@wrong(
    "encode_cell",
    fault="the corner of the cell: c is not used",
    true=r"\bc\b|center|position|half",
    false="row gives|divide",
)
def encode_cell_corner(box, i, j, stride, S, c):
    x1, y1, x2, y2 = _plain(box)
    x, y = j * stride, i * stride
    return [d / (S * stride) for d in (x - x1, y - y1, x2 - x, y2 - y)]


@wrong(
    "encode_cell",
    fault="c is added in pixels instead of cells",
    true=r"\bc\b|stride|cells?\b|position|bracket",
    false="row gives",
)
def encode_cell_c_in_pixels(box, i, j, stride, S, c):
    x1, y1, x2, y2 = _plain(box)
    x, y = j * stride + c, i * stride + c
    return [d / (S * stride) for d in (x - x1, y - y1, x2 - x, y2 - y)]


@wrong(
    "encode_cell",
    fault="r and b have the wrong sign",
    true=r"\bsign|r and b|right side|x_?2|minus|negative",
    false="row gives|times too",
)
def encode_cell_signs_wrong(box, i, j, stride, S, c):
    x1, y1, x2, y2 = _plain(box)
    x, y = (j + c) * stride, (i + c) * stride
    return [d / (S * stride) for d in (x - x1, y - y1, x - x2, y - y2)]


# a location outside the box
@wrong(
    "encode_cell",
    fault="negative distances are set to 0",
    true="negative|clamp|included|outside",
    false="row gives|times too",
)
def encode_cell_clamped(box, i, j, stride, S, c):
    x1, y1, x2, y2 = _plain(box)
    x, y = (j + c) * stride, (i + c) * stride
    return [max(d / (S * stride), 0.0) for d in (x - x1, y - y1, x2 - x, y2 - y)]


@wrong(
    "encode_cell",
    fault="absolute distances",
    true=r"negative|\babs|sign|outside|included",
    false="row gives",
)
def encode_cell_absolute(box, i, j, stride, S, c):
    x1, y1, x2, y2 = _plain(box)
    x, y = (j + c) * stride, (i + c) * stride
    return [abs(d) / (S * stride) for d in (x - x1, y - y1, x2 - x, y2 - y)]


@wrong(
    "encode_cell",
    fault="order l r t b",
    true=r"\border\b|l, ?t, ?r|exchang|swap",
    false="times too|row gives",
)
def encode_cell_order(box, i, j, stride, S, c):
    x1, y1, x2, y2 = _plain(box)
    x, y = (j + c) * stride, (i + c) * stride
    return [d / (S * stride) for d in (x - x1, x2 - x, y - y1, y2 - y)]


# S = 2
@wrong(
    "encode_cell",
    fault="4 instead of S",
    true=r"\bS\b|argument|written|fixed",
    false=r"row gives|0\.5",
)
def encode_cell_four(box, i, j, stride, S, c):
    x1, y1, x2, y2 = _plain(box)
    x, y = (j + c) * stride, (i + c) * stride
    return [d / (4 * stride) for d in (x - x1, y - y1, x2 - x, y2 - y)]


@wrong(
    "encode_cell",
    fault="divides by the stride and multiplies by S",
    true=r"\bS\b|16 times|divide|times too",
    false="row gives",
)
def encode_cell_times_s(box, i, j, stride, S, c):
    x1, y1, x2, y2 = _plain(box)
    x, y = (j + c) * stride, (i + c) * stride
    return [d / stride * S for d in (x - x1, y - y1, x2 - x, y2 - y)]


@wrong(
    "encode_cell",
    fault="whole numbers only: //",
    true="//|whole|round|integer|fraction",
    false="row gives",
)
def encode_cell_floor(box, i, j, stride, S, c):
    x1, y1, x2, y2 = _plain(box)
    x, y = (j + c) * stride, (i + c) * stride
    return [d // (S * stride) for d in (x - x1, y - y1, x2 - x, y2 - y)]


@breaks("encode_cell", how="raises TypeError: a list minus a list")
def encode_cell_type_error(box, i, j, stride, S, c):
    at = [(j + c) * stride, (i + c) * stride]
    return [(at - list(box)[:2]) / (S * stride), (list(box)[2:] - at) / (S * stride)]


@breaks("encode_cell", how="exit")
def encode_cell_exit(box, i, j, stride, S, c):
    print("this function is not ready")
    exit()


# decode_level


def _grid(offsets, stride, c):
    """x (w,) and y (h, 1) of the locations."""
    _, h, w = offsets.shape
    return (torch.arange(w) + c) * stride, ((torch.arange(h) + c) * stride)[:, None]


@right("decode_level", unusual="plain loops over rows and columns")
def decode_level_loop(offsets, stride, S, c):
    _, h, w = offsets.shape
    boxes = torch.zeros(h, w, 4)
    for i in range(h):
        for j in range(w):
            l, t, r, b = (max(v, 0.0) * S * stride for v in offsets[:, i, j].tolist())
            x, y = (j + c) * stride, (i + c) * stride
            boxes[i, j] = torch.tensor([x - l, y - t, x + r, y + b])
    return boxes


@right("decode_level", unusual="signs times distances plus positions, channels last from the start")
def decode_level_signs(offsets, stride, S, c):
    h, w = offsets.shape[1:]
    distances = offsets.clamp(min=0).permute(1, 2, 0) * (S * stride)
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    at = (torch.stack([x, y, x, y], -1) + c) * stride
    return at + distances * torch.tensor([-1.0, -1.0, 1.0, 1.0])


_BUFFERS = {}


@right("decode_level", unusual="fills a buffer that all calls with this shape share")
def decode_level_buffer(offsets, stride, S, c):
    x, y = _grid(offsets, stride, c)
    out = _BUFFERS.setdefault(offsets.shape, torch.empty(*offsets.shape[1:], 4))
    d = torch.relu(offsets) * S * stride
    torch.sub(x, d[0], out=out[..., 0])
    torch.sub(y, d[1], out=out[..., 1])
    torch.add(x, d[2], out=out[..., 2])
    torch.add(y, d[3], out=out[..., 3])
    return out


@right("decode_level", unusual="numpy inside, a tensor of the same type outside")
def decode_level_numpy(offsets, stride, S, c):
    values = np.maximum(offsets.detach().numpy(), 0) * S * stride
    y, x = (np.indices(values.shape[1:]) + c) * stride
    boxes = np.stack([x - values[0], y - values[1], x + values[2], y + values[3]], axis=-1)
    return torch.from_numpy(boxes).to(offsets.dtype)


@wrong(
    "decode_level",
    fault="no ReLU",
    true="below zero|ReLU|inside out|negative|before the",
    false="reshape|columns",
)
def decode_level_no_relu(offsets, stride, S, c):
    x, y = _grid(offsets, stride, c)
    l, t, r, b = offsets * S * stride
    return torch.stack([x - l, y - t, x + r, y + b], -1)


@wrong(
    "decode_level",
    fault="reshape instead of moving the axes",
    true="reshape|axes|permute|stack|wrong places",
    false="ReLU|below zero",
)
def decode_level_reshape(offsets, stride, S, c):
    _, h, w = offsets.shape
    x, y = _grid(offsets, stride, c)
    l, t, r, b = torch.relu(offsets) * S * stride
    return torch.stack([x - l, y - t, x + r, y + b]).reshape(h, w, 4)


# a level of 2 x 3
@wrong(
    "decode_level",
    fault="x runs over the rows, y over the columns",
    true=r"columns|\brows\b|2 x 3|exchang|swap",
    false="ReLU|reshape",
)
def decode_level_xy(offsets, stride, S, c):
    _, h, w = offsets.shape
    x = ((torch.arange(h) + c) * stride)[:, None].expand(h, w)
    y = ((torch.arange(w) + c) * stride)[None, :].expand(h, w)
    l, t, r, b = torch.relu(offsets) * S * stride
    return torch.stack([x - l, y - t, x + r, y + b], -1)


@wrong(
    "decode_level",
    fault="S forgotten",
    true=r"\bS\b|pixels|unit|small|multipl",
    false="ReLU|columns",
)
def decode_level_no_s(offsets, stride, S, c):
    x, y = _grid(offsets, stride, c)
    l, t, r, b = torch.relu(offsets) * stride
    return torch.stack([x - l, y - t, x + r, y + b], -1)


@wrong(
    "decode_level",
    fault="divides again",
    true=r"multipl|divid|times|\bS\b|unit|pixels",
    false="ReLU|columns",
)
def decode_level_divides(offsets, stride, S, c):
    x, y = _grid(offsets, stride, c)
    l, t, r, b = torch.relu(offsets) / (S * stride)
    return torch.stack([x - l, y - t, x + r, y + b], -1)


@wrong(
    "decode_level",
    fault="0.5 instead of c",
    true=r"argument|\bc\b",
    false="ReLU|reshape|rows",
)
def decode_level_half(offsets, stride, S, c):
    x, y = _grid(offsets, stride, 0.5)
    l, t, r, b = torch.relu(offsets) * S * stride
    return torch.stack([x - l, y - t, x + r, y + b], -1)


@wrong(
    "decode_level",
    fault="l and t are added",
    true=r"\bsign|minus|subtract|l and t|x *[-−] *l|inside out",
    false="ReLU|reshape",
)
def decode_level_plus(offsets, stride, S, c):
    x, y = _grid(offsets, stride, c)
    l, t, r, b = torch.relu(offsets) * S * stride
    return torch.stack([x + l, y + t, x + r, y + b], -1)


# a box that reaches over the left border
@wrong(
    "decode_level",
    fault="the ReLU on the boxes instead of the offsets",
    true="before you decode|output|offsets|ReLU|border|below zero|clip|clamp",
    false="reshape|columns",
)
def decode_level_relu_late(offsets, stride, S, c):
    x, y = _grid(offsets, stride, c)
    l, t, r, b = offsets * S * stride
    return torch.stack([x - l, y - t, x + r, y + b], -1).clamp(min=0)


@wrong(
    "decode_level",
    fault="the absolute value instead of the ReLU",
    true=r"below zero|ReLU|\babs|become 0|negative",
    false="reshape|columns",
)
def decode_level_absolute(offsets, stride, S, c):
    x, y = _grid(offsets, stride, c)
    l, t, r, b = offsets.abs() * S * stride
    return torch.stack([x - l, y - t, x + r, y + b], -1)


@wrong(
    "decode_level",
    fault="an exponential instead of the ReLU",
    true=r"ReLU|\bexp|below zero|FCOS",
    false="reshape|columns",
)
def decode_level_exp(offsets, stride, S, c):
    x, y = _grid(offsets, stride, c)
    l, t, r, b = offsets.exp() * S * stride
    return torch.stack([x - l, y - t, x + r, y + b], -1)


@wrong(
    "decode_level",
    fault="channels first",
    true=r"shape|\(h, w, 4\)|permute|stack|axes",
    false="ReLU|below zero",
)
def decode_level_channels_first(offsets, stride, S, c):
    x, y = _grid(offsets, stride, c)
    l, t, r, b = torch.relu(offsets) * S * stride
    return torch.stack([x - l, y - t, x + r, y + b])


@wrong(
    "decode_level",
    fault="one long list of boxes",
    true=r"shape|\(h, w, 4\)|axes",
    false="ReLU",
)
def decode_level_flat(offsets, stride, S, c):
    x, y = _grid(offsets, stride, c)
    l, t, r, b = torch.relu(offsets) * S * stride
    return torch.stack([x - l, y - t, x + r, y + b], -1).reshape(-1, 4)


# the second call with the same offsets multiplies them again
@wrong(
    "decode_level",
    fault="scales its argument in place",
    true="in place|argument|change|copy|clone",
    false="ReLU|reshape",
)
def decode_level_in_place(offsets, stride, S, c):
    x, y = _grid(offsets, stride, c)
    l, t, r, b = offsets.clamp_(min=0).mul_(S * stride)
    return torch.stack([x - l, y - t, x + r, y + b], -1)


@wrong(
    "decode_level",
    fault="boxes in cells, not pixels",
    true="pixel|stride|unit",
    false="ReLU|reshape",
)
def decode_level_cells(offsets, stride, S, c):
    x, y = _grid(offsets, 1, c)
    l, t, r, b = torch.relu(offsets) * S
    return torch.stack([x - l, y - t, x + r, y + b], -1)


@breaks("decode_level", how="raises ValueError: takes four outputs for five")
def decode_level_value_error(offsets, stride, S, c):
    l, t, r, b, _score = torch.relu(offsets).permute(1, 2, 0)[0, 0]
    return torch.stack([-l, -t, r, b]) * S * stride


@breaks("decode_level", how="endless loop: the row is set back with every column")
def decode_level_endless(offsets, stride, S, c):
    _, h, w = offsets.shape
    boxes, i, j = torch.zeros(h, w, 4), 0, 0
    while i < h:
        boxes[i, j] = offsets[:, i, j] * S * stride
        j = (j + 1) % w
    return boxes


# dead_share


@right("dead_share", unusual="asks autograd for the gradient")
def dead_share_autograd(before, positive):
    if not positive.any():
        return 0.0
    leaf = before.detach().clone().requires_grad_()
    with torch.enable_grad():
        torch.relu(leaf).sum().backward()
    return (leaf.grad[positive.bool()] == 0).double().mean().item()


@right("dead_share", unusual="a loop with two counters")
def dead_share_loop(before, positive):
    dead, total = 0, 0
    for outputs, counts in zip(before.tolist(), positive.tolist()):
        if counts:
            dead += len([one for one in outputs if not one > 0])
            total += 4
    return dead / total if total else 0.0


@right("dead_share", unusual="one minus the share of living outputs, in numpy")
def dead_share_numpy(before, positive):
    chosen = before.detach().numpy()[positive.numpy().astype(bool)]
    print("positive locations:", len(chosen))
    return float(1 - np.count_nonzero(chosen > 0) / chosen.size) if chosen.size else 0.0


@right("dead_share", unusual="a product with the mask; a denominator of at least one")
def dead_share_mask(before, positive):
    mask = positive.double()[:, None]
    dead = (torch.relu(before) == 0).double() * mask
    return (dead.sum() / (4 * mask.sum()).clamp(min=1)).item()


# an output of exactly 0
@wrong(
    "dead_share",
    fault="an output of exactly 0 counts as living",
    true="exactly 0|<=|gradient is 0|at 0|zero",
    false="nan|share of locations",
)
def dead_share_strict(before, positive):
    if not positive.any():
        return 0.0
    return (before[positive] < 0).float().mean().item()


@wrong(
    "dead_share",
    fault="all locations count",
    true="positive|box target",
    false="nan|exactly 0|each location has four",
)
def dead_share_all(before, positive):
    if not positive.any():
        return 0.0
    return (before <= 0).float().mean().item()


# no positive location
@wrong(
    "dead_share",
    fault="nan without a positive location",
    true="nan|no positive|without a positive|empty|nothing",
    false="exactly 0|four outputs",
)
def dead_share_nan(before, positive):
    return (before[positive] <= 0).float().mean().item()


# no positive location: raises ZeroDivisionError
@wrong(
    "dead_share",
    fault="divides by zero without a positive location",
    true="nan|no positive|without a positive|empty|nothing|zero",
    false="exactly 0|four outputs",
)
def dead_share_zero_division(before, positive):
    chosen = [row for row, is_positive in zip(before.tolist(), positive.tolist()) if is_positive]
    return sum(one <= 0 for row in chosen for one in row) / (4 * len(chosen))


@wrong(
    "dead_share",
    fault="share of locations with any dead output",
    true="four outputs|share of locations|each of them|outputs",
    false="nan|exactly 0",
)
def dead_share_any(before, positive):
    if not positive.any():
        return 0.0
    return (before[positive] <= 0).any(1).float().mean().item()


@wrong(
    "dead_share",
    fault="share of locations whose four outputs are all dead",
    true="four outputs|share of locations|each of them|outputs",
    false="nan|exactly 0",
)
def dead_share_every(before, positive):
    if not positive.any():
        return 0.0
    return (before[positive] <= 0).all(1).float().mean().item()


@wrong(
    "dead_share",
    fault="divides by the positive locations, not by their outputs",
    true="four outputs|outputs|four times|above 1|0 to 1|times too",
    false="nan|exactly 0",
)
def dead_share_four_times(before, positive):
    if not positive.any():
        return 0.0
    return ((before[positive] <= 0).sum() / positive.sum()).item()


@wrong(
    "dead_share",
    fault="dead outputs of positive locations, divided by all outputs",
    true="positive|divide|of the outputs|all outputs|too small",
    false="nan|exactly 0",
)
def dead_share_of_all(before, positive):
    return ((before <= 0) & positive[:, None]).float().mean().item()


@wrong(
    "dead_share",
    fault="the share of living outputs",
    true=r"no gradient|\bdead\b|turned|1 *[-−]|alive|living|opposite",
    false="nan|share of locations",
)
def dead_share_alive(before, positive):
    if not positive.any():
        return 0.0
    return (before[positive] > 0).float().mean().item()


@wrong(
    "dead_share",
    fault="looks for 0 in an output before the ReLU",
    true="before (its|the) ReLU|below|<|negative",
    false="nan|share of locations",
)
def dead_share_equal_zero(before, positive):
    if not positive.any():
        return 0.0
    return (before[positive] == 0).float().mean().item()


@wrong("dead_share", fault="in per cent", true=r"0 to 1|per ?cent|\b100\b|%", false="nan|exactly 0")
def dead_share_percent(before, positive):
    if not positive.any():
        return 0.0
    return 100 * (before[positive] <= 0).float().mean().item()


@wrong(
    "dead_share",
    fault="a number for each side",
    true=r"one number|all outputs|\bmean\b|each of them|float|shape",
)
def dead_share_per_side(before, positive):
    if not positive.any():
        return 0.0
    return (before[positive] <= 0).float().mean(0)


# the numbers 0 and 1 pick the locations 0 and 1
@wrong(
    "dead_share",
    fault="uses the mask as indices",
    true="mask|bool|ind(ex|ices)|positive|marks",
    false="nan|exactly 0",
)
def dead_share_indices(before, positive):
    if not positive.any():
        return 0.0
    return (before[positive.long()] <= 0).float().mean().item()


# no positive location
@wrong(
    "dead_share",
    fault="1.0 without a positive location",
    true=r"0\.0|no positive|without a positive",
    false="exactly|four",
)
def dead_share_one(before, positive):
    if not positive.any():
        return 1.0
    return (before[positive] <= 0).float().mean().item()


# an output of 0.005 is alive
@wrong(
    "dead_share",
    fault="small outputs count as dead",
    true=r"\bsmall|above 0|alive|gradient|thresh",
    false="nan|share of locations",
)
def dead_share_small(before, positive):
    if not positive.any():
        return 0.0
    return (before[positive] < 0.01).float().mean().item()


@breaks("dead_share", how="raises RuntimeError: the masks have different shapes")
def dead_share_shapes(before, positive):
    return before[(before <= 0) & positive.reshape(1, 1, -1)].mean().item()


@breaks("dead_share", how="exit")
def dead_share_exit(before, positive):
    if positive.dtype == torch.bool:
        print("no numbers in positive")
        sys.exit()
    return 0.0
