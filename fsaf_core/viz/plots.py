"""Figures of a run: boxes drawn on images with Pillow, charts with matplotlib.

The functions take plain numbers and return a figure. `write_run_figures` reads the numbers from the
files that training and evaluation wrote into a run's folder. The alt text of each figure is stored
in its PNG as "Description". pyplot is not used, because its state is global.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from ..data.images import load_image
from .colors import LIGHT, contrast_color

MIN_SCORE = 0.45  # the sheet shows detections of at least this score
CAUSE_HATCHES = ("", "//", "\\\\", "xx", "..", "--", "++")

Rectangle = tuple[float, float, float, float]  # x1 y1 x2 y2, pixels


def draw_boxes(
    image: Image.Image,
    boxes: Sequence[Sequence[float]],
    labels: Sequence[int],
    scores: Sequence[float] | None,
    class_names: Sequence[str],
    side: int | None = None,
) -> Image.Image:
    """Return a copy of `image` with its boxes and their class names drawn on it.

    `torchvision.utils.draw_bounding_boxes` is not used: it writes the names inside the boxes, where
    they cover small objects and one another, and cuts them off at the edge of the image.

    Args:
        image: RGB.
        boxes: (N, 4) x1 y1 x2 y2 in pixels of the image.
        labels: (N,) 0..K-1.
        scores: (N,) 0..1, the highest drawn on top, or None for ground truth.
        class_names: (K,) names.
        side: pixels of the longer side of the result. None: the smallest whole multiple of the
            image's own side that reaches 480, so that the names can be read.
    """
    longer = max(image.size)
    scale = side / longer if side else max(1, -(-480 // longer))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX)
    draw, font = ImageDraw.Draw(image), _font(max(11, round(max(size) / 48)))
    order = list(range(len(boxes))) if scores is None else np.argsort(scores, kind="stable")
    edges = [[edge * scale for edge in box] for box in boxes]
    colors = [LIGHT.label(label) for label in labels]
    for index in order:
        draw.rectangle(edges[index], outline=colors[index], width=max(2, round(max(size) / 320)))
    tabs: list[Rectangle] = []
    for index in reversed(order):  # the best detection chooses the place of its name first
        name = class_names[labels[index]] + ("" if scores is None else f" {scores[index]:.2f}")
        *_, width, height = draw.textbbox((0, 0), name, font=font)
        tab = _place_tab(width + 4, height + 3, edges[index], tabs, size)
        tabs.append(tab)
        draw.rectangle(tab, fill=colors[index])
        place = (tab[0] + 2, tab[1] + 1)
        draw.text(place, name, font=font, fill=contrast_color(colors[index]), anchor="la")
    return image


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which matplotlib ships; it covers Latin, Greek and Cyrillic."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), size)


def _place_tab(
    width: float,
    height: float,
    box: Sequence[float],
    taken: Sequence[Rectangle],
    size: tuple[int, int],
) -> Rectangle:
    """Return the place of a box's name inside the image, clear of the `taken` places if it can be.

    The candidates, in order: above the box, below it, inside it at the top, inside at the bottom.
    """
    left = max(0, min(box[0], size[0] - width))
    candidates = []
    for top in (box[1] - height, box[3], box[1], box[3] - height):
        top = max(0, min(top, size[1] - height))
        candidates.append((left, top, left + width, top + height))
    for x1, y1, x2, y2 in candidates:
        if all(x1 >= b[2] or b[0] >= x2 or y1 >= b[3] or b[1] >= y2 for b in taken):
            return x1, y1, x2, y2
    return candidates[0]


def detections_beside_truth(pictures: Sequence[Mapping], class_names: Sequence[str]) -> Image.Image:
    """Return one sheet, two images a row: ground truth on the left, detections on the right.

    Args:
        pictures: for each image `file` (its path), `truth` ({boxes, labels}) and `found` ({boxes,
            labels, scores}); boxes are in pixels of the file after its EXIF rotation.
        class_names: (K,) names.
    """
    side, head, gap, font = 300, 22, 8, _font(13)
    tiles = []  # ground truth and detections of each image in turn
    for picture in pictures:
        image, truth, found = load_image(picture["file"]), picture["truth"], picture["found"]
        keep = [index for index, score in enumerate(found["scores"]) if score >= MIN_SCORE]
        boxes, labels, scores = (
            [found[name][index] for index in keep] for name in ("boxes", "labels", "scores")
        )
        tiles.append(draw_boxes(image, truth["boxes"], truth["labels"], None, class_names, side))
        tiles.append(draw_boxes(image, boxes, labels, scores, class_names, side))
    rows = [tiles[start : start + 4] for start in range(0, len(tiles), 4)]
    heights = [max(tile.height for tile in row) + gap for row in rows]
    columns = min(4, len(tiles))
    sheet = Image.new("RGB", (columns * (side + gap) + gap, head + sum(heights)), LIGHT.paper)
    draw, top = ImageDraw.Draw(sheet), head
    for column in range(columns):
        title = f"detections, score ≥ {MIN_SCORE:g}" if column % 2 else "ground truth"
        draw.text((gap + column * (side + gap), 4), title, font=font, fill=LIGHT.ink)
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (gap + column * (side + gap), top))
        top += height
    return sheet


def loss_curves(log: Sequence[Mapping]) -> Figure:
    """Draw four charts of a training: losses, validation AP, selected levels, warning signs.

    Args:
        log: lines of `log.jsonl`. A training line has `step`, the loss terms, their sum `loss`,
            `levels` ({"P3": instances, ...}), `dead` and `waiting` (shares, 0..1). A validation
            line has `step` and `validation` ({"AP": ..., "AP50": ...}).
    """
    train = [line for line in log if "loss" in line]
    figure, (losses, validation, levels, warnings) = _figure(2, 2, (11, 6.4))

    dashes = {"af_cls": "-", "af_box": "--", "ab_cls": "-.", "ab_box": ":", "loss": "-"}
    for index, (name, dash) in enumerate(dashes.items()):
        steps, values = _column(train, name)
        if steps:
            color = LIGHT.ink if name == "loss" else LIGHT.label(index)
            losses.plot(steps, values, color=color, alpha=0.25, linewidth=1)
            losses.plot(steps, _smooth(values), dash, color=color, label=name)
    losses.set(title="losses (smoothed; raw behind)", yscale="log" if train else "linear")
    losses.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    losses.yaxis.set_minor_formatter(
        lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else ""
    )

    metrics = [{"step": line["step"], **line["validation"]} for line in log if "validation" in line]
    for name, color, mark in (("AP", LIGHT.label(0), "o-"), ("AP50", LIGHT.label(1), "s--")):
        validation.plot(*_column(metrics, name), mark, color=color, markersize=4, label=name)
    validation.set(title="validation", ylim=(0, 1), ylabel="AP")

    counted = [{"step": line["step"], **line["levels"]} for line in train if line.get("levels")]
    if counted:
        names = [name for name in counted[0] if name != "step"]
        counts = np.stack([_smooth(_column(counted, name)[1]) for name in names])
        shares = counts / np.maximum(counts.sum(0), 1e-9)
        colors = [LIGHT.level(int(name[1:])) for name in names]
        steps = _column(counted, "step")[0]
        levels.stackplot(steps, shares, colors=colors, labels=names, edgecolor="white")
    levels.set(title="selected levels, share of the instances", ylim=(0, 1), xlabel="step")

    for name, text, color, dash in (
        ("dead", "dead ReLUs of the box output", LIGHT.label(1), "-"),
        ("waiting", "time spent waiting for data", LIGHT.ink, ":"),
    ):
        warnings.plot(*_column(train, name), dash, color=color, label=text)
    warnings.set(title="shares that should stay small", ylim=(0, 1), xlabel="step")

    for ax in figure.axes:
        if ax.get_legend_handles_labels()[0]:
            ax.legend(fontsize=8, loc="best", framealpha=0.85)
    return figure


def _column(lines: Sequence[Mapping], name: str) -> tuple[list[int], np.ndarray]:
    """Return the steps and values of the lines that contain `name`."""
    lines = [line for line in lines if name in line]
    return [line["step"] for line in lines], np.array([line[name] for line in lines], float)


def levels_against_size(
    sizes: Sequence[float], levels: Sequence[int], heuristic: Sequence[int]
) -> Figure:
    """Draw the selected level of each object against its size, and the FPN level heuristic.

    Args:
        sizes: (N,) sqrt(w * h) in pixels of the network's input.
        levels: (N,) the selected pyramid level, 3..7, or -1 for none.
        heuristic: (N,) the level of the FPN heuristic, 3..7.
    """
    figure, (ax,) = _figure(1, 1, (7.5, 4.2))
    size, level, by_size = np.array(sizes, float), np.array(levels, int), np.array(heuristic, int)
    # The row of objects without a level is below all others.
    none = min([*level[level > 0], *by_size], default=3) - 1
    rows = np.where(level < 0, none, level)
    jitter = np.random.default_rng(0).uniform(-0.28, 0.28, len(rows))  # keeps the dots apart
    colors = [LIGHT.level(one) for one in level.tolist()]
    ax.scatter(size, rows + jitter, s=7, c=colors, alpha=0.55, linewidths=0)
    order = np.argsort(size, kind="stable")
    line = {"color": LIGHT.ink, "linewidth": 2, "linestyle": "--", "label": "FPN level heuristic"}
    ax.step(size[order], by_size[order], where="post", **line)
    ticks = sorted({*rows.tolist(), *by_size.tolist()})
    ax.set_yticks(ticks, ["none" if tick == none else f"P{tick}" for tick in ticks])
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    share = np.mean(level == by_size) if len(level) else 0.0
    ax.set(
        xlabel="object size √(w·h), pixels",
        ylabel="selected level",
        title=f"{len(level)} objects; {share:.0%} at the level of the heuristic",
    )
    ax.legend(fontsize=9, loc="upper left")
    return figure


def precision_recall(metrics: Mapping) -> Figure:
    """Draw precision against recall, mean over the classes, at IoU 0.5, 0.75 and 0.5..0.95.

    Args:
        metrics: the content of `metrics.json`.
    """
    figure, (ax,) = _figure(1, 1, (5.6, 4.4))
    curves = metrics["precision_recall"]
    for index, (curve, title, name, dash) in enumerate(
        (
            ("0.50", "IoU 0.50", "AP50", "-"),
            ("0.75", "IoU 0.75", "AP75", "--"),
            ("mean", "mean of 0.5 .. 0.95", "AP", ":"),
        )
    ):
        label, color = f"{title}: {metrics[name]:.3f}", LIGHT.label(index)
        ax.plot(curves["recall"], curves[curve], dash, color=color, label=label)
    ax.set(xlim=(0, 1), ylim=(0, 1.02), title="mean over the classes")
    ax.set(xlabel="recall", ylabel="precision")
    ax.legend(fontsize=9)
    return figure


def missed_by_size(missed: Mapping) -> Figure:
    """Draw the share of missed objects by size bin and cause.

    Args:
        missed: the entry `missed` of `metrics.json`.
    """
    figure, (ax,) = _figure(1, 1, (8, 4.2))
    bins = missed["by_size"]
    totals = [max(1, counts["instances"]) for counts in bins.values()]
    base = np.zeros(len(bins))
    for index, (cause, total) in enumerate(missed["causes"].items()):
        height = np.array([counts[cause] for counts in bins.values()], float) / totals
        hatch = CAUSE_HATCHES[index % len(CAUSE_HATCHES)]
        style = {"color": LIGHT.label(index), "hatch": hatch, "edgecolor": "white"}
        ax.bar(list(bins), height, bottom=base, label=f"{cause} ({total})", **style)
        base += height
    for index, counts in enumerate(bins.values()):
        text = f"of {counts['instances']}"
        ax.text(index, base[index] + 0.015, text, ha="center", fontsize=8)
    total = missed["instances"] - missed["found"]
    ax.set(
        xlabel="object size √area, pixels",
        ylabel="share missed",
        title=f"{total} of {missed['instances']} objects missed, and why",
    )
    ax.set_ylim(0, max(0.1, 1.15 * base.max(initial=0)))
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def write_run_figures(run_dir: str | Path) -> list[Path]:
    """Write the figures of a run into `run_dir`/pictures and return their paths.

    Reads `log.jsonl` (training), and `metrics.json`, `levels.json` and `pictures.json`
    (evaluation). A missing file only leaves out its figure.
    """
    run_dir, written = Path(run_dir), []
    folder = run_dir / "pictures"
    folder.mkdir(parents=True, exist_ok=True)

    def read(name: str) -> str:
        return (run_dir / name).read_text(encoding="utf-8") if (run_dir / name).exists() else "null"

    def save(name: str, picture: Figure | Image.Image, alt: str) -> None:
        written.append(folder / name)
        if isinstance(picture, Figure):
            picture.savefig(folder / name, metadata={"Description": alt, "Software": None})
        else:
            text = PngInfo()
            text.add_itxt("Description", alt)
            picture.save(folder / name, pnginfo=text)

    if pictures := json.loads(read("pictures.json")):
        sheet = detections_beside_truth(pictures["images"], pictures["class_names"])
        count = len(pictures["images"])
        save("detections.png", sheet, f"{count} validation images, ground truth beside detections.")
    if (run_dir / "log.jsonl").exists():
        log = [json.loads(line) for line in read("log.jsonl").splitlines() if line.strip()]
        save("losses.png", loss_curves(log), "Losses, validation AP and levels by step.")
    levels = json.loads(read("levels.json"))
    if levels and levels["size"]:  # empty when there is no anchor-free branch
        figure = levels_against_size(levels["size"], levels["level"], levels["heuristic"])
        save("levels.png", figure, "Selected level of objects by size, and the FPN heuristic.")
    if metrics := json.loads(read("metrics.json")):
        alt = f"Precision against recall; AP {metrics['AP']:.3f}."
        save("precision_recall.png", precision_recall(metrics), alt)
        if "missed" in metrics:
            figure = missed_by_size(metrics["missed"])
            save("missed.png", figure, "Causes of missed objects, by size bin.")
    return written


def _figure(rows: int, columns: int, inches: tuple[float, float]) -> tuple[Figure, list]:
    """Return a new figure and its axes in reading order."""
    figure = Figure(figsize=inches, layout="constrained", dpi=90)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes:
        ax.grid(color=LIGHT.grid, linewidth=0.5)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _smooth(values: np.ndarray) -> np.ndarray:
    """Return the mean over nine neighbors, over fewer at the ends."""
    kernel = np.ones(min(9, len(values)))
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")
