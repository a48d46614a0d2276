"""The pictures of chapter 13."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from fsaf_core.config import TrainConfig
from fsaf_core.engine.optim import learning_rate
from fsaf_core.presets import Preset
from fsaf_core.viz.colors import LIGHT
from fsaf_core.viz.svg import Svg

MMDETECTION, PAPER = LIGHT.level(4), LIGHT.level(3)
FOOTNOTES = {"paper, ablation table": "¹", "paper, table of backbones": "²"}  # Table 1, Table 2


def learning_rates(recipe: TrainConfig, total_steps: int) -> Figure:
    """Return the learning rate over all epochs (left) and over the first 1,000 steps (right)."""
    figure = Figure((8.4, 2.6), layout="constrained")
    whole, start = figure.subplots(1, 2, width_ratios=(3, 2))
    drops = [round(share * total_steps) for share in recipe.milestones]
    steps = sorted(
        {*range(0, total_steps, 2000), 499, *drops, *(at - 1 for at in drops), total_steps - 1}
    )
    per_epoch = total_steps / recipe.epochs
    rates = [learning_rate(recipe, step, total_steps) for step in steps]
    whole.plot([step / per_epoch for step in steps], rates, color=MMDETECTION)
    whole.set(xlabel="epoch", ylabel="learning rate", xticks=range(0, recipe.epochs + 1, 2))
    first = range(0, 1001, 50)
    start.plot(first, [learning_rate(recipe, step, total_steps) for step in first], color=PAPER)
    start.set(xlabel="step")
    for axes in (whole, start):
        axes.grid(color=LIGHT.grid)
    return figure


def memory(values: Mapping[str, float], published: str) -> Figure:
    """Return a bar for each value in GB; `published` is the name of the published one."""
    colors = [LIGHT.muted if name == published else MMDETECTION for name in values]
    return _bars([*values], [*values.values()], colors, "{:.2f} GB", "memory of a training step")


def published_ap(rows: Mapping[str, Preset]) -> Figure:
    """Return a bar for each preset's AP; numbers that were not re-checked have a footnote mark."""
    names = [
        name + (FOOTNOTES[row.source] if row.status == "unverified" else "")
        for name, row in rows.items()
    ]
    colors = [
        MMDETECTION if row.source.startswith("MMDetection") else PAPER for row in rows.values()
    ]
    aps = [row.ap or 0 for row in rows.values()]
    figure = _bars(
        names, aps, colors, "{:.1f}", "box AP, from 30 (blue-green: MMDetection, amber: paper)"
    )
    figure.axes[0].set_xlim(30, 44)
    return figure


def conventions(
    image: np.ndarray, box: Tensor, codes: Mapping[str, Tensor], centers: Sequence[float]
) -> Svg:
    """Return the regions of a box at P3, a panel for each convention.

    Args:
        image: (128, 128, 3) uint8.
        box: (4,) x1 y1 x2 y2, pixels.
        codes: by the name of the convention: (16, 16), 0 negative, 1 ignoring, 2 effective.
        centers: of each convention, center of a location in cells from the corner of its cell.
    """
    side, gap, margin, head = 240, 14, 10, 20
    counted = "; ".join(
        f"{name}: {int((code == 2).sum())} effective, {int((code == 1).sum())} ignored"
        for name, code in codes.items()
    )
    alt = f"The star's effective and ignored locations at P3. {counted}."
    svg = Svg(len(codes) * (side + gap + margin), head + margin + side, alt)
    scale = side / image.shape[0]
    for index, ((name, code), center) in enumerate(zip(codes.items(), centers, strict=True)):
        left, top = index * (side + gap + margin) + margin, head + margin
        cell = side / len(code)
        svg.text(left, 14, name)
        svg.image(image, left, top, side, side)
        svg.cells(code.numpy(), left + (center - 0.5) * cell, top + (center - 0.5) * cell, cell)
        x1, y1, x2, y2 = (float(value) * scale for value in box)
        svg.box(left + x1, top + y1, left + x2, top + y2, LIGHT.ink)
    return svg


def permuted_box(size: tuple[float, float], wrong: tuple[float, float, float, float]) -> Figure:
    """Return a box of `size` (width, height) around the origin, and a wrong one, x1 y1 x2 y2."""
    figure = Figure((4.8, 2.6), layout="constrained")
    axes = figure.subplots()
    right = (-size[0] / 2, -size[1] / 2, size[0] / 2, size[1] / 2)
    pairs = ((right, MMDETECTION, "right order"), (wrong, LIGHT.level(5), "rows as they are"))
    for (x1, y1, x2, y2), color, name in pairs:
        axes.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color=color, label=name)
    axes.plot([0], [0], "k.", label="location")
    axes.set(aspect="equal", xlabel="x, pixels", ylabel="y, pixels")
    axes.invert_yaxis()
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _bars(
    names: Sequence[str], values: Sequence[float], colors: Sequence[str], form: str, title: str
) -> Figure:
    figure = Figure((7.6, 0.3 * len(names) + 0.7), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, values, color=colors)
    axes.bar_label(bars, [form.format(value) for value in values], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(title)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
