"""The pictures of chapter 00."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor


def loss_table(
    losses: Tensor, selected: Sequence[int], by_size: Sequence[int], names: Sequence[str]
) -> Figure:
    """Return the losses as a colored table: the selected level framed, the heuristic's with ▲.

    Args:
        losses: (N, L); inf where an instance has no location.
        selected: (N,) indices of levels.
        by_size: (N,) indices of levels.
        names: (N,) class names.
    """
    values = losses.numpy()
    figure = Figure((6.4, 0.42 * len(names) + 0.6))
    axes = figure.subplots()
    shade = np.sqrt(np.where(np.isfinite(values), values, np.nan))
    axes.imshow(shade, cmap="Blues_r", vmin=0, vmax=1.8 * np.nanmax(shade), aspect="auto")
    for row, level in np.ndindex(*values.shape):
        text = f"{values[row, level]:.2f}" if np.isfinite(values[row, level]) else "no location"
        text += "  ▲" if by_size[row] == level else ""
        dark = np.isfinite(values[row, level]) and shade[row, level] < 0.9 * np.nanmax(shade)
        color = "white" if dark else "black"
        axes.text(level, row, text, ha="center", va="center", color=color, fontsize=9)
    for row, level in enumerate(selected):
        frame = Rectangle((level - 0.48, row - 0.46), 0.96, 0.92, fill=False)
        frame.set(edgecolor="#d55e00", linewidth=2.5)
        axes.add_patch(frame)
    axes.set_xticks(range(values.shape[1]), [f"P{3 + level}" for level in range(values.shape[1])])
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    return figure
