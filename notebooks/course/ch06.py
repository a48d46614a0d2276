"""Pictures of chapter 06."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from fsaf_core.viz.colors import LIGHT

BACKGROUND = LIGHT.regions["negative"].fill


def coco_like_boxes(count: int, side: int) -> Tensor:
    """Return (count, 4) random boxes whose sizes have COCO's shares of small, medium and large.

    The root of the area is uniform within each of the three bins, the ratio of the sides is 0.25 to
    2.25, and the center is anywhere on a square image of `side` pixels.
    """
    generator = torch.Generator().manual_seed(0)
    shares = ((8, 32, 0.41), (32, 96, 0.34), (96, 400, 0.25))  # pixels, pixels, share
    sizes = torch.cat(
        [
            low + (high - low) * torch.rand(round(count * share), generator=generator)
            for low, high, share in shares
        ]
    )
    stretch = 0.5 + torch.rand(count, generator=generator)  # root of the ratio
    half = torch.stack([sizes * stretch, sizes / stretch], 1) / 2
    center = side * torch.rand(count, 2, generator=generator)
    return torch.cat([center - half, center + half], 1)


def number_line(
    spans: Sequence[tuple[float, float]],
    cells: Sequence[tuple[int, int]],
    count: int,
    names: Sequence[str],
) -> Figure:
    """Return a row of `count` cells for each span: the span as a line, its cells filled.

    Args:
        spans: low and high end of each, in cells.
        cells: the first cell of each span and one past its last.
        count: cells of the axis.
        names: of the spans.
    """
    figure = Figure(figsize=(9, 0.55 * len(spans) + 0.5), layout="constrained")
    axes = figure.add_subplot()
    for row, ((low, high), (first, end)) in enumerate(zip(spans, cells, strict=True)):
        for cell in range(count):
            inside = first <= cell < end
            color = LIGHT.level(4) if inside else BACKGROUND
            style = {"facecolor": color, "alpha": 0.55 if inside else 1, "edgecolor": LIGHT.muted}
            axes.add_patch(Rectangle((cell, row - 0.3), 1, 0.6, **style))
        axes.plot([low, high], [row, row], color=LIGHT.ink, marker="|", markersize=14, linewidth=3)
    axes.set_yticks(range(len(spans)), names)
    axes.set_xticks(range(count + 1))
    axes.set(xlim=(-1.6, count + 1.7), ylim=(len(spans) - 0.4, -0.6), xlabel="cells of one axis")
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def count_curves(scales: Sequence[float], counts: Sequence[Sequence[int]], now: float) -> Figure:
    """Return the number of effective locations at each level against the effective scale.

    Args:
        scales: the effective scales.
        counts: of P3, P4, ... each: a number for each scale.
        now: the scale that the chapter uses.
    """
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for level, line in enumerate(counts, 3):
        axes.step(scales, line, where="post", color=LIGHT.level(level), label=f"P{level}")
        axes.text(scales[-1] + 0.015, line[-1], f"P{level}", color=LIGHT.level(level), va="center")
    axes.axvline(now, color=LIGHT.muted, linestyle="--", linewidth=1)
    axes.set_yscale("log", base=2)
    axes.set_yticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"])
    axes.set(xlabel="effective scale", ylabel="effective locations of the star")
    axes.grid(color=LIGHT.grid, linewidth=0.5)
    return figure


def share_bars(one: Sequence[float], none: Sequence[float], levels: Sequence[int]) -> Figure:
    """Return, for each level, the share of objects with one location and with none.

    Args:
        one: per cent of the objects with exactly one effective location, by the paper's rule.
        none: per cent of the objects without a location, by MMDetection's rule.
        levels: pyramid numbers.
    """
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes, place = figure.add_subplot(), np.arange(len(levels))
    kinds = (
        (one, -0.2, LIGHT.level(4), "", "paper: exactly one location"),
        (none, 0.2, LIGHT.level(5), "//", "MMDetection: no location"),
    )
    for values, shift, color, hatch, name in kinds:
        style = {"color": color, "hatch": hatch, "edgecolor": LIGHT.paper, "label": name}
        bars = axes.bar(place + shift, values, 0.4, **style)
        axes.bar_label(bars, fmt="%.0f", fontsize=9)
    axes.set_xticks(place, [f"P{level}" for level in levels])
    axes.set(ylabel="% of the objects", ylim=(0, 112))
    axes.legend(frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def assigned_maps(maps: dict[str, Sequence[Tensor]], names: Sequence[str]) -> Figure:
    """Return the assigned instance of every location, a row for each rule, a column for each level.

    Args:
        maps: by rule, (rows, columns) of each level: index of the instance, -1 for none.
        names: of the instances.
    """
    columns = len(next(iter(maps.values())))
    figure = Figure(figsize=(2.3 * columns, 2.5 * len(maps) + 0.6), layout="constrained")
    grid = figure.subplots(len(maps), columns)
    for line, (rule, levels) in zip(grid, maps.items(), strict=True):
        for nth, (axes, level) in enumerate(zip(line, levels, strict=True)):
            shown = np.full((*level.shape, 3), 0.94)
            for index in range(len(names)):
                shown[level.numpy() == index] = rgb(LIGHT.label(index))
            axes.imshow(shown, extent=(0, level.shape[1], level.shape[0], 0))
            axes.set_xticks(range(level.shape[1] + 1), [])
            axes.set_yticks(range(level.shape[0] + 1), [])
            axes.grid(color=LIGHT.muted, linewidth=0.3)
            axes.set_title(f"P{3 + nth}: {rule}", fontsize=9)
            for row, column in np.argwhere(level.numpy() >= 0).tolist() if nth else []:
                text = str(int(level[row, column]))
                axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=9)
    handles = [Rectangle((0, 0), 1, 1, facecolor=LIGHT.label(index)) for index in range(len(names))]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def rgb(color: str) -> tuple[float, ...]:
    """Return "#rrggbb" as three shares, 0..1."""
    return tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))


def two_conventions(
    image: np.ndarray,
    box: Sequence[float],
    effective: dict[str, Sequence[Tensor]],
    centers: dict[str, float],
    strides: Sequence[int],
) -> Figure:
    """Return the effective squares of one box by two rules, over each other, at every level.

    Args:
        image: (H, W, 3) uint8.
        box: x1 y1 x2 y2, pixels.
        effective: by rule, (rows, columns) bool of each level.
        centers: by rule, the center of a location in cells from the corner of its square.
        strides: of the levels, pixels.
    """
    figure = Figure(figsize=(2.5 * len(strides), 3), layout="constrained")
    looks = (
        {"facecolor": LIGHT.level(4), "alpha": 0.5, "edgecolor": LIGHT.ink},
        {"facecolor": "none", "edgecolor": LIGHT.level(5), "hatch": "//", "linewidth": 2},
    )
    for nth, (axes, stride) in enumerate(zip(figure.subplots(1, len(strides)), strides)):
        axes.imshow(image, alpha=0.4, extent=(0, image.shape[1], image.shape[0], 0))
        for look, (rule, levels) in zip(looks, effective.items(), strict=True):
            shift = (centers[rule] - 0.5) * stride
            for row, column in levels[nth].nonzero().tolist():
                corner = column * stride + shift, row * stride + shift
                axes.add_patch(Rectangle(corner, stride, stride, label=rule, **look))
        x1, y1, x2, y2 = box
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, linewidth=1.5))
        axes.set(xlim=(-32, image.shape[1]), ylim=(image.shape[0], -32), xticks=[], yticks=[])
        axes.set_title(f"P{3 + nth}", fontsize=10)
    handles = [Rectangle((0, 0), 1, 1, **look) for look in looks]
    figure.legend(handles, list(effective), loc="outside lower center", ncols=2, frameon=False)
    return figure
