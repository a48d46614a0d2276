"""Pictures of chapter 03: the feature pyramid."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from fsaf_core.viz.colors import LIGHT


def wiring(changed: Mapping[str, Sequence[Tensor]]) -> Figure:
    """Draw which locations of each level change with one location of a map, a row for each map.

    Args:
        changed: for each map of the backbone a boolean (rows, columns) of each level, P3 first.
    """
    count = len(next(iter(changed.values())))
    figure = Figure(figsize=(1.55 * count, 1.65 * len(changed)), layout="constrained")
    axes = figure.subplots(len(changed), count, squeeze=False)
    for row, (name, levels) in zip(axes, changed.items()):
        row[0].set_ylabel(f"one location of {name}")
        for ax, level, marks in zip(row, range(3, 3 + count), levels):
            ax.imshow(marks.float(), cmap="Blues", vmin=0, vmax=1.2)
            ax.set(
                xticks=np.arange(marks.shape[1] + 1) - 0.5, yticks=np.arange(len(marks) + 1) - 0.5
            )
            ax.grid(color=LIGHT.grid, lw=0.4)
            ax.tick_params(length=0, labelbottom=False, labelleft=False)
            ax.set_title(f"P{level}: {int(marks.sum())}", fontsize=9)
    return figure


def two_positions(centers: Tensor, corners: Tensor, stride: int) -> Figure:
    """Draw the locations of one level at the centers and at the corners of their squares.

    Args:
        centers: (R, 2) x y in pixels, with c = 0.5.
        corners: (R, 2), with c = 0.
        stride: of the level, pixels.
    """
    figure = Figure(figsize=(3.4, 3.4), layout="constrained")
    ax = figure.subplots()
    end = float(centers.max()) + stride / 2
    ax.scatter(*centers.T, s=40, color=LIGHT.level(4), label="(j + ½) · stride")
    ax.scatter(*corners.T, s=60, fc="none", ec=LIGHT.level(5), lw=2, label="j · stride")
    ticks = np.arange(0, end + 1, stride)
    ax.set(xticks=ticks, yticks=ticks, xlim=(-stride / 2, end), ylim=(end, -stride / 2))
    ax.grid(color=LIGHT.grid)
    ax.set(aspect="equal", xlabel="x, pixels", ylabel="y, pixels")
    figure.legend(loc="outside upper center", ncols=2, fontsize=9)
    return figure


def shift_curve(sides: Sequence[float], ious: Sequence[float]) -> Figure:
    """Draw the IoU of a square with itself, half a stride off, against its side in strides."""
    figure = Figure(figsize=(5, 2.6), layout="constrained")
    ax = figure.subplots()
    ax.plot(sides, ious, color=LIGHT.label(0), lw=2)
    ax.axhline(0.5, color=LIGHT.muted, ls=":")
    ax.set(xlabel="side of the square, in strides", ylabel="IoU", ylim=(0, 1))
    ax.grid(color=LIGHT.grid)
    return figure


def changes(levels: Sequence[Tensor], box: Sequence[float], size: int) -> Figure:
    """Draw how much each location of each level changes, with a box over it.

    Args:
        levels: (rows, columns) of each level, P3 first.
        box: x1 y1 x2 y2 in pixels.
        size: side of the image, pixels.
    """
    figure = Figure(figsize=(2.5 * len(levels), 2.6), layout="constrained")
    x1, y1, x2, y2 = box
    for ax, level, change in zip(
        figure.subplots(1, len(levels), squeeze=False)[0], range(3, 9), levels
    ):
        ax.imshow(change, cmap="gray_r", extent=(0, size, size, 0), vmin=0)
        ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=LIGHT.label(1), lw=2))
        ax.set(title=f"P{level}", xticks=(0, size // 2, size), yticks=(0, size // 2, size))
    return figure
