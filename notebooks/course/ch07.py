"""Pictures of chapter 07, and the location of its worked example."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

import fsaf_core as fsaf
from fsaf_core.method.locations import encode
from fsaf_core.model.structures import HeadOutputs
from fsaf_core.viz.colors import LIGHT

from . import scene, snapshots

UP, DOWN, NONE = LIGHT.label(2), LIGHT.label(1), LIGHT.regions["negative"].fill


def rounded(outputs: HeadOutputs) -> HeadOutputs:
    """Return the same outputs with three decimals, as a pocket calculator gets them."""
    maps = (outputs.cls_logits, outputs.box_offsets)
    return HeadOutputs(*([level.float().round(decimals=3) for level in one] for one in maps))


def worked_location() -> tuple[list[float], list[float], np.ndarray, list[float], float]:
    """Return offsets, targets, image, center and unit of the worked example's location.

    Of the star's locations at its selected level, with distances that are too long and others that
    are too short, it is the one with the lowest logit of the star.
    """
    example, outputs = scene(), rounded(snapshots().outputs[-1])
    detector = fsaf.build_detector(fsaf.presets.get("tiny").model)
    assignment, locations = detector.assign(outputs, example.targets), detector.locations(outputs)
    level = assignment.selected_level[example.star]
    own = (assignment.before_selection[0] == example.star) & (locations.level == level)
    offsets = torch.cat([one.flatten(2) for one in outputs.box_offsets], 2)[0].T
    unit = detector.config.offset_normalizer * locations.stride
    star_boxes = example.boxes[[example.star]].expand(len(unit), 4)
    targets = encode(star_boxes, locations.centers, unit)
    star_locations = own.nonzero()[:, 0]
    longer = (offsets > targets)[star_locations].sum(1)
    mixed = star_locations[(longer > 0) & (longer < 4)]
    star_logits = torch.cat([one.flatten(2) for one in outputs.cls_logits], 2)
    star_logits = star_logits[0, example.labels[example.star]]
    chosen = int(mixed[star_logits[mixed].argmin()])
    sides = [round(value, 3) for value in offsets[chosen].tolist()], targets[chosen].tolist()
    return *sides, example.image, locations.centers[chosen].tolist(), float(unit[chosen])


def loss_bars(
    names: Sequence[str], focal: Sequence[float], iou: Sequence[float], levels: Sequence[int]
) -> Figure:
    """Return a bar for each location: its focal loss, then its -ln IoU, with both numbers."""
    figure = Figure(figsize=(8, 0.36 * len(names) + 0.8), layout="constrained")
    axes, place = figure.add_subplot(), np.arange(len(names))
    colors = [LIGHT.level(level) for level in levels]
    axes.barh(place, focal, color=colors, edgecolor=LIGHT.ink, linewidth=0.5, label="focal loss")
    style = {"color": colors, "alpha": 0.45, "hatch": "//", "edgecolor": LIGHT.paper}
    axes.barh(place, iou, left=focal, label="-ln IoU", **style)
    for row, (one, other) in enumerate(zip(focal, iou, strict=True)):
        axes.text(one + other + 0.03, row, f"{one:.3f} + {other:.3f}", va="center", fontsize=9)
    axes.set_yticks(place, names)
    axes.invert_yaxis()
    axes.set(xlabel="loss: focal loss (solid) + -ln IoU (hatched)")
    axes.set_xlim(0, 1.25 * max(map(sum, zip(focal, iou))))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def predicted_boxes(
    image: np.ndarray,
    target: Sequence[float],
    boxes: Sequence[Sequence[float]],
    levels: Sequence[int],
    ious: Sequence[float],
) -> Figure:
    """Return the image with the box that each level predicts, and the target box dashed."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0))
    for (x1, y1, x2, y2), level, iou in zip(boxes, levels, ious, strict=True):
        style = {"edgecolor": LIGHT.level(level), "label": f"P{level}: IoU {iou:.2f}"}
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, linewidth=2.5, **style))
    x1, y1, x2, y2 = target
    style = {"edgecolor": "white", "linestyle": "--", "linewidth": 2, "label": "target"}
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, **style))
    axes.set(xlim=(-8, width + 8), ylim=(height + 8, -8), xticks=[], yticks=[], facecolor="#9aa3b2")
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1), facecolor="#9aa3b2")
    legend.get_frame().set_alpha(1)
    return figure


def loss_table(
    table: Sequence[Sequence[float]],
    names: Sequence[str],
    chosen: Sequence[int],
    by_size: Sequence[int],
) -> Figure:
    """Return the losses of all instances at all levels, the darker the smaller.

    Args:
        table: (N, L), inf where an instance has no location.
        names: of the instances.
        chosen: the level that is framed, 0..L-1.
        by_size: the level that gets a triangle, 0..L-1.
    """
    levels = len(table[0])
    figure = Figure(figsize=(6, 0.42 * len(names) + 0.6), layout="constrained")
    axes = figure.add_subplot()
    for row, losses in enumerate(table):
        for level, loss in enumerate(losses):
            shade = 0.0 if math.isinf(loss) else 0.6 * math.exp(-loss)
            fill = {"facecolor": (*_rgb(LIGHT.level(3 + level)), shade), "edgecolor": LIGHT.grid}
            axes.add_patch(Rectangle((level, row), 1, 1, **fill))
            text = "no location" if math.isinf(loss) else f"{loss:.3f}"
            axes.text(level + 0.5, row + 0.5, text, ha="center", va="center", fontsize=10)
        frame = {"fill": False, "edgecolor": LIGHT.ink, "linewidth": 2.5, "zorder": 3}
        axes.add_patch(Rectangle((chosen[row] + 0.03, row + 0.06), 0.94, 0.88, **frame))
        axes.text(by_size[row] + 0.88, row + 0.32, "▲", ha="center", va="center", fontsize=8)
    axes.set_xticks(np.arange(levels) + 0.5, [f"P{3 + level}" for level in range(levels)])
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.set(xlim=(0, levels), ylim=(len(names), 0))
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def gradient_maps(
    slopes: Sequence[Tensor],
    box_learns: Sequence[Tensor],
    boxes: Sequence[Sequence[float]],
    strides: Sequence[int],
) -> Figure:
    """Return the gradient at every location: of one class output, and whether the box learns.

    Args:
        slopes: (rows, columns) of each level: derivative of the loss with respect to the logit.
        box_learns: (rows, columns) bool of each level: the box output has a gradient.
        boxes: x1 y1 x2 y2 of the instances, pixels.
        strides: of the levels, pixels.
    """
    figure = Figure(figsize=(2.5 * len(strides), 3.1), layout="constrained")
    for nth, (axes, stride) in enumerate(zip(figure.subplots(1, len(strides)), strides)):
        shown = np.empty((*slopes[nth].shape, 3))
        for kind, color in ((0, NONE), (-1, UP), (1, DOWN)):
            shown[slopes[nth].sign().numpy() == kind] = _rgb(color)
        rows, columns = slopes[nth].shape
        axes.imshow(shown, alpha=0.6, extent=(0, columns * stride, rows * stride, 0))
        row, column = box_learns[nth].nonzero().numpy().T
        centers = (column + 0.5) * stride, (row + 0.5) * stride
        axes.scatter(*centers, color=LIGHT.ink, marker="s", s=14)
        for x1, y1, x2, y2 in boxes:
            style = {"fill": False, "linewidth": 0.8, "edgecolor": LIGHT.muted}
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **style))
        axes.set(xticks=[], yticks=[], title=f"P{3 + nth}")
    kinds = {"class star: up": UP, "class star: down": DOWN, "class star: no gradient": NONE}
    handles = [Rectangle((0, 0), 1, 1, facecolor=color, alpha=0.6) for color in kinds.values()]
    handles.append(Rectangle((0, 0), 1, 1, facecolor=LIGHT.ink))
    labels = [*kinds, "box output has a gradient"]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def history_lines(steps: Sequence[int], history: Sequence[Sequence[float]]) -> Figure:
    """Return the loss of one instance at each level against the training step.

    A star marks a snapshot at which another level has the least loss than at the one before.

    Args:
        steps: training steps; 0 is drawn at 0.5, because both axes are logarithmic.
        history: (T, L) losses.
    """
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes, places = figure.add_subplot(), [max(step, 0.5) for step in steps]
    for level, line in enumerate(zip(*history)):
        style = {"color": LIGHT.level(3 + level), "marker": "o", "markersize": 3}
        axes.plot(places, line, label=f"P{3 + level}", **style)
    winners = [min(range(len(one)), key=one.__getitem__) for one in map(list, history)]
    for place, before, now, losses in zip(places[1:], winners, winners[1:], list(history)[1:]):
        if now != before:
            axes.plot(place, losses[now], marker="*", markersize=13, color=LIGHT.level(3 + now))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set(xlabel="training step", ylabel="loss of the star")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes.grid(color=LIGHT.grid, linewidth=0.5)
    return figure


def choice_scatter(
    everything: Sequence[float], own: Sequence[float], levels: Sequence[int]
) -> Figure:
    """Return, for each instance and level, the loss with all classes against that with its own."""
    figure = Figure(figsize=(4.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    most = 1.05 * max(everything)
    axes.plot([0, most], [0, most], color=LIGHT.muted, linestyle="--", linewidth=1)
    for level in sorted(set(levels)):
        points = [(x, y) for x, y, at in zip(everything, own, levels) if at == level]
        axes.scatter(*zip(*points), color=LIGHT.level(level), s=28, label=f"P{level}")
    axes.set(xlabel="loss with all classes", ylabel="loss with the own class only")
    axes.set(xlim=(0, most), ylim=(0, most))
    axes.legend(frameon=False, loc="upper left")
    return figure


def _rgb(color: str) -> tuple[float, ...]:
    return tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
