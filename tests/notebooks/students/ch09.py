"""Functions as students write them for chapter 09, with what a tutor should make of each."""

import numpy as np
import torch
from torchvision.ops import nms

from . import breaks, right, wrong

# Exercise 1: match(overlap, threshold)


@wrong(
    "match",
    fault="an object may be taken twice",
    true="twice|taken|free|once|already",
    false="threshold|empty",
)
def match_twice(overlap, threshold):
    result = []
    for row in overlap:
        best = max(range(len(row)), key=lambda o: row[o], default=-1)
        result.append(best if best >= 0 and row[best] >= threshold else -1)
    return result


# [[0.9, 0.6], [0.8, 0.7]]: the second detection must take object 1
@wrong(
    "match",
    fault="best of all objects, and gives up if it is taken",
    true="free|next|other object|second|taken",
    false="threshold is|empty",
)
def match_gives_up(overlap, threshold):
    taken, result = set(), []
    for row in overlap:
        best = max(range(len(row)), key=lambda o: row[o], default=-1)
        if best == -1 or best in taken or row[best] < threshold:
            result.append(-1)
        else:
            taken.add(best)
            result.append(best)
    return result


# an IoU of exactly the threshold
@wrong(
    "match", fault="more than the threshold instead of at least", true="at least|exactly|equal|>="
)
def match_strict(overlap, threshold):
    taken, result = set(), []
    for row in overlap:
        free = [o for o in range(len(row)) if o not in taken and row[o] > threshold]
        best = max(free, key=lambda o: row[o], default=-1)
        taken.add(best)
        result.append(best)
    return result


@wrong(
    "match",
    fault="the first free object above the threshold, not the one with the largest IoU",
    true="largest|best|max|first",
    false="twice|taken",
)
def match_first(overlap, threshold):
    result = []
    for row in overlap:
        for o, value in enumerate(row):
            if value >= threshold and o not in result:
                result.append(o)
                break
        else:
            result.append(-1)
    return result


@wrong(
    "match",
    fault="takes the object even when the IoU is below the threshold, so it is lost to later ones",
    true="threshold|below|free|taken|too low",
    false="exactly",
)
def match_takes_below(overlap, threshold):
    # [[0.4], [0.9]] at 0.5 must give [-1, 0]
    taken, result = set(), []
    for row in overlap:
        free = [o for o in range(len(row)) if o not in taken]
        best = max(free, key=lambda o: row[o], default=-1)
        taken.add(best)
        result.append(best if best >= 0 and row[best] >= threshold else -1)
    return result


@wrong("match", fault="0.5 written in", true="threshold|0\\.5|argument", false="twice|free")
def match_half(overlap, threshold):
    taken, result = set(), []
    for row in overlap:
        free = [o for o in range(len(row)) if o not in taken]
        best = max(free, key=lambda o: row[o], default=-1)
        if best >= 0 and row[best] >= 0.5:
            taken.add(best)
            result.append(best)
        else:
            result.append(-1)
    return result


# [[0.6, 0.0], [0.9, 0.0]]: the better box must not take the object
@wrong(
    "match",
    fault="goes by the largest overlap of all pairs, not by the score",
    true="score|order|first|better score",
    false="threshold",
)
def match_by_overlap(overlap, threshold):
    pairs = [(value, d, o) for d, row in enumerate(overlap) for o, value in enumerate(row)]
    result, taken = [-1] * len(overlap), set()
    for value, d, o in sorted(pairs, key=lambda pair: -pair[0]):
        if value >= threshold and result[d] == -1 and o not in taken:
            result[d] = o
            taken.add(o)
    return result


@wrong(
    "match",
    fault="returns for each object the detection, not for each detection the object",
    true="detection|object|for each|length",
    false="threshold",
)
def match_other_way(overlap, threshold):
    result = [-1] * (len(overlap[0]) if overlap else 0)
    for d, row in enumerate(overlap):
        free = [o for o in range(len(row)) if result[o] == -1 and row[o] >= threshold]
        if free:
            result[max(free, key=lambda o: row[o])] = d
    return result


@wrong("match", fault="booleans instead of objects", true="object|index|bool|number|-1|−1")
def match_booleans(overlap, threshold):
    taken, result = set(), []
    for row in overlap:
        free = [o for o in range(len(row)) if o not in taken and row[o] >= threshold]
        if free:
            taken.add(max(free, key=lambda o: row[o]))
        result.append(bool(free))
    return result


@wrong(
    "match",
    fault="leaves out unmatched detections: the list is too short",
    true="-1|−1|length|each detection|every|too short|entries",
)
def match_left_out(overlap, threshold):
    result = []
    for row in overlap:
        free = [o for o in range(len(row)) if o not in result and row[o] >= threshold]
        if free:
            result.append(max(free, key=lambda o: row[o]))
    return result


@right("match", unusual="numpy: a taken column becomes minus infinity")
def match_numpy(overlap, threshold):
    if not len(overlap):
        return []
    table = np.array(overlap, dtype=float).reshape(len(overlap), -1)
    result = []
    for d in range(len(table)):
        o = int(table[d].argmax()) if table.shape[1] else -1
        if o >= 0 and table[d, o] >= threshold:
            table[:, o] = -np.inf
            result.append(o)
        else:
            result.append(-1)
    return result


@right("match", unusual="recursive")
def match_recursive(overlap, threshold, taken=()):
    if len(overlap) == 0:
        return []
    row = list(overlap[0])
    able = [(-value, o) for o, value in enumerate(row) if o not in taken and value >= threshold]
    best = min(able)[1] if able else -1
    return [best, *match_recursive(overlap[1:], threshold, (*taken, best))]


@right("match", unusual="a dictionary from object to detection, inverted at the end")
def match_dictionary(overlap, threshold):
    owner = {}
    for d, row in enumerate(overlap):
        ranked = sorted(range(len(row)), key=lambda o: row[o], reverse=True)
        for o in ranked:
            if row[o] < threshold:
                break
            if o not in owner:
                owner[o] = d
                break
    inverse = {d: o for o, d in owner.items()}
    return [inverse.get(d, -1) for d in range(len(overlap))]


@breaks("match", how="raises ValueError: max() of an empty list")
def match_empty_max(overlap, threshold):
    taken, result = set(), []
    for row in overlap:
        best = max((o for o in range(len(row)) if o not in taken), key=lambda o: row[o])
        if row[best] >= threshold:
            taken.add(best)
            result.append(best)
        else:
            result.append(-1)
    return result


@breaks("match", how="endless loop: never leaves when the best object is taken")
def match_endless(overlap, threshold):
    taken, result = set(), []
    for row in overlap:
        row = list(row)
        best = row.index(max(row)) if row else -1
        while best in taken and row[best] >= threshold:
            best = row.index(max(row))
        if best >= 0 and row[best] >= threshold:
            taken.add(best)
            result.append(best)
        else:
            result.append(-1)
    return result


# Exercise 2: average_precision(hits, num_objects)


def _curve(hits):
    found, precisions, counts = 0, [], []
    for entry, hit in enumerate(hits, 1):
        found += bool(hit)
        precisions.append(found / entry)
        counts.append(found)
    return precisions, counts


def _points(hits, num_objects, points=101):
    precisions, counts = _curve(hits)
    total = 0.0
    for point in range(points):
        reach = [
            p for p, c in zip(precisions, counts) if c * (points - 1) >= point * num_objects - 1e-9
        ]
        total += max(reach, default=0)
    return total / points


# an object is missed
@wrong(
    "average_precision",
    fault="recall divides by the objects that are found",
    true="all objects|num_objects|missed|found",
    false="101|best precision",
)
def ap_found_only(hits, num_objects):
    return _points(hits, max(sum(hits), 1))


@wrong(
    "average_precision",
    fault="the precision at the recall, not the best from there on",
    true="best|later|max|still|from here",
    false="101|num_objects",
)
def ap_no_best(hits, num_objects):
    precisions, counts = _curve(hits)
    total = 0.0
    for point in range(101):
        reach = [p for p, c in zip(precisions, counts) if c * 100 >= point * num_objects - 1e-9]
        total += reach[0] if reach else 0
    return total / 101


@wrong(
    "average_precision",
    fault="exact area instead of 101 points",
    true="101|points|0\\.01|area",
    false="num_objects|missed",
)
def ap_area(hits, num_objects):
    precisions, _ = _curve(hits)
    best = [max(precisions[index:]) for index in range(len(precisions))]
    return sum(p for p, hit in zip(best, hits) if hit) / num_objects


@wrong(
    "average_precision",
    fault="100 points: 0.01 to 1, without 0",
    true="101|0, 0\\.01|points|recall 0",
    false="missed|best",
)
def ap_hundred(hits, num_objects):
    precisions, counts = _curve(hits)
    total = 0.0
    for point in range(1, 101):
        reach = [p for p, c in zip(precisions, counts) if c * 100 >= point * num_objects - 1e-9]
        total += max(reach, default=0)
    return total / 100


@wrong(
    "average_precision",
    fault="eleven points, as in the old PASCAL",
    true="101|points|0\\.01",
    false="missed|best",
)
def ap_eleven(hits, num_objects):
    return _points(hits, num_objects, 11)


# recall must be strictly greater: at recall 0.25 the point 0.25 is reached
@wrong(
    "average_precision",
    fault="recall greater than the point instead of at least",
    true="at least|exactly|>=|equal|reach",
    false="missed",
)
def ap_strict(hits, num_objects):
    precisions, counts = _curve(hits)
    total = 0.0
    for point in range(101):
        reach = [p for p, c in zip(precisions, counts) if c * 100 > point * num_objects]
        total += max(reach, default=0)
    return total / 101


@wrong(
    "average_precision",
    fault="mean only over the points that are reached",
    true="never reached|count as 0|101|missed|all",
    false="best",
)
def ap_reached_only(hits, num_objects):
    precisions, counts = _curve(hits)
    values = []
    for point in range(101):
        reach = [p for p, c in zip(precisions, counts) if c * 100 >= point * num_objects - 1e-9]
        if reach:
            values.append(max(reach))
    return sum(values) / len(values) if values else 0.0


@wrong(
    "average_precision",
    fault="mean of the precisions of all entries",
    true="recall|101|points|precision",
    false="empty",
)
def ap_mean_precision(hits, num_objects):
    precisions, _ = _curve(hits)
    return sum(precisions) / len(precisions) if precisions else 0.0


@wrong(
    "average_precision",
    fault="per cent, 0 to 100",
    true="0 to 1|from 0|per ?cent|100|hundred",
    false="recall|best",
)
def ap_per_cent(hits, num_objects):
    return 100 * _points(hits, num_objects)


@wrong(
    "average_precision",
    fault="precision divides by all entries, not by the entries so far",
    true="so far|entries|precision",
    false="101|missed",
)
def ap_all_entries(hits, num_objects):
    n = len(hits)
    total = 0.0
    counts = np.cumsum(hits)
    for point in range(101):
        reach = [c / n for c in counts if c * 100 >= point * num_objects - 1e-9]
        total += max(reach, default=0)
    return total / 101


@wrong(
    "average_precision",
    fault="four objects written in, from the example",
    true="num_objects|objects|recall",
    false="101|best",
)
def ap_four_objects(hits, num_objects):
    return _points(hits, 4)


@right("average_precision", unusual="numpy: running maximum from behind and searchsorted")
def ap_searchsorted(hits, num_objects):
    hits = np.asarray(hits, dtype=bool)
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    places = np.searchsorted(found / num_objects, np.linspace(0, 1, 101) - 1e-12, side="left")
    return best[places].mean()


@right("average_precision", unusual="whole numbers only: counts points between two true positives")
def ap_counts_points(hits, num_objects):
    precisions, counts = _curve(hits)
    total, reached = 0.0, 0
    for c in range(1, sum(map(bool, hits)) + 1):
        last = 100 * c // num_objects + 1  # points 0 ... 100 c / objects
        best = max(p for p, count in zip(precisions, counts) if count >= c)
        total += (min(last, 101) - reached) * best
        reached = min(last, 101)
    return total / 101


@right("average_precision", unusual="torch, one (101, entries) table")
def ap_table(hits, num_objects):
    if not len(hits):
        return 0.0
    hits = torch.as_tensor(hits, dtype=torch.float64)
    found = hits.cumsum(0)
    precision = found / torch.arange(1, len(hits) + 1)
    reached = (found * 100)[None] >= (torch.arange(101) * num_objects)[:, None]
    return (precision * reached).amax(1).mean().item()


@breaks("average_precision", how="raises ValueError: max() of nothing at a recall never reached")
def ap_empty_max(hits, num_objects):
    precisions, counts = _curve(hits)
    total = 0.0
    for point in range(101):
        total += max(p for p, c in zip(precisions, counts) if c / num_objects >= point / 100)
    return total / 101


@breaks(
    "average_precision", how="endless loop: the recall never reaches 1 when an object is missed"
)
def ap_endless(hits, num_objects):
    precisions, counts = _curve(hits)
    point, values = 0, []
    while point <= 100:
        reach = [p for p, c in zip(precisions, counts) if c * 100 >= point * num_objects]
        if reach:
            values.append(max(reach))
            point += 1
    return sum(values) / 101


# Exercise 3: nms_by_class(boxes, scores, labels, threshold)


@wrong(
    "nms_by_class",
    fault="boxes of different classes suppress each other",
    true="class|label",
    false="order|score|distance",
)
def by_class_agnostic(boxes, scores, labels, threshold):
    return nms(boxes, scores, threshold)


# boxes wider than 1000 px
@wrong(
    "nms_by_class",
    fault="a fixed distance of 1000 px",
    true="distance|fixed|large|far|offset|shift|size",
    false="order|score",
)
def by_class_fixed(boxes, scores, labels, threshold):
    return nms(boxes + labels[:, None] * 1000, scores, threshold)


@wrong(
    "nms_by_class",
    fault="128 px, the size of our scene",
    true="distance|fixed|large|far|offset|shift|size",
    false="order|score",
)
def by_class_scene(boxes, scores, labels, threshold):
    return nms(boxes + 128 * labels.unsqueeze(1), scores, threshold)


# with a negative coordinate: [-50, ..., 100] of class 0 and [0, ...] of class 1 at 100
@wrong(
    "nms_by_class",
    fault="the largest coordinate alone: boxes that begin below 0 still meet",
    true="negative|left|min|distance|far|largest|below 0|offset|shift",
    false="order|score",
)
def by_class_largest_coordinate(boxes, scores, labels, threshold):
    if not len(boxes):
        return torch.zeros(0, dtype=torch.long)
    return nms(boxes + labels[:, None] * boxes.max(), scores, threshold)


# [100, 100, 200, 200] of class 0 and [0, 0, 100, 100] of class 1 meet after the shift by 100
@wrong(
    "nms_by_class",
    fault="the distance is the mean width",
    true="distance|far|large|overlap|enough|offset|shift",
    false="order|score",
)
def by_class_mean_width(boxes, scores, labels, threshold):
    distance = (boxes[:, 2] - boxes[:, 0]).mean()
    return nms(boxes + labels[:, None] * distance, scores, threshold)


@wrong(
    "nms_by_class",
    fault="class by class, without sorting by score at the end",
    true="order|score|best|sort|once",
    false="distance|overlap",
)
def by_class_unsorted(boxes, scores, labels, threshold):
    kept = []
    for label in labels.unique():
        rows = (labels == label).nonzero()[:, 0]
        kept.append(rows[nms(boxes[rows], scores[rows], threshold)])
    return torch.cat(kept) if kept else labels.new_zeros(0)


@wrong(
    "nms_by_class",
    fault="indices inside the class, not in the whole list",
    true="ind(ex|ices)|whole|list|row|box",
    false="distance",
)
def by_class_local_indices(boxes, scores, labels, threshold):
    kept = []
    for label in labels.unique():
        own = labels == label
        kept.append(nms(boxes[own], scores[own], threshold))
    return torch.cat(kept) if kept else labels.new_zeros(0)


@wrong("nms_by_class", fault="returns the boxes", true="ind(ex|ices)|number|shape", false="class")
def by_class_boxes(boxes, scores, labels, threshold):
    distance = boxes.max() - boxes.min() + 1 if len(boxes) else 0
    return boxes[nms(boxes + labels[:, None] * distance, scores, threshold)]


@wrong(
    "nms_by_class",
    fault="moves only the left upper corners, so boxes change their size",
    true="shape|size|all four|corner|both|distance|overlap",
    false="order|score",
)
def by_class_half_moved(boxes, scores, labels, threshold):
    moved = boxes.clone()
    if len(boxes):
        moved[:, :2] += labels[:, None] * (boxes.max() - boxes.min() + 1)
    return nms(moved, scores, threshold)


@wrong(
    "nms_by_class",
    fault="0.5 written in",
    true="threshold|0\\.5",
    false="distance|order",
)
def by_class_half(boxes, scores, labels, threshold):
    distance = boxes.max() - boxes.min() + 1 if len(boxes) else 0
    return nms(boxes + labels[:, None] * distance, scores, 0.5)


@wrong(
    "nms_by_class",
    fault="worst score first",
    true="order|best|score|first|sort|reverse",
    false="distance|overlap",
)
def by_class_worst_first(boxes, scores, labels, threshold):
    distance = boxes.max() - boxes.min() + 1 if len(boxes) else 0
    kept = nms(boxes + labels[:, None] * distance, scores, threshold)
    return kept[scores[kept].argsort()]


@wrong(
    "nms_by_class",
    fault="a mask of the kept boxes instead of their indices",
    true="ind(ex|ices)|mask|bool|order|number",
    false="distance",
)
def by_class_mask(boxes, scores, labels, threshold):
    distance = boxes.max() - boxes.min() + 1 if len(boxes) else 0
    kept = torch.zeros(len(boxes), dtype=torch.bool)
    kept[nms(boxes + labels[:, None] * distance, scores, threshold)] = True
    return kept


@right("nms_by_class", unusual="moves along y only, by the whole extent")
def by_class_along_y(boxes, scores, labels, threshold):
    if not len(boxes):
        return nms(boxes, scores, threshold)
    extent = boxes[:, 3].max() - boxes[:, 1].min() + 1
    shift = torch.zeros_like(boxes)
    shift[:, 1] = shift[:, 3] = labels.to(boxes.dtype) * extent
    return nms(boxes + shift, scores, threshold)


@right("nms_by_class", unusual="double precision, and classes numbered anew by unique")
def by_class_double(boxes, scores, labels, threshold):
    if boxes.numel() == 0:
        return torch.empty(0, dtype=torch.int64)
    _, number = labels.unique(return_inverse=True)
    wide = boxes.double()
    distance = 2 * wide.abs().max() + 1
    return nms(wide + number[:, None] * distance, scores.double(), threshold)


@right("nms_by_class", unusual="a place of its own on a line for each class, added to a list")
def by_class_list(boxes, scores, labels, threshold):
    rows = boxes.tolist()
    low = min((min(row) for row in rows), default=0.0)
    high = max((max(row) for row in rows), default=0.0)
    moved = []
    for (x1, y1, x2, y2), label in zip(rows, labels.tolist()):
        shift = (high - low + 10) * label - low
        moved.append([x1 + shift, y1, x2 + shift, y2])
    return nms(torch.tensor(moved).reshape(-1, 4), scores, threshold)


@breaks("nms_by_class", how="raises RuntimeError: shapes (N, 4) and (N,)")
def by_class_shapes(boxes, scores, labels, threshold):
    return nms(boxes + labels * (boxes.max() + 1), scores, threshold)


@breaks("nms_by_class", how="raises RuntimeError: max() of no boxes")
def by_class_no_box(boxes, scores, labels, threshold):
    distance = boxes.max() - boxes.min() + 1
    return nms(boxes + labels[:, None] * distance, scores, threshold)


# Exercise 4: area_under_curve(hits, num_objects)


@wrong(
    "area_under_curve",
    fault="mean of the precisions of the true positives: missed objects are not counted",
    true="num_objects|objects|missed|all",
    false="best|later",
)
def area_found_only(hits, num_objects):
    precisions, _ = _curve(hits)
    best = [max(precisions[index:]) for index in range(len(precisions))]
    won = [p for p, hit in zip(best, hits) if hit]
    return sum(won) / len(won) if won else 0.0


@wrong(
    "area_under_curve",
    fault="raw precisions, not the best that still comes",
    true="best|later|largest|after|still",
    false="num_objects",
)
def area_raw(hits, num_objects):
    precisions, _ = _curve(hits)
    return sum(p for p, hit in zip(precisions, hits) if hit) / num_objects


@wrong("area_under_curve", fault="101 points", true="exact|101|points", false="empty|missed")
def area_points(hits, num_objects):
    return _points(hits, num_objects)


@wrong(
    "area_under_curve",
    fault="false positives widen the area too",
    true="only a true positive|true positive|widen|false positive",
    false="empty|best",
)
def area_every_entry(hits, num_objects):
    precisions, _ = _curve(hits)
    best = [max(precisions[index:]) for index in range(len(precisions))]
    return sum(best) / num_objects


@wrong(
    "area_under_curve",
    fault="running best from the front: the best precision so far",
    true="best|after|still|later|so far|direction",
    false="num_objects",
)
def area_best_so_far(hits, num_objects):
    precisions, _ = _curve(hits)
    best = [max(precisions[: index + 1]) for index in range(len(precisions))]
    return sum(p for p, hit in zip(best, hits) if hit) / num_objects


# [True, False, True]: the step has the height 2/3, the trapezoid the mean of 1/2 and 2/3
@wrong(
    "area_under_curve",
    fault="trapezoids under the raw precisions instead of steps",
    true="step|trapez|slope|best|rectang|largest",
    false="empty",
)
def area_trapezoids(hits, num_objects):
    precisions, counts = _curve(hits)
    x = [0.0, *(c / num_objects for c in counts)]
    y = [1.0, *precisions]
    return sum((x[k + 1] - x[k]) * (y[k + 1] + y[k]) / 2 for k in range(len(precisions)))


@right(
    "area_under_curve", unusual="trapezoids: both ends of each step have the same best precision"
)
def area_equal_trapezoids(hits, num_objects):
    precisions, counts = _curve(hits)
    best = [max(precisions[index:]) for index in range(len(precisions))]
    x = np.array([0, *counts]) / num_objects
    y = np.array([best[0] if best else 0.0, *best])
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))


@wrong(
    "area_under_curve",
    fault="looks strictly after the entry: its own precision is left out",
    true="at or after|own|itself|best|largest",
    false="num_objects",
)
def area_strictly_after(hits, num_objects):
    precisions, _ = _curve(hits)
    area = 0.0
    for index, hit in enumerate(hits):
        if hit:
            area += max(precisions[index + 1 :], default=0.0) / num_objects
    return area


@wrong(
    "area_under_curve",
    fault="divides by the number of entries",
    true="num_objects|objects|divi|1 /",
    false="best",
)
def area_by_entries(hits, num_objects):
    if not hits:
        return 0
    precisions, _ = _curve(hits)
    best = [max(precisions[index:]) for index in range(len(precisions))]
    return sum(p for p, hit in zip(best, hits) if hit) / len(hits)


@wrong(
    "area_under_curve",
    fault="floor division: the width of a step is 0",
    true="//|floor|divi|whole|width",
    false="best",
)
def area_floor(hits, num_objects):
    precisions, _ = _curve(hits)
    best = [max(precisions[index:]) for index in range(len(precisions))]
    return sum(p * (1 // num_objects) for p, hit in zip(best, hits) if hit)


@right("area_under_curve", unusual="exact fractions, from the end")
def area_fractions(hits, num_objects):
    from fractions import Fraction

    best, area, found = Fraction(0), Fraction(0), sum(map(bool, hits))
    for entry in range(len(hits), 0, -1):
        best = max(best, Fraction(found, entry))
        if hits[entry - 1]:
            area += best / num_objects
            found -= 1
    return float(area)


@right("area_under_curve", unusual="numpy with sentinels, as in the PASCAL code")
def area_sentinels(hits, num_objects):
    hits = np.array(hits, dtype=bool)
    tp = np.cumsum(hits)
    recall = np.concatenate([[0.0], tp / num_objects, [1.0]])
    precision = np.concatenate([[0.0], tp / np.arange(1, len(hits) + 1), [0.0]])
    for index in range(len(precision) - 2, -1, -1):
        precision[index] = max(precision[index], precision[index + 1])
    return np.sum((recall[1:] - recall[:-1]) * precision[1:])


@right("area_under_curve", unusual="for each count of found objects, the best precision")
def area_by_count(hits, num_objects):
    precisions, counts = _curve(hits)
    return (
        sum(
            max((p for p, c in zip(precisions, counts) if c >= wanted), default=0.0)
            for wanted in range(1, num_objects + 1)
        )
        / num_objects
    )


@breaks("area_under_curve", how="raises IndexError on an empty list")
def area_index_error(hits, num_objects):
    precisions, _ = _curve(hits)
    best = precisions[:]
    best[-1] = precisions[-1]
    for index in range(len(best) - 2, -1, -1):
        best[index] = max(best[index], best[index + 1])
    return sum(p for p, hit in zip(best, hits) if hit) / num_objects
