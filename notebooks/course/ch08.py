"""Plumbing of notebook 08: its pictures. Each function returns a figure for `course.show`."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from fsaf_core.viz.colors import LIGHT

from .faults import PICTURE, small_scenes

LEAST_SCORE = 0.3  # of the detections in a picture


def _axes(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    figure = Figure((width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def rate_picture(rates: Sequence[float]) -> Figure:
    """Draw the learning rate of each step."""
    figure, [[axes]] = _axes(1, 1, 6, 2.8)
    axes.plot(range(len(rates)), rates, color=LIGHT.ink)
    axes.set(xlabel="step", ylabel="learning rate")
    return figure


def loss_picture(trace: Sequence[float]) -> Figure:
    """Draw the loss of each step of a short training."""
    figure, [[axes]] = _axes(1, 1, 6, 2.8)
    axes.plot(range(1, len(trace) + 1), trace, color=LIGHT.ink)
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    return figure


def compare_picture(runs: Mapping[str, dict], columns: Sequence[str]) -> Figure:
    """Draw columns of the stored logs beside each other, one line a run, the first one dashed."""
    figure, axes = _axes(1, len(columns), 4.6 * len(columns), 2.9)
    for axis, column in zip(axes[0], columns):
        for color, (name, run) in enumerate(runs.items()):
            steps = [line["step"] for line in run["log"]]
            values = [line[column] for line in run["log"]]
            style = {"color": LIGHT.label(color), "linestyle": "-" if color else "--"}
            axis.plot(steps, values, label=name, **style)
        axis.set(xlabel="step", ylabel=column, yscale="linear" if column == "dead" else "log")
        axis.set_xscale("log")
    axes[0, -1].legend(frameon=False)
    return figure


def log_picture(log: Sequence[dict], validations: Sequence[dict]) -> Figure:
    """Draw the losses of a log, and the AP of its validations."""
    figure, [[losses, ap]] = _axes(1, 2, 9.2, 3)
    for color, name in enumerate(("af_box", "af_cls")):
        values = [line[name] for line in log]
        losses.plot([line["step"] for line in log], values, color=LIGHT.label(color), label=name)
    losses.set(xlabel="step", ylabel="loss", ylim=(0, None))
    losses.legend(frameon=False)
    steps = [line["step"] for line in validations]
    for color, name in enumerate(("AP50", "AP")):
        values = [100 * line["validation"][name] for line in validations]
        ap.plot(steps, values, color=LIGHT.label(color + 2), marker="o", label=name)
    ap.set(xlabel="step", ylabel="percent", ylim=(0, 100), xlim=(0, None))
    ap.legend(frameon=False)
    return figure


def sizes_picture(sizes: Tensor, levels: Tensor) -> Figure:
    """Draw the size of each object against the level that it selects."""
    figure, [[axes]] = _axes(1, 1, 6, 2.8)
    shift = np.linspace(-0.25, 0.25, len(sizes))  # so that equal sizes stay apart
    colors = [LIGHT.level(level) for level in levels.tolist()]
    axes.scatter(sizes, levels.numpy() + shift, c=colors, s=14)
    axes.set(xlabel="size of the object, sqrt(w h), pixels", ylabel="selected level")
    axes.set_yticks(range(3, 7), [f"P{level}" for level in range(3, 7)])
    return figure


def levels_picture(log: Sequence[dict]) -> Figure:
    """Draw the share of objects that select each level, stacked, over the steps of a log."""
    figure, [[axes]] = _axes(1, 1, 6.4, 3)
    _stack(axes, log)
    axes.set(xlabel="step", xscale="log", ylabel="share of objects")
    return figure


def shares(log: Sequence[dict]) -> np.ndarray:
    """Return the shares of the levels at each line of a log, (levels, lines)."""
    counts = np.array([[*line["levels"].values()] for line in log], dtype=float).T
    return counts / counts.sum(0)


def _stack(axes: Axes, log: Sequence[dict]) -> None:
    steps = [line["step"] for line in log]
    names = [*log[0]["levels"]]
    colors = [LIGHT.level(int(name[1:])) for name in names]
    axes.stackplot(steps, shares(log), colors=colors, labels=names)
    axes.set(xlim=(steps[0], steps[-1]), ylim=(0, 1))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, reverse=True)


def strip_picture(picks: Tensor, steps: Sequence[int], names: Sequence[str]) -> Figure:
    """Draw the selected level of each object (rows) at each snapshot (columns)."""
    figure, [[axes]] = _axes(1, 1, 7.4, 0.45 * len(names) + 0.9)
    for row, column in np.ndindex(len(names), len(steps)):
        level = int(picks[column, row])
        box = Rectangle((column, row), 1, 1, facecolor=LIGHT.level(level), edgecolor=LIGHT.paper)
        axes.add_patch(box)
        axes.text(column + 0.5, row + 0.5, f"P{level}", color="white", ha="center", va="center")
    axes.set(xlim=(0, len(steps)), ylim=(len(names), 0), xlabel="step")
    axes.set_xticks(np.arange(len(steps)) + 0.5, [str(step) for step in steps])
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.tick_params(length=0)
    return figure


def runs_picture(runs: Mapping[str, dict]) -> Figure:
    """Draw each stored run as a row: its losses, the levels of its objects, its detections."""
    figure, axes = _axes(len(runs), 3, 9.6, 2.35 * len(runs))
    images, targets = small_scenes(PICTURE + 1)
    pixels, truth = images[PICTURE].permute(1, 2, 0).numpy(), targets[PICTURE]["boxes"].tolist()
    for (losses, levels, image), (name, run) in zip(axes, runs.items()):
        log = run["log"]
        for color, part in enumerate(("af_box", "af_cls")):
            values = [line[part] for line in log]
            steps = [line["step"] for line in log]
            losses.plot(steps, values, color=LIGHT.label(color), label=part)
        losses.set(yscale="log", ylim=(1e-4, 1e3), ylabel="loss", xlabel="step")
        losses.set_title(name, loc="left", fontweight="bold")
        losses.legend(frameon=False, loc="upper right", fontsize=8)
        _stack(levels, log)
        levels.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, reverse=True)
        levels.set(ylabel="share of objects", xlabel="step")
        image.imshow(pixels, extent=(0, 64, 64, 0), interpolation="nearest")
        for box in truth:
            _box(image, box, LIGHT.ink, 1, ":")
        for *box, score, label in reversed(run["detections"]):
            if score >= LEAST_SCORE:
                _box(image, box, LIGHT.label(int(label)), 1.5, "-")
        image.set(xlim=(-6, 70), ylim=(70, -6), xticks=[], yticks=[])
        image.spines[:].set_visible(False)
    return figure


def _box(axes: Axes, box: Sequence[float], color: str, width: float, line: str) -> None:
    x1, y1, x2, y2 = box
    style = {"fill": False, "edgecolor": color, "linewidth": width, "linestyle": line}
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **style))


def bars_picture(values: Mapping[str, Sequence[float]], names: Sequence[str], y: str) -> Figure:
    """Draw groups of bars: a group for each name, and in it a bar for each key of `values`."""
    figure, [[axes]] = _axes(1, 1, 6, 2.8)
    width = 0.8 / len(values)
    for nth, (label, heights) in enumerate(values.items()):
        places = np.arange(len(names)) - 0.4 + width * (nth + 0.5)
        bars = axes.bar(places, heights, width, label=label, color=LIGHT.label(nth))
        axes.bar_label(bars, fmt="%.3g", fontsize=8)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel(y)
    axes.legend(frameon=False)
    return figure


def prior_picture(biases: Sequence[float]) -> Figure:
    """Draw the sigmoid, with a dot at each of the biases."""
    figure, [[axes]] = _axes(1, 1, 6, 2.8)
    xs = np.linspace(-6, 6, 121)
    axes.plot(xs, 1 / (1 + np.exp(-xs)), color=LIGHT.muted)
    for color, bias in enumerate(biases):
        p = 1 / (1 + math.exp(-bias))
        axes.plot([bias], [p], "o", color=LIGHT.label(color), label=f"bias {bias:.3f}: p = {p:.2f}")
    axes.set(xlabel="bias of the class output", ylabel="first p", ylim=(0, 1))
    axes.legend(frameon=False)
    return figure


def shift_picture(image: np.ndarray, box: Sequence[float], shifts: Sequence[float]) -> Figure:
    """Draw a box, and the same box moved up and to the left by each of the shifts, in pixels."""
    figure, axes = _axes(1, len(shifts), 9.6, 2.7)
    x1, y1, x2, y2 = box
    for level, (axis, shift) in enumerate(zip(axes[0], shifts), 3):
        axis.imshow(image, alpha=0.6, interpolation="nearest")
        _box(axis, box, LIGHT.ink, 2, "-")
        _box(axis, [x1 - shift, y1 - shift, x2 - shift, y2 - shift], LIGHT.level(level), 2.5, "--")
        axis.set_title(f"P{level}: {shift:.0f} px")
        axis.set(xlim=(-30, 90), ylim=(120, 0), xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    return figure


def scores_picture(scores: Mapping[str, Tensor], lowest: float) -> Figure:
    """Draw a histogram for each set of scores, with a line at the threshold of inference."""
    figure, axes = _axes(1, len(scores), 4.6 * len(scores), 2.8)
    for color, (axis, (name, values)) in enumerate(zip(axes[0], scores.items())):
        counts, edges = np.histogram(values.numpy(), bins=20, range=(0, 1))
        axis.stairs(counts, edges, fill=True, color=LIGHT.label(color))
        axis.axvline(lowest, color=LIGHT.ink, linestyle=":")
        axis.set(xlabel="score", ylabel="entries", yscale="log", title=name, ylim=(0.5, None))
    return figure
