"""Plumbing of notebook 12: its pictures and its table. Pictures are figures for `course.show`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from fsaf_core.config import SCENE_CLASSES
from fsaf_core.method.assignment import GroundTruth
from fsaf_core.method.locations import Locations
from fsaf_core.model.structures import pack_ground_truth
from fsaf_core.tools.ablation import MIN_SEEDS, t_interval
from fsaf_core.viz.colors import LIGHT

from . import population

FILE = Path(__file__).parent / "assigners.json"
METHODS = {  # name: year, how far from fixed rules to matching (0..1), group
    "anchors + IoU": (2017.6, 0.04, "rule"),
    "FSAF": (2019.3, 0.48, "loss"),
    "FCOS": (2019.6, 0.14, "rule"),
    "SAPD": (2019.95, 0.56, "loss"),
    "ATSS": (2020.05, 0.27, "statistics"),
    "DETR": (2020.4, 0.95, "matching"),
    "OTA": (2021.25, 0.73, "matching"),
    "SimOTA": (2021.6, 0.67, "matching"),
    "NMS-free YOLO": (2024.4, 0.85, "matching"),
}
GROUPS = {"rule": 0, "statistics": 2, "loss": 1, "matching": 3}  # each by its color
LINKS = (
    ("anchors + IoU", "FSAF"),
    ("anchors + IoU", "FCOS"),
    ("FCOS", "ATSS"),
    ("FSAF", "SAPD"),
    ("SAPD", "OTA"),
    ("OTA", "SimOTA"),
    ("DETR", "NMS-free YOLO"),
    ("SimOTA", "NMS-free YOLO"),
)


def validation_scenes(count: int) -> list[GroundTruth]:
    """Return the boxes of the first validation scenes that have an object."""
    targets = [
        {"boxes": torch.tensor(one.boxes).float(), "labels": torch.tensor(one.labels)}
        for one in population(count)
        if len(one.boxes)
    ]
    return [pack_ground_truth([one], torch.device("cpu"), len(SCENE_CLASSES)) for one in targets]


def level_counts(assigned: Tensor, locations: Locations, instance: int) -> list[int]:
    """Return how many locations (R,) of each level learn an instance."""
    return [int((level == instance).sum()) for level in assigned.split(locations.sizes)]


def positives_picture(
    image: np.ndarray,
    boxes: Tensor,
    assigned: Mapping[str, Tensor],
    locations: Locations,
    shown: Sequence[int],
) -> Figure:
    """Draw the positive locations of some instances, a panel for each assigner.

    Args:
        image: (H, W, 3) uint8.
        boxes: (N, 4) x1 y1 x2 y2, pixels.
        assigned: by assigner, the instance of each location (R,), -1 for background.
        locations: of the input.
        shown: indices of the instances.
    """
    figure = Figure((2.7 * len(assigned), 3.1), layout="constrained")
    part = boxes[list(shown)]
    low, high = part[:, :2].amin(0) - 14, part[:, 2:].amax(0) + 14
    low, high = low.clamp(min=-6).tolist(), high.clamp(max=image.shape[0] + 6).tolist()
    panels = figure.subplots(1, len(assigned), squeeze=False)[0]
    for axes, (name, instances) in zip(panels, assigned.items()):
        axes.imshow(image, alpha=0.55)
        for index in shown:
            x1, y1, x2, y2 = boxes[index].tolist()
            style = {"fill": False, "edgecolor": LIGHT.ink, "linewidth": 1.5}
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **style))
        for place in range(len(instances)):
            if int(instances[place]) not in shown:
                continue
            (x, y), level = locations.centers[place].tolist(), int(locations.level[place])
            side = 2.5 * 2 ** (level / 2)
            axes.add_patch(
                Rectangle(
                    (x - side, y - side), 2 * side, 2 * side, facecolor=LIGHT.level(3 + level)
                )
            )
            if len(shown) > 1:
                number = str(int(instances[place]))
                axes.text(x, y, number, color="white", fontsize=7, ha="center", va="center")
        axes.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), xticks=[], yticks=[])
        axes.set_title(name)
    _legend(figure, len(locations.strides))
    return figure


def _legend(figure: Figure, levels: int) -> None:
    handles = [Rectangle((0, 0), 1, 1, facecolor=LIGHT.level(3 + level)) for level in range(levels)]
    names = [f"P{3 + level}" for level in range(levels)]
    figure.legend(handles, names, loc="outside lower center", ncols=levels, frameon=False)


def threshold_picture(overlaps: Mapping[str, Tensor], thresholds: Mapping[str, float]) -> Figure:
    """Draw the IoUs of each object's ATSS candidates on a line, and its threshold."""
    figure = Figure((7, 0.75 * len(overlaps) + 0.9), layout="constrained")
    axes = figure.subplots()
    for row, (name, values) in enumerate(overlaps.items()):
        reached = values >= thresholds[name]
        for color, part in ((LIGHT.muted, values[~reached]), (LIGHT.label(0), values[reached])):
            axes.plot(part.tolist(), [row] * len(part), "o", color=color, alpha=0.6)
        axes.plot([thresholds[name]] * 2, [row - 0.35, row + 0.35], color=LIGHT.label(1))
    axes.set_yticks(range(len(overlaps)), list(overlaps))
    axes.set(xlabel="IoU of a candidate's anchor with the box", xlim=(-0.02, 1), ylim=(-0.6, None))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def cost_picture(
    cost: Tensor, chosen: Tensor, names: Sequence[str], columns: Sequence[str]
) -> Figure:
    """Draw a table of costs (N, C), cheap cells dark, and a frame around the chosen ones (N, C)."""
    figure = Figure((9, 0.5 * len(names) + 1.1), layout="constrained")
    axes = figure.subplots()
    axes.imshow(-cost.clamp(max=12).log1p().numpy(), cmap="Blues", aspect="auto")
    for row, column in np.ndindex(*cost.shape):
        value = cost[row, column].item()
        color = "white" if value < 1.5 else LIGHT.ink
        text = f"{value:.1f}" if value < 100 else "-"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
        if chosen[row, column]:
            frame = {"fill": False, "edgecolor": LIGHT.label(1), "linewidth": 2.5}
            axes.add_patch(Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, **frame))
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(len(columns)), columns, fontsize=8)
    axes.tick_params(length=0)
    return figure


def map_picture() -> Figure:
    """Draw the methods by year and by what decides, with a line from each to its heirs."""
    figure = Figure((9.6, 5), layout="constrained")
    axes = figure.subplots()
    for one, other in LINKS:
        (x1, y1, _), (x2, y2, _) = METHODS[one], METHODS[other]
        axes.plot([x1, x2], [y1, y2], color=LIGHT.grid, linewidth=2, zorder=1)
    for name, (year, height, group) in METHODS.items():
        color = LIGHT.label(GROUPS[group])
        style = {"boxstyle": "round,pad=0.35", "facecolor": LIGHT.paper, "edgecolor": color}
        axes.text(year, height, name, ha="center", va="center", bbox=style | {"linewidth": 2})
    for height, text in (
        (0.09, "a fixed rule"),
        (0.27, "statistics of the IoU"),
        (0.54, "the network's own loss"),
        (0.83, "a matching by cost"),
    ):
        axes.text(2016.4, height, text, va="center", ha="right", color=LIGHT.muted)
    axes.set(xlim=(2016.6, 2025.2), ylim=(-0.05, 1.05), yticks=[], xlabel="year")
    axes.set_xticks(range(2017, 2026))
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def results() -> dict | None:
    """Return what make_assigners.py stored: `steps` and the AP of each seed by assigner."""
    return json.loads(FILE.read_text()) if FILE.exists() else None


def claim_table(stored: dict | None) -> list[str]:
    """Return the rows of the comparison with FSAF, or the one line "no claim".

    Args:
        stored: `steps`, and `rows`, for each assigner its APs in percent, seed by seed.
    """
    rows = stored["rows"] if stored else {}
    counts = {len(values) for values in rows.values()}
    if not rows or len(counts) != 1 or min(counts) < MIN_SEEDS:
        return [f"no claim: fewer than {MIN_SEEDS} seeds of each assigner are stored"]
    first = np.array(rows["FSAF"])
    lines = [f"{stored['steps']} steps, {len(first)} seeds; AP minus FSAF's, seed by seed"]
    for name, values in rows.items():
        line = f"{name:16} AP {np.mean(values):4.1f}"
        if name != "FSAF":
            paired = np.array(values) - first
            low, high = t_interval(paired)
            verdict = "differs" if low > 0 or high < 0 else "no claim"
            line += f"   {paired.mean():+5.1f}, 95 % interval [{low:+.1f}, {high:+.1f}]: {verdict}"
        lines.append(line)
    return lines


def seeds_picture(stored: dict | None) -> Figure:
    """Draw the AP of each assigner by seed, dots of one seed joined; empty axes without results."""
    figure = Figure((6.4, 3), layout="constrained")
    axes = figure.subplots()
    rows = stored["rows"] if stored else {}
    for values in zip(*rows.values()):
        axes.plot(range(len(rows)), values, "o-", color=LIGHT.muted, alpha=0.7)
    axes.set_xticks(range(len(rows)), list(rows))
    axes.set_ylabel("AP, percent")
    if not rows:
        axes.text(0.5, 0.5, "no runs are stored", ha="center", transform=axes.transAxes)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
