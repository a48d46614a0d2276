"""Pictures of chapter 05: the anchor-free branch."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from fsaf_core.viz.colors import LIGHT


def four_distances(image: np.ndarray, box: Sequence[float], location: Sequence[float]) -> Figure:
    """Draw a box and the four distances to its sides from a location.

    Args:
        image: (H, W, 3) uint8.
        box: x1 y1 x2 y2 in pixels.
        location: x y in pixels.
    """
    height, width = image.shape[:2]
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    ax = figure.subplots()
    ax.imshow(image, extent=(0, width, height, 0))
    (x1, y1, x2, y2), (x, y) = map(float, box), location
    ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec="white", lw=2.5))
    for name, end in {"l": (x1, y), "t": (x, y1), "r": (x2, y), "b": (x, y2)}.items():
        ax.annotate("", end, (x, y), arrowprops={"arrowstyle": "->", "color": "white", "lw": 2.5})
        middle = ((x + end[0]) / 2 + 2, (y + end[1]) / 2 - 2)
        ax.text(*middle, name, color="white", fontsize=16, weight="bold")
    ax.plot(x, y, "o", color="white", ms=8)
    ax.set(xticks=(0, width // 2, width), yticks=(0, height // 2, height))
    return figure


def dead_chart(rows: Mapping[str, Sequence[float]], biases: Sequence[float]) -> Figure:
    """Draw the share of dead outputs against the starting bias, a group of bars for each tower."""
    figure = Figure(figsize=(5.6, 2.6), layout="constrained")
    ax = figure.subplots()
    places = np.arange(len(biases))
    for index, (name, shares) in enumerate(rows.items()):
        hatch, shift = ("", "//")[index], 0.4 * (index - 0.5)
        color = LIGHT.label(index)
        ax.bar(places + shift, shares, 0.36, color=color, hatch=hatch, ec="white", label=name)
    ax.set_xticks(places, [str(bias) for bias in biases])
    ax.set(xlabel="bias at the start", ylabel="share of dead outputs", ylim=(0, 1))
    ax.legend(fontsize=9)
    return figure


def dead_through_training(steps: Sequence[int], shares: Mapping[int, Sequence[float]]) -> Figure:
    """Draw the share of outputs that are exactly 0 at each snapshot, one line a level."""
    figure = Figure(figsize=(5.6, 2.6), layout="constrained")
    ax = figure.subplots()
    for level, values in shares.items():
        ax.plot(range(len(steps)), values, "o-", color=LIGHT.level(level), label=f"P{level}")
    ax.set_xticks(range(len(steps)), [str(step) for step in steps], fontsize=8)
    ax.set(xlabel="step of the snapshot", ylabel="share of zeros", ylim=(-0.02, 0.5))
    ax.grid(color=LIGHT.grid)
    ax.legend(fontsize=9)
    return figure


def relu_and_exp() -> Figure:
    """Draw the ReLU and the exponential for inputs from -3 to 2."""
    figure = Figure(figsize=(5, 2.8), layout="constrained")
    ax = figure.subplots()
    zs = np.linspace(-3, 2, 101)
    ax.plot(zs, np.maximum(zs, 0), color=LIGHT.label(0), lw=2.2, label="ReLU, max(z, 0)")
    ax.plot(zs, np.exp(zs), "--", color=LIGHT.label(1), lw=2.2, label="exponential, e^z")
    ax.set(xlabel="z, before the activation", ylabel="predicted distance")
    ax.grid(color=LIGHT.grid)
    ax.legend()
    return figure


def pull_chart(sizes: Sequence[float], slopes: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the size of the gradient against the true distance, one line for each activation."""
    figure = Figure(figsize=(5, 2.6), layout="constrained")
    ax = figure.subplots()
    for index, (name, values) in enumerate(slopes.items()):
        style, color = ("o-", "s--")[index], LIGHT.label(index)
        ax.plot(sizes, [abs(value) for value in values], style, color=color, label=name)
    ax.set(xscale="log", yscale="log", xlabel="true distance", ylabel="size of the gradient")
    ax.grid(color=LIGHT.grid)
    ax.legend()
    return figure


def share_of_zeros(level: Tensor) -> float:
    """Return the share of outputs that are exactly 0."""
    return float((level == 0).float().mean())
