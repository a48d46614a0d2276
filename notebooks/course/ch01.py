"""Pictures of chapter 01: one function each, which returns a matplotlib Figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from fsaf_core.viz.colors import LIGHT


def _box(ax, box: Sequence[float], color: str, text: str = "", **style) -> None:
    x1, y1, x2, y2 = (float(side) for side in box)
    style = {"fill": False, "linewidth": 2} | style
    ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, edgecolor=color, **style))
    if text:
        tab = {"facecolor": color, "edgecolor": "none", "pad": 1.5}
        ax.text(x1, y1, text, fontsize=8, color="white", va="bottom", bbox=tab)


def _photo(ax, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    # Pixel p covers p..p+1.
    ax.imshow(image, extent=(0, width, height, 0), interpolation="nearest")


def _chart(ax, x_name: str, y_name: str) -> None:
    ax.set(xlabel=x_name, ylabel=y_name)
    ax.grid(color=LIGHT.grid, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def scene_boxes(image: np.ndarray, boxes: Tensor, names: Sequence[str], labels: Tensor) -> Figure:
    """Draw the boxes on the image, with axes in pixels."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    ax = figure.subplots()
    _photo(ax, image)
    for box, name, label in zip(boxes.tolist(), names, labels.tolist()):
        _box(ax, box, LIGHT.label(label), name)
    ax.set(xlabel="x, pixels", ylabel="y, pixels")
    return figure


def pixel_ruler(box: Sequence[float], columns: int = 8, rows: int = 5) -> Figure:
    """Draw a grid of pixels with their centers, and a box on it."""
    figure = Figure(figsize=(5, 3.3), layout="constrained")
    ax = figure.subplots()
    x, y = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    ax.plot(x.ravel(), y.ravel(), ".", color=LIGHT.muted)
    ax.set_xticks(range(columns + 1))
    ax.set_yticks(range(rows + 1))
    ax.grid(color=LIGHT.grid)
    _box(ax, box, LIGHT.label(1), " ".join(map(str, box)), linewidth=3)
    ax.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", xlabel="x", ylabel="y")
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    return figure


def shared_area(image: np.ndarray, one: Tensor, other: Tensor) -> Figure:
    """Draw two boxes on the image and fill what they share."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    ax = figure.subplots()
    _photo(ax, image)
    x1, y1 = np.maximum(one[:2], other[:2]).tolist()
    x2, y2 = np.minimum(one[2:], other[2:]).tolist()
    _box(ax, (x1, y1, x2, y2), LIGHT.ink, fill=True, facecolor=LIGHT.ink, alpha=0.5, linewidth=0)
    _box(ax, one.tolist(), LIGHT.label(0), "star")
    _box(ax, other.tolist(), LIGHT.label(1), "detection", linestyle="--")
    ax.set_axis_off()
    return figure


def iou_curves(curves: Mapping[int, Sequence[float]]) -> Figure:
    """Draw IoU against the shift 0, 1, 2, ... in pixels, a curve for each side of a square."""
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    ax = figure.subplots()
    for level, (side, curve) in enumerate(curves.items(), 3):
        ax.plot(range(len(curve)), curve, color=LIGHT.level(level))
        at = min(side // 2, len(curve) - 3)  # where the curves are apart
        ax.text(at + 0.2, curve[at] + 0.02, f"{side} px", fontsize=8)
    ax.axhline(0.5, color=LIGHT.ink, linestyle="--", linewidth=1)
    _chart(ax, "shift, pixels", "IoU")
    ax.set(xlim=(0, 16), ylim=(-0.03, 1.03))
    return figure


def sizes_by_bin(counts: Mapping[str, int]) -> Figure:
    """Draw the number of objects of each size bin."""
    figure = Figure(figsize=(5, 2.2), layout="constrained")
    ax = figure.subplots()
    colors = [LIGHT.level(level) for level in range(3, 3 + len(counts))]
    ax.bar_label(ax.bar(list(counts), list(counts.values()), color=colors), fontsize=8)
    _chart(ax, "object size √(w·h), pixels", "objects")
    return figure


def sheet(tiles: Mapping[str, Image.Image]) -> Figure:
    """Draw images with their titles, three a row."""
    rows = -(-len(tiles) // 3)
    figure = Figure(figsize=(6.6, 2.4 * rows), layout="constrained")
    for ax, (title, tile) in zip(figure.subplots(rows, 3, squeeze=False).flat, tiles.items()):
        _photo(ax, np.asarray(tile.quantize(48).convert("RGB")))  # a small file
        ax.set_title(title, fontsize=10)
        ax.set_axis_off()
    return figure


def padded(images: Sequence[Tensor], frame: tuple[int, int]) -> Figure:
    """Draw images in the upper left corner of the frame (height, width); padding is hatched."""
    figure = Figure(figsize=(2.5 * len(images), 2.8), layout="constrained")
    for ax, image in zip(figure.subplots(1, len(images), squeeze=False)[0], images):
        style = {"fill": False, "hatch": "///", "linewidth": 1}
        _box(ax, (0, 0, frame[1], frame[0]), LIGHT.muted, **style)
        height, width = image.shape[1:]
        ax.imshow(image.permute(1, 2, 0).numpy(), extent=(0, width, height, 0), zorder=2)
        ax.set(xlim=(0, frame[1]), ylim=(frame[0], 0), xticks=(), yticks=(), aspect="equal")
        ax.set_title(f"{height} x {width}", fontsize=10)
    return figure
