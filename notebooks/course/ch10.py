"""Chapter 10: its pictures, matplotlib Figures, and the files that COCO's metrics need."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torchvision.ops import box_iou

from fsaf_core import Detector
from fsaf_core.config import SCENE_CLASSES
from fsaf_core.evaluation.coco_metrics import coco_metrics, to_coco_results
from fsaf_core.viz.colors import LIGHT

MARGIN = 12  # pixels around a missed object


def _clean(ax) -> None:
    ax.grid(color=LIGHT.grid, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def one_of_each_cause(detector: Detector, scenes: Sequence[tuple]) -> dict[str, dict]:
    """Return the first missed object of each cause, for `gallery`.

    Args:
        detector: whose misses they are.
        scenes: image, target, head outputs, sizes and causes of each scene.
    """
    examples: dict[str, dict] = {}
    for number, (image, target, outputs, sizes, causes) in enumerate(scenes):
        for row, cause in enumerate(causes):
            if cause is None or cause in examples:
                continue
            box, found = target["boxes"][row], detector.postprocess(outputs, sizes)[0]
            near = box_iou(box[None], found["boxes"])[0].topk(2).indices
            parts = (found[key][near].tolist() for key in ("labels", "scores", "boxes"))
            examples[cause] = {
                "image": image,
                "scene": number,
                "name": SCENE_CLASSES[target["labels"][row]],
                "box": box.tolist(),
                "detections": [
                    {"name": SCENE_CLASSES[label], "score": score, "box": other}
                    for label, score, other in zip(*parts)
                ],
            }
    return examples


def coco_of(targets: Sequence[Mapping], detections: Sequence[Mapping]) -> dict:
    """Return `coco_metrics` of detections, image by image, and the number of `detections`."""
    truth: list[dict] = []
    for number, target in enumerate(targets):
        for (x1, y1, x2, y2), label in zip(target["boxes"].tolist(), target["labels"].tolist()):
            row = {"image_id": number, "category_id": label + 1, "iscrowd": 0}
            row |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            truth.append(row | {"id": len(truth) + 1})
    categories = [{"id": label, "name": name} for label, name in enumerate(SCENE_CLASSES, 1)]
    images = [{"id": number} for number in range(len(targets))]
    coco = {"images": images, "annotations": truth, "categories": categories}
    results = to_coco_results(range(len(targets)), detections, range(1, len(SCENE_CLASSES) + 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "truth.json"
        path.write_text(json.dumps(coco))
        return coco_metrics(path, results) | {"detections": len(results)}


def gallery(examples: Mapping[str, Mapping]) -> Figure:
    """Draw one missed object for each cause, with the detections that overlap it.

    Args:
        examples: by cause `image` (H, W, 3), `scene`, `name` and `box` of the object, and
            `detections`, each with `name`, `score` and `box`.
    """
    columns = min(3, len(examples))
    rows = -(-len(examples) // columns)
    figure = Figure(figsize=(3 * columns, 3.3 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[len(examples) :]:
        ax.set_visible(False)
    for ax, (cause, one) in zip(axes, examples.items()):
        ax.imshow(one["image"])
        shown = [(one["box"], "white", "-", "")]
        shown += [
            (other["box"], LIGHT.label(1), "--", f"{other['name']} {other['score']:.2f}")
            for other in one["detections"]
        ]
        for place, ((x1, y1, x2, y2), color, dash, text) in enumerate(shown):
            size = (x1, y1), x2 - x1, y2 - y1
            ax.add_patch(Rectangle(*size, fill=False, color=color, linestyle=dash, linewidth=2))
            if text:  # below the first detection, above the second
                tab = {"facecolor": color, "edgecolor": "none", "pad": 1}
                y, side = (y2, "top") if place == 1 else (y1, "bottom")
                style = {"color": "white", "fontsize": 7, "va": side, "bbox": tab}
                ax.text(x1, y, text, clip_on=True, **style)
        x1, y1, x2, y2 = one["box"]
        center, half = ((x1 + x2) / 2, (y1 + y2) / 2), max(x2 - x1, y2 - y1) / 2 + MARGIN
        ax.set(xlim=(center[0] - half, center[0] + half), ylim=(center[1] + half, center[1] - half))
        ax.set_title(f"{cause}\n{one['name']}, scene {one['scene']}", fontsize=9)
        ax.set(xticks=(), yticks=())
    return figure


def seeds(rows: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the AP of each row as dots, joined by seed. A row may have fewer seeds."""
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    ax = figure.subplots()
    colors = colormaps["viridis"](np.linspace(0, 0.9, max(map(len, rows.values()))))
    for seed, color in enumerate(colors):
        names = [name for name in rows if seed < len(rows[name])]
        aps = [rows[name][seed] for name in names]
        ax.plot(names, aps, "o-", color=color, linewidth=1, alpha=0.8, label=f"seed {seed}")
    ax.plot([*rows], [np.mean(aps) for aps in rows.values()], "_", color=LIGHT.ink, markersize=26)
    ax.set_ylabel("AP")
    ax.tick_params(axis="x", labelsize=8)
    ax.legend(fontsize=7, ncols=2)
    _clean(ax)
    return figure


def differences(comparisons: Mapping[str, Mapping]) -> Figure:
    """Draw paired differences as dots, the t interval as a bar, the bootstrap's as a thin line.

    Args:
        comparisons: by question `values`, and `t` and `bootstrap`, low and high each.
    """
    figure = Figure(figsize=(7.2, 0.7 + 0.55 * len(comparisons)), layout="constrained")
    ax = figure.subplots()
    ax.use_sticky_edges = False  # a margin beside the longest bar too
    for row, one in enumerate(comparisons.values()):
        (low, high), (inner, outer) = one["t"], one["bootstrap"]
        ax.barh(row, high - low, left=low, height=0.55, color=LIGHT.grid)
        ax.plot([inner, outer], [row, row], color=LIGHT.label(1), linewidth=3)
        ax.plot(one["values"], [row] * len(one["values"]), "o", color=LIGHT.label(0), markersize=5)
    ax.axvline(0, color=LIGHT.ink)
    ax.set_yticks(range(len(comparisons)), list(comparisons), fontsize=8)
    ax.invert_yaxis()
    ax.set_xlabel("difference in AP: dots are seeds, gray is t, the orange line is the bootstrap")
    _clean(ax)
    return figure


def side_by_side(pictures: Mapping[str, tuple]) -> Figure:
    """Draw images with their objects' names: by title an image, boxes and names."""
    figure = Figure(figsize=(3.6 * len(pictures), 3.8), layout="constrained")
    axes = figure.subplots(1, len(pictures), squeeze=False)[0]
    for ax, (title, (image, boxes, names)) in zip(axes, pictures.items()):
        ax.imshow(image)
        for (x1, y1, x2, y2), name in zip(boxes, names):
            style = {"fill": False, "color": "white", "linewidth": 1}
            ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **style))
            tab = {"facecolor": LIGHT.ink, "edgecolor": "none", "pad": 1}
            ax.text(x1, y1, name, fontsize=7, color="white", va="bottom", bbox=tab)
        ax.set_title(title, fontsize=10)
        ax.set_axis_off()
    return figure
