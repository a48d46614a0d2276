"""Pictures of a run: boxes on images with Pillow, curves with matplotlib (its objects, never pyplot's global state).

Every function takes plain numbers and returns a picture; `write_run_figures` reads the numbers that training and evaluation left
in a run's folder. The alt text of a figure travels in its PNG as "Description".
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
from .colors import LIGHT, on

SURE = 0.45  # the score of a detection from which on the sheet shows it
MISS_HATCHES = ("", "//", "\\\\", "xx", "..", "--", "++")


def draw_boxes(
    image: Image.Image,
    boxes: Sequence[Sequence[float]],
    labels: Sequence[int],
    scores: Sequence[float] | None,
    class_names: Sequence[str],
    side: int | None = None,
) -> Image.Image:
    """`image` with its boxes and their names drawn in; a small image is enlarged first, so that the names can be read.

    Args:
        image: RGB.
        boxes: (N,4) x1 y1 x2 y2 in the image's pixels.
        labels: (N,) 0..K-1.
        scores: (N,) 0..1, drawn highest on top, or None for ground truth.
        class_names: K names.
        side: pixels of the result's longer side; None: the image's own, times the whole number that brings it to 480 or more.
    """
    longer = max(image.size)
    scale = side / longer if side else max(1, -(-480 // longer))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX)
    boxes = [[edge * scale for edge in box] for box in boxes]
    order = (
        range(len(boxes))
        if scores is None
        else sorted(range(len(boxes)), key=lambda index: scores[index])
    )
    draw, font = ImageDraw.Draw(image), _font(max(11, round(max(size) / 48)))
    for index in order:
        draw.rectangle(
            boxes[index], outline=LIGHT.label(labels[index]), width=max(2, round(max(size) / 320))
        )
    taken: list[tuple[float, float, float, float]] = []
    for index in reversed(order):  # the best one's name finds its place first
        name = class_names[labels[index]] + ("" if scores is None else f" {scores[index]:.2f}")
        place = _place(draw.textbbox((0, 0), name, font=font), boxes[index], taken, size)
        taken.append(place)
        color = LIGHT.label(labels[index])
        draw.rectangle(place, fill=color)
        draw.text((place[0] + 2, place[1] + 1), name, font=font, fill=on(color), anchor="la")
    return image


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows Latin, Greek and Cyrillic."""
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size
    )


def _place(text, box, taken, size) -> tuple[float, float, float, float]:
    """The first free of: above the box, below it, inside it at the top, at the bottom; else above. Always inside the image."""
    width, height = text[2] + 4, text[3] + 3
    left = max(0, min(box[0], size[0] - width))
    tops = [
        max(0, min(top, size[1] - height))
        for top in (box[1] - height, box[3], box[1], box[3] - height)
    ]
    places = [(left, top, left + width, top + height) for top in tops]
    free = (
        a
        for a in places
        if not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in taken)
    )
    return next(free, places[0])


def detections_beside_truth(pictures: Sequence[Mapping], class_names: Sequence[str]) -> Image.Image:
    """One sheet: each image with its ground truth on the left and the surer detections on the right, two a row.

    Args:
        pictures: of each image `file` (its path), `truth` ({boxes, labels}) and `found` ({boxes, labels, scores}), boxes in the
            file's own pixels after its EXIF orientation.
        class_names: K names.
    """
    side, head, gap, font = 300, 22, 8, _font(13)
    tiles = []  # of each image: truth, detections
    for picture in pictures:
        image, truth, found = load_image(picture["file"]), picture["truth"], picture["found"]
        keep = [index for index, score in enumerate(found["scores"]) if score >= SURE]
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
        title = f"detections, score ≥ {SURE:g}" if column % 2 else "ground truth"
        draw.text((gap + column * (side + gap), 4), title, font=font, fill=LIGHT.ink)
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (gap + column * (side + gap), top))
        top += height
    return sheet


def loss_curves(log: Sequence[Mapping]) -> Figure:
    """Four charts of a training log: losses, validation AP, levels chosen, and what should stay small (dead outputs, waiting).

    Args:
        log: lines of `log.jsonl`. A training line has `step`, the loss parts, their sum `loss`, `levels` ({"P3": instances, ..}),
            `dead` and `waiting` (shares 0..1); a validation line has `step` and `validation` ({"AP": .., "AP50": ..}).
    """
    train = [line for line in log if "loss" in line]
    figure, axes = _figure(2, 2, (11, 6.4))
    dashes = {"af_cls": "-", "af_box": "--", "ab_cls": "-.", "ab_box": ":", "loss": "-"}
    for index, (name, dash) in enumerate(dashes.items()):
        steps, values = _column(train, name)
        if steps:
            color = LIGHT.ink if name == "loss" else LIGHT.label(index)
            axes[0].plot(steps, values, color=color, alpha=0.25, linewidth=1)
            axes[0].plot(steps, _smooth(values), dash, color=color, label=name)
    axes[0].set(title="losses (smoothed; raw behind)", yscale="log" if train else "linear")
    axes[0].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes[0].yaxis.set_minor_formatter(
        lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else ""
    )
    validated = [
        {"step": line["step"], **line["validation"]} for line in log if "validation" in line
    ]
    for name, color, mark in (("AP", LIGHT.label(0), "o-"), ("AP50", LIGHT.label(1), "s--")):
        axes[1].plot(*_column(validated, name), mark, color=color, markersize=4, label=name)
    axes[1].set(title="validation", ylim=(0, 1), ylabel="AP")
    leveled = [{"step": line["step"], **line["levels"]} for line in train if line.get("levels")]
    if leveled:
        names = [name for name in leveled[0] if name != "step"]
        counts = np.stack([_smooth(_column(leveled, name)[1]) for name in names])
        colors = [LIGHT.level(int(name[1:])) for name in names]
        shares = counts / np.maximum(counts.sum(0), 1e-9)
        axes[2].stackplot(
            _column(leveled, "step")[0], shares, colors=colors, labels=names, edgecolor="white"
        )
    axes[2].set(title="levels chosen, share of the instances", ylim=(0, 1), xlabel="step")
    for name, text, color, dash in (
        ("dead", "dead box outputs", LIGHT.label(1), "-"),
        ("waiting", "waiting for data", LIGHT.ink, ":"),
    ):
        axes[3].plot(*_column(train, name), dash, color=color, label=text)
    axes[3].set(title="shares that should stay small", ylim=(0, 1), xlabel="step")
    for ax in axes:
        if ax.get_legend_handles_labels()[0]:
            ax.legend(fontsize=8, loc="best", framealpha=0.85)
    return figure


def _column(lines: Sequence[Mapping], name: str) -> tuple[list[int], np.ndarray]:
    """The steps and values of the lines that hold `name`."""
    held = [line for line in lines if name in line]
    return [line["step"] for line in held], np.array([line[name] for line in held], float)


def levels_against_size(
    sizes: Sequence[float], levels: Sequence[int], heuristic: Sequence[int]
) -> Figure:
    """Which level the loss chose for objects of each size, with the size heuristic's line drawn in.

    Args:
        sizes: (N,) sqrt(w * h) in pixels of the network's input.
        levels: (N,) the pyramid level chosen, 3..7, or -1 where no level has a cell.
        heuristic: (N,) the level that size alone would give.
    """
    figure, (ax,) = _figure(1, 1, (7.5, 4.2))
    sizes, levels, heuristic = (
        np.asarray(sizes, float),
        np.asarray(levels, int),
        np.asarray(heuristic, int),
    )
    spread = np.random.default_rng(0).uniform(
        -0.28, 0.28, len(levels)
    )  # dots of one level side by side
    lowest = min(levels[levels > 0], default=3) - 1  # the row of instances without a level
    rows = np.where(levels < 0, lowest, levels)
    ax.scatter(
        sizes,
        rows + spread,
        s=7,
        c=[LIGHT.level(level) for level in levels.tolist()],
        alpha=0.55,
        linewidths=0,
    )
    order = np.argsort(sizes, kind="stable")
    ax.step(
        sizes[order],
        heuristic[order],
        where="post",
        color=LIGHT.ink,
        linewidth=2,
        linestyle="--",
        label="the size heuristic",
    )
    ticks = sorted({*rows.tolist(), *heuristic.tolist()})
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_yticks(ticks, ["none" if tick == lowest else f"P{tick}" for tick in ticks])
    share = np.mean(levels == heuristic) if len(levels) else 0.0
    ax.set(
        xlabel="object size √(w·h), pixels",
        ylabel="level chosen",
        title=f"{len(levels)} objects; {share:.0%} as by the heuristic",
    )
    ax.legend(fontsize=9, loc="upper left")
    return figure


def precision_recall(metrics: Mapping) -> Figure:
    """Precision against recall, mean over the classes, at IoU 0.5, 0.75 and over 0.5..0.95; `metrics` as in `metrics.json`."""
    figure, (ax,) = _figure(1, 1, (5.6, 4.4))
    curves, names = metrics["precision_recall"], {"0.50": "AP50", "0.75": "AP75", "mean": "AP"}
    for index, (curve, dash) in enumerate((("0.50", "-"), ("0.75", "--"), ("mean", ":"))):
        title = "mean of 0.5 .. 0.95" if curve == "mean" else f"IoU {curve}"
        ax.plot(
            curves["recall"],
            curves[curve],
            dash,
            color=LIGHT.label(index),
            label=f"{title}: {metrics[names[curve]]:.3f}",
        )
    ax.set(
        xlim=(0, 1),
        ylim=(0, 1.02),
        xlabel="recall",
        ylabel="precision",
        title="mean over the classes",
    )
    ax.legend(fontsize=9)
    return figure


def missed_by_size(missed: Mapping) -> Figure:
    """Why objects were missed, as shares of all objects of each size octave; `missed` as in `metrics.json`."""
    figure, (ax,) = _figure(1, 1, (8, 4.2))
    octaves, causes = list(missed["by_size"]), list(missed["causes"])
    totals = [max(1, missed["by_size"][octave]["instances"]) for octave in octaves]
    base = np.zeros(len(octaves))
    for index, cause in enumerate(causes):
        height = np.array([missed["by_size"][octave][cause] for octave in octaves], float) / totals
        bars = {
            "color": LIGHT.label(index),
            "hatch": MISS_HATCHES[index % len(MISS_HATCHES)],
            "edgecolor": "white",
        }
        ax.bar(octaves, height, bottom=base, label=f"{cause} ({missed['causes'][cause]})", **bars)
        base += height
    for index, octave in enumerate(octaves):
        ax.text(
            index,
            base[index] + 0.015,
            f"of {missed['by_size'][octave]['instances']}",
            ha="center",
            fontsize=8,
        )
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
    """Draws into `run_dir`/pictures what the numbers in `run_dir` allow, and returns the pictures' paths.

    Reads `log.jsonl` (training), `metrics.json`, `levels.json` and `pictures.json` (evaluation); what is missing is not drawn.
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

    if numbers := json.loads(read("pictures.json")):
        sheet = detections_beside_truth(numbers["images"], numbers["class_names"])
        save(
            "detections.png",
            sheet,
            f"{len(numbers['images'])} validation images, ground truth beside detections.",
        )
    if (run_dir / "log.jsonl").exists():
        log = [json.loads(line) for line in read("log.jsonl").splitlines() if line.strip()]
        save("losses.png", loss_curves(log), "Losses, validation AP and levels by step.")
    levels = json.loads(read("levels.json"))
    if levels and levels["size"]:  # anchors alone choose no level
        figure = levels_against_size(levels["size"], levels["level"], levels["heuristic"])
        save(
            "levels.png",
            figure,
            "Level chosen for objects of each size, with the size heuristic's line.",
        )
    if metrics := json.loads(read("metrics.json")):
        save(
            "precision_recall.png",
            precision_recall(metrics),
            f"Precision against recall; AP {metrics['AP']:.3f}.",
        )
        if "missed" in metrics:
            save(
                "missed.png",
                missed_by_size(metrics["missed"]),
                "Why objects were missed, by size octave.",
            )
    return written


def _figure(rows: int, columns: int, inches: tuple[float, float]) -> tuple[Figure, list]:
    """A figure of its own, and its axes in reading order."""
    figure = Figure(figsize=inches, layout="constrained", dpi=90)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes:
        ax.grid(color=LIGHT.grid, linewidth=0.5)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _smooth(values: np.ndarray) -> np.ndarray:
    """The mean over nine neighbours, over fewer at the ends."""
    kernel = np.ones(min(9, len(values)))
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")
