"""Pictures of chapter 04: anchors."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from fsaf_core.viz.colors import LIGHT


def nine_anchors(image: np.ndarray, anchors: Mapping[int, Tensor], box: Sequence[float]) -> Figure:
    """Draw the anchors of one location of each level over the image, and a box in white.

    Args:
        image: (H, W, 3) uint8.
        anchors: (9, 4) x1 y1 x2 y2 in pixels, for each level.
        box: x1 y1 x2 y2.
    """
    height, width = image.shape[:2]
    figure = Figure(figsize=(3 * len(anchors), 3.2), layout="constrained")
    for ax, (level, boxes) in zip(
        figure.subplots(1, len(anchors), squeeze=False)[0], anchors.items()
    ):
        ax.imshow(image, extent=(0, width, height, 0))
        for each, color, line in [
            *((one, LIGHT.level(level), 1.5) for one in boxes.tolist()),
            (box, "#ffffff", 2.5),
        ]:
            x1, y1, x2, y2 = map(float, each)
            ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=color, lw=line))
        ax.set(title=f"P{level}", xticks=[], yticks=[], xlim=(-30, width + 30))
        ax.set(ylim=(height + 30, -30))
    return figure


def size_curves(sides: Sequence[float], counts: Mapping[int, Sequence[float]]) -> Figure:
    """Draw the mean number of positive anchors against the side of a square, one line a level."""
    figure = Figure(figsize=(6.4, 3), layout="constrained")
    ax = figure.subplots()
    styles = ("-", "--", "-.", ":")
    for style, (level, values) in zip(styles, counts.items()):
        ax.plot(sides, values, style, color=LIGHT.level(level), lw=2.2, label=f"P{level}")
    ticks = (8, 16, 32, 64, 128)
    ax.set(xscale="log", xlabel="side of a square, pixels", ylabel="positive anchors")
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.grid(color=LIGHT.grid)
    ax.legend()
    return figure


def level_losses(
    names: Sequence[str], losses: Tensor, network: Sequence[int], rule: Sequence[int]
) -> Figure:
    """Draw the loss of each object at each level; a square marks the least, a ring the heuristic.

    Args:
        names: (N,) of the objects.
        losses: (N, L); inf where an object has no location.
        network: (N,) index of the level with the least loss.
        rule: (N,) index of the level that the size names.
    """
    count, levels = losses.shape
    figure = Figure(figsize=(5.4, 0.5 + 0.42 * count), layout="constrained")
    ax = figure.subplots()
    finite = losses.clone()
    finite[losses.isinf()] = float("nan")
    ax.imshow(finite, cmap="Greys", vmin=0, vmax=8, aspect="auto")
    for i in range(count):
        for j in range(levels):
            text = "no location" if losses[i, j].isinf() else f"{losses[i, j]:.1f}"
            dark = losses[i, j].isfinite() and losses[i, j] > 4
            ax.text(j, i, text, ha="center", va="center", color="white" if dark else "black")
        ax.scatter(network[i] - 0.33, i, marker="s", s=60, color=LIGHT.level(3 + int(network[i])))
        ax.scatter(rule[i] + 0.33, i, marker="o", s=60, fc="none", ec=LIGHT.label(1), lw=2)
    ax.set_xticks(range(levels), [f"P{3 + level}" for level in range(levels)])
    ax.set_yticks(range(count), names)
    ax.set_xlabel("■ least loss   ○ level by size")
    return figure


def mean_positives_table(
    table: Sequence[Sequence[float]], rows: Sequence[str], columns: Sequence[str]
) -> Figure:
    """Draw mean numbers of positive anchors as a shaded table: size down, shape across."""
    figure = Figure(figsize=(4.6, 2.8), layout="constrained")
    ax = figure.subplots()
    ax.imshow(table, cmap="Blues", vmin=0, vmax=10, aspect="auto")
    for i, row in enumerate(table):
        for j, mean in enumerate(row):
            ax.text(j, i, f"{mean:.1f}", ha="center", va="center", color=("k", "w")[mean > 6])
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.set(xlabel="longer side / shorter side", ylabel="size, pixels")
    return figure
