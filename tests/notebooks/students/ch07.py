"""Functions as students write them for chapter 07, with what a tutor should make of each."""

import math

import numpy as np
import torch
from torch.nn.functional import logsigmoid, one_hot

from . import breaks, right, wrong

# Exercise 1: level_means(cell_loss, assigned, level, num_instances, num_levels)


@wrong("level_means", fault="sum instead of mean", true="mean|sum|divide", false="inf|-1|−1")
def level_means_sum(cell_loss, assigned, level, num_instances, num_levels):
    table = torch.full((num_instances, num_levels), torch.inf)
    for n in range(num_instances):
        for l in range(num_levels):
            own = (assigned == n) & (level == l)
            if own.any():
                table[n, l] = cell_loss[own].sum()
    return table


@wrong("level_means", fault="nan where no location is", true="nan|inf|no location", false="sum")
def level_means_nan(cell_loss, assigned, level, num_instances, num_levels):
    table = torch.zeros(num_instances, num_levels)
    for n in range(num_instances):
        for l in range(num_levels):
            table[n, l] = cell_loss[(assigned == n) & (level == l)].mean()
    return table


@wrong("level_means", fault="0 instead of inf where no location is", true="inf|no location|empty")
def level_means_zero(cell_loss, assigned, level, num_instances, num_levels):
    sums = torch.zeros(num_instances, num_levels)
    counts = torch.zeros(num_instances, num_levels)
    for loss, n, l in zip(cell_loss, assigned.tolist(), level.tolist()):
        if n >= 0:
            sums[n, l] += loss
            counts[n, l] += 1
    return sums / counts.clamp(min=1)


@wrong(
    "level_means",
    fault="background is added to the last row",
    true="-1|−1|last|background|no instance",
    false="sum of|transpos",
)
def level_means_last_row(cell_loss, assigned, level, num_instances, num_levels):
    sums = torch.zeros(num_instances, num_levels)
    counts = torch.zeros(num_instances, num_levels)
    sums.index_put_((assigned, level), cell_loss, accumulate=True)
    counts.index_put_((assigned, level), torch.ones_like(cell_loss), accumulate=True)
    return torch.where(counts > 0, sums / counts, torch.inf)


@wrong("level_means", fault="table transposed, (L, N)", true="shape|transpos|\\(N, L\\)|row")
def level_means_transposed(cell_loss, assigned, level, num_instances, num_levels):
    table = torch.full((num_levels, num_instances), torch.inf)
    for l in range(num_levels):
        for n in range(num_instances):
            own = (assigned == n) & (level == l)
            if own.any():
                table[l, n] = cell_loss[own].mean()
    return table


# wrong where two locations of one instance are at one level
@wrong(
    "level_means",
    fault="each location overwrites the one before: no accumulation",
    true="mean|overwrit|last|add|several",
    false="background",
)
def level_means_overwrites(cell_loss, assigned, level, num_instances, num_levels):
    table = torch.full((num_instances, num_levels), torch.inf)
    for loss, n, l in zip(cell_loss, assigned, level):
        if n >= 0:
            table[n, l] = loss
    return table


@wrong(
    "level_means",
    fault="divides by all locations of the level, not by the instance's own",
    true="mean|divi|own|number of",
    false="inf\\b",
)
def level_means_divides_by_level(cell_loss, assigned, level, num_instances, num_levels):
    table = torch.full((num_instances, num_levels), torch.inf)
    for n in range(num_instances):
        for l in range(num_levels):
            own = (assigned == n) & (level == l)
            if own.sum() > 0:
                table[n, l] = cell_loss[own].sum() / (level == l).sum()
    return table


# wrong for num_levels other than 4
@wrong("level_means", fault="four levels written in", true="num_levels|levels|shape|column")
def level_means_four_levels(cell_loss, assigned, level, num_instances, num_levels):
    table = torch.full((num_instances, 4), float("inf"))
    for n in range(num_instances):
        for l in range(4):
            own = (assigned == n) & (level == l)
            if own.any():
                table[n, l] = cell_loss[own].mean()
    return table


@wrong(
    "level_means",
    fault="the number of instances and levels is taken from the largest index that occurs",
    true="num_instances|num_levels|shape|row|column",
)
def level_means_from_the_largest(cell_loss, assigned, level, num_instances, num_levels):
    # an instance without any location at the end of the list loses its row
    rows, columns = int(assigned.max()) + 1, int(level.max()) + 1
    table = torch.full((max(rows, 0), columns), torch.inf)
    for n in range(rows):
        for l in range(columns):
            own = (assigned == n) & (level == l)
            if own.any():
                table[n, l] = cell_loss[own].mean()
    return table


# a location with a loss of exactly 0 does not count
@wrong(
    "level_means", fault="locations whose loss is 0 are not counted", true="zero|\\b0\\b|count|mean"
)
def level_means_zero_not_counted(cell_loss, assigned, level, num_instances, num_levels):
    table = torch.full((num_instances, num_levels), torch.inf)
    for n in range(num_instances):
        for l in range(num_levels):
            masked = cell_loss * ((assigned == n) & (level == l))
            if masked.sum() > 0:
                table[n, l] = masked.sum() / (masked > 0).sum()
    return table


@right("level_means", unusual="flat index, changes a copy in place")
def level_means_copy(cell_loss, assigned, level, num_instances, num_levels):
    assigned = assigned.clone()
    assigned[assigned < 0] = num_instances
    flat = assigned * num_levels + level
    size = (num_instances + 1) * num_levels
    sums = torch.zeros(size).index_add_(0, flat, cell_loss)
    counts = torch.zeros(size).index_add_(0, flat, torch.ones_like(cell_loss))
    means = torch.where(counts > 0, sums / counts, torch.inf)
    return means.view(-1, num_levels)[:num_instances]


@right("level_means", unusual="one-hot matrices and a product")
def level_means_product(cell_loss, assigned, level, num_instances, num_levels):
    of = (assigned[None] == torch.arange(num_instances)[:, None]).double()
    at = (level[:, None] == torch.arange(num_levels)).double()
    sums = (of * cell_loss.double()) @ at
    counts = of @ at
    return torch.where(counts > 0, sums / counts.clamp(min=1), torch.inf).to(cell_loss.dtype)


@right("level_means", unusual="scatter with mean, background in an extra row")
def level_means_scatter(cell_loss, assigned, level, num_instances, num_levels):
    row = torch.where(assigned < 0, num_instances, assigned)
    empty = torch.full(((num_instances + 1) * num_levels,), torch.inf, dtype=cell_loss.dtype)
    where = row * num_levels + level
    means = empty.scatter_reduce(0, where, cell_loss, "mean", include_self=False)
    return means.view(num_instances + 1, num_levels)[:-1]


@right("level_means", unusual="dictionary of lists, plain Python")
def level_means_dictionary(cell_loss, assigned, level, num_instances, num_levels):
    found = {}
    for loss, n, l in zip(cell_loss.tolist(), assigned.tolist(), level.tolist()):
        if n != -1:
            found.setdefault((n, l), []).append(loss)
    table = [
        [
            sum(found[n, l]) / len(found[n, l]) if (n, l) in found else math.inf
            for l in range(num_levels)
        ]
        for n in range(num_instances)
    ]
    return torch.tensor(table).reshape(num_instances, num_levels)


@breaks("level_means", how="raises IndexError: range goes one instance too far")
def level_means_index_error(cell_loss, assigned, level, num_instances, num_levels):
    table = torch.full((num_instances, num_levels), torch.inf)
    for n in range(num_instances + 1):
        for l in range(num_levels):
            own = (assigned == n) & (level == l)
            table[n, l] = cell_loss[own].mean() if own.any() else torch.inf
    return table


# Exercise 2: choose_level(levels, label)


def _focal(logits, targets, alpha=0.25):
    p = logits.sigmoid()
    positive = -alpha * (1 - p) ** 2 * logsigmoid(logits)
    negative = -(1 - alpha) * p**2 * logsigmoid(-logits)
    return torch.where(targets > 0, positive, negative)


def _iou(offsets, targets):
    smaller = torch.minimum(offsets, targets)
    width = (smaller[:, 0] + smaller[:, 2]).clamp(min=0)
    height = (smaller[:, 1] + smaller[:, 3]).clamp(min=0)
    shared = width * height
    areas = []
    for l, t, r, b in (offsets.unbind(1), targets.unbind(1)):
        areas.append((l + r).clamp(min=0) * (t + b).clamp(min=0))
    return (shared / (areas[0] + areas[1] - shared)).clamp(min=1e-6)


def _targets(logits, label):
    targets = torch.zeros_like(logits)
    targets[:, label] = 1
    return targets


@torch.no_grad()
def _choose(levels, label, focal=_focal, iou=_iou):
    losses = []
    for logits, offsets, targets in levels:
        if len(logits) == 0:
            losses.append(torch.tensor(torch.inf))
            continue
        classes = focal(logits, _targets(logits, label)).sum(1)
        losses.append((classes - iou(offsets, targets).log()).mean())
    losses = torch.stack(losses)
    return losses, -1 if losses.isinf().all() else int(losses.argmin())


@wrong(
    "choose_level", fault="0 where no level has a location", true="-1|−1|no location|no level|inf"
)
def choose_level_zero(levels, label):
    losses, _ = _choose(levels, label)
    return losses, int(losses.argmin())


@wrong(
    "choose_level",
    fault="the focal loss is averaged over the classes too",
    true="sum|classes|mean over",
    false="IoU|argmin|gradient",
)
@torch.no_grad()
def choose_level_mean_over_classes(levels, label):
    losses = []
    for logits, offsets, targets in levels:
        if len(logits):
            classes = _focal(logits, _targets(logits, label)).mean()
            losses.append(classes + (-_iou(offsets, targets).log()).mean())
        else:
            losses.append(torch.tensor(torch.inf))
    losses = torch.stack(losses)
    return losses, -1 if losses.isinf().all() else int(losses.argmin())


@wrong("choose_level", fault="the result carries a gradient", true="gradient|no_grad|detach")
def choose_level_gradient(levels, label):
    losses = []
    for logits, offsets, targets in levels:
        if len(logits):
            classes = _focal(logits, _targets(logits, label)).sum(1)
            losses.append((classes - _iou(offsets, targets).log()).mean())
        else:
            losses.append(torch.tensor(torch.inf))
    losses = torch.stack(losses)
    return losses, -1 if losses.isinf().all() else int(losses.argmin())


@wrong(
    "choose_level",
    fault="alpha is swapped: 0.75 for target 1",
    true="alpha|α|0\\.25|0\\.75|weight",
    false="IoU",
)
def choose_level_alpha(levels, label):
    return _choose(levels, label, focal=lambda x, y: _focal(x, y, alpha=0.75))


@wrong(
    "choose_level",
    fault="overlap is not clamped: two negative factors make an area",
    true="clamp|negative|both|apart|overlap",
    false="focal|alpha",
)
def choose_level_no_clamp(levels, label):
    # offsets (-3, -3, 1, 1) against targets (1, 1, 1, 1) in one location
    def iou(offsets, targets):
        l, t, r, b = torch.minimum(offsets, targets).unbind(1)
        shared = (l + r) * (t + b)
        l, t, r, b = offsets.unbind(1)
        lg, tg, rg, bg = targets.unbind(1)
        union = (l + r) * (t + b) + (lg + rg) * (tg + bg) - shared
        return (shared / union).clamp(min=1e-6)

    return _choose(levels, label, iou=iou)


@wrong(
    "choose_level",
    fault="takes l t r b as x1 y1 x2 y2",
    true="l t r b|ltrb|width|third|first|sides",
    false="focal|class",
)
def choose_level_corners(levels, label):
    def iou(offsets, targets):
        low = torch.maximum(offsets[:, :2], targets[:, :2])
        high = torch.minimum(offsets[:, 2:], targets[:, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        areas = [(one[:, 2:] - one[:, :2]).prod(1) for one in (offsets, targets)]
        return (shared / (areas[0] + areas[1] - shared)).clamp(min=1e-6)

    return _choose(levels, label, iou=iou)


@wrong("choose_level", fault="sum over the locations", true="mean|sum|number of", false="class")
@torch.no_grad()
def choose_level_sum(levels, label):
    losses = torch.full((len(levels),), torch.inf)
    for index, (logits, offsets, targets) in enumerate(levels):
        if len(logits) > 0:
            losses[index] = _focal(logits, _targets(logits, label)).sum()
            losses[index] -= _iou(offsets, targets).log().sum()
    return losses, -1 if losses.isinf().all() else int(losses.argmin())


# two levels with the same loss: the second is returned
@wrong("choose_level", fault="the last of equal losses", true="first|equal|tie|<=", false="inf")
def choose_level_last_of_equals(levels, label):
    losses, _ = _choose(levels, label)
    best = -1
    for index, loss in enumerate(losses.tolist()):
        if math.isfinite(loss) and (best == -1 or loss <= losses[best]):
            best = index
    return losses, best


@wrong(
    "choose_level",
    fault="only the own class counts in the focal loss",
    true="all classes|other classes|sum",
    false="IoU|mean over loc",
)
@torch.no_grad()
def choose_level_own_class(levels, label):
    losses = torch.full((len(levels),), torch.inf)
    for index, (logits, offsets, targets) in enumerate(levels):
        if len(logits) > 0:
            own = _focal(logits[:, label], torch.ones(len(logits)))
            losses[index] = (own - _iou(offsets, targets).log()).mean()
    return losses, -1 if losses.isinf().all() else int(losses.argmin())


@wrong("choose_level", fault="1 - IoU instead of -ln IoU", true="ln|log", false="focal|class|mean")
@torch.no_grad()
def choose_level_one_minus(levels, label):
    losses = torch.full((len(levels),), torch.inf)
    for index, (logits, offsets, targets) in enumerate(levels):
        if len(logits) > 0:
            focal = _focal(logits, _targets(logits, label)).sum(1)
            losses[index] = (focal + 1 - _iou(offsets, targets)).mean()
    return losses, -1 if losses.isinf().all() else int(losses.argmin())


@wrong(
    "choose_level",
    fault="levels without a location are left out, so the index is wrong and (L,) too short",
    true="shape|inf|every level|each level|no location",
)
@torch.no_grad()
def choose_level_left_out(levels, label):
    full = [level for level in levels if len(level[0])]
    if not full:
        return torch.full((len(levels),), torch.inf), -1
    return _choose(full, label)


# no overlap at all gives inf, and the level cannot be selected
@wrong(
    "choose_level",
    fault="IoU is not clamped at 1e-6",
    true="1e-6|10|clamp|least|13\\.8",
    false="class",
)
def choose_level_no_least_iou(levels, label):
    def iou(offsets, targets):
        smaller = torch.minimum(offsets, targets)
        shared = (smaller[:, :2] + smaller[:, 2:]).clamp(min=0).prod(1)
        union = (offsets[:, :2] + offsets[:, 2:]).prod(1)
        union = union + (targets[:, :2] + targets[:, 2:]).prod(1) - shared
        return shared / union

    return _choose(levels, label, iou=iou)


@right("choose_level", unusual="numpy in double precision, then tensors again")
def choose_level_numpy(levels, label):
    losses = []
    for level in levels:
        x, o, t = (one.detach().numpy().astype(float) for one in level)
        if not len(x):
            losses.append(np.inf)
            continue
        log_p, log_q = -np.logaddexp(0, -x), -np.logaddexp(0, x)
        p = np.exp(log_p)
        focal = -0.75 * p**2 * log_q
        focal[:, label] = (-0.25 * (1 - p) ** 2 * log_p)[:, label]
        m = np.minimum(o, t)
        shared = np.maximum(m[:, 0] + m[:, 2], 0) * np.maximum(m[:, 1] + m[:, 3], 0)
        sides = [np.maximum(one[:, :2] + one[:, 2:], 0) for one in (o, t)]
        areas = [one.prod(1) for one in sides]
        iou = np.maximum(shared / (areas[0] + areas[1] - shared), 1e-6)
        losses.append(np.mean(focal.sum(1) - np.log(iou)))
    level = int(np.argmin(losses)) if np.isfinite(losses).any() else -1
    return torch.tensor(losses, dtype=torch.float32), level


@right("choose_level", unusual="all levels joined, sums by index_add, level as a tensor")
@torch.no_grad()
def choose_level_joined(levels, label):
    logits, offsets, targets = (torch.cat(parts) for parts in zip(*levels))
    counts = torch.tensor([len(one[0]) for one in levels])
    level = torch.repeat_interleave(torch.arange(len(levels)), counts)
    wanted = one_hot(torch.full((len(logits),), int(label)), logits.shape[1])
    loss = _focal(logits, wanted).sum(1) - _iou(offsets, targets).log()
    sums = torch.zeros(len(levels)).index_add(0, level, loss)
    losses = torch.where(counts > 0, sums / counts.clamp(min=1), torch.inf)
    return losses, torch.where(counts.sum() > 0, losses.argmin(), -1)


@right("choose_level", unusual="min() of Python over pairs, and a print")
def choose_level_pairs(levels, label):
    losses = []
    for logits, offsets, targets in levels:
        n = logits.shape[0]
        if n == 0:
            losses.append(float("inf"))
            continue
        focal = _focal(logits.detach(), _targets(logits, label)).sum()
        box = -_iou(offsets.detach(), targets.detach()).log().sum()
        losses.append(((focal + box) / n).item())
    loss, level = min((loss, index) for index, loss in enumerate(losses))
    print("losses:", losses)
    return torch.tensor(losses), level if loss < float("inf") else -1


@breaks("choose_level", how="raises RuntimeError: stack of an empty list when no level has any")
def choose_level_empty_stack(levels, label):
    losses = []
    for logits, offsets, targets in levels:
        if len(logits):
            focal = _focal(logits, _targets(logits, label)).sum(1)
            losses.append((focal - _iou(offsets, targets).log()).mean().detach())
    losses = torch.stack(losses)
    return losses, int(losses.argmin())


# Exercise 3: anchor_free_loss(logits, offsets, targets, labels, positive, ignored, weight)


def _class_targets(logits, labels, positive):
    wanted = torch.zeros_like(logits)
    wanted[positive, labels[positive]] = 1
    return wanted


@wrong(
    "anchor_free_loss",
    fault="positive entries that are ignored do not count",
    true="ignored|own class|still count",
    false="divi|gradient",
)
def loss_ignores_positives(logits, offsets, targets, labels, positive, ignored, weight):
    focal = _focal(logits, _class_targets(logits, labels, positive))[~ignored].sum()
    box = -_iou(offsets[positive], targets[positive]).log().sum()
    return weight * (focal + box) / positive.sum().clamp(min=1)


@wrong("anchor_free_loss", fault="ignored entries count", true="ignor", false="gradient|weight|λ")
def loss_counts_ignored(logits, offsets, targets, labels, positive, ignored, weight):
    focal = _focal(logits, _class_targets(logits, labels, positive)).sum()
    box = -_iou(offsets[positive], targets[positive]).log().sum()
    return weight * (focal + box) / max(int(positive.sum()), 1)


@wrong(
    "anchor_free_loss",
    fault="a location with one ignored class loses all its classes",
    true="entry|ignored|other classes|location",
    false="divi|gradient",
)
def loss_ignores_locations(logits, offsets, targets, labels, positive, ignored, weight):
    wanted = _class_targets(logits, labels, positive)
    counts = (wanted > 0) | ~ignored.any(1, keepdim=True)
    focal = (_focal(logits, wanted) * counts).sum()
    box = -_iou(offsets[positive], targets[positive]).log().sum()
    return weight * (focal + box) / positive.sum().clamp(min=1)


# no positive location: 0 / 0 or inf
@wrong(
    "anchor_free_loss",
    fault="divides by 0 without positives",
    true="at least 1|divi|no object|no positive|nan|inf",
)
def loss_divides_by_zero(logits, offsets, targets, labels, positive, ignored, weight):
    wanted = _class_targets(logits, labels, positive)
    focal = _focal(logits, wanted)[(wanted > 0) | ~ignored].sum()
    box = -_iou(offsets[positive], targets[positive]).log().sum()
    return weight * (focal + box) / positive.sum()


@wrong(
    "anchor_free_loss",
    fault="the weight is on the box term alone",
    true="weight|λ|lambda|both",
    false="ignor|divi",
)
def loss_weights_box_alone(logits, offsets, targets, labels, positive, ignored, weight):
    wanted = _class_targets(logits, labels, positive)
    focal = _focal(logits, wanted)[(wanted > 0) | ~ignored].sum()
    box = -_iou(offsets[positive], targets[positive]).log().sum()
    return (focal + weight * box) / positive.sum().clamp(min=1)


@wrong(
    "anchor_free_loss",
    fault="no gradient: .item() and a new tensor",
    true="gradient|detach|item",
    false="ignor",
)
def loss_item(logits, offsets, targets, labels, positive, ignored, weight):
    wanted = _class_targets(logits, labels, positive)
    focal = _focal(logits, wanted)[(wanted > 0) | ~ignored].sum()
    box = -_iou(offsets[positive], targets[positive]).log().sum()
    return torch.tensor(weight * (focal.item() + box.item()) / max(positive.sum().item(), 1))


@wrong(
    "anchor_free_loss",
    fault="the factor (1 - p)² is detached, so the value is right and the gradient is not",
    true="gradient|detach",
    false="value is|ignor",
)
def loss_detached_factor(logits, offsets, targets, labels, positive, ignored, weight):
    wanted = _class_targets(logits, labels, positive)
    p = logits.sigmoid().detach()
    focal = torch.where(
        wanted > 0,
        -0.25 * (1 - p) ** 2 * logsigmoid(logits),
        -0.75 * p**2 * logsigmoid(-logits),
    )
    focal = focal[(wanted > 0) | ~ignored].sum()
    box = -_iou(offsets[positive], targets[positive]).log().sum()
    return weight * (focal + box) / positive.sum().clamp(min=1)


@wrong(
    "anchor_free_loss",
    fault="the focal loss is divided by the number of entries, not of positives",
    true="positive|divi|number|mean",
    false="gradient|ignor",
)
def loss_mean(logits, offsets, targets, labels, positive, ignored, weight):
    wanted = _class_targets(logits, labels, positive)
    focal = _focal(logits, wanted)[(wanted > 0) | ~ignored].mean()
    box = -_iou(offsets[positive], targets[positive]).log().sum() / positive.sum().clamp(min=1)
    return weight * (focal + box)


@wrong(
    "anchor_free_loss",
    fault="the label is the target at every location, also at negative ones",
    true="positive|negative|target|background",
    false="IoU|divi",
)
def loss_label_everywhere(logits, offsets, targets, labels, positive, ignored, weight):
    # a negative location has a valid label number, which the text says nothing about
    wanted = torch.zeros_like(logits)
    wanted[torch.arange(len(labels)), labels] = 1
    focal = _focal(logits, wanted)[(wanted > 0) | ~ignored].sum()
    box = -_iou(offsets[positive], targets[positive]).log().sum()
    return weight * (focal + box) / positive.sum().clamp(min=1)


@wrong(
    "anchor_free_loss",
    fault="IoU loss of all locations, not of the positive ones",
    true="positive|IoU|box",
    false="ignor|class target",
)
def loss_all_boxes(logits, offsets, targets, labels, positive, ignored, weight):
    wanted = _class_targets(logits, labels, positive)
    focal = _focal(logits, wanted)[(wanted > 0) | ~ignored].sum()
    box = -_iou(offsets, targets).log().sum()
    return weight * (focal + box) / positive.sum().clamp(min=1)


@right("anchor_free_loss", unusual="changes a copy of ignored in place")
def loss_copy(logits, offsets, targets, labels, positive, ignored, weight):
    ignored = ignored.clone()
    ignored[positive, labels[positive]] = False
    focal = _focal(logits, _class_targets(logits, labels, positive))[~ignored].sum()
    box = -_iou(offsets[positive], targets[positive]).log().sum()
    return weight * (focal + box) / positive.sum().clamp(min=1)


@right("anchor_free_loss", unusual="entry by entry in two loops, with the gradient")
def loss_loops(logits, offsets, targets, labels, positive, ignored, weight):
    total = logits.sum() * 0.0
    for row in range(len(logits)):
        own = int(labels[row]) if positive[row] else -1
        for column in range(logits.shape[1]):
            x = logits[row, column]
            p = x.sigmoid()
            if column == own:
                total = total - 0.25 * (1 - p) ** 2 * logsigmoid(x)
            elif not ignored[row, column]:
                total = total - 0.75 * p**2 * logsigmoid(-x)
        if own >= 0:
            total = total - _iou(offsets[row][None], targets[row][None]).log().sum()
    return weight * total / max(1, int(positive.sum()))


@right("anchor_free_loss", unusual="cross entropy from the library, times a power")
def loss_cross_entropy(logits, offsets, targets, labels, positive, ignored, weight):
    wanted = _class_targets(logits, labels, positive)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    p = torch.sigmoid(logits)
    p_t = p * wanted + (1 - p) * (1 - wanted)
    alpha_t = 0.25 * wanted + 0.75 * (1 - wanted)
    focal = alpha_t * (1 - p_t) ** 2 * entropy
    focal = focal.masked_fill(ignored & (wanted == 0), 0.0).sum()
    a, b = offsets[positive], targets[positive]
    box = -_iou(a, b).log().sum() if len(a) else 0.0
    return (focal + box) * weight / positive.sum().clamp(min=1)


@breaks("anchor_free_loss", how="raises IndexError: row and column swapped in the index")
def loss_wrong_index(logits, offsets, targets, labels, positive, ignored, weight):
    wanted = torch.zeros_like(logits)
    wanted[labels[positive], positive.nonzero()[:, 0]] = 1  # row and column swapped
    focal = _focal(logits, wanted)[(wanted > 0) | ~ignored].sum()
    box = -_iou(offsets[positive], targets[positive]).log().sum()
    return weight * (focal + box) / positive.sum().clamp(min=1)
