"""Functions as students write them for chapter 11, with what a tutor should make of each."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate, logsigmoid, one_hot, softplus

from . import breaks, right, wrong

# Step 1: cell_centers(rows, columns, stride)


@wrong("cell_centers", fault="corners, not centers", true="half|0\\.5|center|corner", false="swap")
def centers_corners(rows, columns, stride):
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2).float() * stride


@wrong("cell_centers", fault="y x instead of x y", true="swap|x and y|column|first", false="half")
def centers_swapped(rows, columns, stride):
    i, j = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return (torch.stack([i, j], -1).reshape(-1, 2) + 0.5) * stride


# wrong as soon as there are two rows and two columns
@wrong(
    "cell_centers",
    fault="column by column, not row by row",
    true="row by row|order|column by column",
    false="half|corner",
)
def centers_by_columns(rows, columns, stride):
    return torch.tensor(
        [[(j + 0.5) * stride, (i + 0.5) * stride] for j in range(columns) for i in range(rows)]
    )


@wrong(
    "cell_centers",
    fault="adds half a pixel: j · stride + 0.5",
    true="half a cell|half|before|stride|center",
    false="swap",
)
def centers_half_pixel(rows, columns, stride):
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([x, y], 2).view(-1, 2) * stride + 0.5


@wrong(
    "cell_centers",
    fault="integers: stride // 2 is wrong for odd strides, and the type too",
    true="float|int|whole|type|//|half",
    false="swap",
)
def centers_integers(rows, columns, stride):
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([x, y], 2).view(-1, 2) * stride + stride // 2


@wrong(
    "cell_centers",
    fault="rows and columns exchanged: wrong on levels that are not square",
    true="rows|columns|square|exchang|swap",
    false="half",
)
def centers_exchanged(rows, columns, stride):
    y, x = torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="ij")
    return (torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride


@wrong("cell_centers", fault="in cells, not in pixels", true="pixel|stride|multipl", false="swap")
def centers_in_cells(rows, columns, stride):
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2) + 0.5


@wrong("cell_centers", fault="a grid (rows, columns, 2)", true="shape|flat|rows ·|reshape")
def centers_grid(rows, columns, stride):
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return (torch.stack([x, y], -1) + 0.5) * stride


@wrong("cell_centers", fault="returns a list", true="tensor|list|type", false="half|swap")
def centers_list(rows, columns, stride):
    return [((j + 0.5) * stride, (i + 0.5) * stride) for i in range(rows) for j in range(columns)]


@right("cell_centers", unusual="one count, divided by the columns")
def centers_divmod(rows, columns, stride):
    n = torch.arange(rows * columns)
    x, y = n % columns, torch.div(n, columns, rounding_mode="floor")
    return torch.stack([x * stride + stride / 2, y * stride + stride / 2], dim=1)


@right("cell_centers", unusual="cartesian product, then the columns turned around")
def centers_product(rows, columns, stride):
    y = torch.arange(rows, dtype=torch.float32) * stride + stride * 0.5
    x = torch.arange(columns, dtype=torch.float32) * stride + stride * 0.5
    return torch.cartesian_prod(y, x).view(-1, 2).flip(1)


@right("cell_centers", unusual="nested loops into a tensor that is filled")
def centers_loops(rows, columns, stride):
    result = torch.empty(rows * columns, 2)
    for i in range(rows):
        for j in range(columns):
            result[i * columns + j, 0] = (j + 0.5) * stride
            result[i * columns + j, 1] = (i + 0.5) * stride
    return result


@breaks(
    "cell_centers", how="raises IndexError: i · rows + j on a level with more rows than columns"
)
def centers_index_error(rows, columns, stride):
    result = torch.empty(rows * columns, 2)
    for i in range(rows):
        for j in range(columns):
            result[i * rows + j] = torch.tensor([(j + 0.5) * stride, (i + 0.5) * stride])
    return result


# Step 2: merge(coarse, lateral)


@wrong("merge", fault="bilinear: mixtures of neighbors", true="nearest|mixture|mode", false="size")
def merge_bilinear(coarse, lateral):
    return lateral + interpolate(coarse, lateral.shape[-2:], mode="bilinear", align_corners=False)


# H = 7, h = 3: fine row 6 is coarse row 2 either way, but fine row 2 is row ⌊6/7⌋ = 0, not 1
@wrong(
    "merge",
    fault="always ⌊i / 2⌋: wrong where H is not 2h",
    true="size|h / H|factor|2h|odd|row",
    false="bilinear|sum",
)
def merge_halves(coarse, lateral):
    rows = (torch.arange(lateral.shape[-2]) // 2).clamp(max=coarse.shape[-2] - 1)
    columns = (torch.arange(lateral.shape[-1]) // 2).clamp(max=coarse.shape[-1] - 1)
    return lateral + coarse[:, :, rows][..., columns]


@wrong(
    "merge",
    fault="doubled and cut off",
    true="size|factor|h / H|2h|cut|row",
    false="bilinear",
)
def merge_cut(coarse, lateral):
    h, w = lateral.shape[-2:]
    factor = math.ceil(max(h / coarse.shape[-2], w / coarse.shape[-1]))
    return lateral + interpolate(coarse, scale_factor=factor)[..., :h, :w]


@wrong(
    "merge",
    fault="nearest-exact: takes the coarse row under the center of the fine row",
    true="nearest|row|⌊|floor|exact",
    false="sum",
)
def merge_exact(coarse, lateral):
    return lateral + interpolate(coarse, lateral.shape[-2:], mode="nearest-exact")


# rounding: H = 8, h = 4: fine row 3 is 1.5, which becomes 2 instead of 1
@wrong("merge", fault="rounds instead of floor", true="floor|⌊|round|row", false="size")
def merge_rounds(coarse, lateral):
    (h, w), (H, W) = coarse.shape[-2:], lateral.shape[-2:]
    rows = (torch.arange(H) * h / H).round().long().clamp(max=h - 1)
    columns = (torch.arange(W) * w / W).round().long().clamp(max=w - 1)
    return lateral + coarse[:, :, rows][..., columns]


@wrong("merge", fault="the lateral map is forgotten", true="plus|sum|add|lateral", false="nearest")
def merge_coarse_alone(coarse, lateral):
    return interpolate(coarse, size=lateral.shape[-2:], mode="nearest")


@wrong("merge", fault="the mean instead of the sum", true="plus|sum|add|half|mean", false="nearest")
def merge_mean(coarse, lateral):
    return (lateral + interpolate(coarse, size=lateral.shape[-2:], mode="nearest")) / 2


@wrong(
    "merge",
    fault="changes lateral in place",
    true="in place|argument|change|gradient",
    false="nearest",
)
def merge_in_place(coarse, lateral):
    lateral.data += interpolate(coarse, size=lateral.shape[-2:], mode="nearest").data
    return lateral


@wrong("merge", fault="no gradient into the coarse map", true="gradient|detach|no_grad|coarse")
def merge_detached(coarse, lateral):
    with torch.no_grad():
        large = interpolate(coarse, size=lateral.shape[-2:], mode="nearest")
    return lateral + large


@wrong(
    "merge", fault="tiles the coarse map instead of enlarging it", true="repeat|tile|row|enlarge"
)
def merge_tiles(coarse, lateral):
    (h, w), (H, W) = coarse.shape[-2:], lateral.shape[-2:]
    return lateral + coarse.repeat(1, 1, -(-H // h), -(-W // w))[..., :H, :W]


@right("merge", unusual="products with 0-1 matrices")
def merge_matrices(coarse, lateral):
    (h, w), (H, W) = coarse.shape[-2:], lateral.shape[-2:]
    up = one_hot(torch.arange(H) * h // H, h).to(coarse.dtype)
    across = one_hot(torch.arange(W) * w // W, w).to(coarse.dtype)
    return torch.einsum("ih,bchw,jw->bcij", up, coarse, across) + lateral


@right("merge", unusual="row by row, then stacked")
def merge_rows(coarse, lateral):
    (h, w), (H, W) = coarse.shape[-2:], lateral.shape[-2:]
    columns = [j * w // W for j in range(W)]
    rows = [coarse[:, :, i * h // H, :][..., columns] for i in range(H)]
    return torch.stack(rows, 2) + lateral


@right("merge", unusual="index_select along both axes, and asserts")
def merge_index_select(coarse, lateral):
    assert coarse.ndim == lateral.ndim == 4 and coarse.shape[:2] == lateral.shape[:2]
    result = coarse
    for axis in (2, 3):
        n, N = coarse.shape[axis], lateral.shape[axis]
        result = result.index_select(axis, torch.arange(N) * n // N)
    return torch.add(lateral, result)


@breaks("merge", how="raises RuntimeError: scale factor 2 does not fit odd sizes")
def merge_factor(coarse, lateral):
    return lateral + interpolate(coarse, scale_factor=2, mode="nearest")


# Step 3: decode(offsets, centers, stride, S)


@wrong(
    "decode",
    fault="left and top are added",
    true="subtract|left|minus|sign|width",
    false="stride|\\bS\\b",
)
def decode_all_added(offsets, centers, stride, S):
    return centers.repeat(1, 2) + offsets * (S * stride)[:, None]


@wrong("decode", fault="S is forgotten", true="\\bS\\b|unit|scale|factor", false="sign|subtract")
def decode_no_S(offsets, centers, stride, S):
    d = offsets * stride[:, None]
    return torch.cat([centers - d[:, :2], centers + d[:, 2:]], 1)


@wrong("decode", fault="4 written in for S", true="\\bS\\b|argument|4", false="sign|subtract")
def decode_four(offsets, centers, stride, S):
    d = offsets * stride[:, None] * 4
    return torch.cat([centers - d[:, :2], centers + d[:, 2:]], 1)


@wrong(
    "decode",
    fault="the stride of the first location for all",
    true="stride|each location|differs|levels",
    false="sign|subtract",
)
def decode_first_stride(offsets, centers, stride, S):
    d = offsets * S * stride[0]
    return torch.cat([centers - d[:, :2], centers + d[:, 2:]], 1)


@wrong("decode", fault="only divides by the stride", true="multipl|unit|stride|divi", false="sign")
def decode_divides(offsets, centers, stride, S):
    d = offsets * S / stride[:, None]
    return torch.cat([centers - d[:, :2], centers + d[:, 2:]], 1)


@wrong(
    "decode",
    fault="center and size instead of corners",
    true="corner|x1|x2|width|right|bottom",
    false="stride",
)
def decode_sizes(offsets, centers, stride, S):
    l, t, r, b = (offsets * (S * stride)[:, None]).unbind(1)
    x, y = centers.unbind(1)
    return torch.stack([x - l, y - t, l + r, t + b], 1)


@wrong(
    "decode",
    fault="x with t and y with l: l t r b taken in the order t l b r",
    true="order|l t r b|x and y|swap|left|top",
    false="stride",
)
def decode_order(offsets, centers, stride, S):
    t, l, b, r = (offsets * (S * stride)[:, None]).unbind(1)
    x, y = centers.unbind(1)
    return torch.stack([x - l, y - t, x + r, y + b], 1)


@wrong("decode", fault="clamps to the image of 128 px", true="clamp|128|image|border", false="sign")
def decode_clamps(offsets, centers, stride, S):
    d = offsets * (S * stride)[:, None]
    return torch.cat([centers - d[:, :2], centers + d[:, 2:]], 1).clamp(0, 128)


@wrong("decode", fault="no gradient", true="gradient|detach|tensor\\(", false="sign|\\bS\\b")
def decode_numpy(offsets, centers, stride, S):
    d = offsets.detach().numpy() * (S * stride.numpy())[:, None]
    c = centers.numpy()
    return torch.tensor(np.concatenate([c - d[:, :2], c + d[:, 2:]], axis=1))


@wrong("decode", fault="changes offsets in place", true="in place|argument|change", false="sign")
def decode_in_place(offsets, centers, stride, S):
    with torch.no_grad():
        offsets *= (S * stride)[:, None]
    return torch.cat([centers - offsets[:, :2], centers + offsets[:, 2:]], 1)


@wrong(
    "decode", fault="exp of the offsets, as in FCOS", true="exp|offset|unit", false="stride|sign"
)
def decode_exp(offsets, centers, stride, S):
    d = offsets.exp() * (S * stride)[:, None]
    return torch.cat([centers - d[:, :2], centers + d[:, 2:]], 1)


@right("decode", unusual="signs as a tensor, centers twice")
def decode_signs(offsets, centers, stride, S):
    signs = torch.tensor([-1.0, -1, 1, 1], dtype=offsets.dtype)
    return torch.addcmul(centers.repeat(1, 2), offsets * signs, (S * stride).unsqueeze(1))


@right("decode", unusual="einsum with a diagonal")
def decode_einsum(offsets, centers, stride, S):
    d = torch.einsum("r,rk->rk", stride.to(offsets.dtype) * S, offsets)
    low, high = centers - d[:, 0:2], centers + d[:, 2:4]
    return torch.stack([low[:, 0], low[:, 1], high[:, 0], high[:, 1]], dim=-1)


@right("decode", unusual="transposed, so that (R,) fits")
def decode_transposed(offsets, centers, stride, S):
    l, t, r, b = offsets.T * (stride * S)
    x, y = centers.T
    return torch.stack((x - l, y - t, x + r, y + b)).T


@breaks("decode", how="raises RuntimeError: (R, 4) times (R,)")
def decode_shapes(offsets, centers, stride, S):
    d = offsets * stride * S
    return torch.cat([centers - d[:, :2], centers + d[:, 2:]], 1)


# Step 4: iou_loss(boxes, targets)


def _iou(boxes, targets, least=1e-6):
    low = torch.maximum(boxes[:, :2], targets[:, :2])
    high = torch.minimum(boxes[:, 2:], targets[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    areas = [(one[:, 2:] - one[:, :2]).prod(1) for one in (boxes, targets)]
    return (shared / (areas[0] + areas[1] - shared).clamp(min=1e-9)).clamp(min=least)


def _iou_loss(boxes, targets):
    return -_iou(boxes, targets).log()


@wrong(
    "iou_loss",
    fault="the overlap is not clamped: two negative sides make an area",
    true="clamp|negative|apart|both",
    false="\\(R, R\\)|mean",
)
def iou_no_clamp(boxes, targets):
    low = torch.maximum(boxes[:, :2], targets[:, :2])
    high = torch.minimum(boxes[:, 2:], targets[:, 2:])
    shared = (high - low).prod(1)
    areas = [(one[:, 2:] - one[:, :2]).prod(1) for one in (boxes, targets)]
    return -(shared / (areas[0] + areas[1] - shared)).clamp(min=1e-6).log()


@wrong(
    "iou_loss",
    fault="the product is clamped, not both sides",
    true="clamp|both|each|negative|apart|sides",
    false="\\(R, R\\)",
)
def iou_clamps_product(boxes, targets):
    low = torch.maximum(boxes[:, :2], targets[:, :2])
    high = torch.minimum(boxes[:, 2:], targets[:, 2:])
    shared = (high - low).prod(1).clamp(min=0)
    areas = [(one[:, 2:] - one[:, :2]).prod(1) for one in (boxes, targets)]
    return -(shared / (areas[0] + areas[1] - shared)).clamp(min=1e-6).log()


@wrong("iou_loss", fault="mean over the rows", true="\\(R,\\)|mean|average|shape", false="clamp")
def iou_mean(boxes, targets):
    return _iou_loss(boxes, targets).mean()


@wrong("iou_loss", fault="(R, R): every box with every target", true="\\(R, R\\)|same row|pair|row")
def iou_pairs(boxes, targets):
    low = torch.maximum(boxes[:, None, :2], targets[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], targets[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(2)
    areas = [(one[:, 2:] - one[:, :2]).prod(1) for one in (boxes, targets)]
    return -(shared / (areas[0][:, None] + areas[1] - shared)).clamp(min=1e-6).log()


@wrong("iou_loss", fault="1 - IoU", true="ln|log", false="clamp|apart")
def iou_linear(boxes, targets):
    return 1 - _iou(boxes, targets)


@wrong("iou_loss", fault="base 2", true="ln|natural|base|log", false="clamp|apart")
def iou_log2(boxes, targets):
    return -torch.log2(_iou(boxes, targets))


# apart: inf instead of 13.816
@wrong("iou_loss", fault="IoU not clamped at 1e-6", true="1e-6|13\\.8|10|least|inf", false="row")
def iou_inf(boxes, targets):
    return -_iou(boxes, targets, 0.0).log()


@wrong(
    "iou_loss",
    fault="the union counts the overlap twice",
    true="union|twice|subtract|minus",
    false="clamp|apart",
)
def iou_no_minus(boxes, targets):
    low = torch.maximum(boxes[:, :2], targets[:, :2])
    high = torch.minimum(boxes[:, 2:], targets[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    areas = [(one[:, 2:] - one[:, :2]).prod(1) for one in (boxes, targets)]
    return -(shared / (areas[0] + areas[1])).clamp(min=1e-6).log()


@wrong(
    "iou_loss",
    fault="+1 pixel in all sides, as in old code",
    true="\\+ ?1|pixel|width|side|area",
    false="row|mean",
)
def iou_plus_one(boxes, targets):
    low = torch.maximum(boxes[:, :2], targets[:, :2])
    high = torch.minimum(boxes[:, 2:], targets[:, 2:])
    shared = (high - low + 1).clamp(min=0).prod(1)
    areas = [(one[:, 2:] - one[:, :2] + 1).prod(1) for one in (boxes, targets)]
    return -(shared / (areas[0] + areas[1] - shared)).clamp(min=1e-6).log()


@wrong("iou_loss", fault="sign: ln IoU", true="sign|minus|negative", false="clamp|row")
def iou_sign(boxes, targets):
    return _iou(boxes, targets).log()


@wrong("iou_loss", fault="no gradient", true="gradient|detach|no_grad", false="clamp|row")
def iou_no_grad(boxes, targets):
    return torch.tensor([-math.log(x) for x in _iou(boxes, targets).tolist()])


@right("iou_loss", unusual="row by row in plain arithmetic of tensors")
def iou_rows(boxes, targets):
    losses = []
    for (x1, y1, x2, y2), (u1, v1, u2, v2) in zip(boxes, targets):
        wide = torch.minimum(x2, u2) - torch.maximum(x1, u1)
        high = torch.minimum(y2, v2) - torch.maximum(y1, v1)
        shared = wide.clamp(min=0) * high.clamp(min=0)
        union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - shared
        losses.append(-(shared / union).clamp(min=1e-6).log())
    return torch.stack(losses) if losses else boxes.sum(1)


@right("iou_loss", unusual="difference of logarithms, clamped from above")
def iou_difference(boxes, targets):
    low = torch.maximum(boxes[:, :2], targets[:, :2])
    high = torch.minimum(boxes[:, 2:], targets[:, 2:])
    wide, tall = (high - low).relu().unbind(1)
    shared = wide * tall
    a = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    b = (targets[:, 2] - targets[:, 0]) * (targets[:, 3] - targets[:, 1])
    union = a + b - shared
    floor = 1e-6 * union.detach()
    return torch.where(
        shared > floor,
        union.log() - torch.where(shared > floor, shared, torch.ones_like(shared)).log(),
        torch.full_like(shared, -math.log(1e-6)),
    )


@right("iou_loss", unusual="the overlap from relu of four numbers in columns")
def iou_columns(boxes, targets):
    x1, y1, x2, y2 = torch.stack([boxes, targets]).unbind(2)
    wide = nn.functional.relu(x2.amin(0) - x1.amax(0))
    tall = nn.functional.relu(y2.amin(0) - y1.amax(0))
    areas = ((x2 - x1) * (y2 - y1)).sum(0)
    return -torch.log(torch.clamp(wide * tall / (areas - wide * tall), min=1e-6))


@breaks("iou_loss", how="raises RuntimeError: max() of Python compares two tensors")
def iou_builtin(boxes, targets):
    x1 = max(boxes[:, 0], targets[:, 0])
    x2 = min(boxes[:, 2], targets[:, 2])
    y1 = max(boxes[:, 1], targets[:, 1])
    y2 = min(boxes[:, 3], targets[:, 3])
    shared = (x2 - x1).clamp(min=0) * (y2 - y1).clamp(min=0)
    areas = [(one[:, 2:] - one[:, :2]).prod(1) for one in (boxes, targets)]
    return -(shared / (areas[0] + areas[1] - shared)).clamp(min=1e-6).log()


# Step 5: region(boxes, stride, rows, columns, scale)


def _scaled(boxes, stride, scale):
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]) * scale / 2
    return (center - half) / stride, (center + half) / stride


def _band(low, high, count, at_least=1):
    first = low.floor().clamp(0, count - 1)
    end = torch.maximum(high.ceil().clamp(max=count), first + at_least)
    cell = torch.arange(count)
    return (cell >= first[:, None]) & (cell < end[:, None])


# a box of side 0 that lies on the border of two cells: x1 = x2 = 2
@wrong("region", fault="may be empty", true="empty|at least|begins|first \\+ 1", false="axis|wider")
def region_empty(boxes, stride, rows, columns, scale):
    low, high = _scaled(boxes, stride, scale)
    x = _band(low[:, 0], high[:, 0], columns, 0)
    y = _band(low[:, 1], high[:, 1], rows, 0)
    return y[:, :, None] & x[:, None]


@wrong("region", fault="columns times rows", true="shape|axis|rows|columns|wider", false="empty")
def region_transposed(boxes, stride, rows, columns, scale):
    low, high = _scaled(boxes, stride, scale)
    x, y = _band(low[:, 0], high[:, 0], columns), _band(low[:, 1], high[:, 1], rows)
    return x[:, :, None] & y[:, None]


@wrong("region", fault="x and y swapped inside the right shape", true="axis|rows|columns|x|wider")
def region_swapped(boxes, stride, rows, columns, scale):
    low, high = _scaled(boxes, stride, scale)
    x, y = _band(low[:, 1], high[:, 1], columns), _band(low[:, 0], high[:, 0], rows)
    return y[:, :, None] & x[:, None]


@wrong(
    "region",
    fault="only cells whose center lies in the scaled box",
    true="floor|ceil|⌊|⌈|center|small|empty",
    false="axis|wider",
)
def region_centers(boxes, stride, rows, columns, scale):
    low, high = _scaled(boxes, stride, scale)
    x, y = torch.arange(columns) + 0.5, torch.arange(rows) + 0.5
    in_x = (x >= low[:, :1]) & (x < high[:, :1])
    in_y = (y >= low[:, 1:]) & (y < high[:, 1:])
    return in_y[:, :, None] & in_x[:, None]


@wrong("region", fault="one column and row too many", true="− 1|- 1|last|one too|ceil|⌈|end")
def region_one_more(boxes, stride, rows, columns, scale):
    low, high = _scaled(boxes, stride, scale)
    x, y = (
        (cell >= low[:, k, None].floor().clamp(0, len(cell) - 1))
        & (cell <= high[:, k, None].ceil())
        for k, cell in enumerate((torch.arange(columns), torch.arange(rows)))
    )
    return y[:, :, None] & x[:, None]


@wrong("region", fault="the scale is not applied", true="scale|sides", false="empty|axis")
def region_whole_box(boxes, stride, rows, columns, scale):
    return region_right(boxes, stride, rows, columns, 1.0)


@wrong(
    "region",
    fault="scales the corners: the box does not keep its center",
    true="center|corner|sides|scale",
    false="empty|axis",
)
def region_scales_corners(boxes, stride, rows, columns, scale):
    low, high = boxes[:, :2] * scale / stride, boxes[:, 2:] * scale / stride
    x, y = _band(low[:, 0], high[:, 0], columns), _band(low[:, 1], high[:, 1], rows)
    return y[:, :, None] & x[:, None]


@wrong(
    "region",
    fault="reaches scale · side to each side of the center: twice as wide",
    true="half|/ 2|scale|twice|too large|too wide|sides",
    false="axis",
)
def region_twice(boxes, stride, rows, columns, scale):
    return region_right(boxes, stride, rows, columns, 2 * scale)


@wrong("region", fault="rounds both ends", true="floor|ceil|round|⌊|⌈", false="axis|border")
def region_rounds(boxes, stride, rows, columns, scale):
    low, high = _scaled(boxes, stride, scale)
    low, high = low.round(), high.round()
    x, y = _band(low[:, 0], high[:, 0], columns), _band(low[:, 1], high[:, 1], rows)
    return y[:, :, None] & x[:, None]


# a box that begins at x1 = -4 pixels or beyond the last column
@wrong(
    "region",
    fault="border not handled: a box beyond the last column has no cell",
    true="border|clamp|outside|empty|count",
    false="axis|scale",
)
def region_no_border(boxes, stride, rows, columns, scale):
    low, high = _scaled(boxes, stride, scale)
    x, y = (
        (cell >= low[:, k, None].floor())
        & (cell < torch.maximum(high[:, k, None].ceil(), low[:, k, None].floor() + 1))
        for k, cell in enumerate((torch.arange(columns), torch.arange(rows)))
    )
    return y[:, :, None] & x[:, None]


@wrong(
    "region",
    fault="negative first column counts from the end",
    true="border|clamp|negative|outside",
    false="axis|scale",
)
def region_negative_slice(boxes, stride, rows, columns, scale):
    mask = torch.zeros(len(boxes), rows, columns, dtype=torch.bool)
    low, high = _scaled(boxes, stride, scale)
    for n in range(len(boxes)):
        x1, y1 = low[n].floor().int().tolist()
        x2, y2 = high[n].ceil().int().tolist()
        mask[n, y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = True
    return mask


@wrong("region", fault="changes the boxes in place", true="in place|argument|change", false="axis")
def region_in_place(boxes, stride, rows, columns, scale):
    boxes /= stride
    return region_right(boxes, 1, rows, columns, scale)


@right("region", unusual="comparisons with broadcasting, no loop")
def region_right(boxes, stride, rows, columns, scale):
    low, high = _scaled(boxes, stride, scale)
    x, y = _band(low[:, 0], high[:, 0], columns), _band(low[:, 1], high[:, 1], rows)
    return y[:, :, None] & x[:, None]


@right("region", unusual="slices in a loop over boxes, plain numbers")
def region_slices(boxes, stride, rows, columns, scale):
    mask = torch.zeros((len(boxes), rows, columns), dtype=torch.bool)
    low, high = _scaled(boxes, stride, scale)
    for n, (x1, y1, x2, y2) in enumerate(torch.cat([low, high], 1).tolist()):
        j = min(max(math.floor(x1), 0), columns - 1)
        i = min(max(math.floor(y1), 0), rows - 1)
        j_end = max(min(math.ceil(x2), columns), j + 1)
        i_end = max(min(math.ceil(y2), rows), i + 1)
        mask[n, i:i_end, j:j_end] = True
    return mask


@right("region", unusual="product of rows and columns by einsum")
def region_einsum(boxes, stride, rows, columns, scale):
    low, high = _scaled(boxes, stride, scale)
    x, y = _band(low[:, 0], high[:, 0], columns), _band(low[:, 1], high[:, 1], rows)
    return torch.einsum("ni,nj->nij", y.float(), x.float()) > 0.5


@breaks("region", how="raises RuntimeError: stack of an empty list for N = 0")
def region_stack(boxes, stride, rows, columns, scale):
    return torch.stack([region_right(box[None], stride, rows, columns, scale)[0] for box in boxes])


@breaks("region", how="endless loop: the column never grows")
def region_endless(boxes, stride, rows, columns, scale):
    mask = torch.zeros((len(boxes), rows, columns), dtype=torch.bool)
    low, high = _scaled(boxes, stride, scale)
    for n, (x1, y1, x2, y2) in enumerate(torch.cat([low, high], 1).tolist()):
        i = max(math.floor(y1), 0)
        while i < min(math.ceil(y2), rows):
            j = max(math.floor(x1), 0)
            while j < min(math.ceil(x2), columns):
                mask[n, i, j] = True
            i += 1
    return mask


# Step 6: resolve_overlaps(effective, boxes)


def _areas(boxes):
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


@wrong("resolve_overlaps", fault="the larger one wins", true="smallest|larger|descending|largest")
def overlaps_larger(effective, boxes):
    result = torch.full((effective.shape[1],), -1)
    for n in _areas(boxes).argsort(stable=True).tolist():
        result[effective[n]] = n
    return result


@wrong("resolve_overlaps", fault="equals: the earlier one", true="equal|later|stable|tie")
def overlaps_earlier(effective, boxes):
    if len(boxes) == 0:
        return torch.full((effective.shape[1],), -1)
    areas = torch.where(effective, _areas(boxes)[:, None], torch.inf)
    return torch.where(effective.any(0), areas.argmin(0), -1)


@wrong(
    "resolve_overlaps", fault="rank instead of index", true="rank|index|position|given list|sort"
)
def overlaps_rank(effective, boxes):
    result = torch.full((effective.shape[1],), -1)
    order = _areas(boxes).argsort(descending=True, stable=True)
    for rank, row in enumerate(effective[order]):
        result[row] = rank
    return result


@wrong("resolve_overlaps", fault="background is 0", true="-1|−1|background", false="small|area")
def overlaps_zero(effective, boxes):
    result = torch.zeros(effective.shape[1], dtype=torch.long)
    for n in _areas(boxes).argsort(descending=True, stable=True).tolist():
        result[effective[n]] = n
    return result


@wrong("resolve_overlaps", fault="the last in the list wins", true="small|area|sort|order")
def overlaps_last(effective, boxes):
    result = torch.full((effective.shape[1],), -1)
    for n in range(len(boxes)):
        result[effective[n]] = n
    return result


@wrong(
    "resolve_overlaps",
    fault="the area of the effective region, not of the box",
    true="area|box|region|pixels",
    false="equal|stable",
)
def overlaps_region_area(effective, boxes):
    result = torch.full((effective.shape[1],), -1)
    for n in effective.sum(1).argsort(descending=True, stable=True).tolist():
        result[effective[n]] = n
    return result


# a box of 10 × 100 against one of 40 × 40
@wrong("resolve_overlaps", fault="width + height instead of area", true="area|product|width")
def overlaps_perimeter(effective, boxes):
    result = torch.full((effective.shape[1],), -1)
    sides = (boxes[:, 2:] - boxes[:, :2]).sum(1)
    for n in sides.argsort(descending=True, stable=True).tolist():
        result[effective[n]] = n
    return result


@wrong(
    "resolve_overlaps", fault="area is x2 · y2", true="area|width|x2|product|place", false="equal"
)
def overlaps_place(effective, boxes):
    result = torch.full((effective.shape[1],), -1)
    for n in boxes[:, 2:].prod(1).argsort(descending=True, stable=True).tolist():
        result[effective[n]] = n
    return result


@wrong("resolve_overlaps", fault="floats", true="whole|float|integer|long|type", false="area|small")
def overlaps_floats(effective, boxes):
    result = torch.full((effective.shape[1],), -1.0)
    for n in _areas(boxes).argsort(descending=True, stable=True).tolist():
        result[effective[n]] = n
    return result


@wrong(
    "resolve_overlaps",
    fault="locations with several instances become background",
    true="several|small|overlap|background|-1|−1",
    false="equal",
)
def overlaps_nobody(effective, boxes):
    result = torch.full((effective.shape[1],), -1)
    single = effective.sum(0) == 1
    for n in range(len(boxes)):
        result[effective[n] & single] = n
    return result


@right("resolve_overlaps", unusual="argmin over the list turned around")
def overlaps_reversed(effective, boxes):
    if not len(boxes):
        return torch.full((effective.shape[1],), -1)
    areas = torch.where(effective, _areas(boxes)[:, None], torch.inf).flip(0)
    best = len(boxes) - 1 - areas.min(0).indices
    # min() promises no first index among equals: take it by hand
    first = (areas == areas.amin(0)).float().argmax(0)
    best = len(boxes) - 1 - first
    return torch.where(effective.any(0), best, torch.full_like(best, -1))


@right("resolve_overlaps", unusual="location by location, min() with a pair as key")
def overlaps_pairs(effective, boxes):
    areas = _areas(boxes).tolist()
    result = []
    for column in effective.T.tolist():
        own = [n for n, inside in enumerate(column) if inside]
        result.append(min(own, key=lambda n: (areas[n], -n), default=-1))
    return torch.tensor(result, dtype=torch.int64)


@right("resolve_overlaps", unusual="each instance challenges the holder")
def overlaps_challenge(effective, boxes):
    holder = torch.full((effective.shape[1],), -1)
    held = torch.full((effective.shape[1],), torch.inf)
    for n, area in enumerate(_areas(boxes)):
        wins = effective[n] & (area <= held)
        holder = torch.where(wins, n, holder)
        held = torch.where(wins, area, held)
    return holder


@breaks("resolve_overlaps", how="raises IndexError: argmin along an axis of size 0 for N = 0")
def overlaps_no_instance(effective, boxes):
    areas = torch.where(effective, _areas(boxes)[:, None], torch.inf).flip(0)
    best = len(boxes) - 1 - areas.argmin(0)
    return torch.where(effective.any(0), best, -1)


# Step 7: focal_loss(logits, targets)


def _focal(logits, targets):
    p = logits.sigmoid()
    positive = -0.25 * (1 - p) ** 2 * logsigmoid(logits)
    negative = -0.75 * p**2 * logsigmoid(-logits)
    return torch.where(targets > 0, positive, negative)


@wrong("focal_loss", fault="log of a rounded p: inf at 200", true="inf|logsigmoid|large|nan|200")
def focal_naive(logits, targets):
    p = logits.sigmoid()
    positive = -0.25 * (1 - p) ** 2 * p.log()
    negative = -0.75 * p**2 * (1 - p).log()
    return torch.where(targets > 0, positive, negative)


# the value at 200 should be 150, and its slope 0.75
@wrong(
    "focal_loss",
    fault="p clamped at 1e-6: finite, but too small, and no gradient",
    true="clamp|large|logsigmoid|200|gradient",
    false="swap|sum",
)
def focal_clamped(logits, targets):
    p = logits.sigmoid().clamp(1e-6, 1 - 1e-6)
    positive = -0.25 * (1 - p) ** 2 * p.log()
    negative = -0.75 * p**2 * (1 - p).log()
    return torch.where(targets > 0, positive, negative)


@wrong("focal_loss", fault="0.25 and 0.75 swapped", true="swap|0\\.25|0\\.75|weight|alpha")
def focal_alpha_swapped(logits, targets):
    p = logits.sigmoid()
    positive = -0.75 * (1 - p) ** 2 * logsigmoid(logits)
    negative = -0.25 * p**2 * logsigmoid(-logits)
    return torch.where(targets > 0, positive, negative)


@wrong("focal_loss", fault="target 0 and 1 swapped", true="swap|target", false="inf|large|sum")
def focal_targets_swapped(logits, targets):
    return _focal(logits, 1 - targets)


@wrong("focal_loss", fault="not squared", true="square|power|\\^2|\\*\\* ?2|²|exponent|gamma")
def focal_gamma_one(logits, targets):
    p = logits.sigmoid()
    positive = -0.25 * (1 - p) * logsigmoid(logits)
    negative = -0.75 * p * logsigmoid(-logits)
    return torch.where(targets > 0, positive, negative)


@wrong(
    "focal_loss",
    fault="p and 1 - p swapped in the factor: easy entries count most",
    true="factor|1 - p|1 − p|swap|easy",
    false="inf|sum",
)
def focal_factor_swapped(logits, targets):
    p = logits.sigmoid()
    positive = -0.25 * p**2 * logsigmoid(logits)
    negative = -0.75 * (1 - p) ** 2 * logsigmoid(-logits)
    return torch.where(targets > 0, positive, negative)


@wrong("focal_loss", fault="summed over classes", true="sum|entry|shape", false="inf|swap")
def focal_summed(logits, targets):
    return _focal(logits, targets).sum(-1)


@wrong("focal_loss", fault="mean", true="mean|entry|shape|each", false="inf|swap")
def focal_mean(logits, targets):
    return _focal(logits, targets).mean()


@wrong("focal_loss", fault="sign", true="sign|minus|negative", false="inf|swap")
def focal_sign(logits, targets):
    return -_focal(logits, targets)


@wrong("focal_loss", fault="second sigmoid on p", true="sigmoid|twice|logit", false="swap|sum")
def focal_double_sigmoid(logits, targets):
    return _focal(logits.sigmoid(), targets)


@wrong("focal_loss", fault="softmax over the classes", true="sigmoid|softmax", false="swap|sum")
def focal_softmax(logits, targets):
    p = logits.softmax(-1)
    positive = -0.25 * (1 - p) ** 2 * (p + 1e-12).log()
    negative = -0.75 * p**2 * (1 - p + 1e-12).log()
    return torch.where(targets > 0, positive, negative)


@right("focal_loss", unusual="library cross entropy, p_t from its exponential")
def focal_cross_entropy(logits, targets):
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    alpha = 0.75 - 0.5 * targets
    p = torch.sigmoid(logits)
    miss = torch.where(targets > 0, 1 - p, p)
    return alpha * miss.square() * entropy


@right("focal_loss", unusual="one softplus with the sign of the target")
def focal_softplus(logits, targets):
    signed = torch.where(targets > 0, -logits, logits)  # large where it is wrong
    alpha = torch.where(targets > 0, 0.25, 0.75)
    return alpha * torch.sigmoid(signed).pow(2) * softplus(signed)


@right("focal_loss", unusual="each case only on its own entries, by a mask")
def focal_masked(logits, targets):
    is_one = targets > 0.5
    result = torch.zeros_like(logits)
    x, y = logits[is_one], logits[~is_one]
    result = result.masked_scatter(is_one, -0.25 * (-x).sigmoid() ** 2 * logsigmoid(x))
    return result.masked_scatter(~is_one, -0.75 * y.sigmoid() ** 2 * logsigmoid(-y))


@breaks("focal_loss", how="raises OverflowError or ValueError: math.exp and math.log of one logit")
def focal_math(logits, targets):
    losses = []
    for x, y in zip(logits.flatten().tolist(), targets.flatten().tolist()):
        p = 1 / (1 + math.exp(-x))
        loss = -0.25 * (1 - p) ** 2 * math.log(p) if y else -0.75 * p**2 * math.log(1 - p)
        losses.append(loss)
    return torch.tensor(losses).view_as(logits)


# Step 8: level_losses(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels)


def _location_losses(logits, boxes, gt_boxes, gt_labels, assigned):
    """Focal and IoU loss of each location; those of background mean nothing."""
    if not len(gt_boxes):
        return logits.new_zeros(len(logits)), logits.new_zeros(len(logits))
    wanted = one_hot(gt_labels[assigned], logits.shape[1])
    return _focal(logits, wanted).sum(1), _iou_loss(boxes, gt_boxes[assigned])


def _table(losses, assigned, level, instances, levels):
    table = torch.full((instances, levels), torch.inf)
    for n in range(instances):
        for l in range(levels):
            own = (assigned == n) & (level == l)
            if own.any():
                table[n, l] = losses[own].mean()
    return table


@wrong(
    "level_losses", fault="the table has a gradient", true="gradient|no_grad|detach", false="nan"
)
def levels_gradient(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    focal, iou = _location_losses(logits, boxes, gt_boxes, gt_labels, assigned)
    return _table(focal + iou, assigned, level, len(gt_boxes), num_levels)


@wrong("level_losses", fault="nan without a location", true="nan|inf|no location", false="gradient")
@torch.no_grad()
def levels_nan(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    focal, iou = _location_losses(logits, boxes, gt_boxes, gt_labels, assigned)
    loss = focal + iou
    table = torch.zeros(len(gt_boxes), num_levels)
    for n in range(len(gt_boxes)):
        for l in range(num_levels):
            table[n, l] = loss[(assigned == n) & (level == l)].mean()
    return table


@wrong(
    "level_losses", fault="sum over the locations", true="mean|sum|number of", false="inf|gradient"
)
@torch.no_grad()
def levels_sum(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    focal, iou = _location_losses(logits, boxes, gt_boxes, gt_labels, assigned)
    table = torch.full((len(gt_boxes), num_levels), torch.inf)
    for n in range(len(gt_boxes)):
        for l in range(num_levels):
            own = (assigned == n) & (level == l)
            if own.any():
                table[n, l] = (focal + iou)[own].sum()
    return table


@wrong("level_losses", fault="mean over the classes", true="sum|classes", false="inf|gradient|IoU")
@torch.no_grad()
def levels_class_mean(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    focal, iou = _location_losses(logits, boxes, gt_boxes, gt_labels, assigned)
    loss = focal / logits.shape[1] + iou
    return _table(loss, assigned, level, len(gt_boxes), num_levels)


@wrong(
    "level_losses", fault="only the IoU loss", true="focal|class|FL|both|sum", false="inf|gradient"
)
@torch.no_grad()
def levels_no_focal(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    _, iou = _location_losses(logits, boxes, gt_boxes, gt_labels, assigned)
    return _table(iou, assigned, level, len(gt_boxes), num_levels)


@wrong(
    "level_losses",
    fault="the focal loss of the own class only",
    true="all classes|other classes|sum|entries|target",
    false="inf|IoU|gradient",
)
@torch.no_grad()
def levels_own_class(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    table = torch.full((len(gt_boxes), num_levels), torch.inf)
    for n, (box, label) in enumerate(zip(gt_boxes, gt_labels)):
        for l in range(num_levels):
            own = (assigned == n) & (level == l)
            if own.any():
                focal = _focal(logits[own, label], torch.ones(int(own.sum())))
                table[n, l] = (focal + _iou_loss(boxes[own], box.expand(int(own.sum()), 4))).mean()
    return table


@wrong(
    "level_losses",
    fault="class target 0 everywhere",
    true="target|own class|label|1 for",
    false="inf|IoU|gradient",
)
@torch.no_grad()
def levels_no_target(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    _, iou = _location_losses(logits, boxes, gt_boxes, gt_labels, assigned)
    focal = _focal(logits, torch.zeros_like(logits)).sum(1)
    return _table(focal + iou, assigned, level, len(gt_boxes), num_levels)


@wrong(
    "level_losses",
    fault="the instance's number taken for its class",
    true="label|class|gt_labels|target",
    false="inf|IoU|gradient",
)
@torch.no_grad()
def levels_number_for_label(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    numbers = torch.arange(len(gt_boxes)) % logits.shape[1]
    focal, iou = _location_losses(logits, boxes, gt_boxes, numbers, assigned)
    return _table(focal + iou, assigned, level, len(gt_boxes), num_levels)


@wrong(
    "level_losses",
    fault="background counts for the last instance",
    true="-1|−1|last|background",
    false="gradient|nan",
)
@torch.no_grad()
def levels_background(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    focal, iou = _location_losses(logits, boxes, gt_boxes, gt_labels, assigned)
    last = torch.where(assigned < 0, len(gt_boxes) - 1, assigned)
    return _table(focal + iou, last, level, len(gt_boxes), num_levels)


@wrong(
    "level_losses",
    fault="0 without a location",
    true="inf|no location|\\b0\\b",
    false="gradient|mean over",
)
@torch.no_grad()
def levels_zero(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    focal, iou = _location_losses(logits, boxes, gt_boxes, gt_labels, assigned)
    table = _table(focal + iou, assigned, level, len(gt_boxes), num_levels)
    return table.nan_to_num(posinf=0.0)


# wrong for an object that covers all locations of a level only in part, as nearly all do
@wrong(
    "level_losses",
    fault="divides by the locations of the whole level",
    true="mean|number|own|divi",
    false="inf\\b|gradient",
)
@torch.no_grad()
def levels_whole_level(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    focal, iou = _location_losses(logits, boxes, gt_boxes, gt_labels, assigned)
    table = torch.full((len(gt_boxes), num_levels), torch.inf)
    for n in range(len(gt_boxes)):
        for l in range(num_levels):
            own = (assigned == n) & (level == l)
            if own.any():
                table[n, l] = (focal + iou)[own].sum() / (level == l).sum()
    return table


@right("level_losses", unusual="two index_add, one row more for background")
@torch.no_grad()
def levels_index_add(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    n = len(gt_boxes)
    focal, iou = _location_losses(logits, boxes, gt_boxes, gt_labels, assigned)
    where = assigned.where(assigned >= 0, n) * num_levels + level
    sums = torch.zeros((n + 1) * num_levels).index_add(0, where, focal + iou)
    counts = torch.bincount(where, minlength=(n + 1) * num_levels)
    table = torch.where(counts > 0, sums / counts.clamp(min=1), torch.inf)
    return table.view(n + 1, num_levels)[:n]


@right("level_losses", unusual="all pairs (N, R) of losses, masked mean")
def levels_all_pairs(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    logits, boxes = logits.detach(), boxes.detach()
    n, r = len(gt_boxes), len(boxes)
    zero = torch.zeros_like(logits)
    as_background = _focal(logits, zero)
    as_own = _focal(logits, zero + 1)
    focal = as_background.sum(1) + (as_own - as_background)[:, gt_labels].T  # (N, R)
    pairs = boxes.repeat(n, 1), gt_boxes.detach().repeat_interleave(r, 0)
    losses = focal + _iou_loss(*pairs).view(n, r)
    own = assigned == torch.arange(n)[:, None]
    columns = []
    for l in range(num_levels):
        mask = own & (level == l)
        mean = losses.masked_fill(~mask, 0.0).sum(1) / mask.sum(1).clamp(min=1)
        columns.append(mean.masked_fill(~mask.any(1), torch.inf))
    return torch.stack(columns, 1)


@right("level_losses", unusual="dictionary of lists in a loop over the assigned locations")
def levels_dictionary(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    with torch.no_grad():
        found = {}
        for r in (assigned >= 0).nonzero()[:, 0].tolist():
            n = int(assigned[r])
            wanted = torch.zeros(logits.shape[1])
            wanted[gt_labels[n]] = 1
            loss = _focal(logits[r], wanted).sum() + _iou_loss(boxes[r][None], gt_boxes[n][None])[0]
            found.setdefault((n, int(level[r])), []).append(loss)
        table = torch.full((len(gt_boxes), num_levels), float("inf"))
        for (n, l), losses in found.items():
            table[n, l] = torch.stack(losses).mean()
    return table


@breaks("level_losses", how="raises IndexError for N = 0: background indexes an empty list")
@torch.no_grad()
def levels_empty_index(logits, boxes, gt_boxes, gt_labels, assigned, level, num_levels):
    wanted = one_hot(gt_labels[assigned], logits.shape[1])
    loss = _focal(logits, wanted).sum(1) + _iou_loss(boxes, gt_boxes[assigned])
    return _table(loss, assigned, level, len(gt_boxes), num_levels)


# Step 9: assign(table, assigned, ignoring, gt_labels, level, num_classes)


def _selected(table):
    if not len(table):
        return torch.zeros(0, dtype=torch.long)
    return torch.where(table.isinf().all(1), -1, table.argmin(1))


def _positive(selected, assigned, level):
    return torch.cat([selected, torch.tensor([-1])])[assigned] == level


def _ignored(selected, ignoring, labels, level, classes, reach=1):
    ignored = torch.zeros(len(level), classes, dtype=torch.bool)
    for n, chosen in enumerate(selected.tolist()):
        if chosen >= 0:
            ignored[:, labels[n]] |= ignoring[n] & ((level - chosen).abs() <= reach)
    return ignored


@wrong(
    "assign",
    fault="an instance without a location gets level 0",
    true="-1|−1|no location|without a location|inf|argmin",
    false="above|below|class",
)
def assign_level_zero(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = table.argmin(1) if len(table) else torch.zeros(0, dtype=torch.long)
    positive = _positive(selected, assigned, level)
    return selected, positive, _ignored(selected, ignoring, gt_labels, level, num_classes)


@wrong(
    "assign",
    fault="background is positive at the level of the last instance",
    true="background|-1|−1|last",
    false="ignor|class",
)
def assign_background(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = _selected(table)
    if len(selected):
        positive = selected[assigned] == level
    else:
        positive = torch.zeros(len(level), dtype=torch.bool)
    return selected, positive, _ignored(selected, ignoring, gt_labels, level, num_classes)


@wrong(
    "assign",
    fault="instances with -1 ignore at P3",
    true="-1|−1|P3|skip|ignores nothing|too much",
    false="argmin|background",
)
def assign_minus_one_ignores(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = _selected(table)
    ignored = torch.zeros(len(level), num_classes, dtype=torch.bool)
    for n in range(len(selected)):
        ignored[:, gt_labels[n]] |= ignoring[n] & ((level - selected[n]).abs() <= 1)
    return selected, _positive(selected, assigned, level), ignored


@wrong(
    "assign",
    fault="ignores only at the selected level",
    true="above|below|adjacent|neighbo|levels",
    false="argmin|-1",
)
def assign_no_neighbors(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = _selected(table)
    ignored = _ignored(selected, ignoring, gt_labels, level, num_classes, reach=0)
    return selected, _positive(selected, assigned, level), ignored


@wrong(
    "assign",
    fault="ignores at all levels",
    true="above|below|adjacent|neighbo|levels|too much",
    false="argmin|-1",
)
def assign_all_levels(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = _selected(table)
    ignored = _ignored(selected, ignoring, gt_labels, level, num_classes, reach=99)
    return selected, _positive(selected, assigned, level), ignored


@wrong(
    "assign",
    fault="ignores only at the levels beside, not at the selected one",
    true="selected level|itself|own level|too little",
    false="argmin|-1",
)
def assign_only_neighbors(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = _selected(table)
    around = _ignored(selected, ignoring, gt_labels, level, num_classes)
    own = _ignored(selected, ignoring, gt_labels, level, num_classes, reach=0)
    return selected, _positive(selected, assigned, level), around & ~own


@wrong(
    "assign",
    fault="a second instance of a class overwrites the first",
    true="add up|several|overwrit|\\bor\\b|one class|\\|",
    false="argmin|-1",
)
def assign_overwrites(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = _selected(table)
    ignored = torch.zeros(len(level), num_classes, dtype=torch.bool)
    for n, chosen in enumerate(selected.tolist()):
        if chosen >= 0:
            ignored[:, gt_labels[n]] = ignoring[n] & ((level - chosen).abs() <= 1)
    return selected, _positive(selected, assigned, level), ignored


@wrong(
    "assign",
    fault="all classes are ignored, not the instance's own",
    true="class|column|too much|label",
    false="argmin|above|below",
)
def assign_all_classes(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = _selected(table)
    ignored = _ignored(selected, ignoring, gt_labels, level, num_classes)
    return selected, _positive(selected, assigned, level), ignored.any(1, True).expand_as(ignored)


@wrong(
    "assign",
    fault="all assigned locations are positive",
    true="selected level|positive|level",
    false="ignor|argmin",
)
def assign_all_positive(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = _selected(table)
    ignored = _ignored(selected, ignoring, gt_labels, level, num_classes)
    return selected, assigned >= 0, ignored


@wrong("assign", fault="largest loss", true="least|argmin|largest|min", false="ignor|background")
def assign_argmax(table, assigned, ignoring, gt_labels, level, num_classes):
    if not len(table):
        return assign_level_zero(table, assigned, ignoring, gt_labels, level, num_classes)
    finite = table.masked_fill(table.isinf(), -torch.inf)
    selected = torch.where(table.isinf().all(1), -1, finite.argmax(1))
    ignored = _ignored(selected, ignoring, gt_labels, level, num_classes)
    return selected, _positive(selected, assigned, level), ignored


@wrong("assign", fault="of equal losses the last", true="first|equal|tie", false="ignor|background")
def assign_last_of_equals(table, assigned, ignoring, gt_labels, level, num_classes):
    if not len(table):
        return assign_level_zero(table, assigned, ignoring, gt_labels, level, num_classes)
    last = table.shape[1] - 1 - table.flip(1).argmin(1)
    selected = torch.where(table.isinf().all(1), -1, last)
    ignored = _ignored(selected, ignoring, gt_labels, level, num_classes)
    return selected, _positive(selected, assigned, level), ignored


@wrong(
    "assign",
    fault="positive entries are taken out of the ignored ones",
    true="positive.*ignored|ignored.*positive|among the ignored|too little|ignor",
    false="argmin|-1",
)
def assign_positive_not_ignored(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = _selected(table)
    positive = _positive(selected, assigned, level)
    ignored = _ignored(selected, ignoring, gt_labels, level, num_classes)
    return selected, positive, ignored & ~positive[:, None]


@wrong("assign", fault="order: positive first", true="order|first|three|selected", false="ignor")
def assign_order(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = _selected(table)
    ignored = _ignored(selected, ignoring, gt_labels, level, num_classes)
    return _positive(selected, assigned, level), ignored, selected


# six classes, where the text asks for num_classes
@wrong(
    "assign", fault="six classes written in", true="num_classes|shape|K|column|6", false="argmin"
)
def assign_six_classes(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = _selected(table)
    ignored = torch.zeros(len(level), 6, dtype=torch.bool)
    for n, chosen in enumerate(selected.tolist()):
        if chosen >= 0:
            ignored[:, gt_labels[n] % 6] |= ignoring[n] & ((level - chosen).abs() <= 1)
    return selected, _positive(selected, assigned, level), ignored


@right("assign", unusual="no loop: a product with one-hot labels")
def assign_product(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = _selected(table)
    near = ((level - selected[:, None]).abs() <= 1) & (selected >= 0)[:, None] & ignoring
    classes = one_hot(gt_labels, num_classes).float()
    ignored = (near.float().T @ classes) > 0
    return selected, _positive(selected, assigned, level), ignored


@right("assign", unusual="level by level, with a padded list of levels")
def assign_by_level(table, assigned, ignoring, gt_labels, level, num_classes):
    rows = table.tolist()
    selected = [row.index(min(row)) if min(row) < math.inf else -1 for row in rows]
    positive = torch.zeros_like(level, dtype=torch.bool)
    ignored = torch.zeros((len(level), num_classes), dtype=torch.bool)
    for n, chosen in enumerate(selected):
        if chosen == -1:
            continue
        positive |= (assigned == n) & (level == chosen)
        for near in (chosen - 1, chosen, chosen + 1):
            ignored[(level == near) & ignoring[n], gt_labels[n]] = True
    return torch.tensor(selected, dtype=torch.long), positive, ignored


@right("assign", unusual="index_put with accumulation of numbers")
def assign_index_put(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = _selected(table)
    far = torch.where(selected < 0, -9, selected)
    n, r = (ignoring & ((level[None] - far[:, None]).abs() < 2)).nonzero(as_tuple=True)
    counts = torch.zeros(len(level), num_classes, dtype=torch.long)
    counts.index_put_((r, gt_labels[n]), torch.ones_like(r), accumulate=True)
    positive = (assigned >= 0) & (torch.cat([far, far.new_tensor([-9])])[assigned] == level)
    return selected, positive, counts.bool()


@breaks("assign", how="raises IndexError: argmin(1) or selected[-1] with N = 0")
def assign_no_instance(table, assigned, ignoring, gt_labels, level, num_classes):
    selected = torch.where(table.isinf().all(1), -1, table.argmin(1))
    positive = (selected[assigned] == level) & (assigned >= 0)
    return selected, positive, _ignored(selected, ignoring, gt_labels, level, num_classes)


# Step 10: anchor_free_loss(logits, boxes, targets, labels, positive, ignored)


def _wanted(logits, labels, positive):
    wanted = torch.zeros_like(logits)
    wanted[positive, labels[positive]] = 1
    return wanted


@wrong(
    "anchor_free_loss",
    fault="ignored entries with target 1 do not count",
    true="target 1|still count|own|positive|ignored",
    false="divi|gradient|nan",
)
def total_ignores_positives(logits, boxes, targets, labels, positive, ignored):
    focal = _focal(logits, _wanted(logits, labels, positive))[~ignored].sum()
    iou = _iou_loss(boxes[positive], targets[positive]).sum()
    return (focal + iou) / positive.sum().clamp(min=1)


@wrong("anchor_free_loss", fault="ignored entries count", true="ignor", false="divi|gradient|nan")
def total_counts_ignored(logits, boxes, targets, labels, positive, ignored):
    focal = _focal(logits, _wanted(logits, labels, positive)).sum()
    iou = _iou_loss(boxes[positive], targets[positive]).sum()
    return (focal + iou) / positive.sum().clamp(min=1)


@wrong(
    "anchor_free_loss",
    fault="all entries of a positive location count, ignored or not",
    true="own label|target is 1|entry|other classes|ignor",
    false="divi|gradient|nan",
)
def total_positive_rows(logits, boxes, targets, labels, positive, ignored):
    counts = positive[:, None] | ~ignored
    focal = _focal(logits, _wanted(logits, labels, positive))[counts].sum()
    iou = _iou_loss(boxes[positive], targets[positive]).sum()
    return (focal + iou) / positive.sum().clamp(min=1)


# a box and its target without area at a negative location: 0 · nan
@wrong(
    "anchor_free_loss",
    fault="IoU loss of all, times the mask: nan",
    true="nan|choose|positive|mask|before",
    false="divi|ignor",
)
def total_masks(logits, boxes, targets, labels, positive, ignored):
    wanted = _wanted(logits, labels, positive)
    focal = _focal(logits, wanted)[(wanted > 0) | ~ignored].sum()
    low = torch.maximum(boxes[:, :2], targets[:, :2])
    high = torch.minimum(boxes[:, 2:], targets[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    areas = [(one[:, 2:] - one[:, :2]).prod(1) for one in (boxes, targets)]
    iou = shared / (areas[0] + areas[1] - shared)
    losses = -iou.clamp(min=1e-6).log() * positive
    return (focal + losses.sum()) / positive.sum().clamp(min=1)


@wrong(
    "anchor_free_loss",
    fault="no positive location: divides by 0",
    true="at least 1|divi|no object|without objects|nan|inf",
    false="ignor",
)
def total_divides_by_zero(logits, boxes, targets, labels, positive, ignored):
    wanted = _wanted(logits, labels, positive)
    focal = _focal(logits, wanted)[(wanted > 0) | ~ignored].sum()
    iou = _iou_loss(boxes[positive], targets[positive]).sum()
    return (focal + iou) / positive.sum()


@wrong(
    "anchor_free_loss",
    fault="divides by N + 1",
    true="divi|max|at least|number|normaliz",
    false="ignor|nan",
)
def total_plus_one(logits, boxes, targets, labels, positive, ignored):
    wanted = _wanted(logits, labels, positive)
    focal = _focal(logits, wanted)[(wanted > 0) | ~ignored].sum()
    iou = _iou_loss(boxes[positive], targets[positive]).sum()
    return (focal + iou) / (positive.sum() + 1)


@wrong(
    "anchor_free_loss",
    fault="the sum, not divided",
    true="divi|number of positive|normaliz|N_?\\+|max",
    false="ignor|nan",
)
def total_sum(logits, boxes, targets, labels, positive, ignored):
    wanted = _wanted(logits, labels, positive)
    focal = _focal(logits, wanted)[(wanted > 0) | ~ignored].sum()
    return focal + _iou_loss(boxes[positive], targets[positive]).sum()


@wrong(
    "anchor_free_loss",
    fault="only the IoU part is divided",
    true="divi|both|class|focal",
    false="ignor|nan",
)
def total_half_divided(logits, boxes, targets, labels, positive, ignored):
    wanted = _wanted(logits, labels, positive)
    focal = _focal(logits, wanted)[(wanted > 0) | ~ignored].sum()
    return focal + _iou_loss(boxes[positive], targets[positive]).sum() / max(int(positive.sum()), 1)


@wrong(
    "anchor_free_loss", fault="no gradient", true="gradient|detach|item|tensor\\(", false="ignor"
)
def total_item(logits, boxes, targets, labels, positive, ignored):
    wanted = _wanted(logits, labels, positive)
    focal = _focal(logits, wanted)[(wanted > 0) | ~ignored].sum().item()
    iou = _iou_loss(boxes[positive], targets[positive]).sum().item()
    return torch.tensor((focal + iou) / max(1, positive.sum().item()))


@wrong(
    "anchor_free_loss",
    fault="the gradient does not reach the boxes",
    true="gradient|box|detach",
    false="ignor|divi",
)
def total_boxes_detached(logits, boxes, targets, labels, positive, ignored):
    wanted = _wanted(logits, labels, positive)
    focal = _focal(logits, wanted)[(wanted > 0) | ~ignored].sum()
    iou = _iou_loss(boxes[positive].data, targets[positive]).sum()
    return (focal + iou) / positive.sum().clamp(min=1)


@wrong(
    "anchor_free_loss",
    fault="labels of negative locations become targets",
    true="positive|negative|no meaning|elsewhere|target|background",
    false="divi|IoU",
)
def total_all_labels(logits, boxes, targets, labels, positive, ignored):
    # labels have no meaning elsewhere, but image_targets puts numbers there
    wanted = one_hot(labels.clamp(0, logits.shape[1] - 1), logits.shape[1])
    focal = _focal(logits, wanted)[(wanted > 0) | ~ignored].sum()
    iou = _iou_loss(boxes[positive], targets[positive]).sum()
    return (focal + iou) / positive.sum().clamp(min=1)


@wrong(
    "anchor_free_loss",
    fault="changes the argument ignored in place",
    true="in place|argument|change",
    false="divi|nan",
)
def total_in_place(logits, boxes, targets, labels, positive, ignored):
    ignored[positive, labels[positive]] = False
    focal = _focal(logits, _wanted(logits, labels, positive))[~ignored].sum()
    iou = _iou_loss(boxes[positive], targets[positive]).sum()
    return (focal + iou) / positive.sum().clamp(min=1)


@right("anchor_free_loss", unusual="background first, then the positive entries are exchanged")
def total_exchange(logits, boxes, targets, labels, positive, ignored):
    rows = positive.nonzero()[:, 0]
    own = logits[rows, labels[rows]]
    one, zero = torch.ones_like(own), torch.zeros_like(own)
    background = _focal(logits, torch.zeros_like(logits)).masked_fill(ignored, 0.0).sum()
    twice = _focal(own, zero).masked_fill(ignored[rows, labels[rows]], 0.0).sum()
    iou = _iou_loss(boxes[rows], targets[rows]).sum()
    return (background - twice + _focal(own, one).sum() + iou) / max(len(rows), 1)


@right("anchor_free_loss", unusual="weights 0 and 1 for the entries, product and sum in einsum")
def total_weights(logits, boxes, targets, labels, positive, ignored):
    safe = torch.where(positive, labels, 0)
    wanted = one_hot(safe, logits.shape[1]) * positive[:, None]
    weights = torch.maximum(wanted, (~ignored).long()).to(logits.dtype)
    focal = torch.einsum("rk,rk->", weights, _focal(logits, wanted))
    chosen = positive.nonzero(as_tuple=True)
    total = focal + _iou_loss(boxes[chosen], targets[chosen]).sum()
    return total.div(max(positive.count_nonzero().item(), 1))


@right("anchor_free_loss", unusual="a loop over locations, the terms in a list")
def total_loop(logits, boxes, targets, labels, positive, ignored):
    terms = [0.0 * (logits.sum() + boxes[positive].sum())]
    for r, is_positive in enumerate(positive.tolist()):
        wanted = torch.zeros_like(logits[r])
        if is_positive:
            wanted[labels[r]] = 1
            terms.append(_iou_loss(boxes[r : r + 1], targets[r : r + 1])[0])
        counts = (wanted > 0) | ~ignored[r]
        terms.append(_focal(logits[r], wanted)[counts].sum())
    return torch.stack(terms).sum() / max(1, sum(positive.tolist()))


@breaks("anchor_free_loss", how="raises NotImplementedError: or of floats and bools")
def total_bad_mask(logits, boxes, targets, labels, positive, ignored):
    wanted = _wanted(logits, labels, positive)
    focal = _focal(logits, wanted)[wanted | ~ignored].sum()
    iou = _iou_loss(boxes[positive], targets[positive]).sum()
    return (focal + iou) / positive.sum().clamp(min=1)
