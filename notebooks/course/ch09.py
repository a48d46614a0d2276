"""Pictures of chapter 09: one function each, which returns a matplotlib Figure or an image."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from fsaf_core.viz.colors import LIGHT
from fsaf_core.viz.plots import draw_boxes

HIT, FALSE = LIGHT.label(0), LIGHT.label(1)  # true and false positives


def _panels(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False).flat)


def _box(ax: Axes, box: Sequence[float], color: str, text: str = "", **style) -> None:
    x1, y1, x2, y2 = (float(side) for side in box)
    style = {"linewidth": 1.5, "fill": False} | style
    ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, edgecolor=color, **style))
    if text:
        tab = {"facecolor": color, "edgecolor": "none", "pad": 1.5}
        ax.text(x1 + 1, y1 + 1, text, fontsize=8, va="top", color="white", bbox=tab)


def _chart(ax: Axes, x_name: str, y_name: str) -> None:
    ax.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel=x_name, ylabel=y_name)
    ax.grid(color=LIGHT.grid, linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)


def candidates_by_level(image: np.ndarray, boxes: Tensor, strides: Tensor) -> Figure:
    """Draw the candidates of each level on the image; a level without any has no panel."""
    used = strides.unique().tolist()
    figure, axes = _panels(len(used), 3.2 * len(used), 3.5)
    for ax, stride in zip(axes, used):
        level = int(stride).bit_length() - 1
        own = boxes[strides == stride].tolist()
        ax.imshow(image)
        for box in own:
            _box(ax, box, LIGHT.level(level), linewidth=0.8, alpha=0.8)
        ax.set_title(f"P{level}: {len(own)} candidates", fontsize=10)
        ax.set_axis_off()
    return figure


def three_boxes(boxes: Sequence[Sequence[float]], scores: Sequence[float]) -> Figure:
    """Draw the boxes A, B, C of the prediction about NMS, one below the other's upper side."""
    figure, (ax,) = _panels(1, 6, 1.6)
    for index, (box, score) in enumerate(zip(boxes, scores)):
        _box(ax, box, LIGHT.label(index), linewidth=2.5, linestyle=("-", "--", ":")[index])
        x = (box[0], box[0] + 15, box[2] - 20)[index]
        ax.text(x + 2, 5, f"{'ABC'[index]} {score}", color=LIGHT.label(index), va="center")
    ax.set(xlim=(-3, 157), ylim=(11, -1))
    ax.set_axis_off()
    return figure


def detections(
    image: np.ndarray, found: Sequence[Tensor], names: Sequence[str], lowest: float
) -> Image.Image:
    """Draw the detections with a score above `lowest`; `found` is boxes, scores and labels."""
    keep = found[1] > lowest
    boxes, scores, labels = (part[keep].tolist() for part in found)
    return draw_boxes(Image.fromarray(image), boxes, labels, scores, names)


def worked_example(
    objects: Mapping[str, Sequence], entries: Sequence[tuple], taken: Sequence[int] | None = None
) -> Figure:
    """Draw the example's two images; with `taken`, an arrow leads to the object of each entry.

    Args:
        objects: boxes of each image.
        entries: image, score and box of each detection, best score first.
        taken: index of the object that each entry takes in its image, or -1.
    """
    figure, axes = _panels(len(objects), 7.6, 3.6)
    for ax, (image, boxes) in zip(axes, objects.items()):
        for index, box in enumerate(boxes, 1):
            _box(ax, box, LIGHT.ink, linewidth=4, alpha=0.35)
            ax.text(box[2] - 1, box[3] - 1, f"{image.lower()}{index}", ha="right", va="bottom")
        for number, (where, score, box) in enumerate(entries, 1):
            if where != image:
                continue
            object_index = None if taken is None else taken[number - 1]
            color = LIGHT.muted if taken is None else HIT if object_index >= 0 else FALSE
            _box(ax, box, color, linestyle="--")
            # The names of two boxes on one object stand in opposite corners.
            x, y, side = (
                (box[2] - 1, box[1] + 1, "right") if number % 2 else (box[0], box[3], "left")
            )
            tab = {"facecolor": color, "edgecolor": "none", "pad": 1.5}
            style = {"fontsize": 8, "color": "white", "bbox": tab, "ha": side, "va": "top"}
            ax.text(x, y, f"{number}: {score}", **style)
            if taken is not None and object_index >= 0:
                end = boxes[object_index][2] - 6, boxes[object_index][3] - 7
                arrow = {"arrowstyle": "->", "color": color, "linewidth": 1.5}
                ax.annotate("", end, (x - 6, y + 6), arrowprops=arrow)
        ax.set(xlim=(0, 120), ylim=(120, 0), xticks=(), yticks=(), aspect="equal")
        ax.set_title(f"image {image}", fontsize=10)
    return figure


def precision_recall(precision: Sequence[float], recall: Sequence[float]) -> Figure:
    """Draw the points of a ranked list and the steps whose mean is AP."""
    figure, (ax,) = _panels(1, 5, 3.4)
    best = [max(precision[place:]) for place in range(len(precision))]
    ax.plot(recall, precision, "o--", color=LIGHT.muted, label="after each entry")
    for number, (x, y) in enumerate(zip(recall, precision), 1):
        ax.annotate(f"{number}", (x, y), (5, -12), textcoords="offset points", fontsize=8)
    steps_x = [0, *recall, recall[-1], 1]
    steps_y = [best[0], *best, 0, 0]
    ax.step(steps_x, steps_y, where="pre", color=HIT, linewidth=2, label="best still reachable")
    _chart(ax, "recall", "precision")
    ax.legend(fontsize=8, loc="lower left")
    return figure


def curves_by_iou(curves: Mapping[float, Sequence[float]]) -> Figure:
    """Draw the 101 best precisions of each IoU threshold, named by its AP in percent."""
    figure, (ax,) = _panels(1, 5, 3.4)
    for index, (threshold, curve) in enumerate(curves.items()):
        name = f"IoU {threshold:g}: AP {100 * np.mean(curve):.1f}"
        dash = ("-", "--", ":")[index % 3]
        ax.plot(np.linspace(0, 1, 101), curve, dash, color=LIGHT.label(index), label=name)
    _chart(ax, "recall", "best precision, mean over classes")
    ax.legend(fontsize=8)
    return figure


def loss_bars(terms: Mapping[str, float]) -> Figure:
    """Draw the loss terms of both branches as bars."""
    figure, (ax,) = _panels(1, 5.4, 1.9)
    colors = [LIGHT.label(0 if name.startswith("anchor") else 1) for name in terms]
    bars = ax.barh(list(terms), list(terms.values()), color=colors)
    ax.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.15 * max(terms.values()))
    ax.spines[["top", "right"]].set_visible(False)
    return figure
