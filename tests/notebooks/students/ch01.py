"""Functions as students write them for chapter 01, with what a tutor should make of each."""

import bisect
import sys

import numpy as np
import torch
from torchvision.ops import box_area, box_iou, clip_boxes_to_image

from . import breaks, right, wrong

# labels_of


@right("labels_of", unusual="counts the ids that are smaller")
def labels_of_counting(used, category_ids):
    known = set(category_ids)
    return [sum(other < one for other in known) for one in used]


@right("labels_of", unusual="bisection in the sorted ids")
def labels_of_bisect(used, category_ids):
    ids = sorted(category_ids)
    return [bisect.bisect_left(ids, one) for one in used]


@right("labels_of", unusual="numpy's searchsorted, plain integers in the end")
def labels_of_numpy(used, category_ids):
    ids = np.sort(np.array(category_ids))
    return np.searchsorted(ids, np.array(used, dtype=np.int64)).tolist()


@right("labels_of", unusual="a heap of prints and an assert")
def labels_of_talkative(used, category_ids):
    table = {}
    for label, one in enumerate(sorted(category_ids)):
        print("id", one, "is label", label)
        table[one] = label
    assert len(table) == len(category_ids)
    result = []
    for one in used:
        result += [table[one]]
    return result


@wrong(
    "labels_of", fault="subtracts 1 from the id", true="position|look up|name|gaps?", false="sort"
)
def labels_of_minus_one(used, category_ids):
    return [one - 1 for one in used]


@wrong(
    "labels_of", fault="keeps the ids", true="position|look up|name|0.*K", false="order of the file"
)
def labels_of_same(used, category_ids):
    return list(used)


@wrong("labels_of", fault="position in the file's order, not sorted", true="sort|order of the file")
def labels_of_file_order(used, category_ids):
    return [list(category_ids).index(one) for one in used]


@wrong(
    "labels_of",
    fault="numbers only the ids that the image uses",
    true="all ids|only those|this image|image to image|of the file|each image|without an object",
    false="order of the file",
)
def labels_of_image_only(used, category_ids):
    ids = sorted(set(used))
    return [ids.index(one) for one in used]


@wrong(
    "labels_of",
    fault="counts from 1",
    true="from 0|0 to|start.* 0|off by one|one too|1 too|K *[-−] *1",
)
def labels_of_from_one(used, category_ids):
    ids = sorted(category_ids)
    return [ids.index(one) + 1 for one in used]


# used [90, 90, 13]: two stars are two labels
@wrong(
    "labels_of",
    fault="one label for each class, not for each object",
    true="each object|twice|repeat|same (category|id|class)|one label (for|per)|how many|length",
    false="sort",
)
def labels_of_unique(used, category_ids):
    ids = sorted(category_ids)
    return [ids.index(one) for one in set(used)]


@wrong(
    "labels_of",
    fault="sorts the labels, so they no longer belong to their objects",
    true="order of (used|the objects)|same order|belongs? to|do not sort|not sort(ed)? the labels",
    false="sort the ids",
)
def labels_of_sorted_result(used, category_ids):
    ids = sorted(category_ids)
    return sorted(ids.index(one) for one in used)


@wrong(
    "labels_of",
    fault="sorts in falling order",
    true="ascending|rising|smallest|revers|falling|descend",
)
def labels_of_reverse(used, category_ids):
    ids = sorted(category_ids, reverse=True)
    return [ids.index(one) for one in used]


# ids 2 and 10: as text "10" comes before "2"
@wrong(
    "labels_of",
    fault="sorts the ids as text",
    true="number|text|string|2 .*10|sort",
    false="all ids",
)
def labels_of_as_text(used, category_ids):
    ids = sorted(str(one) for one in category_ids)
    return [ids.index(str(one)) for one in used]


@wrong(
    "labels_of",
    fault="the example's three ids written in",
    true="category_ids|argument|example|other ids|fixed|constant",
)
def labels_of_example(used, category_ids):
    return [{1: 0, 13: 1, 90: 2}.get(one, 0) for one in used]


# ids 1, 13, 90: the label of 13 comes out as 12
@wrong("labels_of", fault="takes ids without gaps for granted", true="gaps?|position|look up|name")
def labels_of_no_gaps(used, category_ids):
    return [one - min(category_ids) for one in used]


@wrong(
    "labels_of",
    fault="a mask over all classes",
    true="list of|labels?|one for each|length|how many",
)
def labels_of_mask(used, category_ids):
    return [int(one in used) for one in sorted(category_ids)]


@breaks("labels_of", how="raises IndexError: the id as a position; any id from K on")
def labels_of_index_error(used, category_ids):
    ids = sorted(category_ids)
    return [ids[one] for one in used]


@breaks("labels_of", how="raises KeyError: the dictionary is the wrong way round; any id from K on")
def labels_of_key_error(used, category_ids):
    label_of = dict(enumerate(sorted(category_ids)))
    return [label_of[one] for one in used]


# flip_boxes


@right("flip_boxes", unusual="signs and offsets as two rows, then a permutation of columns")
def flip_boxes_affine(boxes, width):
    mirrored = boxes * boxes.new_tensor([-1, 1, -1, 1]) + boxes.new_tensor([width, 0, width, 0])
    return mirrored[:, [2, 1, 0, 3]]


@right("flip_boxes", unusual="center and half width")
def flip_boxes_center(boxes, width):
    middle, half = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 2] - boxes[:, 0]) / 2
    middle = width - middle
    return torch.stack([middle - half, boxes[:, 1], middle + half, boxes[:, 3]], dim=1)


@right("flip_boxes", unusual="a loop over the boxes")
def flip_boxes_loop(boxes, width):
    rows = [[width - x2, y1, width - x1, y2] for x1, y1, x2, y2 in boxes.tolist()]
    return torch.tensor(rows, dtype=boxes.dtype).reshape(-1, 4)


@right("flip_boxes", unusual="min and max of the two mirrored sides, with asserts")
def flip_boxes_minmax(boxes, width):
    assert boxes.ndim == 2 and boxes.shape[1] == 4
    result = boxes.clone()
    sides = width - boxes[:, [0, 2]]
    result[:, 0] = torch.minimum(sides[:, 0], sides[:, 1])
    result[:, 2] = torch.maximum(sides[:, 0], sides[:, 1])
    return result


@wrong(
    "flip_boxes",
    fault="left and right are not exchanged",
    true="negative|exchang|swap|new left|becomes the|inside out|x1'|change roles|x1 > x2",
    false="copy|off by one",
)
def flip_boxes_no_swap(boxes, width):
    return torch.stack([width - boxes[:, 0], boxes[:, 1], width - boxes[:, 2], boxes[:, 3]], 1)


@wrong(
    "flip_boxes",
    fault="width minus 1",
    true="one pixel|off by|(no|the) .?[-−] ?1|pixel's number",
    false="negative|copy",
)
def flip_boxes_minus_one(boxes, width):
    result = boxes.clone()
    result[:, 0], result[:, 2] = width - 1 - boxes[:, 2], width - 1 - boxes[:, 0]
    return result


@wrong(
    "flip_boxes",
    fault="mirrors y",
    true=r"left to right|vertical|\brows\b|\btop\b|\by\b|upside",
    false="off by one",
)
def flip_boxes_upside_down(boxes, width):
    x1, y1, x2, y2 = boxes.T
    return torch.stack([x1, width - y2, x2, width - y1], 1)


@wrong(
    "flip_boxes",
    fault="mirrors both x and y, a turn by 180 degrees",
    true=r"left to right|\by\b|\btop\b|only x|vertical|\brows\b",
)
def flip_boxes_turn(boxes, width):
    return (width - boxes)[:, [2, 3, 0, 1]]


# the values are right once; the second call with the same boxes gives the first boxes back
@wrong(
    "flip_boxes",
    fault="writes into its argument",
    true="copy|clone|argument|in place|change",
    false="neg",
)
def flip_boxes_in_place(boxes, width):
    boxes[:, 0], boxes[:, 2] = width - boxes[:, 2], width - boxes[:, 0]
    return boxes


@wrong(
    "flip_boxes",
    fault="reads the left side after overwriting it",
    true=r"overwr|new left|\bold\b|right side|no width|copy",
    false="off by one|[-−] ?1 ",
)
def flip_boxes_overwritten(boxes, width):
    result = boxes.clone()
    result[:, 0] = width - result[:, 2]
    result[:, 2] = width - result[:, 0]
    return result


@wrong(
    "flip_boxes",
    fault="takes x2 for a width",
    true=r"\bx_?2\b|corner|format|w h\b",
    false="off by one",
)
def flip_boxes_xywh(boxes, width):
    x, y, w, h = boxes.T
    return torch.stack([width - x - w, y, w, h], 1)


@wrong(
    "flip_boxes",
    fault="128 written in",
    true="width|argument|128|constant|fixed",
    false="negative|copy",
)
def flip_boxes_128(boxes, width):
    return torch.stack([128 - boxes[:, 2], boxes[:, 1], 128 - boxes[:, 0], boxes[:, 3]], 1)


@wrong(
    "flip_boxes",
    fault="x minus width: the sign is turned",
    true="sign|width *[-−]|outside|negative",
)
def flip_boxes_sign(boxes, width):
    return torch.stack([boxes[:, 2] - width, boxes[:, 1], boxes[:, 0] - width, boxes[:, 3]], 1)


# a box from 10.25 to 20.5
@wrong("flip_boxes", fault="cuts to whole pixels", true="real|round|whole|integer|fraction|decimal")
def flip_boxes_whole(boxes, width):
    left, right_side = (width - boxes[:, 2]).floor(), (width - boxes[:, 0]).floor()
    return torch.stack([left, boxes[:, 1], right_side, boxes[:, 3]], 1)


@wrong(
    "flip_boxes",
    fault="the order of the boxes is mirrored too",
    true=r"order of the boxes|first box|\border\b|\brows\b",
    false="neg",
)
def flip_boxes_order(boxes, width):
    mirrored = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    return mirrored.flip(0)


# right only if some box touches the right border
@wrong(
    "flip_boxes",
    fault="the rightmost side for the width",
    true="width|argument|border",
    false="negative",
)
def flip_boxes_rightmost(boxes, width):
    if len(boxes) == 0:
        return boxes.clone()
    edge = boxes[:, 2].max()
    return torch.stack([edge - boxes[:, 2], boxes[:, 1], edge - boxes[:, 0], boxes[:, 3]], 1)


@breaks("flip_boxes", how="raises IndexError: counts the four columns from 1")
def flip_boxes_index_error(boxes, width):
    result = boxes.clone()
    result[:, 1], result[:, 4] = width - boxes[:, 4], width - boxes[:, 1]
    return result


@breaks("flip_boxes", how="endless loop: the counter is never raised")
def flip_boxes_endless(boxes, width):
    result, n = boxes.clone(), 0
    while n <= len(boxes):
        result[:, 0] = width - boxes[:, 2]
        result[:, 2] = width - boxes[:, 0]
    return result


# boxes_in_window


def _clipped(boxes, window):
    """The boxes clipped at the window, in the image's pixels."""
    x1, y1, x2, y2 = (float(side) for side in window)
    xs, ys = boxes[:, 0::2].clamp(x1, x2), boxes[:, 1::2].clamp(y1, y2)
    return torch.stack([xs[:, 0], ys[:, 0], xs[:, 1], ys[:, 1]], 1)


def _corner(boxes, window):
    """The window's upper left corner, twice."""
    x, y = float(window[0]), float(window[1])
    return boxes.new_tensor([x, y, x, y])


@right("boxes_in_window", unusual="a loop over plain numbers")
def boxes_in_window_loop(boxes, window, min_visible):
    left, top, right_side, bottom = (float(side) for side in window)
    kept = []
    for x1, y1, x2, y2 in boxes.tolist():
        u1, u2 = (min(max(x, left), right_side) for x in (x1, x2))
        v1, v2 = (min(max(y, top), bottom) for y in (y1, y2))
        if (u2 - u1) * (v2 - v1) >= min_visible * (x2 - x1) * (y2 - y1):
            kept.append([u1 - left, v1 - top, u2 - left, v2 - top])
    return torch.tensor(kept, dtype=boxes.dtype).reshape(-1, 4)


@right("boxes_in_window", unusual="moves first, then torchvision's clip to an image")
def boxes_in_window_torchvision(boxes, window, min_visible):
    left, top, right_side, bottom = (float(side) for side in window)
    moved = boxes - boxes.new_tensor([left, top, left, top])
    clipped = clip_boxes_to_image(moved, (bottom - top, right_side - left))
    return clipped[box_area(clipped) >= min_visible * box_area(boxes)]


@right("boxes_in_window", unusual="numpy, boxes as (N, 2, 2)")
def boxes_in_window_numpy(boxes, window, min_visible):
    window = np.array([float(side) for side in window]).reshape(2, 2)
    corners = boxes.numpy().astype(np.float64).reshape(-1, 2, 2)
    inside = np.clip(corners, window[0], window[1])
    visible = np.prod(inside[:, 1] - inside[:, 0], axis=1)
    whole = np.prod(corners[:, 1] - corners[:, 0], axis=1)
    result = (inside - window[0])[visible >= min_visible * whole]
    return torch.from_numpy(result.reshape(-1, 4)).to(boxes.dtype)


@wrong(
    "boxes_in_window",
    fault="stays in the image's pixels",
    true="subtract|upper left|wrong place|own pixels|corner",
    false="area|clamp",
)
def boxes_in_window_no_shift(boxes, window, min_visible):
    clipped = _clipped(boxes, window)
    return clipped[box_area(clipped) >= min_visible * box_area(boxes)]


@wrong(
    "boxes_in_window",
    fault="moves only the upper left corner of a box",
    true="both corners|subtract|lower right|x2|wrong place",
    false="own area",
)
def boxes_in_window_half_shift(boxes, window, min_visible):
    clipped = _clipped(boxes, window)
    kept = clipped[box_area(clipped) >= min_visible * box_area(boxes)].clone()
    kept[:, 0] -= float(window[0])
    kept[:, 1] -= float(window[1])
    return kept


@wrong(
    "boxes_in_window",
    fault="compares with the area of the window",
    true="own area|whole box|area of the (box|window)",
    false="subtract|clamp",
)
def boxes_in_window_window_area(boxes, window, min_visible):
    clipped = _clipped(boxes, window)
    x1, y1, x2, y2 = (float(side) for side in window)
    keep = box_area(clipped) >= min_visible * (x2 - x1) * (y2 - y1)
    return clipped[keep] - _corner(boxes, window)


# box 1 1 4 3 and window 20 20 50 33: two negative sides
@wrong(
    "boxes_in_window",
    fault="two negative sides give an area",
    true="clamp|negative|outside|at 0",
    false="subtract|whole box",
)
def boxes_in_window_no_clamp(boxes, window, min_visible):
    frame = boxes.new_tensor([float(side) for side in window])
    top_left = torch.maximum(boxes[:, :2], frame[:2])
    bottom_right = torch.minimum(boxes[:, 2:], frame[2:])
    visible = (bottom_right - top_left).prod(1)
    keep = visible >= min_visible * box_area(boxes)
    return (torch.cat([top_left, bottom_right], 1) - _corner(boxes, window))[keep]


# exactly half of a box is visible, and min_visible is 0.5
@wrong(
    "boxes_in_window",
    fault="drops a box of which exactly min_visible remains",
    true="less than|exactly|equal|>=|<",
    false="subtract|clamp|window's area",
)
def boxes_in_window_strict(boxes, window, min_visible):
    clipped = _clipped(boxes, window)
    keep = box_area(clipped) / box_area(boxes) > min_visible
    return clipped[keep] - _corner(boxes, window)


@wrong(
    "boxes_in_window",
    fault="drops boxes, but does not clip the others",
    true="clip|border|beyond|leave",
    false="whole box|subtract",
)
def boxes_in_window_not_clipped(boxes, window, min_visible):
    keep = box_area(_clipped(boxes, window)) >= min_visible * box_area(boxes)
    return boxes[keep] - _corner(boxes, window)


@wrong(
    "boxes_in_window",
    fault="takes the window for x y w h",
    true="x_?2|corner|format|window is|lower right|sides? of the window",
    false="clamp|less than",
)
def boxes_in_window_xywh(boxes, window, min_visible):
    x, y, w, h = (float(side) for side in window)
    clipped = _clipped(boxes, (x, y, x + w, y + h))
    keep = box_area(clipped) >= min_visible * box_area(boxes)
    return clipped[keep] - _corner(boxes, window)


# the wide window 60 x 30: a box at the bottom is clipped at 60
@wrong(
    "boxes_in_window",
    fault="clips y at the window's width too",
    true=r"height|\by\b|square|bottom|\brows\b",
    false="own area|subtract",
)
def boxes_in_window_square(boxes, window, min_visible):
    x1, _y1, x2, _y2 = (float(side) for side in window)
    moved = (boxes - _corner(boxes, window)).clamp(0, x2 - x1)
    return moved[box_area(moved) >= min_visible * box_area(boxes)]


@wrong(
    "boxes_in_window",
    fault="puts the best visible boxes first",
    true="order|sort",
    false="clamp|subtract|own area",
)
def boxes_in_window_sorted(boxes, window, min_visible):
    clipped = _clipped(boxes, window)
    share = box_area(clipped) / box_area(boxes)
    first = [n for n in share.argsort(descending=True).tolist() if share[n] >= min_visible]
    return clipped[first] - _corner(boxes, window)


@wrong(
    "boxes_in_window",
    fault="sets dropped boxes to zero and keeps their rows",
    true="drop|too many|number of boxes|rows|leave out|keep|shape",
    false="clamp|order",
)
def boxes_in_window_zeros(boxes, window, min_visible):
    clipped = _clipped(boxes, window)
    keep = box_area(clipped) >= min_visible * box_area(boxes)
    return torch.where(keep[:, None], clipped - _corner(boxes, window), 0.0)


@wrong(
    "boxes_in_window",
    fault="keeps a box if its center is in the window",
    true="min_visible|area|share|center|centre",
    false="subtract|order",
)
def boxes_in_window_center(boxes, window, min_visible):
    x1, y1, x2, y2 = (float(side) for side in window)
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    keep = (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
    return _clipped(boxes, window)[keep] - _corner(boxes, window)


@wrong(
    "boxes_in_window",
    fault="IoU with the window instead of the visible share",
    true="own area|whole box|IoU|union|share",
    false="subtract|clamp",
)
def boxes_in_window_iou(boxes, window, min_visible):
    frame = boxes.new_tensor([[float(side) for side in window]])
    keep = box_iou(boxes, frame)[:, 0] >= min_visible
    return _clipped(boxes, window)[keep] - _corner(boxes, window)


# min_visible 0.5 and a box of which a tenth is visible
@wrong(
    "boxes_in_window",
    fault="min_visible is not used: any visible box stays",
    true="min_visible|share|too many|less than|drop",
    false="subtract|too many boxes dropped",
)
def boxes_in_window_any(boxes, window, min_visible):
    clipped = _clipped(boxes, window)
    return clipped[box_area(clipped) > 0] - _corner(boxes, window)


# a window of the whole image's corner (0, 0) passes; any other does not
@wrong(
    "boxes_in_window",
    fault="clips at the window's size before it moves the boxes",
    true="subtract|order of|clip.* before|before.* clip|move|border|wrong place",
    false="own area",
)
def boxes_in_window_clip_first(boxes, window, min_visible):
    x1, y1, x2, y2 = (float(side) for side in window)
    clipped = clip_boxes_to_image(boxes, (y2 - y1, x2 - x1))
    keep = box_area(clipped) >= min_visible * box_area(boxes)
    return (clipped - _corner(boxes, window)).clamp(min=0)[keep]


@breaks("boxes_in_window", how="raises RuntimeError: several values as a condition, unless N is 1")
def boxes_in_window_ambiguous(boxes, window, min_visible):
    clipped = _clipped(boxes, window)
    if box_area(clipped) >= min_visible * box_area(boxes):
        return clipped
    return boxes


@breaks("boxes_in_window", how="exit")
def boxes_in_window_exit(boxes, window, min_visible):
    print("TODO")
    sys.exit(1)
